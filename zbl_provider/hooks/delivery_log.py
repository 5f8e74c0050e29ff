"""Where Airflow's settings say that the delivery log is (Contract 6.1)."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook
from airflow.sdk.configuration import conf
from airflow.sdk.crypto import get_fernet
from airflow.sdk.exceptions import AirflowException

from zbl_provider.exceptions import DeliveryLogError
from zbl_provider.hooks.connections import find_connection
from zbl_provider.log.store import DeliveryLog

if TYPE_CHECKING:
    from airflow.sdk import Connection
    from sqlalchemy import URL

    from zbl_provider.log.storage.cipher import Cipher
    from zbl_provider.log.storage.engine import Limits

_EMBEDDED = "zbl_delivery_log.db"
_POSTGRES = "postgres"
_OF_POSTGRES = (
    "ssl",
    "gss",
    "keepalives",
    "channel_binding",
    "connect_timeout",
    "options",
    "target_",
    "tcp_user_timeout",
)


def delivery_log(
    log_conn_id: str | None = None,
    *,
    retry_for: timedelta = timedelta(0),
    limits: Limits | None = None,
) -> DeliveryLog:
    """
    Open the delivery log, with its tables as this version needs them.

    :param log_conn_id: connection of its database; None takes `[zbl] delivery_log_conn_id`, and
        without that an SQLite file in AIRFLOW_HOME
    :param retry_for: how long each call waits while that database is away
    :param limits: of each call, where nobody else may be kept waiting (Contract 7.5)
    :return: the log; its payloads are encrypted where Airflow has a Fernet key (Contract 6.4)
    :raises DeliveryLogError: if the database can't serve, naming what to change
    :raises MissingConnection: if Airflow does not find its connection
    :raises DeliveryLogUnavailable: if it is away now
    """
    conn_id = log_conn_id or conf.get("zbl", "delivery_log_conn_id", fallback=None)
    field = "log_conn_id" if log_conn_id else "[zbl] delivery_log_conn_id"
    url = _url(conn_id, field) if conn_id else _embedded()
    log = DeliveryLog(url, cipher=_cipher(), keys=_keys(), retry_for=retry_for, limits=limits)
    log.upgrade()
    return log


def _url(conn_id: str, field: str) -> URL | str:
    connection = find_connection(conn_id, field)
    if connection.conn_type == "sqlite":
        return _file(conn_id, connection.host, connection.schema)
    extra = _extra(conn_id, connection)
    try:
        url: URL = BaseHook.get_hook(conn_id).sqlalchemy_url
    except (AirflowException, ImportError):
        if connection.conn_type == _POSTGRES:
            raise DeliveryLogError(
                field=conn_id,
                problem="what Airflow connects to PostgreSQL with is not installed here",
                remedy="Install airflow-provider-zbl[postgres]",
            ) from None
        raise _no_log(conn_id, connection.conn_type) from None
    except (AttributeError, NotImplementedError):
        raise _no_log(conn_id, connection.conn_type) from None
    # The hook's own connections have these from Extra, its URL has not: without them a connection
    # that is to be verified would be made unverified.
    given = {
        name: str(value)
        for name, value in extra.items()
        if name.startswith(_OF_POSTGRES) and name not in url.query
    }
    return url.update_query_dict(given)


def _extra(conn_id: str, connection: Connection) -> dict[str, object]:
    """Read Extra; where it is broken, Airflow reads it as empty, without its TLS settings."""
    try:
        extra = json.loads(connection.extra or "{}")
    except ValueError:
        extra = None
    if isinstance(extra, dict):
        return extra
    raise DeliveryLogError(
        field=conn_id,
        problem="Extra of this connection is not a JSON object",
        remedy="Correct it, or leave it empty",
    )


def _no_log(conn_id: str, conn_type: str | None) -> DeliveryLogError:
    return DeliveryLogError(
        field=conn_id,
        problem=f"a connection of type {conn_type} cannot hold the delivery log",
        remedy="Name a connection to PostgreSQL or SQLite in [zbl] delivery_log_conn_id",
    )


def _file(conn_id: str, host: str | None, schema: str | None) -> URL:
    """Find an SQLite file; with a relative path each process would make a log of its own."""
    from sqlalchemy import URL

    # Airflow's convention: the path is the host; in a URI with four slashes it is the schema.
    paths = [path.strip() for path in (host, schema) if path and path.strip()]
    if len(paths) != 1 or not Path(paths[0]).is_absolute():
        raise DeliveryLogError(
            field=conn_id,
            problem="this connection of type sqlite does not name one file by its whole path",
            remedy="Write the path into Host, such as /var/lib/airflow/zbl.db, or in a connection "
            "URI sqlite:////var/lib/airflow/zbl.db, and leave Schema empty",
        )
    return URL.create("sqlite", database=paths[0])


def _embedded() -> str:
    """Refuse the file where a task may resume on a machine that does not have it."""
    executors = {
        name.rpartition(":")[2].rpartition(".")[2].strip()
        for name in conf.get("core", "executor").replace(";", ",").split(",")
    }
    # The pod templates of Airflow's own and of its chart name LocalExecutor in each task's pod.
    if os.environ.get("AIRFLOW_IS_K8S_EXECUTOR_POD"):
        executors = {"KubernetesExecutor"}
    if far := sorted(executors - {"LocalExecutor"}):
        raise DeliveryLogError(
            field="[zbl] delivery_log_conn_id",
            problem=f"it is not set, and with {far[0]} tasks run on more than one machine",
            remedy="Name there a connection to a PostgreSQL database that all workers reach",
        )
    home = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser()
    return f"sqlite:///{home / _EMBEDDED}"


def _cipher() -> Cipher | None:
    if not _keys():
        return None
    try:
        return get_fernet()
    except AirflowException:
        raise DeliveryLogError(
            field="[core] fernet_key",
            problem="it is neither a Fernet key nor several, separated by commas",
            remedy="Set the one that the connections were saved with",
        ) from None


def _keys() -> list[bytes]:
    """Return Airflow's Fernet keys, the one that encrypts first; none where none is set."""
    keys = conf.get("core", "fernet_key", fallback="")
    # Without a key the Task SDK's configuration gives the template of airflow.cfg as it stands.
    return [] if keys in {"", "{FERNET_KEY}"} else [key.strip().encode() for key in keys.split(",")]
