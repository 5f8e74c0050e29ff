"""`airflow zbl check`: looks at the set-up, and says what to fix (Contract 8.9)."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowException
from sqlalchemy.exc import SQLAlchemyError

from zbl_provider.cli import set_up, shell
from zbl_provider.cli.set_up import ERROR, Finding
from zbl_provider.cli.shell import Stop, command, plural, say
from zbl_provider.exceptions import ZblError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator


@command(recorded=False)
def check(args: Namespace) -> None:
    """Look at the whole set-up, from the log to the integrations; change nothing."""
    everything = list(findings())
    if args.output == "json":
        shell.show([asdict(finding) for finding in everything], "json")
    else:
        for finding in everything:
            say(str(finding))
    errors = sum(finding.level == ERROR for finding in everything)
    if errors:
        raise Stop(f"{plural(errors, 'error')} to fix.")


def findings() -> Iterator[Finding]:
    """Look at everything; what fails is a finding, and ends nothing else."""
    yield set_up.networks()
    yield set_up.kept()
    yield set_up.page()
    yield from set_up.permissions()
    try:
        log = shell.the_log()
    except (ZblError, AirflowException) as problem:
        remedy = "Fix this first: what is stored there cannot be checked before"
        yield Finding(ERROR, "delivery log", str(problem).rstrip("."), remedy)
        return
    try:
        yield set_up.place(log)
        yield set_up.keys(log)
        yield set_up.clocks(log)
        for integration in log.integrations():
            yield set_up.integration(integration)
    except (ZblError, SQLAlchemyError) as problem:
        said = problem if isinstance(problem, ZblError) else type(problem).__name__
        yield Finding(ERROR, "delivery log", f"it failed: {said}", "See its database's own log")
