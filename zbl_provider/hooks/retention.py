"""How long the delivery log keeps what is settled, as Airflow's configuration says (6.4)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from airflow.sdk.configuration import conf

from zbl_provider.exceptions import ConfigurationError

_LONGEST = 36_500  # a hundred years: more is no day that a calendar has


@dataclass(frozen=True, slots=True)
class Retention:
    """
    How long what rests in the log is kept.

    :param payloads: a lead's personal data, after its delivery
    :param rows: a settled lead; None: for ever
    """

    payloads: timedelta
    rows: timedelta | None


def retention() -> Retention:
    """
    Read `[zbl] payload_retention_days` and `log_retention_days` (Contract 6.4).

    :raises ConfigurationError: naming the option, if it is no number of days: taken as it stands,
        -1 would delete what it is meant to keep
    """
    payloads, rows = _days("payload_retention_days"), _days("log_retention_days")
    return Retention(payloads, rows or None)


def _days(option: str) -> timedelta:
    text = str(conf.get("zbl", option)).strip()
    if re.fullmatch("[0-9]{1,5}", text) and int(text) <= _LONGEST:
        return timedelta(days=int(text))
    raise ConfigurationError(
        field=f"[zbl] {option}",
        problem=f"it is not a number of days from 0 to {_LONGEST}",
        remedy="Write a whole number"
        + ("; 0 keeps everything" if option == "log_retention_days" else ""),
    )
