"""The connection: its form's way through the REST API, and its Test button."""

import base64
import json

import pytest

from tests.support.receiver import is_signed
from tests.system.case import Scenario

SECRET = "whsec_" + base64.b64encode(b"qz7-signing-secret-0123456789").decode()
HEADERS = {"X-Odd-Name": "value-qz7-odd", "Authorization": "Bearer qz7-token"}
FORM = Scenario(
    name="form",
    start=False,
    connection={"description": "A destination", "login": "", "password": ""},
    extra={
        "secret_headers": HEADERS,
        "signing_secret": SECRET,
        # What Airflow's form saves for a field that nobody touched.
        **dict.fromkeys(("active", "min_score", "lists", "field_filters", "retry_statuses")),
    },
)
SAVED = ("host", "login", "schema", "port", "description")


def saved_again(case):
    """Return the form's content, as it is when it is opened and saved untouched."""
    read = case.rest.connection("form")
    return {name: read[name] for name in SAVED} | {"extra": json.loads(read["extra"])}


@pytest.mark.scenario(FORM)
def test_saved_values_are_hidden(case):
    """What the form saved is read back without any header value or secret (1.5)."""
    read = json.dumps([case.rest.connection("form"), case.rest.call("GET", "/api/v2/connections")])
    assert "X-Odd-Name" in read
    for value in (*HEADERS.values(), SECRET, "qz7"):
        assert value not in read


@pytest.mark.scenario(FORM)
def test_hidden_values_survive_another_save(case):
    """A form that is saved again with its hidden values keeps them working (1.5)."""
    fields = saved_again(case)
    assert "***" in json.dumps(fields["extra"])
    case.rest.update_connection("form", "zbl_webhook", **fields)

    # Another description shows that the save is not thrown away as a whole.
    case.rest.update_connection("form", "zbl_webhook", **(fields | {"description": "Renamed"}))
    assert case.rest.connection("form")["description"] == "Renamed"

    answer = case.rest.test_connection("form", "zbl_webhook", **saved_again(case))

    assert answer["status"] is True, answer
    request = case.received[-1]
    assert {name: request.headers[name.lower()] for name in HEADERS} == HEADERS
    assert is_signed(request, SECRET)


@pytest.mark.scenario(FORM)
def test_button_sends_one_test_lead(case):
    """The Test button sends one recognisable lead of the full shape, and says how it went (1.6)."""
    before = len(case.received)

    answer = case.rest.test_connection("form", "zbl_webhook", **saved_again(case))

    (request,) = case.received[before:]
    assert answer["status"] is True, answer
    assert "200" in answer["message"]
    assert request.headers["x-zbl-test"] == "true"
    assert request.lead_id.startswith("test-")
    document = json.loads(request.body)
    assert set(document) == {"event", "lead", "list"}
    assert len(document["lead"]["verifications"]) == 7
    assert case.path not in answer["message"]


@pytest.mark.scenario(FORM)
def test_button_says_what_to_change(case):
    """The Test button refuses plain HTTP, says what to change, and sends nothing (1.3)."""
    before = len(case.received)
    fields = saved_again(case) | {"host": case.stage.receiver.url.replace("https", "http")}
    fields["extra"] = {"verify": case.stage.authority}

    answer = case.rest.test_connection("form_of_another", "zbl_webhook", **fields)

    assert answer["status"] is False
    assert "https" in answer["message"]
    assert case.received[before:] == []
