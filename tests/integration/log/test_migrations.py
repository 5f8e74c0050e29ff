"""The log creates and upgrades its own tables, and no others (Contract 6.1)."""

from __future__ import annotations

import multiprocessing
import re
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import CheckConstraint, inspect, make_url, select, text

import zbl_provider.log.storage
from tests.support.databases import empty_database
from zbl_provider.exceptions import DeliveryLogError, DeliveryLogFault, DeliveryLogUnavailable
from zbl_provider.log.model import RunKey, TaskTry
from zbl_provider.log.storage import engine as log_engine
from zbl_provider.log.storage import migrate
from zbl_provider.log.storage.engine import open_engine
from zbl_provider.log.storage.tables import (
    VERSION_TABLE,
    delivery,
    integration,
    metadata,
    run,
    salt,
)
from zbl_provider.log.store import DeliveryLog

TABLES = {*metadata.tables, VERSION_TABLE}
ONLY = {  # what tables.py has for other databases alone
    "postgresql": set(),
    "sqlite": {"zbl_delivery_period", "zbl_attempt_period"},
}


@pytest.fixture
def engine(empty_url):
    engine = open_engine(empty_url)
    yield engine
    engine.dispose()


def upgrade(url, start=None):
    log = DeliveryLog(url)
    if start is not None:
        start.wait(60)
    log.upgrade()
    log.close()


def test_an_empty_database_gets_the_tables(engine, empty_url):
    """The log needs no set-up; all its tables carry its name."""
    upgrade(empty_url)
    assert set(inspect(engine).get_table_names()) == TABLES
    assert all(name.startswith("zbl_") for name in TABLES)


def test_upgrading_again_changes_nothing(engine, empty_url):
    """Every task upgrades at its start; leads stay where they are."""
    upgrade(empty_url)
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO zbl_run (dag_id, task_id, run_id, map_index, integration, epoch, "
                "created_at) VALUES ('d', 't', 'r', -1, 'i', 0, '2026-03-01T12:00:00+00:00')"
            )
        )
    upgrade(empty_url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM zbl_run")).scalar() == 1


def test_processes_that_upgrade_at_once_agree(engine, empty_url):
    """Four tasks that meet an empty database at the same moment all find a whole log."""
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(4)
    tasks = [spawn.Process(target=upgrade, args=(empty_url, start)) for _ in range(4)]
    for task in tasks:
        task.start()
    for task in tasks:
        task.join()
    assert [task.exitcode for task in tasks] == [0, 0, 0, 0]
    assert set(inspect(engine).get_table_names()) == TABLES
    with engine.connect() as connection:
        versions = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).all()
    assert versions == [(migrate.HEAD,)]


def test_the_migrations_make_the_tables_of_the_code(engine, empty_url):
    """The migrated schema and tables.py do not drift apart."""
    upgrade(empty_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "version_table": VERSION_TABLE,
                "compare_server_default": True,
                "include_object": lambda _item, name, *_: name not in ONLY[engine.dialect.name],
            },
        )
        assert compare_metadata(context, metadata) == []
        assert checks(connection) == {
            (table.name, constraint.name)
            for table in metadata.tables.values()
            for constraint in table.constraints
            if isinstance(constraint, CheckConstraint)
        }


def checks(connection):
    """Return the check constraints of the database: autogenerate does not compare them."""
    inspector = inspect(connection)
    return {
        (table, constraint["name"])
        for table in metadata.tables
        for constraint in inspector.get_check_constraints(table)
    }


def scripts(**attributes):
    config = Config(attributes=attributes)
    folder = Path(zbl_provider.log.storage.__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder))
    config.set_main_option("path_separator", "os")
    return config


def test_the_head_is_the_newest_migration():
    """A log at HEAD is up to date without a look at the migrations."""
    assert ScriptDirectory.from_config(scripts()).get_heads() == [migrate.HEAD]


