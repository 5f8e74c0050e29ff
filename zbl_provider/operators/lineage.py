"""What OpenLineage learns of a dispatch: from which tables, to which destination."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from zbl_provider.hooks.rows import database
from zbl_provider.hooks.webhook import WebhookHook

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import Dataset

logger = logging.getLogger(__name__)


def lineage(
    webhook_conn_id: str, leads_conn_id: str | None, sql: str | None
) -> OperatorLineage[Any, Any]:
    """
    Name the inputs and the output; of the destination scheme and host alone (Contract 1.5).

    The inputs are the query's tables, where the database's own hook knows how to name them.

    :param webhook_conn_id: connection of the integration
    :param leads_conn_id: connection of the leads' database, if they come from one
    :param sql: the query; it is read for names of tables, and not passed on
    :raises ConfigurationError: if the integration's connection cannot be used
    """
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import Dataset

    origin = WebhookHook(webhook_conn_id).destination.origin
    tables: list[Dataset] = []
    if leads_conn_id and sql:
        try:
            tables = _tables(leads_conn_id, sql)
        except Exception as problem:  # noqa: BLE001  lineage must not depend on each hook's manners
            kind = type(problem).__name__
            logger.warning("OpenLineage is not told the tables of %s: %s.", leads_conn_id, kind)
    return OperatorLineage(inputs=tables, outputs=[Dataset(namespace=origin, name=webhook_conn_id)])


def _tables(conn_id: str, sql: str) -> list[Dataset]:
    from airflow.providers.openlineage.sqlparser import SQLParser

    hook = database(conn_id)
    connection = hook.get_connection(conn_id)
    if (info := hook.get_openlineage_database_info(connection)) is None:
        return []
    parser = SQLParser(
        dialect=hook.get_openlineage_database_dialect(connection),
        default_schema=hook.get_openlineage_default_schema(),
    )
    metadata = parser.generate_openlineage_metadata_from_sql(
        sql=sql, hook=hook, database_info=info, use_connection=False
    )
    return list(metadata.inputs)
