"""What the page's routes answer."""

import csv
import io
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import update
from sqlalchemy.exc import OperationalError

from tests.integration.plugin.conftest import COUNT, NOW
from zbl_provider.exceptions import DeliveryLogError, DeliveryLogUnavailable, MissingConnection
from zbl_provider.log.browse.model import Page, Query, Row
from zbl_provider.log.model import RunKey, Status
from zbl_provider.log.storage import tables
from zbl_provider.plugin.api import deps, export
from zbl_provider.plugin.api.deps import the_log


def test_pages_are_walked_through_newest_first_without_a_gap_or_a_repeat(site):
    """Each page begins where the one before ended (Contract 8.4)."""
    ada = site.as_("ada")
    ids, before = [], None
    while True:
        parameters = {"limit": 50} | ({"before": before} if before else {})
        page = ada.get("/zbl/api/deliveries", params=parameters).json()
        ids += [row["id"] for row in page["rows"]]
        before = page["next"]
        if before is None:
            break
    assert ids == list(range(COUNT, 0, -1))


@pytest.mark.parametrize(
    "asked",
    [
        {"status": "error"},
        {"status": "retrying"},
        {"integration": "make"},
        {"dag_id": "sends_to_crm"},
        {"task_id": "to_zapier", "status": "delivered"},
        {"run_id": "scheduled__2026-03-14T10:00:00+00:00"},
        {"map_index": "-1", "integration": "crm"},
        {"since": "2026-03-13T00:00:00Z", "until": "2026-03-13T12:00:00+00:00"},
        {"lead_id": "lead-00100"},
    ],
)
def test_each_filter_finds_what_it_says(site, asked):
    """List, funnel and export mean the same leads by the same filters (Contract 8.4)."""
    ada = site.as_("ada")
    rows = ada.get("/zbl/api/deliveries", params=asked | {"limit": 200}).json()["rows"]
    every = ada.get("/zbl/api/deliveries?limit=200").json()
    every = (
        every["rows"]
        + ada.get("/zbl/api/deliveries", params={"limit": 200, "before": every["next"]}).json()[
            "rows"
        ]
    )
    assert rows == [row for row in every if _meant(row, asked)]
    assert rows or asked.get("status") == "retrying"
    counts = ada.get("/zbl/api/funnel", params=asked).json()
    if "status" in asked:
        assert counts[asked["status"]] == len(rows)
    else:
        assert sum(counts.values()) == len(rows)
    lines = list(_read(ada.get("/zbl/api/deliveries.csv", params=asked).text))
    assert [line["lead_id"] for line in lines] == [row["lead_id"] for row in rows]


def _meant(row, asked) -> bool:
    flat = row | row["run"]
    since, until = asked.get("since", ""), asked.get("until", "~").replace("+00:00", "Z")
    named = [str(flat[name]) == value for name, value in asked.items() if name in flat]
    return all(named) and since <= row["created_at"] < until


@pytest.mark.parametrize(
    "asked",
    ["status=lost", "since=yesterday", "since=2026-03-13T00:00:00", "limit=100000", "lead_id="],
)
def test_a_filter_that_means_nothing_is_refused(site, asked):
    """What cannot be asked is answered 422, and not guessed (Contract 8.4)."""
    assert site.as_("ada").get(f"/zbl/api/deliveries?{asked}").status_code == 422


def test_one_lead_is_shown_with_its_attempts_and_without_its_payload(site):
    """Attempts, reason and run are shown, the lead's data never (Contract 6.4 and 8.4)."""
    row = site.log.reader.deliveries(Query(status=Status.ERROR), limit=1).rows[0]
    shown = site.as_("ada").get(f"/zbl/api/deliveries/{row.delivery_id}").json()
    assert shown["reason"] == row.reason
    assert len(shown["attempts_made"]) == row.attempts
    assert shown["sendable"] is True
    assert not {"payload", "body", "email"} & set(str(shown).lower().split("'"))
    assert site.as_("ada").get("/zbl/api/deliveries/999999").status_code == 404


