"""The looks of `airflow zbl check`, each at one part of the set-up (Contract 8.9)."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowException

from zbl_provider.exceptions import ZblError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zbl_provider.log.model import Integration
    from zbl_provider.log.store import DeliveryLog

OK, WARNING, ERROR = "ok", "warning", "error"
# Leases are a minute long: far less than this apart, no worker takes another's for ended.
_APART = timedelta(seconds=5)
_WIDE = 8  # bits of a prefix: shorter ones open a large part of all addresses


@dataclass(frozen=True, slots=True)
class Finding:
    """
    What was found of one part of the set-up.

    :param level: ok, warning, or error: leads are not sent, or not as they should be
    :param part: what was looked at
    :param finding: how it is
    :param remedy: what to change; empty where nothing is to be
    """

    level: str
    part: str
    finding: str
    remedy: str = ""

    def __str__(self) -> str:
        """Return it in one line."""
        remedy = f" {self.remedy}." if self.remedy else ""
        return f"{self.level}: {self.part}: {self.finding}.{remedy}"


def networks() -> Finding:
    """Look at what `[zbl] allowed_networks` opens (Contract 7.1)."""
    from ipaddress import ip_network

    from zbl_provider.delivery.guard import Guard

    part, text = "networks", conf.get("zbl", "allowed_networks", fallback="")
    try:
        Guard.parse(text)
    except ZblError as problem:
        return Finding(ERROR, part, str(problem).rstrip("."))
    networks = [ip_network(word) for word in text.replace(",", " ").split()]
    if wide := [str(network) for network in networks if network.prefixlen < _WIDE]:
        return Finding(
            WARNING,
            part,
            f"[zbl] allowed_networks opens {', '.join(wide)}, so that the guard refuses little",
            "Name only the networks of your own receivers",
        )
    return Finding(
        OK, part, f"[zbl] allowed_networks opens {', '.join(map(str, networks)) or 'nothing'}"
    )


def place(log: DeliveryLog) -> Finding:
    """Look whether the log outlives the machine that it is on (Contract 6.1)."""
    finding = f"{log.name} answers, with the tables of this version"
    if "KUBERNETES_SERVICE_HOST" not in os.environ or conf.get(
        "zbl", "delivery_log_conn_id", fallback=""
    ):
        return Finding(OK, "delivery log", finding)
    return Finding(
        WARNING,
        "delivery log",
        f"{finding}, and is on the disk of a pod, with which it may go",
        "Name a connection to a PostgreSQL database in [zbl] delivery_log_conn_id",
    )


def kept() -> Finding:
    """Look how long the log keeps what is settled (Contract 6.4)."""
    from zbl_provider.hooks.retention import retention

    part = "retention"
    try:
        kept = retention()
    except ZblError as problem:
        return Finding(ERROR, part, str(problem).rstrip("."))
    rows = f"for {kept.rows.days} days" if kept.rows else "for ever"
    return Finding(
        OK,
        part,
        f"personal data is kept for {kept.payloads.days} days after its delivery, and a settled "
        f"lead {rows}",
    )


def page() -> Finding:
    """Look whether Airflow has the page, and the address that it is opened by (8.4)."""
    plugins = entry_points(group="airflow.plugins")
    if not any(plugin.value.startswith("zbl_provider.") for plugin in plugins):
        return Finding(
            ERROR,
            "page",
            "its plugin is not installed",
            "Install the package anew, with pip or uv",
        )
    if not conf.get("api", "base_url", fallback=""):
        return Finding(
            WARNING,
            "page",
            "[api] base_url is not set, so behind a reverse proxy its links and changes may fail",
            "Set it to the address that people open Airflow by",
        )
    return Finding(OK, "page", "its plugin is installed, and [api] base_url is set")


def permissions() -> Iterator[Finding]:
    """Look at who sees the page, and who may send a test lead."""
    manager = conf.get("core", "auth_manager", fallback="")
    if manager.endswith("FabAuthManager"):
        yield _roles()
    if conf.get("core", "test_connection", fallback="Disabled").strip().lower() != "enabled":
        yield Finding(
            WARNING,
            "permissions",
            "[core] test_connection is not Enabled, so nobody can send a test lead",
            "Set it to Enabled if people are to",
        )
    else:
        yield Finding(OK, "permissions", "those who may test connections can send a test lead")


def _roles() -> Finding:
    """Look for FAB's roles that may see leads, and not the list of plugins (Contract 8.10)."""
    from airflow.providers.fab.auth_manager.models import Role
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        rights = {
            role.name: {(right.action.name, right.resource.name) for right in role.permissions}
            for role in session.scalars(select(Role).order_by(Role.name)).unique()
        }
    leads, plugins = ("can_read", "Task Instances"), ("can_read", "Plugins")
    without = [role for role, given in rights.items() if leads in given and plugins not in given]
    if not without:
        return Finding(OK, "roles", "all that may see leads have the page in the navigation")
    return Finding(
        WARNING,
        "roles",
        f"{', '.join(without)} may see leads, but do not have Leads in the navigation",
        f"Run `airflow roles add-perms {shlex.join(without)} --action can_read --resource "
        "Plugins`; without it their page is at /zbl/",
    )


