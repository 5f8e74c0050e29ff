"""Where the page "Lead deliveries" is, for those who link to it (Contract 8.3 and 8.4)."""

from __future__ import annotations

from urllib.parse import quote, urlencode, urlsplit

PREFIX = "/zbl"
"""Of the page's own application."""

ROUTE = "lead-deliveries"
"""Of the page within Airflow's UI."""

DOOR = "leads"
"""Of what leads to either, whichever the user may see."""


def page_of(
    base_url: str, *, dag_id: str, task_id: str, run_id: str, map_index: int | None = -1
) -> str:
    """
    Return where the page shows the leads of a task instance, of whatever age.

    Airflow's UI shows pages of plugins only to users who may read its list of plugins. The address
    is one of the page's own, which takes everybody else to the page without the UI around it.

    :param base_url: `[api] base_url`; of it only the path counts: the browser knows the rest
    :param dag_id: the Dag
    :param task_id: the task
    :param run_id: Airflow's id of the Dag run
    :param map_index: of a mapped task; -1 or None otherwise
    :return: an address without scheme and host
    """
    filters = {"dag": dag_id, "task": task_id, "run": run_id, "period": "all"}
    if map_index is not None and map_index >= 0:
        filters["map"] = str(map_index)
    root = urlsplit(base_url).path.rstrip("/")
    return f"{root}{PREFIX}/{DOOR}?{urlencode(filters, quote_via=quote)}"
