"""Celery, Redis, PostgreSQL: two workers and two triggerers, of which one each dies."""

from __future__ import annotations

from collections import Counter

import psycopg
import pytest
from sqlalchemy import make_url

from tests.machines.cluster import wait

LEADS = 20_000
DESTINATIONS = 3

TABLE = f"""
CREATE TABLE leads AS
SELECT n AS number, 'lead-' || n AS id, 'Lead ' || n AS name, n || '@company.test' AS email,
       80 AS score, 'qualified' AS status, now() AS qualified_at
FROM generate_series(1, {LEADS}) AS n
"""
SENDING = "SELECT webhook_id FROM zbl_delivery WHERE status = 'sending'"
TOTALS = "SELECT integration, status, count(*) FROM zbl_delivery GROUP BY 1, 2 ORDER BY 1"
FAILED = "SELECT count(*) FROM zbl_attempt WHERE status_code = 503"


@pytest.fixture(scope="session")
def leads(cluster):
    """Fill the table of leads."""
    cluster.airflow.rest.wait_for_dag("three_destinations")
    url = make_url(cluster.databases["leads"]).set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as connection:
        connection.execute(TABLE)


def test_machines_die_and_every_lead_arrives(cluster, leads):
    """Nothing is lost; what was not in flight goes out once, whatever dies (6.2, 8.3, 4.6, 8.7)."""
    rest = cluster.airflow.rest
    run_id = rest.trigger("three_destinations")
    wait("both workers send", lambda: len(cluster.delivered()) > LEADS // 4, 120)
    before = cluster.states(run_id)
    cluster.kill("worker 1")
    in_doubt = {key for (key,) in cluster.select("log", SENDING)}
    print(f"killed worker 1: tasks {Counter(before)}, {len(in_doubt)} leads in doubt", flush=True)

    holder = wait("a triggerer holds a wait", cluster.trigger_holders, 180)[0]
    cluster.kill(holder)
    print(f"killed {holder}; tasks {Counter(cluster.states(run_id))}", flush=True)
    cluster.nginx.gate.touch()

    ended = rest.wait_for_run("three_destinations", run_id, seconds=300)
    assert ended == "success", (cluster.select("log", TOTALS), cluster.task_logs(run_id))
    totals = cluster.select("log", TOTALS)
    assert totals == [(name, "delivered", LEADS) for name in ("crm", "make", "zapier")]
    times = Counter(cluster.delivered())
    assert len(times) == DESTINATIONS * LEADS, "every lead has arrived at every destination"
    twice = {key for key, count in times.items() if count > 1}
    print(f"{len(twice)} of {len(times)} went out twice, of {len(in_doubt)} in doubt", flush=True)
    assert twice <= in_doubt, "nothing but what was in flight"
    assert max(times.values()) <= 2
    failed = cluster.select("log", FAILED)[0][0]
    assert 10 <= failed < LEADS // 20, "one destination was down for a while, and few were tried"


def test_the_embedded_log_is_refused(cluster, leads):
    """A file of one machine is no log for tasks that may go on on another (Contract 6.1)."""
    rest = cluster.airflow.rest
    run_id = rest.trigger("embedded_log")
    assert rest.wait_for_run("embedded_log", run_id, seconds=120) == "failed"
    assert "delivery_log_conn_id" in cluster.task_logs(run_id)
