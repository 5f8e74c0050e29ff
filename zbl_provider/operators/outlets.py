"""What a task tells the assets that are its outlets (Contract 8.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zbl_provider.log.model import Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import BaseOperator, Context


def announce(operator: BaseOperator, context: Context, counts: Mapping[Status, int]) -> None:
    """
    Have each asset's event say how many leads were delivered, and keep it back if none was.

    Airflow makes an event of every outlet that its operator has when the task ends well.

    :param operator: the task's own copy, as it is executed
    :param context: Airflow's
    :param counts: the task's leads by status
    """
    from airflow.sdk import Asset
    from airflow.sdk.definitions.asset import AssetRef

    if not counts.get(Status.DELIVERED):
        kept_back = (Asset, AssetRef)
        operator.outlets = [asset for asset in operator.outlets if not isinstance(asset, kept_back)]
        return
    extra = {str(status): count for status, count in counts.items() if count}
    for outlet in operator.outlets:
        if isinstance(outlet, Asset):
            context["outlet_events"][outlet].extra.update(extra)
