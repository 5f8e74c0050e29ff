"""
Every error the provider raises on purpose.

ZblError
 ├── ConfigurationError        what a user wrote, and can change
 │    ├── DestinationError     1.3  the URL of the integration
 │    ├── HeaderError          1.4  one of its headers
 │    ├── SigningSecretError   2.3  its signing secret
 │    ├── FilterError          5.3  one of its dispatch filters
 │    ├── ScheduleError        3.1  an operator's schedule
 │    ├── MissingConnection    1.2  a connection that Airflow does not find
 │    └── DeliveryLogError     6.1  a log database that cannot be used
 ├── DeliveryLogUnavailable    6.2  its database is away, locked or full: a moment, not a setting
 │    └── DeliveryLogFault     6.2  it refused a statement
 ├── DispatchStopped           6.2  Airflow ended the task while leads were still being found
 ├── LeadsDatabaseError        4.2  the leads' database gave no rows
 ├── TemporaryFileError        4.8  there is no room for the ids of a query
 ├── IntegrationPaused         8.6  its destination keeps giving the same configuration error
 ├── IntegrationDown           8.7  ten leads in a row got no answer from it, or 5xx
 ├── NotificationFailed        8.3  a notification that was not delivered
 ├── InvalidLead               5.5  one lead that cannot be sent as it is
 └── BlockedAddress            7.1  an address the network guard refuses

Each carries its facts as attributes, and says whether Airflow's own retries can help. None may hold
a secret, a header value, a URL path or query, or a lead's personal data (Contract 1.5 and 5.5):
the code that raises one makes sure of it.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, ClassVar, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

_Params = ParamSpec("_Params")
_Result = TypeVar("_Result")


class ZblError(Exception):
    """
    Base of all errors of this provider.

    ``airflow_may_retry`` tells whether Airflow's own ``retries`` can help. They can where the cause
    passes by itself, such as a database that is away, and never where a person has to change
    something (Contract 3.2).
    """

    airflow_may_retry: ClassVar[bool] = False


class ConfigurationError(ZblError):
    """
    A setting that cannot work; nothing has been sent.

    :param field: the setting's name as its user knows it, such as ``retry_statuses``
    :param problem: what is wrong with it, without showing a secret
    :param remedy: what to change, as a sentence without its full stop
    """

    def __init__(self, field: str, problem: str, remedy: str) -> None:
        super().__init__(field, problem, remedy)
        self.field = field
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.field}: {self.problem}. {self.remedy}"


class DestinationError(ConfigurationError):
    """A destination URL that must not be used (Contract 1.3)."""


class HeaderError(ConfigurationError):
    """A header that HTTP forbids, or that the sender owns (Contract 1.4)."""


class SigningSecretError(ConfigurationError):
    """A signing secret that is not a Standard Webhooks one (Contract 2.3)."""


class FilterError(ConfigurationError):
    """A dispatch filter that cannot be read (Contract 5.3)."""


class ScheduleError(ConfigurationError):
    """A retry schedule that cannot be followed (Contract 3.1)."""


class DeliveryLogError(ConfigurationError):
    """A database that cannot hold the delivery log (Contract 6.1)."""


class MissingConnection(ConfigurationError):
    """
    A connection that Airflow does not find (Contract 1.2 and 3.2).

    Airflow's own retries may help: it says the same while its API server, or a secrets backend,
    does not answer.

    :param field: the parameter, or the option, that names it
    :param conn_id: its id
    :param variable: the environment variable that has it, in words that Airflow can't read
    """

    airflow_may_retry = True

    def __init__(self, field: str, conn_id: str, variable: str | None = None) -> None:
        problem = f"there is no connection {conn_id!r}, as Airflow says"
        remedy = (
            "Add it, or correct the id. If it is there, see that Airflow's API server and "
            "secrets backends answer: Airflow says the same while they don't"
        )
        if variable:
            problem = f"Airflow cannot read the connection {conn_id!r} in {variable}"
            remedy = "Write it as one JSON object, with keys that a connection has, or as a URI"
        super().__init__(field, problem, remedy)
        self.args = (field, conn_id, variable)
        self.conn_id = conn_id
        self.variable = variable


class DeliveryLogUnavailable(ZblError):
    """
    The delivery log's database is away, locked or full (Contract 3.2 and 6.2).

    :param log: the log's name for people, without a secret
    :param problem: what its driver says, without data
    """

    airflow_may_retry = True

    def __init__(self, log: str, problem: str) -> None:
        super().__init__(log, problem)
        self.log = log
        self.problem = problem

    def __str__(self) -> str:
        return (
            f"the delivery log ({self.log}) cannot be used: {self.problem}. Nothing is sent "
            "without it; what it holds is safe, and goes out when it can be used again"
        )


class DeliveryLogFault(DeliveryLogUnavailable):
    """A statement that the log's database refused; what it said is shown without data (6.2)."""


class LeadsDatabaseError(ZblError):
    """
    A query, or a connection, that the leads' database refused (Contract 4.2 and 4.3).

    :param conn_id: the connection
    :param problem: what its driver says, without a value of a row or a parameter
    :param is_connected: False where no row can have been read, so that the problem is told whole
    """

    airflow_may_retry = True

    def __init__(self, conn_id: str, problem: str, *, is_connected: bool = True) -> None:
        super().__init__(conn_id, problem)
        self.conn_id = conn_id
        self.problem = problem
        self.is_connected = is_connected

    def __str__(self) -> str:
        if not self.is_connected:
            return (
                f"the database of the connection {self.conn_id} cannot be connected to: "
                f"{self.problem}. Correct the connection, or see that its server can be reached"
            )
        return (
            f"the database of the connection {self.conn_id} gave no leads: {self.problem}. "
            "(Text that may be data is hidden here; run the query by hand to see it)"
        )


