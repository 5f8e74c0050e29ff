"""`airflow zbl integrations …`: list, show, test, hold, resume."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.utils.platform import getuser

from zbl_provider.cli.shell import Stop, command, confirm, instant, plural, say, show, the_log
from zbl_provider.dispatch.dispatcher import utc_now
from zbl_provider.log.model import Integration, Status

if TYPE_CHECKING:
    from argparse import Namespace

    from zbl_provider.delivery.destination import Destination
    from zbl_provider.log.browse.model import Totals
    from zbl_provider.log.store import DeliveryLog


@command(recorded=False)
def list_integrations(args: Namespace) -> None:
    """List integrations: held or not, their leads by status, their answer times."""
    log = the_log()
    states = {state.name: state for state in log.integrations()}
    totals = {total.integration: total for total in log.reader.integrations(args.since)}
    rows = [_line(name, states.get(name), totals.get(name)) for name in sorted({*states, *totals})]
    show(rows, args.output)


@command(recorded=False)
def show_integration(args: Namespace) -> None:
    """Show how a connection is understood, without its secrets, and send nothing (1.2, 1.5)."""
    from zbl_provider.hooks.webhook import WebhookHook

    settings = understood(WebhookHook(args.conn_id).destination)
    show([{"setting": name, "value": value} for name, value in settings.items()], args.output)


@command(recorded=True)
def test(args: Namespace) -> None:
    """Send one test lead (Contract 1.6)."""
    from zbl_provider.hooks.webhook import WebhookHook

    delivered, message = WebhookHook(args.conn_id).test_connection()
    if not delivered:
        raise Stop(message)
    say(message)


@command(recorded=True)
def hold(args: Namespace) -> None:
    """Record an integration's leads, and send none."""
    log = the_log()
    _check(log, args.conn_id)
    confirm(args, f"Hold {args.conn_id}? Its leads are recorded, and not sent until it is resumed.")
    log.hold(args.conn_id, getuser(), utc_now())
    say(f"{args.conn_id} is held.")


@command(recorded=True)
def resume(args: Namespace) -> None:
    """Let an integration's next run send what was held."""
    log = the_log()
    _check(log, args.conn_id)
    confirm(args, f"Resume {args.conn_id}? Its next run sends what was held.")
    log.resume(args.conn_id)
    say(f"{args.conn_id} is resumed: its next run sends what was held.")


def understood(destination: Destination) -> dict[str, object]:
    """
    Put a destination in words: what is secret in it is counted, or named, and not shown.

    :param destination: as read from its connection
    """
    parts = urlsplit(destination.url)
    proxy = urlsplit(destination.proxy or "")
    filters = destination.filters
    lines = (f"{line.field} {line.operator} {line.value}".strip() for line in filters.fields)
    return {
        "origin": destination.origin,
        "path": plural(len(parts.path), "character"),
        "query": plural(len(parts.query), "character"),
        "headers": ", ".join(name for name, _ in destination.headers),
        "signing_secret": plural(len(destination.signing_secrets), "secret"),
        "active": destination.active,
        "min_score": filters.min_score,
        "lists": ", ".join(filters.lists),
        "field_filters": "; ".join(lines),
        "retry_statuses": ", ".join(map(str, sorted(destination.retry_statuses))),
        "max_concurrency": destination.max_concurrency,
        "max_rate": destination.max_rate,
        "keep_alive": destination.keep_alive,
        "body": f"custom, {plural(destination.body.size, 'byte')}"
        if destination.body
        else "standard",
        "verify": destination.verify,
        "cert": bool(destination.cert),
        "proxy": f"{proxy.hostname}:{proxy.port or 80}" if proxy.hostname else None,
        "trust_env": destination.trust_env,
        "remarks": "; ".join(destination.remarks),
    }


def _check(log: DeliveryLog, name: str) -> None:
    """Refuse a misspelt name."""
    from zbl_provider.hooks.connections import find_connection

    if name not in {state.name for state in log.integrations()}:
        find_connection(name, "conn_id")


def _line(name: str, state: Integration | None, totals: Totals | None) -> dict[str, Any]:
    counts = totals.counts if totals else {}
    return {
        "integration": name,
        "state": state_of(state or Integration(name)),
        **{status.value: counts.get(status, 0) for status in Status},
        "p50_ms": totals and totals.p50_ms,
        "p95_ms": totals and totals.p95_ms,
    }


def state_of(of: Integration) -> str:
    """
    Say whether leads go out to an integration, and if not, since when and why.

    :param of: what the log knows of it
    """
    if of.held:
        return f"held by {of.held_by} since {instant(of.held_at)}"
    if of.down:
        return f"down since {instant(of.failing_since)}: {of.down_reason}"
    if of.paused:
        return f"paused since {instant(of.paused_at)}: it answers {of.paused_status}"
    return "sending"
