"""The link from a task to its leads in the log (Contract 8.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class LeadDeliveriesLink(BaseOperatorLink):
    """
    Leads of the task instance, on the page "Lead deliveries".

    Airflow asks for it when the task ends or defers, and keeps it as an XCom: it has ids of Airflow
    alone, and none of a lead.
    """

    name = "Lead deliveries"

    def get_link(
        self,
        operator: BaseOperator,  # noqa: ARG002  Airflow passes it
        *,
        ti_key: TaskInstanceKey,
    ) -> str:
        """Return the page's address, with the task instance as its filter."""
        from airflow.sdk.configuration import conf

        from zbl_provider.plugin.address import page_of

        return page_of(
            conf.get("api", "base_url", fallback=""),
            dag_id=ti_key.dag_id,
            task_id=ti_key.task_id,
            run_id=ti_key.run_id,
            map_index=ti_key.map_index,
        )