def test_what_a_receiver_answered_comes_as_json_text(site):
    """Markup and control characters are the text of a JSON string, nothing else (7.3)."""
    with site.log._engine.begin() as connection:
        connection.execute(
            update(tables.attempt).values(excerpt=b"\x00<script>alert(1)</script>\x1b[2J\xff")
        )
    row = site.log.reader.deliveries(Query(status=Status.ERROR), limit=1).rows[0]
    answer = site.as_("ada").get(f"/zbl/api/deliveries/{row.delivery_id}")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["attempts_made"][0]["excerpt"].startswith("<script>alert(1)</script>")


@pytest.mark.parametrize(
    "path", ["/zbl/", "/zbl/static/main.js", "/zbl/api/deliveries", "/zbl/api/deliveries/999999"]
)
@pytest.mark.parametrize("name", ["ada", None])
def test_every_answer_forbids_what_the_page_does_not_need(site, path, name):
    """Only the page's own files run, none is guessed, no other site frames it (Contract 7.3)."""
    headers = site.as_(name).get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "frame-ancestors 'self'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", ["../app.py", "..%2fapp.py", "nothing.js", "%2e%2e/app.py"])
def test_nothing_but_the_pages_files_is_served(site, name):
    """No path leads out of the folder of the page's files (Contract 7.2)."""
    assert "create_app" not in site.as_("ada").get(f"/zbl/static/{name}").text


def test_leads_are_resent_by_number_and_their_task_instances_named(site):
    """What is to be sent again is pending, and the page learns what to clear (Contract 8.4)."""
    row = site.log.reader.deliveries(Query(status=Status.ERROR), limit=1).rows[0]
    answer = site.as_("ada").post("/zbl/api/resend", json={"ids": [row.delivery_id]}).json()
    run = {
        "dag_id": row.run.dag_id,
        "task_id": row.run.task_id,
        "run_id": row.run.run_id,
        "map_index": -1,
    }
    nothing = {"left": 0, "unsendable": 0, "kept_back": [], "inactive": []}
    assert answer == {"count": 1, "runs": [run], **nothing}
    assert site.log.reader.delivery(row.delivery_id).row.status is Status.PENDING
    assert site.as_("ada").post("/zbl/api/forget", json={"runs": [run]}).json() == {"count": 1}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"ids": []},
        {"ids": [2**63]},
        {"ids": [1], "filter": {}},
        {"filter": {"statu": "error"}},
    ],
)
def test_a_resend_must_say_what_it_means(site, body):
    """A resend of nothing, of two things, or by a misspelt filter is refused (Contract 8.4)."""
    assert site.as_("ada").post("/zbl/api/resend", json=body).status_code == 422


def test_all_in_error_under_a_filter_are_counted_and_then_resent(site):
    """The count before is the number after, and others stay as they are (Contract 8.4)."""
    ada = site.as_("ada")
    before = ada.get("/zbl/api/funnel").json()
    count = ada.get("/zbl/api/resendable?integration=crm&status=delivered").json()["count"]
    answer = ada.post("/zbl/api/resend", json={"filter": {"integration": "crm"}}).json()
    after = ada.get("/zbl/api/funnel").json()
    assert answer["count"] == count == before["error"] - after["error"] > 0
    assert after["pending"] == count
    assert after["delivered"] == before["delivered"]


def test_an_integration_is_held_by_name_and_resumed(site):
    """The page says who holds an integration, until somebody resumes it (Contract 8.4)."""
    uwe = site.as_("uwe")
    assert uwe.post("/zbl/api/integrations/crm/hold", json={}).status_code == 200
    crm = uwe.get("/zbl/api/integrations").json()[0]
    assert (crm["name"], crm["held_by"], crm["held_at"]) == (
        "crm",
        "uwe",
        "2026-03-14T15:09:26.000Z",
    )
    assert uwe.post("/zbl/api/integrations/crm/resume", json={}).status_code == 200
    assert uwe.get("/zbl/api/integrations").json()[0]["held_at"] is None


