"""Operators that dispatch leads to an integration (Contract 4)."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NoReturn

from airflow.sdk import BaseOperator

from zbl_provider.delivery.schedule import Schedule
from zbl_provider.exceptions import (
    ConfigurationError,
    DeliveryLogUnavailable,
    DispatchStopped,
    LeadsDatabaseError,
    ZblError,
)
from zbl_provider.log.model import FAILED, RunKey, Status
from zbl_provider.operators.link import LeadDeliveriesLink
from zbl_provider.operators.outlets import announce

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    import jinja2
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context
    from requests.auth import AuthBase

    from zbl_provider.dispatch.dispatcher import Dispatcher, Report
    from zbl_provider.dispatch.intake import Unreadable
    from zbl_provider.leads.lead import Lead
    from zbl_provider.log.store import DeliveryLog

IfDelivered = Literal["skip", "send"]
OnClear = Literal["resend_errors", "resend_all"]

_FAILED_NAMED = 3
_PURGE_STEPS = 30


class _DispatchOperator(BaseOperator):
    """
    What both operators share: dispatch, wait deferred, dispatch again, and say how it ended.

    :param webhook_conn_id: connection of the integration, of type ``zbl_webhook`` (templated)
    :param schedule: waits after each failed attempt, in seconds or as ``timedelta``: by default 1,
        5, 15 and 30 minutes, which makes five attempts; ``()`` makes a single one (Contract 3.1)
    :param if_delivered: ``skip`` or ``send`` a lead that an earlier run delivered (Contract 4.4)
    :param on_clear: after a clear, ``resend_errors`` or ``resend_all`` (Contract 4.5)
    :param wait_for_retries: False ends the task after the first attempts; later runs make the
        others (Contract 4.7)
    :param log_conn_id: connection of the delivery log's database; `[zbl] delivery_log_conn_id` by
        default (templated)
    :param auth_type: `requests` authentication class, as of `HttpOperator`
    :raises ScheduleError: for a schedule that cannot be
    """

    template_fields: Sequence[str] = ("webhook_conn_id", "log_conn_id")
    operator_extra_links = (LeadDeliveriesLink(),)
    only_own: ClassVar[bool]

    def __init__(
        self,
        *,
        webhook_conn_id: str = "zbl_webhook_default",
        schedule: Iterable[float | timedelta] = Schedule.DEFAULT.waits,
        if_delivered: IfDelivered = "skip",
        on_clear: OnClear = "resend_errors",
        wait_for_retries: bool = True,
        log_conn_id: str | None = None,
        auth_type: type[AuthBase] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.webhook_conn_id = webhook_conn_id
        self.schedule = Schedule.parse(schedule).waits
        self.if_delivered = _one_of("if_delivered", if_delivered, "skip", "send")
        self.on_clear = _one_of("on_clear", on_clear, "resend_errors", "resend_all")
        self.wait_for_retries = wait_for_retries
        self.log_conn_id = log_conn_id
        self.auth_type = auth_type
        self._active: Dispatcher | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Enrol the leads, send what is due, and defer while any of them waits.

        :param context: Airflow's
        :return: the summary (Contract 4.3)
        :raises AirflowFailException: when a lead ended in error or is invalid, or a setting can't
            work: only a person can help, so Airflow's own retries are not used (Contract 3.2)
        """
        return self._dispatch(context, self._find)

    def resume(
        self,
        context: Context,
        event: object = None,  # noqa: ARG002  Airflow passes it
        skipped: int = 0,
    ) -> dict[str, Any]:
        """
        Go on when the next attempt is due.

        :param context: Airflow's
        :param event: of the trigger; what is due is read from the delivery log
        :param skipped: leads skipped before the wait
        :return: as `execute`
        :raises AirflowFailException: as `execute`
        """
        return self._dispatch(context, tuple, skipped)

    def on_kill(self) -> None:
        """Stop in good order when Airflow ends the task, so that little is sent twice (6.2)."""
        if self._active:
            self.log.info("Airflow ends this task: nothing more is sent, the log keeps the rest.")
            self._active.stop()

    def get_openlineage_facets_on_start(self) -> OperatorLineage[Any, Any]:
        """Tell OpenLineage where leads come from and go to; it asks only where it is installed."""
        from zbl_provider.operators.lineage import lineage

        return lineage(self.webhook_conn_id, *self._source())

    def _source(self) -> tuple[str | None, str | None]:
        """Return the leads' database and query, if they come from one."""
        return None, None

    def _find(self) -> Iterable[Lead | Unreadable]:
        raise NotImplementedError

    def _summary(self, report: Report, log: DeliveryLog) -> dict[str, Any]:
        raise NotImplementedError

    def _dispatch(
        self,
        context: Context,
        find: Callable[[], Iterable[Lead | Unreadable]],
        skipped: int = 0,
    ) -> dict[str, Any]:
        try:
            self._active = dispatcher = self._dispatcher()
            # Airflow changes max_tries when a task is cleared, and at no other time.
            report = dispatcher.dispatch(_run_key(context), context["ti"].max_tries, find())
        except (DeliveryLogUnavailable, DispatchStopped, LeadsDatabaseError):
            raise  # no person's fault, and a retry goes on from there (Contract 3.2)
        except ZblError as problem:
            raise _for_good(str(problem)) from None
        skipped += report.skipped
        if report.due_at:
            self._defer_until(report, skipped)
        self._say(report, skipped)
        _purge(dispatcher.log)
        if failure := _failure(report, self.webhook_conn_id):
            raise _for_good(failure)
        announce(self, context, report.counts)
        summary = self._summary(report, dispatcher.log)
        return summary | ({"skipped": skipped} if skipped else {})

    def _dispatcher(self) -> Dispatcher:
        from zbl_provider.dispatch.dispatcher import Dispatcher, Policy
        from zbl_provider.hooks.delivery_log import delivery_log
        from zbl_provider.hooks.metrics import metrics
        from zbl_provider.hooks.webhook import WebhookHook
        from zbl_provider.log.storage.retry import TASK_PATIENCE

        hook = WebhookHook(self.webhook_conn_id, auth_type=self.auth_type)
        for remark in hook.destination.remarks:
            self.log.warning("%s: %s.", self.webhook_conn_id, remark)
        return Dispatcher(
            destination=hook.destination,
            guard=hook.guard,
            log=delivery_log(self.log_conn_id, patience=TASK_PATIENCE),
            policy=Policy(
                schedule=Schedule.parse(self.schedule),
                resend_delivered=self.if_delivered == "send",
                resend_all=self.on_clear == "resend_all",
                wait_for_retries=self.wait_for_retries,
                only_own=self.only_own,
            ),
            observe=metrics(self.webhook_conn_id),
        )

    def _defer_until(self, report: Report, skipped: int) -> NoReturn:
        """Wait without a worker; the trigger waits and does nothing else (Contract 3.4)."""
        from airflow.providers.standard.triggers.temporal import DateTimeTrigger

        self._say(report, 0)
        self.log.info("Waiting until %s.", f"{report.due_at:%Y-%m-%d %H:%M:%S} UTC")
        self.defer(
            trigger=DateTimeTrigger(moment=report.due_at),
            method_name=self.resume.__name__,
            kwargs={"skipped": skipped},
        )

    def _say(self, report: Report, skipped: int) -> None:
        counts = ", ".join(f"{count} {status}" for status, count in report.counts.items())
        self.log.info("Leads of this task: %s.", counts or "none")
        if skipped:
            self.log.info("Skipped, since earlier runs have settled them: %d.", skipped)
        if report.held:
            self.log.warning(
                "%s is held, and its leads with it. %s.", self.webhook_conn_id, report.held
            )


