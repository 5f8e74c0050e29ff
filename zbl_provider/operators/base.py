"""What both operators share: dispatch, wait deferred, dispatch again, say how it ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NoReturn, TypeVar

from airflow.sdk import BaseOperator

from zbl_provider.delivery.schedule import Schedule
from zbl_provider.exceptions import ConfigurationError
from zbl_provider.hooks.failing import failing_for_good
from zbl_provider.log.model import RunKey, Status, TaskTry
from zbl_provider.operators.link import LeadDeliveriesLink
from zbl_provider.operators.outlets import announce

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import timedelta

    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context
    from airflow.triggers.base import BaseTrigger
    from requests.auth import AuthBase

    from zbl_provider.dispatch.dispatcher import Dispatcher
    from zbl_provider.dispatch.follow import Follow
    from zbl_provider.dispatch.intake import Found
    from zbl_provider.dispatch.report import Report
    from zbl_provider.hooks.retention import Retention
    from zbl_provider.log.store import DeliveryLog

IfDelivered = Literal["skip", "send"]
OnClear = Literal["resend_errors", "resend_all"]
OutageCallback = Callable[["Context"], Any]
_Choice = TypeVar("_Choice", str, bool)


class DispatchOperator(BaseOperator):
    """
    Dispatches leads to one integration; its subclasses say which.

    :param webhook_conn_id: connection of the integration, of type ``zbl_webhook`` (templated)
    :param schedule: waits after each failed attempt, in seconds or as ``timedelta``: by default 1,
        5, 15 and 30 minutes, which makes five attempts; ``()`` makes a single one (Contract 3.1)
    :param if_delivered: ``skip`` or ``send`` a lead that an earlier run delivered (Contract 4.4)
    :param on_clear: after a clear, ``resend_errors`` or ``resend_all`` (Contract 4.5)
    :param wait_for_retries: False ends the task after the first attempts; later runs make the
        others (Contract 4.7)
    :param log_conn_id: connection of the delivery log's database; `[zbl] delivery_log_conn_id` by
        default (templated)
    :param auth_type: `requests` authentication class, as of `HttpOperator`, whose headers hold for
        all requests; it is made once
    :param on_outage_callback: notifiers, or other callables that take a context, as of
        ``on_failure_callback``: called once each when the integration is down, paused, and back,
        with ``outage`` in the context (Contract 8.7)
    :raises ScheduleError: for a schedule that cannot be
    :raises ConfigurationError: for a choice that is none, or a callback that cannot be called
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
        on_outage_callback: OutageCallback | Sequence[OutageCallback] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.webhook_conn_id = webhook_conn_id
        self.schedule = Schedule.parse(schedule).waits
        self.if_delivered = _one_of("if_delivered", if_delivered, "skip", "send")
        self.on_clear = _one_of("on_clear", on_clear, "resend_errors", "resend_all")
        # A text such as "False" would mean the opposite.
        self.wait_for_retries = _one_of("wait_for_retries", wait_for_retries, True, False)
        self.log_conn_id = log_conn_id
        self.auth_type = auth_type
        if callable(on_outage_callback):
            on_outage_callback = [on_outage_callback]
        self.on_outage_callback: list[OutageCallback] = _callables(on_outage_callback or ())
        self._active: Dispatcher | None = None
        self._webhook_id = ""  # of a single lead
        self._in_the_dag: tuple[str, str | None] | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Enrol the leads, send what is due, and defer while any of them waits.

        :param context: Airflow's
        :return: the summary (Contract 4.3)
        :raises AirflowFailException: when a lead ended in error or is invalid, or a setting can't
            work: only a person can help, so Airflow's own retries are not used (Contract 3.2)
        """
        return self._dispatch(context)

    def resume(
        self,
        context: Context,
        event: object = None,  # noqa: ARG002  Airflow passes it
        skipped: int = 0,
        repeated: int = 0,
        skipped_in_error: int = 0,
        *,
        may_probe: bool = False,
        webhook_id: str = "",
        webhook_conn_id: str | None = None,
        log_conn_id: str | None = None,
    ) -> dict[str, Any]:
        """
        Go on when the next attempt is due.

        :param context: Airflow's
        :param event: of the trigger; what is due is read from the delivery log
        :param skipped: leads skipped before the wait
        :param repeated: rows that repeated an id before the wait
        :param skipped_in_error: those of the skipped leads that are in error
        :param may_probe: it has waited for its turn to try a destination that is down
        :param webhook_id: of a single lead
        :param webhook_conn_id: the integration that its leads are enrolled for, and
        :param log_conn_id: in which log: the Dag may name others by now, which have no lead of it
        :return: as `execute`
        :raises AirflowFailException: as `execute`
        """
        self._webhook_id = webhook_id
        if webhook_conn_id:  # deferred by a version that keeps it
            self._in_the_dag = self.webhook_conn_id, self.log_conn_id
            self.webhook_conn_id, self.log_conn_id = webhook_conn_id, log_conn_id
        before = {"skipped": skipped, "repeated": repeated, "skipped_in_error": skipped_in_error}
        return self._dispatch(context, before, may_probe=may_probe)

    def on_kill(self) -> None:
        """Stop in good order when Airflow ends the task, so that little is sent twice (6.2)."""
        if self._active:
            self.log.info("Airflow ends this task: nothing more is sent, the log keeps the rest.")
            self._active.stop()

    def get_openlineage_facets_on_start(self) -> OperatorLineage[Any, Any]:
        """Tell OpenLineage where leads come from and go to; it asks only where it is installed."""
        from zbl_provider.operators.lineage import lineage

        return lineage(self.webhook_conn_id, *self._source())

    def _follow(self) -> Follow | None:
        """Return how the task stays and looks again, if it does (Contract 4.12)."""
        return None

    def _source(self) -> tuple[str | None, str | None]:
        """Return the leads' database and query, if they come from one."""
        return None, None

    def _find(self) -> Iterable[Found]:
        raise NotImplementedError

    def _summary(self, report: Report, log: DeliveryLog) -> dict[str, Any]:
        raise NotImplementedError

    def _dispatch(
        self,
        context: Context,
        before_the_wait: Mapping[str, int] | None = None,
        *,
        may_probe: bool = False,
    ) -> dict[str, Any]:
        from airflow.sdk.exceptions import AirflowFailException

        from zbl_provider.hooks.retention import retention

        with failing_for_good():
            kept = retention()  # before anything is sent: it could not be kept afterwards
            self._active = dispatcher = self._dispatcher(context)
        task_instance, dag_run = context["ti"], context.get("dag_run")
        task_try = TaskTry(
            str(task_instance.id),
            task_instance.try_number,
            self.retries or 0,
            dag_run.start_date if dag_run else None,
            (dag_run.clear_number or 0) if dag_run else 0,
        )
        with closing(dispatcher.log) as log:
            with self._ending(dispatcher), failing_for_good():
                run = (_run_key(context), task_instance.max_tries)
                if before_the_wait is not None and dispatcher.is_cleared(*run, task_try):
                    # It was at work after its wait: Airflow ends it, and begins that part again.
                    if self._in_the_dag not in (None, (self.webhook_conn_id, self.log_conn_id)):
                        # A clear means the Dag as it is now (4.5).
                        self.webhook_conn_id, self.log_conn_id = self._in_the_dag
                        return self._dispatch(context)
                    before_the_wait, may_probe = None, False
                resumed = before_the_wait is not None
                follow = None if resumed else self._follow()
                report = dispatcher.dispatch(
                    *run,
                    () if follow or resumed else self._find(),
                    task_try,
                    resumed=resumed,
                    may_probe=may_probe,
                    follow=follow,
                )
            tally = Counter(
                skipped=report.skipped,
                repeated=report.repeated,
                skipped_in_error=report.failed_before,
            )
            tally.update(before_the_wait or {})
            if report.kept_back or report.due_at:
                self._defer(report, tally)
            self._say(report)
            self._say_skipped(tally)
            _purge(log, kept)
            with self._ending(dispatcher):
                if failure := report.failure(self.webhook_conn_id):
                    raise AirflowFailException(failure)
            announce(self, context, report.counts)
            summary = self._summary(report, log)
            dispatcher.end()
            return summary | {name: count for name, count in tally.items() if count}

    @contextmanager
    def _ending(self, dispatcher: Dispatcher) -> Iterator[None]:
        """Have the log know that a task fails for good: what runs after that is a clear (4.10)."""
        from airflow.sdk.exceptions import AirflowFailException

        try:
            yield
        except AirflowFailException:
            dispatcher.end()
            raise

    def _dispatcher(self, context: Context) -> Dispatcher:
        from airflow.sdk.configuration import conf

        from zbl_provider.dispatch.dispatcher import Dispatcher, Policy
        from zbl_provider.hooks.delivery_log import delivery_log
        from zbl_provider.hooks.metrics import metrics
        from zbl_provider.hooks.webhook import WebhookHook
        from zbl_provider.log.storage.retry import TASK_RETRY
        from zbl_provider.operators.announcement import Announcement

        hook = WebhookHook(self.webhook_conn_id, auth_type=self.auth_type)
        for remark in hook.destination.remarks:
            self.log.warning("%s: %s.", self.webhook_conn_id, remark)
        return Dispatcher(
            destination=hook.destination,
            guard=hook.guard,
            log=delivery_log(self.log_conn_id, retry_for=TASK_RETRY),
            policy=Policy(
                schedule=Schedule.parse(self.schedule),
                resend_delivered=self.if_delivered == "send",
                resend_all=self.on_clear == "resend_all",
                wait_for_retries=self.wait_for_retries,
                only_own=self.only_own,
                outages=conf.getboolean("zbl", "outage_breaker"),
            ),
            observe=metrics(self.webhook_conn_id),
            tell=Announcement(context, self.on_outage_callback),
        )

    def _defer(self, report: Report, tally: Mapping[str, int]) -> NoReturn:
        """Wait without a worker; the trigger waits and does nothing else (Contract 3.4)."""
        from zbl_provider.triggers.due import DueTrigger
        from zbl_provider.triggers.kept_back import KeptBackTrigger

        self._say(report)
        kept: dict[str, Any] = {
            **tally,
            "webhook_conn_id": self.webhook_conn_id,
            "log_conn_id": self.log_conn_id,
        }
        if report.down and report.down.probe_at:
            kept["may_probe"] = True
        if self._webhook_id:
            kept["webhook_id"] = self._webhook_id
        trigger: BaseTrigger
        if report.kept_back:
            # It has nothing to try itself, and may be one of very many: the triggerer looks.
            trigger = KeptBackTrigger(
                webhook_conn_id=self.webhook_conn_id,
                log_conn_id=self.log_conn_id,
                is_tried=Status.RETRYING in report.counts,
            )
            self.log.info("Waiting until %s takes leads again.", self.webhook_conn_id)
        else:
            trigger = DueTrigger(moment=report.due_at)
            self.log.info("Waiting until %s.", f"{report.due_at:%Y-%m-%d %H:%M:%S} UTC")
        self.defer(
            trigger=trigger,
            method_name=self.resume.__name__,
            kwargs=kept,
        )

    def _say(self, report: Report) -> None:
        counts = ", ".join(f"{count} {status}" for status, count in report.counts.items())
        self.log.info("Leads of this task: %s.", counts or "none")
        if report.held:
            self.log.warning(
                "%s is held, and its leads with it. %s.", self.webhook_conn_id, report.held
            )
        if report.failed_before and report.failed_since:
            self.log.warning(
                "Leads of the query that are in error: %d, the first since %s. This task leaves "
                "them so. To send them again, clear the task that failed, use Resend on the page "
                "Lead deliveries, or `airflow zbl deliveries resend --integration %s`.",
                report.failed_before,
                f"{report.failed_since:%Y-%m-%d %H:%M} UTC",
                self.webhook_conn_id,
            )
        if report.down and not report.down.ends_the_task:
            self.log.warning("%s", report.down)
        if report.paused and report.due_at:
            self.log.warning("%s", report.paused)

    def _say_skipped(self, tally: Mapping[str, int]) -> None:
        if skipped := tally["skipped"]:
            self.log.info("Skipped, since earlier runs have settled them: %d.", skipped)
        if repeated := tally["repeated"]:
            self.log.info(
                "Rows that repeat an id of the query: %d. Of the rows with one id the first that "
                "passes the filters and is valid counts; without one, the first.",
                repeated,
            )


