"""`airflow zbl preview` shows what a query would send, and sends nothing (Contract 8.9)."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest
from airflow.sdk import DAG

from tests.support.command_line import call
from zbl_provider.cli import preview
from zbl_provider.operators.dispatch import DispatchLeadsOperator

INTEGRATION = {
    "conn_type": "zbl_webhook",
    "host": "https://destination.test/hook/s3cr3t",
    "extra": {"min_score": 70},
}


@pytest.fixture
def connections(monkeypatch, tmp_path):
    path = tmp_path / "leads.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE leads (id, mail, score, City, custom_fields)")
        database.executemany(
            "INSERT INTO leads VALUES (?, ?, ?, ?, ?)",
            [
                (1, "a@b", 85, "São Paulo", '{"plan": "pro"}'),
                (2, "a@b", 10, None, None),
                (3, "a@b", "85%", None, None),
                (1, "a@b", 99, None, None),
            ],
        )
    leads = {"conn_type": "sqlite", "host": str(path)}
    monkeypatch.setenv("AIRFLOW_CONN_LEADS", json.dumps(leads))
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps(INTEGRATION))
    # No delivery log can be opened: none is needed.
    monkeypatch.setenv("AIRFLOW__ZBL__DELIVERY_LOG_CONN_ID", "there_is_none")


@pytest.fixture
def zbl(connections, capsys):
    """Call the command as Airflow does; what it says is returned."""

    def typed(*words, code=0):
        call(preview.preview, ["preview", *words], code=code)
        return capsys.readouterr()

    return typed


QUERY = ("--sql", "SELECT * FROM leads", "--conn-id", "leads", "--integration", "crm")
MAP = ("--field-map", '{"MAIL": "email"}')


def test_each_row_is_shown_with_what_would_become_of_it(zbl):
    """Payload, filtered and why, invalid and why, row by row, with where each column goes (8.9)."""
    shown = zbl(*QUERY, *MAP, "-o", "json")
    document = json.loads(shown.out)
    assert {place["column"]: place["goes_to"] for place in document["columns"]} == {
        "id": "lead.id",
        "mail": "lead.email",
        "score": "lead.score",
        "City": "lead.custom_fields.City",
        "custom_fields": "lead.custom_fields, merged in",
    }
    rows = document["rows"]
    assert [(row["lead"], row["outcome"]) for row in rows] == [
        ("1", "sent"),
        ("2", "filtered"),
        ("3", "invalid"),
        ("1", "repeated"),
    ]
    assert rows[0]["payload"]["lead"]["email"] == "a@b"
    assert rows[0]["payload"]["lead"]["custom_fields"] == {"plan": "pro", "City": "São Paulo"}
    assert rows[1]["reason"] == "score is under min_score 70"
    assert rows[2]["reason"].startswith("lead.score must be a number")
    assert rows[3]["reason"] == "row 1 has this id, and counts"
    assert "1 sent, 1 filtered, 1 invalid, 1 repeated. Nothing was sent" in shown.err
    assert "s3cr3t" not in shown.out + shown.err


def test_a_body_of_its_own_is_shown_as_it_would_be_sent(zbl, monkeypatch):
    """The integration's body is rendered for each row, or what is missing is named (8.9, 2.7)."""
    body = {
        "contact": {"town": "{{ lead.custom_fields.City[:3] }}", "hot": "{{ lead.score > 80 }}"}
    }
    extra = INTEGRATION["extra"] | {"body": body}
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps(INTEGRATION | {"extra": extra}))
    rows = json.loads(zbl(*QUERY, "-o", "json").out)["rows"]
    assert rows[0]["payload"] == {"contact": {"town": "São", "hot": True}}
    assert [row["outcome"] for row in rows] == ["sent", "filtered", "invalid", "repeated"]
    assert "contact" in zbl(*QUERY, "-o", "plain").out


