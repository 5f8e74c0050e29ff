"""`airflow zbl check`: looks at the set-up, and says what to mend (Contract 8.9)."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowException
from sqlalchemy.exc import SQLAlchemyError

from zbl_provider.cli import shell
from zbl_provider.cli.shell import Stop, command, plural, say
from zbl_provider.exceptions import ZblError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    from zbl_provider.log.model import Integration
    from zbl_provider.log.store import DeliveryLog

_OK, _WARNING, _ERROR = "ok", "warning", "error"
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


@command(recorded=False)
def check(args: Namespace) -> None:
    """Look at log, keys, networks, page, permissions, clocks and integrations; change nothing."""
    everything = list(findings())
    if args.output == "json":
        shell.show([asdict(finding) for finding in everything], "json")
    else:
        for finding in everything:
            say(str(finding))
    errors = sum(finding.level == _ERROR for finding in everything)
    if errors:
        raise Stop(f"{plural(errors, 'error')} to mend.")


def findings() -> Iterator[Finding]:
    """Look at everything; what fails is a finding, and ends nothing else."""
    yield _networks()
    yield _page()
    yield from _permissions()
    try:
        log = shell.the_log()
    except (ZblError, AirflowException) as problem:
        remedy = "Mend this first: what rests there cannot be looked at before"
        yield Finding(_ERROR, "delivery log", str(problem).rstrip("."), remedy)
        return
    try:
        yield Finding(_OK, "delivery log", f"{log.name} answers, with the tables of this version")
        yield _keys(log)
        yield _clocks(log)
        for integration in log.integrations():
            yield _integration(integration)
    except (ZblError, SQLAlchemyError) as problem:
        said = problem if isinstance(problem, ZblError) else type(problem).__name__
        yield Finding(_ERROR, "delivery log", f"it failed: {said}", "See its database's own log")


def _networks() -> Finding:
    from ipaddress import ip_network

    from zbl_provider.delivery.guard import Guard

    part, text = "networks", conf.get("zbl", "allowed_networks", fallback="")
    try:
        Guard.parse(text)
    except ZblError as problem:
        return Finding(_ERROR, part, str(problem).rstrip("."))
    networks = [ip_network(word) for word in text.replace(",", " ").split()]
    if wide := [str(network) for network in networks if network.prefixlen < _WIDE]:
        return Finding(
            _WARNING,
            part,
            f"[zbl] allowed_networks opens {', '.join(wide)}, so that the guard refuses little",
            "Name the networks of your own receivers alone",
        )
    return Finding(
        _OK, part, f"[zbl] allowed_networks opens {', '.join(map(str, networks)) or 'nothing'}"
    )


def _page() -> Finding:
    plugins = entry_points(group="airflow.plugins")
    if not any(plugin.value.startswith("zbl_provider.") for plugin in plugins):
        return Finding(
            _ERROR,
            "page",
            "its plugin is not installed",
            "Install the package anew, with pip or uv",
        )
    if not conf.get("api", "base_url", fallback=""):
        return Finding(
            _WARNING,
            "page",
            "[api] base_url is not set, so behind a reverse proxy its links and changes may fail",
            "Set it to the address that people open Airflow by",
        )
    return Finding(_OK, "page", "its plugin is installed, and [api] base_url is set")


def _permissions() -> Iterator[Finding]:
    manager = conf.get("core", "auth_manager", fallback="")
    if manager.endswith("FabAuthManager"):
        yield _roles()
    if conf.get("core", "test_connection", fallback="Disabled").strip().lower() != "enabled":
        yield Finding(
            _WARNING,
            "permissions",
            "[core] test_connection is not Enabled, so nobody can send a test lead",
            "Set it to Enabled if people are to",
        )
    else:
        yield Finding(_OK, "permissions", "those who may test connections can send a test lead")


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
        return Finding(_OK, "roles", "those that may see leads have them in the navigation")
    return Finding(
        _WARNING,
        "roles",
        f"{', '.join(without)} may see leads, and have no Leads in the navigation",
        f"Run `airflow roles add-perms {shlex.join(without)} --action can_read --resource "
        "Plugins`; without it their page is at /zbl/",
    )


def _keys(log: DeliveryLog) -> Finding:
    unreadable = log.reader.unreadable()
    if unreadable:
        return Finding(
            _ERROR,
            "keys",
            f"{unreadable} of the newest payloads cannot be read, and so not be sent",
            "Put the key they had behind the present one in [core] fernet_key, or, if they were "
            "stored before there was a key, run `airflow zbl log rotate-keys`",
        )
    if not log.encrypts:
        return Finding(
            _WARNING,
            "keys",
            "no [core] fernet_key is set, so personal data rests readable",
            "Set one, and run `airflow zbl log rotate-keys`",
        )
    return Finding(_OK, "keys", "personal data rests encrypted, and the newest can be read")


def _clocks(log: DeliveryLog) -> Finding:
    before = datetime.now(UTC)
    there = log.clock()
    after = datetime.now(UTC)
    apart = max(before - there, there - after, timedelta(0))
    if apart > _APART:
        return Finding(
            _ERROR,
            "clocks",
            f"this machine and the delivery log's differ by {apart.total_seconds():.0f} s",
            "Keep all machines in step (NTP): due times and leases are compared by their clocks",
        )
    return Finding(_OK, "clocks", "this machine and the delivery log's are in step")


def _integration(state: Integration) -> Finding:
    from zbl_provider.hooks.webhook import WebhookHook

    part = f"integration {state.name}"
    try:
        destination = WebhookHook(state.name).destination
    except (ZblError, AirflowException) as problem:
        return Finding(_ERROR, part, str(problem).rstrip("."))
    if kept_back := _kept_back(state):
        remedy = f"When it is mended, run `airflow zbl integrations resume {state.name}`"
        return Finding(_WARNING, part, kept_back, remedy)
    if not destination.active:
        return Finding(_WARNING, part, "its connection says active: false", "Set active to send")
    if destination.remarks:
        return Finding(_WARNING, part, "; ".join(destination.remarks).rstrip("."))
    return Finding(_OK, part, f"its connection can be read; it sends to {destination.origin}")


def _kept_back(state: Integration) -> str | None:
    if state.held:
        return f"it is held by {state.held_by}, and sends nothing"
    if state.down:
        return f"it is down: {state.down_reason}"
    return f"it is paused: it answers {state.paused_status}" if state.paused else None