def _run_key(context: Context) -> RunKey:
    task_instance = context["ti"]
    return RunKey(
        dag_id=task_instance.dag_id,
        task_id=task_instance.task_id,
        run_id=task_instance.run_id,
        map_index=-1 if task_instance.map_index is None else task_instance.map_index,
    )


def _purge(log: DeliveryLog, kept: Retention) -> None:
    """Clear what has rested for as long as the settings say (Contract 6.4)."""
    from zbl_provider.dispatch.dispatcher import utc_now
    from zbl_provider.log.upkeep.stepwise import purge_after_task

    now = utc_now()
    purge_after_task(lambda: log.purge_payloads(now, kept.payloads))
    if rows := kept.rows:
        purge_after_task(lambda: log.purge_rows(now, rows))


def _callables(callbacks: Iterable[OutageCallback]) -> list[OutageCallback]:
    """Refuse what could not be called: nobody would hear of it until a destination is down."""
    if isinstance(callbacks, Iterable) and all(map(callable, listed := list(callbacks))):
        return listed
    raise ConfigurationError(
        field="on_outage_callback",
        problem=f"{callbacks!r} is not a callable, or a list of callables",
        remedy="Pass notifiers, or functions that take the task's context",
    )


def _one_of(field: str, value: _Choice, *allowed: _Choice) -> _Choice:
    if value in allowed:
        return value
    raise ConfigurationError(
        field=field,
        problem=f"{value!r} is not one of the choices",
        remedy=f"Use one of {', '.join(map(str, allowed))}",
    )
