"""Dags of the system tests: one a scenario, named as its table, connection and receiver's path."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG, task

from zbl_provider.operators.dispatch import DispatchLeadOperator, DispatchLeadsOperator

# On a busy machine Airflow fails a task that was deferred for a second or two: its executor tells
# of the first part's end when the task is queued again already. So no wait is as short as that, and
# should it be too short all the same: retries are for such losses (Contract 3.2).
WAIT = 10
QUICK = (WAIT, WAIT, WAIT, WAIT)
AT_ONCE = timedelta(0)
RETRIED = {"retries": 2, "retry_delay": AT_ONCE}


def dispatching(name: str, *, schedule: tuple[float, ...] = QUICK, **settings: object) -> DAG:
    """Make a Dag whose task sends all leads of the table `name` to the connection `name`."""
    with DAG(dag_id=name, schedule=None) as dag:
        DispatchLeadsOperator(
            task_id="send",
            **{
                "sql": f"SELECT * FROM {name} ORDER BY id",
                "leads_conn_id": "leads",
                "webhook_conn_id": name,
                "schedule": schedule,
                **RETRIED,
                **settings,
            },
        )
    return dag


five_attempts = dispatching("five_attempts", retries=3)
deferred_wait = dispatching("deferred_wait", schedule=(8,))
ended = dispatching("ended")
restarted = dispatching("restarted", retries=0)
too_long = dispatching("too_long", retries=0, execution_timeout=timedelta(seconds=30))
long_wait = dispatching("long_wait", schedule=(35,), execution_timeout=timedelta(seconds=30))
deferral = dispatching("deferral", schedule=(3600,), retries=0)
meanwhile = dispatching("meanwhile", schedule=(3600,))
killed = dispatching("killed", schedule=(WAIT, WAIT, WAIT))
parts = dispatching("parts", schedule=(WAIT, WAIT, WAIT))
cleared_errors = dispatching("cleared_errors", schedule=(WAIT, WAIT))
cleared_all = dispatching("cleared_all", on_clear="resend_all")
commanded = dispatching("commanded", retries=0)
linked = dispatching("linked")
mixed = dispatching("mixed")
private = dispatching("private", schedule=(WAIT,))
paused = dispatching("paused")
broken = [
    dispatching(
        "private_query",
        sql="SELECT id, name::integer AS score FROM private_query",
        leads_conn_id="pg_leads",
    ),
    dispatching(
        "private_parameters",
        sql="SELECT * FROM private_parameters WHERE name = ? AND id = ?",
        parameters=["one alone"],
    ),
    *(dispatching(f"private_{what}") for what in ("header", "url", "blocked")),
]
dark = dispatching("dark")
dark_hours = []
for kind in ("refusing", "resetting", "silent"):
    with DAG(dag_id=f"dark_{kind}", schedule=None) as dark_for_hours:
        for half, task_id in enumerate(("send", "send_too")):
            DispatchLeadsOperator(
                task_id=task_id,
                sql=f"SELECT * FROM dark_{kind} WHERE substr(id, 10) % 2 = {half} ORDER BY id",
                leads_conn_id="leads",
                webhook_conn_id=f"dark_{kind}",
                log_conn_id="pg_log",
                schedule=QUICK,
                **RETRIED,
            )
    dark_hours.append(dark_for_hours)
anew = dispatching("anew", retries=0)
honest = dispatching("honest", retries=0)
hurried = [dispatching(f"hurried_{by}", schedule=(3600,)) for by in ("clear", "shell", "page")]
HOME = Path(os.environ["AIRFLOW_HOME"])
lowered = [
    dispatching(name, schedule=(3600,), retries=0 if (HOME / f"{name}.retries").exists() else 1)
    for name in ("lowered", "lowered_in_wait")
]
overlapping = dispatching("overlapping", leads_conn_id="pg_leads", log_conn_id="pg_log")
refused = [
    dispatching(f"refused_{what}")
    for what in ("plain_http", "line_break", "duplicate", "malformed", "operator")
]

with DAG(
    dag_id="backfilled",
    schedule="@daily",
    start_date=datetime(2026, 2, 20, tzinfo=UTC),
    end_date=datetime(2026, 2, 24, tzinfo=UTC),
    catchup=False,
):
    DispatchLeadsOperator(
        task_id="send",
        sql=(
            "SELECT * FROM backfilled WHERE qualified_at >= date('{{ ds }}', '-2 days') "
            "AND qualified_at < date('{{ ds }}', '+1 day')"
        ),
        leads_conn_id="leads",
        webhook_conn_id="backfilled",
        **RETRIED,
    )

with DAG(
    dag_id="reprocessed",
    schedule="@daily",
    start_date=datetime(2026, 2, 20, tzinfo=UTC),
    end_date=datetime(2026, 2, 24, tzinfo=UTC),
    catchup=False,
):
    DispatchLeadsOperator(
        task_id="send",
        sql="SELECT * FROM reprocessed WHERE date(qualified_at) = '{{ ds }}'",
        leads_conn_id="leads",
        webhook_conn_id="reprocessed",
        schedule=(3600,),
        wait_for_retries=False,
    )

with DAG(dag_id="torn_down", schedule=None):

    @task
    def work() -> None:
        """Fail, as what stands between a setup and its teardown may."""
        raise RuntimeError

    send = DispatchLeadsOperator(
        task_id="send",
        sql="SELECT * FROM torn_down",
        leads_conn_id="leads",
        webhook_conn_id="torn_down",
        **RETRIED,
    ).as_setup()
    last = DispatchLeadOperator(
        task_id="last", lead={"id": "last", "name": "Ana"}, webhook_conn_id="torn_down", **RETRIED
    ).as_teardown(setups=send)
    send >> work() >> last

with DAG(dag_id="mapped", schedule=None):

    @task
    def qualified() -> list[dict[str, object]]:
        """Return leads as an upstream task may find them."""
        return [
            {"id": f"mapped-{n}", "name": "Ana", "list": {"id": "l", "name": "L"}} for n in "123"
        ]

    DispatchLeadOperator.partial(
        task_id="send", webhook_conn_id="mapped", schedule=QUICK, **RETRIED
    ).expand(lead=qualified())

with DAG(dag_id="private_one", schedule=None):
    DispatchLeadOperator(
        task_id="send",
        lead="{{ dag_run.conf['lead'] | tojson }}",
        webhook_conn_id="private_one",
        schedule=(WAIT,),
        **RETRIED,
    )

with DAG(dag_id="restarted_one", schedule=None):
    DispatchLeadOperator(
        task_id="send", lead={"id": "one", "name": "Ana"}, webhook_conn_id="restarted_one"
    )

for name, limit in {"gone": None, "gone_timed_out": timedelta(seconds=30)}.items():
    with DAG(dag_id=name, schedule=None, dagrun_timeout=limit):
        DispatchLeadOperator(
            task_id="send",
            lead="{{ dag_run.conf['lead'] | tojson }}",
            webhook_conn_id="gone",
            schedule=(3600,),
        )
