"""Operators that dispatch leads to an integration (Contract 4)."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from zbl_provider.exceptions import ConfigurationError
from zbl_provider.hooks.failing import failing_for_good
from zbl_provider.hooks.leads_query import LeadsQuery, interval_seconds
from zbl_provider.operators.base import DispatchOperator
from zbl_provider.operators.hidden import Hidden, Postponed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import jinja2
    from airflow.sdk import Context

    from zbl_provider.delivery.destination import Destination
    from zbl_provider.dispatch.follow import Follow
    from zbl_provider.dispatch.intake import FoundRow, Unreadable
    from zbl_provider.dispatch.report import Report
    from zbl_provider.leads.lead import Lead
    from zbl_provider.log.store import DeliveryLog
    from zbl_provider.operators.base import OnClear


class DispatchLeadsOperator(DispatchOperator):
    """
    Send every lead that a query finds, and whatever else is due for the integration.

    Rows are streamed; one bad lead never stops the others. A lead that was delivered is not sent
    again by overlapping runs, so select with a look-back. Returns counts by status.

    :param sql: the query, or a ``.sql`` file of the Dag's folder (templated)
    :param leads_conn_id: connection of the database, of any type that Airflow has (templated)
    :param parameters: bound to the query by the driver (templated)
    :param field_map: names of columns that are to be other fields than their names say, such as
        ``{"mobile": "phone", "town": "custom_fields.city"}``
    :param follow: stay for so long, look again every ``poll_interval``, and send new leads at once
        and retries when they are due; for a Dag with ``schedule="@continuous"``. Leads that still
        wait for a retry when the time is over go out with the next run (Contract 4.12)
    :param poll_interval: seconds, or a ``timedelta``, from one look to the next
    :raises ConfigurationError: if ``follow`` or ``poll_interval`` is not a time
    """

    template_fields: Sequence[str] = (
        "sql",
        "parameters",
        "leads_conn_id",
        *DispatchOperator.template_fields,
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
        follow: timedelta | None = None,
        poll_interval: float | timedelta = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sql = sql
        self.leads_conn_id = leads_conn_id
        self.parameters = parameters
        self.field_map = field_map
        if follow is not None and not (isinstance(follow, timedelta) and follow > timedelta(0)):
            raise ConfigurationError(
                field="follow",
                problem=f"{follow!r} is not a time to stay",
                remedy="Give a timedelta, such as timedelta(hours=1)",
            )
        self.follow = follow
        self.poll_interval = interval_seconds(poll_interval)

    def _follow(self) -> Follow | None:
        if self.follow is None:
            return None
        from zbl_provider.dispatch.follow import Follow

        self.log.info(
            "This task stays for %s, and looks for leads every %g seconds.",
            self.follow,
            self.poll_interval,
        )
        return Follow(LeadsQuery.of(self).looks(), self.follow, self.poll_interval, self._reread)

    def _reread(self) -> Destination:
        from zbl_provider.hooks.webhook import WebhookHook

        return WebhookHook(self.webhook_conn_id, auth_type=self.auth_type).destination

    def _source(self) -> tuple[str, str]:
        return self.leads_conn_id, self.sql

    def _find(self) -> Iterator[FoundRow]:
        return LeadsQuery.of(self).leads()

    def _summary(self, report: Report, log: DeliveryLog) -> dict[str, Any]:  # noqa: ARG002  the other operator needs it
        return {str(status): count for status, count in report.counts.items() if count}


class DispatchLeadOperator(DispatchOperator):
    """
    Send one lead; the task is the lead, so clearing it sends the lead again.

    Returns ``status``, ``attempts`` and ``last_status_code``.

    :param lead: the payload's ``lead`` fields and optionally ``list``; a dict, or JSON text such as
        ``{{ dag_run.conf.lead | tojson }}`` (templated, hidden in the rendered view, mappable), or
        a function that gives one, called with ``context`` and ``jinja_env``. After a wait it is not
        asked for again: what it was then may be gone
    """

    template_fields: Sequence[str] = ("lead", *DispatchOperator.template_fields)
    only_own = True

    def __init__(
        self,
        *,
        lead: Mapping[str, Any] | str | Hidden | Callable[..., Any],
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
        if isinstance(self.lead, Hidden):
            return
        render = partial(self._rendered_lead, self.lead, context, jinja_env, seen_oids)
        if _goes_on_after_a_wait(context):
            self.lead = Postponed(render)
        else:
            with failing_for_good():
                self.lead = Hidden(render())

    def _rendered_lead(
        self,
        lead: Mapping[str, Any] | str | Callable[..., Any],
        context: Context,
        jinja_env: jinja2.Environment,
        seen_oids: set[int],
    ) -> Any:  # noqa: ANN401  whatever was rendered
        try:
            if callable(lead):  # as Airflow has it for every templated field
                return lead(context=context, jinja_env=jinja_env)
            return self.render_template(lead, context, jinja_env, seen_oids)
        except TypeError as problem:
            if "Undefined is not JSON serializable" not in str(problem):
                raise
        raise ConfigurationError(
            "lead",
            "its template names what is not there",
            "Look at what the run was given: its conf or params, or the XCom of the task before",
        )

    def _find(self) -> list[Lead | Unreadable]:
        from zbl_provider.dispatch.intake import read_one
        from zbl_provider.leads.payload import webhook_id

        lead = self.lead.value if isinstance(self.lead, Hidden) else self.lead
        if isinstance(lead, str):
            try:
                lead = json.loads(lead)
            except (ValueError, RecursionError):
                lead = None
        if not isinstance(lead, dict):
            raise ConfigurationError(
                "lead",
                "it is neither an object nor JSON text of one",
                "Pass a dict, or a template that ends in | tojson",
            )
        found = read_one(lead)
        self._webhook_id = webhook_id(self.webhook_conn_id, found.id)
        return [found]

    def _summary(self, report: Report, log: DeliveryLog) -> dict[str, Any]:  # noqa: ARG002  the other operator needs it
        if not self._webhook_id:  # deferred by a version that did not keep it
            self._find()
        delivery = log.find(self._webhook_id)
        if delivery is None:
            return {}
        return {
            "status": str(delivery.status),
            "attempts": delivery.attempts,
            "last_status_code": delivery.last_status,
        }


def _goes_on_after_a_wait(context: Context) -> bool:
    """Tell whether Airflow renders the templates of a task that was deferred once more."""
    from_server = getattr(context.get("ti"), "_ti_context_from_server", None)
    return bool(getattr(from_server, "next_method", None))