def keys(log: DeliveryLog) -> Finding:
    """
    Look whether what rests in the log is encrypted, and can be read (6.4).

    :param log: the delivery log
    """
    unreadable = log.reader.unreadable()
    if unreadable:
        return Finding(
            ERROR,
            "keys",
            f"{unreadable} of the newest payloads cannot be read, so they cannot be sent",
            "Add their old key after the present one in [core] fernet_key, or, if they were stored "
            "before there was a key, run `airflow zbl log rotate-keys`",
        )
    if not log.encrypts:
        return Finding(
            WARNING,
            "keys",
            "no [core] fernet_key is set, so personal data is stored unencrypted",
            "Set one, and run `airflow zbl log rotate-keys`",
        )
    return Finding(
        OK, "keys", "personal data is stored encrypted, and the newest payloads can be read"
    )


def clocks(log: DeliveryLog) -> Finding:
    """
    Look how far apart this machine's clock and the log's are.

    :param log: the delivery log
    """
    before = datetime.now(UTC)
    there = log.clock()
    after = datetime.now(UTC)
    apart = max(before - there, there - after, timedelta(0))
    if apart > _APART:
        return Finding(
            ERROR,
            "clocks",
            f"this machine's and the delivery log's differ by {apart.total_seconds():.0f} s",
            "Keep all machines in step (NTP): due times and leases are compared by their clocks",
        )
    return Finding(OK, "clocks", "this machine's and the delivery log's are in step")


def integration(state: Integration) -> Finding:
    """
    Look at one integration: its connection, and what keeps its leads back.

    :param state: as the delivery log knows it
    """
    from zbl_provider.hooks.webhook import WebhookHook

    part = f"integration {state.name}"
    try:
        destination = WebhookHook(state.name).destination
    except (ZblError, AirflowException) as problem:
        return Finding(ERROR, part, str(problem).rstrip("."))
    if kept_back := _kept_back(state):
        remedy = f"When the cause is fixed, run `airflow zbl integrations resume {state.name}`"
        return Finding(WARNING, part, kept_back, remedy)
    if not destination.active:
        return Finding(WARNING, part, "its connection says active: false", "Set active to send")
    if destination.remarks:
        return Finding(WARNING, part, "; ".join(destination.remarks).rstrip("."))
    return Finding(OK, part, f"its connection can be read; it sends to {destination.origin}")


def _kept_back(state: Integration) -> str | None:
    if state.held:
        return f"it is held by {state.held_by}, and sends nothing"
    if state.down:
        return f"it is down: {state.down_reason}"
    return f"it is paused: it answers {state.paused_status}" if state.paused else None