def test_a_log_of_the_first_version_is_upgraded_with_what_is_in_it(engine, empty_url):
    """The integrations that have runs are known at once, and no lead counts as chosen."""
    with engine.begin() as connection:
        command.upgrade(scripts(connection=connection), "0001")
        connection.execute(
            text(
                "INSERT INTO zbl_run (dag_id, task_id, run_id, map_index, integration, epoch, "
                "created_at) VALUES ('d', 't', 'r', -1, 'i', 0, '2026-03-01T12:00:00+00:00'), "
                "('d', 't', 'r2', -1, 'i', 0, '2026-03-01T12:00:00+00:00')"
            )
        )
    upgrade(empty_url)
    with engine.connect() as connection:
        assert connection.scalars(select(integration.c.integration)).all() == ["i"]
        assert connection.scalars(select(run.c.chosen)).all() == [False, False]


def test_a_log_of_the_second_version_is_upgraded_in_place(engine, empty_url):
    """Its runs go on where they were, and nothing is down; their leads stay (6.1, 4.10)."""
    with engine.begin() as connection:
        command.upgrade(scripts(connection=connection), "0002")
        connection.execute(
            text(
                "INSERT INTO zbl_run (dag_id, task_id, run_id, map_index, integration, epoch, "
                "created_at) VALUES ('d', 't', 'r', -1, 'i', 2, '2026-03-01T12:00:00+00:00')"
            )
        )
        connection.execute(text("INSERT INTO zbl_integration (integration) VALUES ('i')"))
    log = DeliveryLog(empty_url)
    log.upgrade()
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    run = log.begin(RunKey("d", "t", "r"), "i", 2, noon, TaskTry("second", 2, 2))
    assert not run.cleared
    assert log.begin(RunKey("d", "t", "r"), "i", 4, noon, TaskTry("third", 3, 2)).cleared
    assert not log.integration("i").paused
    log.close()


def test_a_log_without_hashes_of_emails_is_upgraded_once(engine, empty_url):
    """Leads of before have none until a rotation, and the salt is never made anew (6.1, 8.8)."""
    with engine.begin() as connection:
        command.upgrade(scripts(connection=connection), "0004")
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO zbl_delivery (integration, lead_id, webhook_id, status, fingerprint, "
                "attempts, resend, run_id, created_at, updated_at) VALUES ('i', '1', 'm', "
                "'delivered', '', 1, 0, 1, '2026-03-01T12:00:00+00:00', "
                "'2026-03-01T12:00:00+00:00')"
            )
        )
    salts = []
    for _ in range(2):
        upgrade(empty_url)
        with engine.connect() as connection:
            salts += connection.execute(select(salt.c.purpose, salt.c.value)).all()
            assert connection.scalars(select(delivery.c.email_hash)).all() == [None]
    assert salts[0] == salts[1]
    assert (salts[0].purpose, len(salts[0].value)) == ("email", 32)


def test_a_run_that_is_under_way_outlives_the_upgrade(engine, empty_url):
    """When its Dag run began is noted at its next try, and tells a clear from then on (4.10)."""
    with engine.begin() as connection:
        command.upgrade(scripts(connection=connection), "0005")
        connection.execute(
            text(
                "INSERT INTO zbl_run (dag_id, task_id, run_id, map_index, integration, epoch, "
                "created_at, try_id, try_number) VALUES "
                "('d', 't', 'r', -1, 'i', 2, '2026-03-01T12:00:00+00:00', 'first', 1)"
            )
        )
    log = DeliveryLog(empty_url)
    log.upgrade()
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def begin(name, number, hours=0):
        task_try = TaskTry(name, number, 2, noon + timedelta(hours=hours))
        return log.begin(RunKey("d", "t", "r"), "i", 2, noon, task_try)

    assert not begin("first", 1).cleared
    assert not begin("second", 2).cleared
    assert begin("third", 3, hours=1).cleared
    log.close()


