"""A connection by its id, and what is said where Airflow finds none (Contract 1.2)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from zbl_provider.exceptions import MissingConnection

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.sdk import Connection


def find_connection(
    conn_id: str,
    field: str,
    get_connection: Callable[[str], Connection] | None = None,
) -> Connection:
    """
    Return a connection.

    :param conn_id: its id
    :param field: the parameter, or the option, that names it, such as ``leads_conn_id``
    :param get_connection: of the hook that asks
    :raises MissingConnection: if Airflow finds none; without Airflow's own error as its context
    """
    try:
        return (get_connection or BaseHook.get_connection)(conn_id)
    except AirflowNotFoundException:
        pass
    variable = f"AIRFLOW_CONN_{str(conn_id).upper()}"
    raise MissingConnection(field, conn_id, variable if os.environ.get(variable) else None)