@pytest.mark.parametrize("name", ["team/crm", "team\\crm", "a:b#(c)!", "hold/hold"])
def test_an_integration_is_held_by_whatever_name_airflow_allows(site, name):
    """Airflow's rule for ids of connections lets them hold a slash (Contract 8.4)."""
    with site.log._engine.begin() as connection:
        for table in (tables.integration, tables.run, tables.delivery):
            renamed = update(table).where(table.c.integration == "crm")
            connection.execute(renamed.values(integration=name))
    ada = site.as_("ada")
    assert ada.post(f"/zbl/api/integrations/{quote(name, safe='')}/hold", json={}).is_success
    held = {one["name"] for one in ada.get("/zbl/api/integrations").json() if one["held_at"]}
    assert held == {name}


def test_an_unknown_integration_cannot_be_held(site):
    """A misspelt name is not held by mistake (Contract 8.4)."""
    assert site.as_("ada").post("/zbl/api/integrations/crn/hold", json={}).status_code == 404


def test_a_test_lead_without_a_connection_says_so(site, monkeypatch):
    """Where the connection has been deleted, the page says that (Contract 1.6)."""
    monkeypatch.setenv("AIRFLOW__CORE__TEST_CONNECTION", "Enabled")
    answer = site.as_("ada").post("/zbl/api/integrations/crm/test", json={})
    assert answer.status_code == 404
    assert answer.json() == {"detail": "There is no connection crm any more."}


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (DeliveryLogError(field="log", problem="it is away", remedy="Set it"), "it is away"),
        (DeliveryLogUnavailable(log="PostgreSQL at secret", problem="x"), "does not answer"),
        (OperationalError("SELECT secret", {}, Exception("password")), "does not answer"),
    ],
)
def test_a_log_that_cannot_be_read_is_told_without_a_secret(site, problem, said):
    """The page says what is wrong, and shows no statement, password or address (1.5)."""

    def fail():
        raise problem

    site.page.dependency_overrides[the_log] = fail
    answer = site.as_("ada").get("/zbl/api/deliveries")
    assert answer.status_code == 503
    assert said in answer.json()["detail"]
    assert not {"secret", "password"} & set(answer.text.replace('"', " ").split())


