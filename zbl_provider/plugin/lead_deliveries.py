"""What Airflow loads: an application under `/zbl`, and an entry in the navigation.

Loaded by its entry point, since Airflow takes the plugins that a provider declares in its metadata
only with `[core] lazy_discover_providers = False`.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

from zbl_provider.plugin.address import PREFIX, ROUTE


class LeadDeliveriesPlugin(AirflowPlugin):
    """
    The page "Lead deliveries".

    Every process of Airflow loads its plugins: what only the API server needs is made when it asks.
    """

    name = "zbl_lead_deliveries"

    @cached_property
    def fastapi_apps(self) -> list[Any]:  # type: ignore[override]  # a plain attribute of its base
        """The application behind the page."""
        from zbl_provider.plugin.api.app import create_app

        return [{"app": create_app(), "url_prefix": PREFIX, "name": "ZBL lead deliveries"}]

    @cached_property
    def external_views(self) -> list[Any]:  # type: ignore[override]  # a plain attribute of its base
        """The entry in the navigation, which opens the page inside of the UI."""
        # The UI takes `href` as it stands: below a reverse proxy's path it must name that path.
        base = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/") + PREFIX
        return [
            {
                "name": "Leads",
                "href": f"{base}/",
                "destination": "nav",
                "url_route": ROUTE,
                "icon": f"{base}/static/icon.svg",
                "nav_top_level": True,
            }
        ]
