"""`airflow zbl log …`: upgrade, rotate-keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zbl_provider.cli.shell import Stop, command, confirm, note, plural, say, the_log

if TYPE_CHECKING:
    from argparse import Namespace


@command(recorded=True)
def upgrade(args: Namespace) -> None:  # noqa: ARG001  every command has them
    """Create the log's tables, or bring them to this version."""
    the_log()
    say("The delivery log's tables are those of this version.")


@command(recorded=True)
def rotate_keys(args: Namespace) -> None:
    """Encrypt what rests in the log with the present key (Contract 6.4)."""
    confirm(args, "Encrypt what is stored in the delivery log with Airflow's present Fernet key?")
    log = the_log()
    renewed = unreadable = unfindable = 0
    after: int | None = 0
    while after is not None:
        step = log.rotate(after=after)
        renewed += step.renewed
        unreadable += step.unreadable
        unfindable += step.unfindable
        after = step.after
        note(f"{plural(renewed, 'payload or answer', 'payloads and answers')} encrypted …")
    say(f"{plural(renewed, 'payload or answer', 'payloads and answers')} encrypted anew.")
    if unfindable:
        note(
            f"{plural(unfindable, 'lead')} can no longer be found by email: the body of the "
            "connection does not hold it as a text of its own."
        )
    if unreadable:
        raise Stop(
            f"{unreadable:,} could not be read: their key is not in [core] fernet_key, or they "
            "were changed. Add the key behind the present one, and rotate again."
        )