def test_the_log_is_opened_once_and_by_the_settings(tmp_path, monkeypatch):
    """In the API server, too, `[zbl] delivery_log_conn_id` says where the log is (6.1)."""
    connection = {"conn_type": "sqlite", "host": f"{tmp_path}/log.db"}
    monkeypatch.setenv("AIRFLOW_CONN_ZBL_LOG", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW__ZBL__DELIVERY_LOG_CONN_ID", "zbl_log_misspelt")
    with pytest.raises(MissingConnection, match="zbl_log_misspelt"):
        deps.open_log()
    monkeypatch.setenv("AIRFLOW__ZBL__DELIVERY_LOG_CONN_ID", "zbl_log")
    with ThreadPoolExecutor(8) as threads:
        logs = set(threads.map(lambda _: deps.open_log(), range(8)))
    deps._opened.cache_clear()
    assert len(logs) == 1
    assert (tmp_path / "log.db").exists()


def test_without_a_delivery_the_page_is_empty_and_well(airflow, site, tmp_path):
    """A log in which nothing is yet answers with nothing, not with an error (Contract 8.4)."""
    from zbl_provider.log.store import DeliveryLog

    log = DeliveryLog(f"sqlite:///{tmp_path}/empty.db")
    log.upgrade()
    site.page.dependency_overrides[the_log] = lambda: log
    ada = site.as_("ada")
    assert ada.get("/zbl/api/deliveries").json() == {"rows": [], "next": None}
    assert ada.get("/zbl/api/integrations").json() == []
    assert sum(ada.get("/zbl/api/funnel").json().values()) == 0
    log.close()


def test_the_page_is_in_the_navigation(site):
    """Airflow loads the plugin without an error and offers its page (Contract 8.4)."""
    plugins = site.as_("vera").get("/api/v2/plugins").json()["plugins"]
    views = [view for plugin in plugins for view in plugin["external_views"]]
    (view,) = [view for view in views if view["name"] == "Leads"]
    assert (view["href"], view["destination"]) == ("/zbl/", "nav")
    assert site.as_("vera").get(view["href"]).status_code == 200
    assert site.as_("vera").get(view["icon"]).headers["content-type"] == "image/svg+xml"
    errors = site.as_("ada").get("/api/v2/plugins/importErrors").json()
    assert errors["import_errors"] == []


ROW = Row(
    delivery_id=1,
    webhook_id="msg_1",
    lead_id="lead-1",
    integration="crm",
    status=Status.ERROR,
    reason=None,
    attempts=1,
    resend=0,
    last_status=None,
    last_kind=None,
    due_at=None,
    created_at=NOW,
    updated_at=NOW,
    delivered_at=None,
    run=RunKey("dag", "task", "run"),
)


def _read(text: str) -> csv.DictReader:
    assert text.startswith("\ufeff")  # without it Excel shows accents wrong
    return csv.DictReader(io.StringIO(text[1:], newline=""))


def _exported(lead_id: str, reason: str) -> str:
    row = replace(ROW, lead_id=lead_id, reason=reason)
    return "".join(export.lines(lambda _: Page((row,), None)))


FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")
INVISIBLE = " \xa0\u3000\u200b\ufeff\0\x0b"
BEGINNINGS = st.text(INVISIBLE, max_size=2)


@given(st.builds(str.__add__, BEGINNINGS, st.text()), st.builds(str.__add__, BEGINNINGS, st.text()))
@example("\u200b=1+1", "\xa0@x")
@example("\0=1+1", "\x0b-1")
@example("\xa0\n", "\u200b\t")
def test_no_cell_of_the_export_is_a_formula(lead_id, reason):
    """Whatever a lead is called, a spreadsheet takes it for text (Contract 7.3)."""
    (line,) = _read(_exported(lead_id, reason))
    for cell in (line["lead_id"], line["reason"]):
        assert not cell.strip(INVISIBLE).startswith(FORMULAS)
    assert line["lead_id"].replace("'", "") == lead_id.replace("'", "")


@pytest.mark.parametrize("separator", [";", "\t", "|"])
@given(st.text("=+-@x;|\t\"' ", max_size=12))
def test_no_part_of_a_cell_is_a_formula_where_other_separators_rule(separator, text):
    """Spreadsheets of Brazil or Germany, which cut cells at semicolons, run nothing (7.3)."""
    exported = _exported(f"x{text}", f"{text}y")
    for line in exported.lstrip("\ufeff").splitlines()[1:]:
        for cell in line.split(separator)[1:]:
            assert not cell.lstrip(' "').startswith(("=", "+", "-", "@"))


@pytest.mark.parametrize("separator", [",", "\x0b", "\u2028", "\x85"])
@given(st.text("=+-@x;,\x0b\x85\u2028\xa0\"' ", max_size=12))
def test_no_part_of_a_cell_is_a_formula_once_it_is_cut(separator, text):
    """Who cuts cells at commas, or at other ends of a line, runs nothing, too (7.3)."""
    (line,) = _read(_exported(f"x{text}", f"{text}y"))
    for cell in (line["lead_id"], line["reason"]):
        for part in cell.split(separator)[1:]:
            assert not part.lstrip(' "\xa0').startswith(("=", "+", "-", "@"))


def test_the_export_holds_one_page_at_a_time():
    """A file of many leads is made page by page, as the browser takes it (Contract 7.3)."""
    asked = []

    def pages(before):
        asked.append(before)
        return Page((ROW,), None if before == 3 else (before or 0) + 1)

    lines = export.lines(pages)
    next(lines)
    assert asked == [None]
    assert len(list(lines)) == 3
    assert asked == [None, 1, 2, 3]
