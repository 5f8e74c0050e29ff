"""Where the delivery log is (Contract 6.1)."""

import json
import sqlite3
from pathlib import Path
from urllib.parse import quote

import pytest
from airflow.sdk import BaseHook, Connection
from airflow.sdk.crypto import get_fernet
from cryptography.fernet import Fernet

from zbl_provider.exceptions import DeliveryLogError
from zbl_provider.hooks.delivery_log import _cipher, _keys, _url, delivery_log


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "LocalExecutor")
    return tmp_path


def _sqlite(path: Path) -> str:
    return json.dumps({"conn_type": "sqlite", "host": str(path)})


def _tables(path: Path) -> set[str]:
    with sqlite3.connect(path) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}


def test_without_settings_it_is_a_file_in_airflow_home(home):
    """Everything works with no set-up: an SQLite file in AIRFLOW_HOME, with its tables."""
    delivery_log()
    assert "zbl_delivery" in _tables(home / "zbl_delivery_log.db")


@pytest.mark.parametrize(
    "executor",
    [
        "CeleryExecutor",
        "airflow.providers.cncf.kubernetes.executors.kubernetes_executor.KubernetesExecutor",
        "LocalExecutor,CeleryExecutor",
        "LocalExecutor;team1=CeleryExecutor",
        "LocalExecutor,quick:KubernetesExecutor",
    ],
)
def test_the_file_is_refused_where_tasks_run_on_many_machines(home, monkeypatch, executor):
    """With an executor that spans machines the embedded default is refused, naming the option."""
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executor)
    with pytest.raises(DeliveryLogError, match=r"\[zbl\] delivery_log_conn_id"):
        delivery_log()


def test_the_file_is_refused_in_a_pod_of_its_own(home, monkeypatch):
    """A KubernetesExecutor's pod is told that it is LocalExecutor's, and its disk goes (6.1)."""
    monkeypatch.setenv("AIRFLOW_IS_K8S_EXECUTOR_POD", "True")
    with pytest.raises(
        DeliveryLogError, match="with KubernetesExecutor tasks run on more than one"
    ):
        delivery_log()
    assert not list(home.glob("*.db"))


def test_the_option_names_a_connection(home, monkeypatch):
    """`[zbl] delivery_log_conn_id` is used, with whatever executor."""
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    monkeypatch.setenv("AIRFLOW__ZBL__DELIVERY_LOG_CONN_ID", "the_log")
    monkeypatch.setenv("AIRFLOW_CONN_THE_LOG", _sqlite(home / "other.db"))
    delivery_log()
    assert "zbl_delivery" in _tables(home / "other.db")


def test_the_operators_parameter_goes_first(home, monkeypatch):
    """`log_conn_id` of an operator is used rather than the option."""
    monkeypatch.setenv("AIRFLOW__ZBL__DELIVERY_LOG_CONN_ID", "the_log")
    monkeypatch.setenv("AIRFLOW_CONN_MINE", _sqlite(home / "mine.db"))
    delivery_log("mine")
    assert "zbl_delivery" in _tables(home / "mine.db")


def test_a_connection_that_is_no_database_is_refused(home, monkeypatch):
    """A connection of another kind is refused by its name, and its password stays unsaid."""
    monkeypatch.setenv("AIRFLOW_CONN_NO_LOG", "http://user:hunter22@example.com")
    with pytest.raises(DeliveryLogError, match="no_log") as refusal:
        delivery_log("no_log")
    assert "hunter22" not in str(refusal.value)


@pytest.mark.parametrize("kind", ["mysql", "oracle", "nonsense", ""])
def test_a_connection_that_nothing_here_can_open_is_refused(home, monkeypatch, kind):
    """Without its provider, or its driver, a connection is refused by its name, too (6.1)."""
    monkeypatch.setenv("AIRFLOW_CONN_NO_LOG", json.dumps({"conn_type": kind, "host": "db"}))
    with pytest.raises(DeliveryLogError, match=r"^no_log: .* cannot hold the delivery log"):
        delivery_log("no_log")


def test_without_the_driver_of_postgresql_it_is_said_what_to_install(home, monkeypatch):
    """A worker that lacks it does not end in an import error (Contract 6.1)."""

    def missing(_conn_id):
        raise ModuleNotFoundError("psycopg2")

    monkeypatch.setattr(BaseHook, "get_hook", missing)
    monkeypatch.setenv("AIRFLOW_CONN_LOG", json.dumps({"conn_type": "postgres", "host": "db"}))
    with pytest.raises(DeliveryLogError, match=r"Install airflow-provider-zbl\[postgres\]"):
        delivery_log("log")