def test_a_failed_migration_leaves_nothing_behind(engine, empty_url):
    """An upgrade happens as a whole or not at all."""
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE zbl_attempt (id INTEGER)"))
    with pytest.raises(Exception, match="zbl_attempt"):
        upgrade(empty_url)
    assert inspect(engine).get_table_names() == ["zbl_attempt"]


AIRFLOW = ["alembic_version", "dag_run", "task_instance"]


def create(engine, *names):
    with engine.begin() as connection:
        for name in names:
            connection.execute(text(f"CREATE TABLE {name} (id INTEGER)"))


def test_airflows_own_database_is_refused(engine, empty_url):
    """The log never goes into Airflow's metadata database; the refusal says what to do."""
    create(engine, *AIRFLOW)
    with pytest.raises(DeliveryLogError, match="metadata database") as refusal:
        upgrade(empty_url)
    assert refusal.value.field == "[zbl] delivery_log_conn_id"
    assert sorted(inspect(engine).get_table_names()) == AIRFLOW


def test_a_schema_beside_airflows_own_is_refused_too(postgres):
    """Airflow's metadata database is refused whichever schema Airflow uses."""
    with empty_database(postgres) as url:
        engine = open_engine(url)
        with engine.begin() as connection:
            connection.execute(text("CREATE SCHEMA airflow"))
        create(engine, *(f"airflow.{name}" for name in AIRFLOW))
        with pytest.raises(DeliveryLogError, match="metadata database"):
            upgrade(url)
        engine.dispose()


def test_a_copy_of_airflows_tables_is_no_airflow(engine, empty_url):
    """A warehouse that keeps copies of Airflow's runs may hold the log."""
    create(engine, "dag_run", "task_instance")
    upgrade(empty_url)
    assert set(inspect(engine).get_table_names()) == TABLES | {"dag_run", "task_instance"}


def test_a_log_of_a_newer_provider_is_refused(engine, empty_url):
    """A provider that was set back does not write into tables it does not know."""
    upgrade(empty_url)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(DeliveryLogError, match="9999"):
        upgrade(empty_url)


def test_an_sqlite_log_is_durable_and_lets_readers_read(tmp_path):
    """What was settled survives a power cut; a page that shows the log stops nobody (6.2)."""
    url = f"sqlite:///{tmp_path / 'log.db'}"
    upgrade(url)
    engine = open_engine(url)
    with engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "busy_timeout")
        }
    engine.dispose()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "busy_timeout": 30_000}


def test_an_sqlite_file_in_use_is_upgraded_once_it_is_free(tmp_path, monkeypatch):
    """A file that another process reads at this moment is no reason to fail a task."""
    monkeypatch.setattr(log_engine, "_BUSY_TIMEOUT_MS", 1)
    other = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    other.execute("CREATE TABLE another (id INTEGER)")
    other.execute("BEGIN")
    other.execute("SELECT * FROM another").fetchall()
    with ThreadPoolExecutor(1) as pool:
        upgraded = pool.submit(upgrade, f"sqlite:///{tmp_path / 'log.db'}")
        with pytest.raises(TimeoutError):
            upgraded.result(timeout=0.5)
        other.execute("COMMIT")
        upgraded.result()
    other.close()
    looking = sqlite3.connect(tmp_path / "log.db")
    assert looking.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    looking.close()


def _as_role(url, role, options=""):
    """Give the URL for a role of the tests' server, made if need be."""
    with open_engine(url).begin() as connection:
        connection.execute(text(f"DROP ROLE IF EXISTS {role}"))
        connection.execute(text(f"CREATE ROLE {role} LOGIN"))
    return (
        make_url(url).set(username=role).update_query_dict({"options": options} if options else {})
    )


def _execute(url, *statements):
    with open_engine(url).execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        for statement in statements:
            connection.execute(text(statement))