class TemporaryFileError(ZblError):
    """
    A machine that has no room for the ids of a query (Contract 4.8).

    :param problem: what SQLite says
    """

    airflow_may_retry = True

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return (
            "the ids of the query's rows can't be kept while it is read: "
            f"{self.problem}. They need a temporary directory with up to 200 MB for each "
            "million rows. Make room, or name another directory in the environment variable "
            "SQLITE_TMPDIR"
        )


class DispatchStopped(ZblError):
    """A task that Airflow ended before all that it found was in the log (Contract 6.2)."""

    airflow_may_retry = True

    def __str__(self) -> str:
        return (
            "Airflow ended this task while its query was being read. What was read is safe in the "
            "delivery log; a retry, or a clear, finds the rest."
        )


class IntegrationPaused(ZblError):
    """
    An integration to which nothing more is sent until one lead is delivered (Contract 8.6).

    :param integration: its connection id
    :param answer: what it answered last, and what to change
    :param waiting: how many leads of the task wait
    """

    def __init__(self, integration: str, answer: str, waiting: int) -> None:
        super().__init__(integration, answer, waiting)
        self.integration = integration
        self.answer = answer
        self.waiting = waiting

    def __str__(self) -> str:
        return (
            f"{self.integration} is paused: {self.answer.rstrip('.')}. "
            f"{_wait(self.waiting)}. Put that right, then clear this task, or let the next run "
            "try: it sends one lead, and the others when that is delivered."
        )


class IntegrationDown(ZblError):
    """
    An integration whose leads are not tried until one that was tried is delivered (Contract 8.7).

    :param integration: its connection id
    :param since: since when it is down, aware
    :param answer: its last answer, in words
    :param waiting: how many leads of the task wait, none of them tried
    :param next_at: when a lead that was tried is tried again, aware; None when none is left
    :param probe_at: when this task tries one that was not, aware; None when the next run does
    """

    def __init__(
        self,
        integration: str,
        since: datetime,
        answer: str,
        waiting: int,
        next_at: datetime | None,
        probe_at: datetime | None = None,
    ) -> None:
        super().__init__(integration, since, answer, waiting, next_at, probe_at)
        self.integration = integration
        self.since = since
        self.answer = answer
        self.waiting = waiting
        self.next_at = next_at
        self.probe_at = probe_at

    @property
    def ends_the_task(self) -> bool:
        """Whether the task has nothing left that could end the outage."""
        return self.next_at is None and self.probe_at is None

    def __str__(self) -> str:
        if self.next_at:
            outlook = (
                "Nothing needs to be done: the leads that were tried go on, the next at "
                f"{self.next_at:%H:%M:%S} UTC, and all go out when one is delivered."
            )
        elif self.probe_at:
            outlook = (
                f"Nothing needs to be done: one lead is tried at {self.probe_at:%H:%M:%S} UTC, and "
                "all go out when it is delivered."
            )
        else:
            outlook = (
                "Nothing is lost: the next run, or a clear of this task, tries one lead, and "
                "sends the others when that is delivered."
            )
        return (
            f"{self.integration} has been down since {self.since:%Y-%m-%d %H:%M} UTC: "
            f"{self.answer.rstrip('.')}. {_wait(self.waiting)} for it, not tried yet. {outlook}"
        )


class NotificationFailed(ZblError):
    """
    A notification that was not delivered (Contract 8.3).

    :param integration: its connection id
    :param answer: how the last attempt ended, and what to change
    """

    def __init__(self, integration: str, answer: str) -> None:
        super().__init__(integration, answer)
        self.integration = integration
        self.answer = answer

    def __str__(self) -> str:
        return f"the notification was not delivered to {self.integration}: {self.answer}"


class InvalidLead(ZblError):
    """
    A lead that cannot be sent as it is (Contract 5.5).

    :param path: where in the payload, such as ``lead.score``
    :param rule: what must hold there, such as ``must be a number``; never the value found
    """

    def __init__(self, path: str, rule: str) -> None:
        super().__init__(path, rule)
        self.path = path
        self.rule = rule

    def __str__(self) -> str:
        return f"{self.path} {self.rule}"


class BlockedAddress(ZblError):
    """
    An address that the network guard refuses (Contract 7.1).

    :param address: the IP address as it was given
    """

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.address = address

    def __str__(self) -> str:
        return (
            f"the address {self.address} is not public. If this deployment may send to it, "
            "add its network to [zbl] allowed_networks"
        )


def _wait(count: int) -> str:
    return "1 lead of this task waits" if count == 1 else f"{count} leads of this task wait"


def without_context(function: Callable[_Params, _Result]) -> Callable[_Params, _Result]:
    """
    Take the context from this provider's errors that leave a function (Contract 1.5).

    ``raise … from None`` hides the caught error in a traceback, but keeps it as the context of the
    new one: a JSON parser's error holds the whole of Extra, a request's error the URL.

    :param function: its errors may be shown to somebody
    """

    @wraps(function)
    def call(*args: _Params.args, **kwargs: _Params.kwargs) -> _Result:
        try:
            return function(*args, **kwargs)
        except ZblError as problem:
            problem.__context__ = None
            raise

    return call