@pytest.mark.parametrize("key", ["nonsense", "a,b", "x" * 44])
def test_a_key_that_is_none_is_refused_by_its_option(home, monkeypatch, key):
    """What cannot encrypt is said before a lead is looked for, and is not shown (6.4, 1.5)."""
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", key)
    get_fernet.cache_clear()
    try:
        with pytest.raises(DeliveryLogError, match=r"^\[core\] fernet_key: ") as refusal:
            delivery_log()
    finally:
        get_fernet.cache_clear()
    assert key not in str(refusal.value)


def test_payloads_rest_encrypted_with_airflows_key(home):
    """With a Fernet key the log's cipher is Airflow's own (Contract 6.4)."""
    cipher = _cipher()
    assert cipher is get_fernet()
    assert cipher.decrypt(cipher.encrypt(b"lead")) == b"lead"
    assert Fernet(_keys()[0]).decrypt(cipher.encrypt(b"lead")) == b"lead", "what encrypts is first"


def test_the_logs_connection_is_as_safe_as_its_settings_say(home, monkeypatch):
    """TLS settings in Extra count, as for Airflow's own hook: none is silently left out (6.1)."""
    extra = {"sslmode": "verify-full", "sslrootcert": "/ca.pem", "connect_timeout": 5, "iam": False}
    connection = {"conn_type": "postgres", "host": "db", "schema": "log", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_SAFE", json.dumps(connection))
    wanted = {"sslmode": "verify-full", "sslrootcert": "/ca.pem", "connect_timeout": "5"}
    assert dict(_url("safe", "log_conn_id").query) == wanted
    connection["extra"] |= {"sqlalchemy_query": {"sslmode": "require"}}
    monkeypatch.setenv("AIRFLOW_CONN_SAFE", json.dumps(connection))
    assert dict(_url("safe", "log_conn_id").query) == wanted | {"sslmode": "require"}


@pytest.mark.parametrize("extra", ["{", "[1]", '"x"', "null", "sslmode=verify-full"])
def test_settings_of_the_logs_connection_that_cannot_be_read_are_not_none(home, monkeypatch, extra):
    """Broken JSON never reads as an empty Extra, which asks for no TLS (6.1)."""
    connection = {"conn_type": "postgres", "host": "db", "schema": "log", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_BROKEN", json.dumps(connection))
    with pytest.raises(DeliveryLogError, match="broken: Extra of this connection is not a JSON"):
        _url("broken", "log_conn_id")


@pytest.mark.parametrize("unset", ["", "{FERNET_KEY}"])
def test_without_a_key_payloads_are_kept_as_they_are(home, monkeypatch, unset):
    """Where Airflow has no Fernet key, or only its template of one, nothing is encrypted."""
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", unset)
    assert _cipher() is None
    assert _keys() == []


@pytest.mark.parametrize(
    "connection",
    [
        {}, {"host": ""}, {"host": None, "schema": None}, {"host": "zbl.db"}, {"host": ":memory:"},
        {"schema": "zbl.db"}, {"host": "./zbl.db"}, {"host": "~/zbl.db"},
        {"host": "/a/zbl.db", "schema": "/b/zbl.db"}, "sqlite://", "sqlite:///zbl.db",
        "sqlite://zbl.db", "sqlite://var/zbl.db", "sqlite://?mode=rw",
    ],
)  # fmt: skip
def test_a_log_that_each_process_would_find_elsewhere_is_refused(home, monkeypatch, connection):
    """An SQLite log has a whole path: else it would be a file called None, or several (6.1)."""
    text = connection if isinstance(connection, str) else json.dumps(
        {"conn_type": "sqlite", **connection}
    )  # fmt: skip
    monkeypatch.setenv("AIRFLOW_CONN_MINE", text)
    monkeypatch.chdir(home)
    with pytest.raises(DeliveryLogError, match=r"^mine: .*/var/lib/airflow/zbl\.db"):
        delivery_log("mine")
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("form", ["json", "uri", "export"])
def test_a_whole_path_is_that_file(home, monkeypatch, form):
    """Whatever is in its name, the file is where the connection says, in each form (6.1)."""
    path = home / "a%20b?c" / "Log #1.db"
    path.parent.mkdir()
    text = {
        "json": _sqlite(path),
        "uri": f"sqlite:///{quote(str(path))}",
        "export": Connection(conn_id="mine", conn_type="sqlite", host=str(path)).get_uri(),
    }[form]
    monkeypatch.setenv("AIRFLOW_CONN_MINE", text)
    delivery_log("mine")
    assert "zbl_delivery" in _tables(path)