@pytest.mark.parametrize(
    ("options", "said"),
    [("", "permission denied"), ("-c search_path=nowhere", "no schema has been selected")],
)
def test_a_user_without_rights_is_told_what_is_missing(postgres, options, said):
    """It takes a person, and no retry, to grant them; no statement is shown (3.2, 6.1)."""
    with empty_database(postgres) as url:
        with pytest.raises(DeliveryLogError, match=said) as refusal:
            upgrade(_as_role(url, "zbl_tester", options))
        assert "search_path" in refusal.value.remedy
        assert "CREATE" not in str(refusal.value)
        assert refusal.value.__context__ is None


@pytest.mark.parametrize("rights", ["SUPERUSER", "CREATEROLE CREATEDB"])
def test_the_database_that_the_guide_makes_can_hold_the_log(postgres, rights):
    """Whoever may make it: the administrator of a managed PostgreSQL is no superuser (6.1)."""
    guide = (Path(__file__).parents[3] / "docs/install/README.md").read_text()
    (statements,) = re.findall(r"^```sql\n(.*?)^```$", guide, re.DOTALL | re.MULTILINE)
    administrator = _as_role(postgres, "zbl_administrator")
    _execute(postgres, f"ALTER ROLE zbl_administrator {rights}")
    try:
        _execute(administrator, *statements.splitlines())
        upgrade(administrator.set(username="zbl", database="zbl"))
    finally:
        _execute(postgres, "DROP DATABASE IF EXISTS zbl WITH (FORCE)", "DROP ROLE IF EXISTS zbl")


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_cannot_hold_every_text_is_refused(postgres, encoding):
    """Where it is set up, rather than by the first lead whose id it cannot hold (6.1)."""
    name = f"zbl_{encoding.lower()}"
    _execute(
        postgres,
        f"DROP DATABASE IF EXISTS {name}",
        f"CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' "
        "TEMPLATE template0",
    )
    with pytest.raises(DeliveryLogError, match=f"in {encoding}.*ENCODING 'UTF8'"):
        upgrade(make_url(postgres).set(database=name))


def test_a_setting_that_the_driver_refuses_is_an_error_of_the_log(postgres):
    """Whatever it is, it has a type of its own, and tells no statement (6.1, 6.2)."""
    wrong = make_url(postgres).update_query_dict({"connect_timeout": "soon"})
    with pytest.raises(DeliveryLogFault, match="connect_timeout"):
        upgrade(wrong)


def test_an_sqlite_file_that_cannot_be_written_is_told_at_once(tmp_path):
    """Nobody waits half a minute for a file that stays as it is (Contract 7.5)."""
    sqlite3.connect(tmp_path / "log.db").execute("CREATE TABLE another (id INTEGER)")
    began = time.monotonic()
    with pytest.raises(DeliveryLogUnavailable, match="readonly"):
        upgrade(f"sqlite:///file:{tmp_path / 'log.db'}?mode=ro&uri=true")
    assert time.monotonic() - began < 15


def test_an_sqlite_file_that_stays_in_use_is_a_database_error(tmp_path, monkeypatch):
    """What Airflow's retries are for is raised as what they know (Contract 3.2)."""
    monkeypatch.setattr(log_engine, "_BUSY_TIMEOUT_MS", 1)
    monkeypatch.setattr(migrate, "_WAL_PAUSE_SECONDS", 0)
    other = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    other.execute("CREATE TABLE another (id INTEGER)")
    other.execute("BEGIN")
    other.execute("SELECT * FROM another").fetchall()
    with pytest.raises(DeliveryLogUnavailable, match="locked"):
        upgrade(f"sqlite:///{tmp_path / 'log.db'}")
    other.close()


def test_an_old_sqlite_is_refused(tmp_path, monkeypatch):
    """An SQLite without RETURNING is refused at the start, not in the middle of a task."""
    monkeypatch.setattr(migrate.sqlite3, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(DeliveryLogError, match="too old"):
        upgrade(f"sqlite:///{tmp_path / 'log.db'}")