def _run_key(context: Context) -> RunKey:
    task_instance = context["ti"]
    return RunKey(
        dag_id=task_instance.dag_id,
        task_id=task_instance.task_id,
        run_id=task_instance.run_id,
        map_index=-1 if task_instance.map_index is None else task_instance.map_index,
    )


def _purge(log: DeliveryLog) -> None:
    """Clear what has rested for its time, in bounded steps at the end of each task (6.4)."""
    from airflow.sdk.configuration import conf

    days = conf.getint("zbl", "payload_retention_days")
    _step_by_step(log.purge_payloads, timedelta(days=days))
    if days := conf.getint("zbl", "log_retention_days"):
        _step_by_step(log.purge_rows, timedelta(days=days))


def _step_by_step(purge: Callable[[datetime, timedelta], int], older_than: timedelta) -> None:
    """Purge more than most tasks add: with a single step, retention could fall behind for ever."""
    from zbl_provider.dispatch.dispatcher import utc_now

    for _ in range(_PURGE_STEPS):
        if not purge(utc_now(), older_than):
            break


def _failure(report: Report, integration: str) -> str | None:
    """Say why the task fails, if it does: one message (Contract 4.7 and 8.6)."""
    failed = any(status in FAILED for status in report.counts)
    parts = [
        *([str(report.paused)] if report.paused else []),
        *([_undelivered(report, integration)] if failed else []),
    ]
    return " ".join(parts) or None


def _undelivered(report: Report, integration: str) -> str:
    """Say how many leads failed, which came first, and what to do (Contract 4.7)."""
    failed = sum(report.counts.get(status, 0) for status in FAILED)
    named = "; ".join(
        f"lead {lead.lead_id} ({lead.status}: {lead.reason})"
        for lead in report.failed[:_FAILED_NAMED]
    )
    return (
        f"{failed} of {sum(report.counts.values())} leads were not delivered to {integration}: "
        f"{report.counts.get(Status.ERROR, 0)} in error, "
        f"{report.counts.get(Status.INVALID, 0)} invalid. {named}"
        f"{'; …' if failed > _FAILED_NAMED else ''}. "
        "Fix the cause, then clear this task to send them again."
    )