@pytest.mark.parametrize("scores", [(10, 85), (85, 10), (10, 85, 99), ("85%", 10), (10, "85%")])
def test_of_rows_with_one_id_one_counts(zbl, scores):
    """The first that passes is sent, wherever it stands; the others repeat its id (4.8, 8.9)."""
    union = " UNION ALL ".join(f"SELECT 7 AS id, '{score}' AS score" for score in scores)
    shown = zbl("--sql", union, *QUERY[2:], "-o", "json")
    rows = json.loads(shown.out)["rows"]
    outcomes = [row["outcome"] for row in rows]
    counting = scores.index(85) if 85 in scores else 0
    assert [place for place, outcome in enumerate(outcomes) if outcome != "repeated"] == [counting]
    assert all(
        row["reason"].startswith(f"row {counting + 1} has")
        for row in rows
        if row is not rows[counting]
    )
    assert f"{len(scores) - 1} repeated" in shown.err


def test_the_limit_and_the_table(zbl):
    """A table has a line for each row, up to the limit (8.9)."""
    shown = zbl(*QUERY, "--limit", "2", "-o", "plain")
    assert "lead.custom_fields.mail" in shown.out
    assert "2 rows for crm" in shown.err


def test_the_columns_of_an_empty_result_are_shown(zbl):
    """A query without rows shows its columns all the same (8.9)."""
    shown = zbl("--sql", "SELECT id FROM leads WHERE 0", *QUERY[2:], "-o", "json")
    assert json.loads(shown.out) == {
        "columns": [{"column": "id", "goes_to": "lead.id"}],
        "rows": [],
    }


def test_a_file_of_windows_is_read(zbl, tmp_path):
    """A byte order mark before a query is no part of it; what is no text is said (4.9 and 8.9)."""
    query = tmp_path / "leads.sql"
    query.write_text("SELECT id FROM leads", encoding="utf-8-sig")
    assert "4 rows for crm" in zbl("--sql", str(query), *QUERY[2:], "-o", "json").err
    query.write_bytes("SELECT 'é' AS id".encode("latin-1"))
    assert "is not text in UTF-8" in zbl("--sql", str(query), *QUERY[2:], code=2).err


def test_the_query_of_a_task(zbl, monkeypatch):
    """A Dag's task gives query, connections, parameters and field_map; flags win (8.9)."""
    with DAG("daily", schedule=None):
        task = DispatchLeadsOperator(
            task_id="send",
            sql="SELECT * FROM leads WHERE score > ?",
            parameters=[80],
            leads_conn_id="leads",
            webhook_conn_id="elsewhere",
            field_map={"mail": "email"},
        )
    asked = []

    def of_task(args):
        asked.append((args.dag_id, args.task_id, args.logical_date_or_run_id))
        return preview.LeadsQuery.of(task)

    monkeypatch.setattr(preview, "_query_of_task", of_task)
    shown = zbl("--dag-id", "daily", "--task-id", "send", "--integration", "crm", "-o", "json")
    assert asked == [("daily", "send", None)]
    outcomes = [row["outcome"] for row in json.loads(shown.out)["rows"]]
    assert outcomes == ["sent", "invalid", "repeated"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "Give --sql"),
        (("--dag-id", "daily"), "Give --sql, or --dag-id and --task-id"),
        ((*QUERY, "--parameters", "{"), "--parameters is not JSON"),
        ((*QUERY, "--parameters", "5"), "--parameters is not a JSON array or object"),
        ((*QUERY, "--field-map", "[]"), "--field-map is not a JSON object"),
        (("--sql", "/nowhere/leads.sql", *QUERY[2:]), "--sql: /nowhere/leads.sql cannot be read"),
    ],
)
def test_what_is_missing_is_said(zbl, words, said):
    """A command called the wrong way ends with 2 and one line (8.4)."""
    assert said in zbl(*words, code=2).err


def test_a_query_that_cannot_work_ends_with_one_line(zbl):
    """An error is one line, and the exit code 1 (8.4)."""
    shown = zbl("--sql", "UPDATE leads SET score = 1", *QUERY[2:], code=1)
    assert "changes rows" in shown.err
