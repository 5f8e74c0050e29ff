"""What is not sent, and why."""

import pytest

from tests.system.case import Scenario, lead

REFUSED = {
    "plain_http": ({"host": "http://receiver.example/hook"}, {}, "https"),
    "line_break": ({}, {"secret_headers": {"X-Key": "a\r\nb"}}, "X-Key"),
    "duplicate": ({}, {"secret_headers": {"X-Key": "a", "x-key": "b"}}, "x-key"),
    "malformed": ({}, {"field_filters": ["city"]}, "field_filters"),
    "operator": ({}, {"field_filters": ["city resembles Rome"]}, "field_filters"),
}


def scenario(what):
    connection, extra, _ = REFUSED[what]
    return Scenario(
        name=f"refused_{what}", rows=[lead("unsent")], connection=connection, extra=extra
    )


def refusals():
    return [pytest.param(what, marks=pytest.mark.scenario(scenario(what))) for what in REFUSED]


@pytest.mark.parametrize("what", refusals())
def test_bad_settings_are_refused(case, what):
    """A setting that cannot work fails the task, says what to change, and nothing is sent (1.3)."""
    assert case.end() == "failed"

    assert case.received == []
    assert REFUSED[what][2].lower() in failure(case).lower()
    assert "unsent" not in case.log_rows()


def failure(case):
    """Return the task log's lines about the failure."""
    log = case.task_log()
    return log[log.index("AirflowFailException") :]


def test_a_negative_wait_is_refused(stage):
    """A schedule with a negative wait is an import error that says what to change (3.1)."""
    stage.rest.wait_for_dag("mixed")
    (error,) = stage.rest.import_errors()
    assert "negative_wait.py" in error
    assert "ScheduleError: schedule:" in error


@pytest.mark.scenario(
    Scenario(
        name="mixed",
        rows=[
            lead("good-1"),
            lead("good-2", score="90"),
            lead("invalid", score="250"),
            lead("low", score="10"),
            lead("new", status="new"),
        ],
        extra={"min_score": 50},
    )
)
def test_one_bad_lead_stops_no_other(case):
    """Invalid, new and filtered leads are logged with reasons; the rest is delivered (4.7, 5.4)."""
    assert case.end() == "failed"

    assert case.arrivals() == ["good-1", "good-2"]
    verdicts = {id_: (row["status"], row["reason"]) for id_, row in case.log_rows().items()}
    assert {id_: status for id_, (status, _) in verdicts.items()} == {
        "good-1": "delivered",
        "good-2": "delivered",
        "invalid": "invalid",
        "low": "filtered",
        "new": "filtered",
    }
    assert "lead.score" in verdicts["invalid"][1]
    assert "250" not in verdicts["invalid"][1]
    assert "min_score" in verdicts["low"][1]
    assert "new" in verdicts["new"][1]
    message = failure(case)
    assert "invalid" in message
    assert "1 of 5 leads" in message
