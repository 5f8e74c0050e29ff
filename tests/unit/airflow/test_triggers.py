"""What travels to the triggerer, and how often a watcher speaks."""

import math
from datetime import timedelta

import pytest
from airflow.sdk import AssetWatcher
from airflow.triggers.base import BaseEventTrigger

from zbl_provider.exceptions import ConfigurationError
from zbl_provider.triggers.announcing import Announcements
from zbl_provider.triggers.delivery import LeadDeliveryTrigger
from zbl_provider.triggers.leads import LeadsWaitTrigger, QualifiedLeadTrigger

QUERY = {"sql": "SELECT * FROM leads WHERE list_id = ?", "leads_conn_id": "crm"}


@pytest.mark.parametrize("kind", [QualifiedLeadTrigger, LeadsWaitTrigger])
def test_a_leads_trigger_travels_as_plain_json(kind):
    """Its path and its arguments make the same trigger again (Contract 8.1 and 8.2)."""
    trigger = kind(
        **QUERY,
        webhook_conn_id="zapier",
        parameters=("l-1",),
        field_map={"mobile": "phone"},
        poll_interval=timedelta(seconds=30),
    )
    path, arguments = trigger.serialize()
    assert path == f"zbl_provider.triggers.leads.{kind.__name__}"
    assert arguments == {
        "sql": "SELECT * FROM leads WHERE list_id = ?",
        "leads_conn_id": "crm",
        "webhook_conn_id": "zapier",
        "parameters": ["l-1"],
        "field_map": {"mobile": "phone"},
        "log_conn_id": None,
        "poll_interval": 30.0,
    }
    assert kind(**arguments).serialize() == (path, arguments)


def test_a_delivery_trigger_travels_as_plain_json():
    """Of leads it has the ids, and nothing else (Contract 8.1 and 4.3)."""
    trigger = LeadDeliveryTrigger(
        lead_ids=["1", "2"], webhook_conn_id="zapier", log_conn_id="log", poll_interval=7.0
    )
    path, arguments = trigger.serialize()
    assert path == "zbl_provider.triggers.delivery.LeadDeliveryTrigger"
    assert arguments == {
        "lead_ids": ["1", "2"],
        "webhook_conn_id": "zapier",
        "if_filtered": "fail",
        "log_conn_id": "log",
        "poll_interval": 7.0,
    }
    assert LeadDeliveryTrigger(**arguments).serialize() == (path, arguments)


def test_an_asset_watcher_takes_it_and_airflow_tells_it_from_others():
    """Airflow accepts event triggers alone, and runs one for equal watchers (Contract 8.2)."""
    trigger = QualifiedLeadTrigger(**QUERY, parameters=("l-1",))
    assert AssetWatcher(name="crm", trigger=trigger).trigger is trigger
    again = QualifiedLeadTrigger(**QUERY, parameters=["l-1"])
    other = QualifiedLeadTrigger(**QUERY, parameters=["l-2"])
    hashes = [BaseEventTrigger.hash(*watched.serialize()) for watched in (trigger, again, other)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_leads_trigger_has_the_defaults_of_the_operator():
    """Query and connection are enough."""
    _, arguments = QualifiedLeadTrigger(**QUERY).serialize()
    assert arguments == QUERY | {
        "webhook_conn_id": "zbl_webhook_default",
        "parameters": None,
        "field_map": None,
        "log_conn_id": None,
        "poll_interval": 5.0,
    }


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"parameters": [timedelta(1)]}, "parameters"),
        ({"field_map": {"a": object()}}, "field_map"),
        ({"parameters": [math.nan]}, "parameters"),
        ({"field_map": ["a"]}, "field_map"),
        ({"field_map": {"mobile": "telephone"}}, "field_map"),
        ({"sql": None}, "sql"),
        ({"sql": "UPDATE leads SET taken = 1"}, "sql"),
        ({"poll_interval": 0}, "poll_interval"),
        ({"poll_interval": "soon"}, "poll_interval"),
        ({"poll_interval": timedelta(seconds=-1)}, "poll_interval"),
    ],
)
def test_what_cannot_travel_is_refused_by_name(options, field):
    """A Dag file with it does not parse, and says what to change."""
    with pytest.raises(ConfigurationError) as refusal:
        QualifiedLeadTrigger(**QUERY | options)
    assert refusal.value.field == field


def test_the_same_leads_are_announced_once_and_then_less_and_less_often():
    """Airflow has time to begin the run; one that never began or died is asked for again (8.2)."""
    announcements = Announcements()
    told = [now for now in range(0, 20_000, 5) if announcements.due({"a"}, now)]
    assert told[:8] == [0, 60, 180, 420, 900, 1860, 3780, 7380]
    assert told[8:] == [10980, 14580, 18180]


def test_news_is_announced_at_once():
    """A lead that was not there before, or was gone in between, is news (Contract 8.2)."""
    announcements = Announcements()
    looks = [{"a"}, {"a"}, {"a", "b"}, {"b"}, set(), {"a"}, {"a"}]
    told = [announcements.due(waiting, now) for now, waiting in enumerate(looks)]
    assert told == [True, False, True, False, False, True, False]
    assert announcements.due({"a"}, 65), "and the pause begins anew"