def _for_good(message: str) -> Exception:
    """Fail past Airflow's retries: only a person can help (Contract 3.2)."""
    from airflow.sdk.exceptions import AirflowFailException

    return AirflowFailException(message)


class DispatchLeadsOperator(_DispatchOperator):
    """
    Send every lead that a query finds, and whatever else is due for the integration.

    Rows are streamed; one bad lead never stops the others. A lead that was delivered is not sent
    again by overlapping runs, so select with a look-back. Returns counts by status.

    :param sql: the query, or a ``.sql`` file of the Dag's folder (templated)
    :param leads_conn_id: connection of the database, of any type that Airflow has (templated)
    :param parameters: bound to the query by the driver (templated)
    :param field_map: names of columns that are to be other fields than their names say, such as
        ``{"mobile": "phone", "town": "custom_fields.city"}``
    """

    template_fields: Sequence[str] = (
        "sql",
        "parameters",
        "leads_conn_id",
        *_DispatchOperator.template_fields,
    )
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql", "parameters": "json"}
    only_own = False

    def __init__(
        self,
        *,
        sql: str,
        leads_conn_id: str,
        parameters: Mapping[str, Any] | Sequence[Any] | None = None,
        field_map: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sql = sql
        self.leads_conn_id = leads_conn_id
        self.parameters = parameters
        self.field_map = field_map

    def _source(self) -> tuple[str, str]:
        return self.leads_conn_id, self.sql

    def _find(self) -> Iterator[Lead | Unreadable]:
        from zbl_provider.dispatch.intake import read
        from zbl_provider.hooks.rows import Rows

        return read(Rows(self.leads_conn_id, self.sql, self.parameters), self.field_map)

    def _summary(self, report: Report, log: DeliveryLog) -> dict[str, Any]:  # noqa: ARG002
        return {str(status): count for status, count in report.counts.items() if count}


class DispatchLeadOperator(_DispatchOperator):
    """
    Send one lead; the task is the lead, so clearing it sends the lead again.

    Returns ``status``, ``attempts`` and ``last_status_code``.

    :param lead: the payload's ``lead`` fields and optionally ``list``; a dict, or JSON text such as
        ``{{ dag_run.conf.lead | tojson }}`` (templated, hidden in the rendered view, mappable)
    """

    template_fields: Sequence[str] = ("lead", *_DispatchOperator.template_fields)
    only_own = True

    def __init__(
        self,
        *,
        lead: Mapping[str, Any] | str | _Hidden,
        on_clear: OnClear = "resend_all",
        **kwargs: Any,
    ) -> None:
        super().__init__(on_clear=on_clear, **kwargs)
        self.lead = lead

    def _do_render_template_fields(
        self,
        parent: Any,  # noqa: ANN401  Airflow's own signature
        template_fields: Iterable[str],
        context: Context,
        jinja_env: jinja2.Environment,
        seen_oids: set[int],
    ) -> None:
        """Render the lead apart: Airflow would log it if that failed, and show it if it did not."""
        others = [name for name in template_fields if name != "lead"]
        super()._do_render_template_fields(parent, others, context, jinja_env, seen_oids)
        if not isinstance(self.lead, _Hidden):
            lead = self.render_template(self.lead, context, jinja_env, seen_oids)
            self.lead = _Hidden(lead)

    def _find(self) -> list[Lead | Unreadable]:
        from zbl_provider.dispatch.intake import read_one

        lead = self.lead.value if isinstance(self.lead, _Hidden) else self.lead
        return [read_one(_as_object(lead))]

    def _summary(self, report: Report, log: DeliveryLog) -> dict[str, Any]:  # noqa: ARG002
        from zbl_provider.leads.payload import webhook_id

        (found,) = self._find()
        delivery = log.find(webhook_id(self.webhook_conn_id, found.id))
        if delivery is None:
            return {}
        return {
            "status": str(delivery.status),
            "attempts": delivery.attempts,
            "last_status_code": delivery.last_status,
        }


class _Hidden:
    """A value that Airflow's rendered view shows as stars (Contract 4.3)."""

    def __init__(self, value: Any) -> None:  # noqa: ANN401  whatever was rendered
        self.value = value

    def __repr__(self) -> str:
        return "***"


def _as_object(lead: Any) -> Mapping[str, Any]:  # noqa: ANN401  whatever was rendered
    if isinstance(lead, str):
        try:
            lead = json.loads(lead)
        except (ValueError, RecursionError):
            lead = None
    if isinstance(lead, dict):
        return lead
    raise ConfigurationError(
        field="lead",
        problem="it is neither an object nor JSON text of one",
        remedy="Pass a dict, or a template that ends in | tojson",
    )


def _one_of(field: str, value: str, *allowed: str) -> str:
    if value in allowed:
        return value
    raise ConfigurationError(
        field=field,
        problem=f"{value!r} is not a choice",
        remedy=f"Use one of {', '.join(allowed)}",
    )
