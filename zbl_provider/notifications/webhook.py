"""A notifier that posts to a webhook what happened to a task or a Dag run (Contract 8.3)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from copy import copy
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier

from zbl_provider.delivery.schedule import Schedule
from zbl_provider.exceptions import ConfigurationError, NotificationFailed, ScheduleError
from zbl_provider.notifications.occasion import occasion

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import timedelta

    import jinja2
    from airflow.sdk import Context
    from requests.auth import AuthBase

    from zbl_provider.delivery.exchange import Request
    from zbl_provider.delivery.outcome import Outcome
    from zbl_provider.hooks.webhook import WebhookHook

_LONGEST_SECONDS = 60


class WebhookNotifier(BaseNotifier):
    """
    POST a small JSON document to an integration when something happens in Airflow.

    For `on_failure_callback` and its like of tasks and Dags, and for deadlines, sync or async. It
    takes the way of the leads: their network guard, headers, signature and deadline (Contract 1 and
    2). It holds no text of an exception and no data of a lead, unless `message` or `data` says so;
    ``docs/events.md`` has the document. The delivery log has no part in it.

    An answer that is worth another try gets it, by the same rules as for leads, but at once: a
    callback must end soon. What fails in the end is raised: Airflow logs it, and the state of the
    task or Dag run is not touched. A connection that is not active gets nothing.

    :param webhook_conn_id: connection of the integration, of type ``zbl_webhook`` (templated)
    :param event: the event type; by default what happened, such as ``task.failed`` (templated)
    :param message: a text for people (templated)
    :param data: more for machines: a JSON object, or a template that makes one (templated)
    :param schedule: waits after each failed attempt, in seconds or as ``timedelta``, 60 s in all at
        most; by default 1 and 5 seconds
    :param auth_type: `requests` authentication class, as of `HttpOperator`
    :raises ScheduleError: for a schedule that cannot be
    :raises ConfigurationError: if ``data`` is no object
    """

    template_fields: Sequence[str] = ("webhook_conn_id", "event", "message", "data")

    def __init__(
        self,
        *,
        webhook_conn_id: str = "zbl_webhook_default",
        event: str | None = None,
        message: str | None = None,
        data: Mapping[str, Any] | None = None,
        schedule: Iterable[float | timedelta] = (1, 5),
        auth_type: type[AuthBase] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.webhook_conn_id = webhook_conn_id
        self.event = event
        self.message = message
        self.data = data
        self.schedule = Schedule.parse(schedule)
        if sum(self.schedule.waits) > _LONGEST_SECONDS:
            raise ScheduleError(
                "schedule",
                f"waits for more than {_LONGEST_SECONDS} seconds in all",
                "A callback holds up what runs it: give shorter waits",
            )
        if not (data is None or isinstance(data, Mapping | str)):  # a text is a template of one
            raise ConfigurationError(
                "data", f"is not an object, but a {type(data).__name__}", "Pass a dictionary"
            )
        self.auth_type = auth_type

    def __call__(self, *args: Any) -> None:
        """Notify; Airflow renders in place, and one notifier may serve many tasks."""
        super(WebhookNotifier, copy(self)).__call__(*args)

    def _do_render_template_fields(
        self,
        parent: Any,  # noqa: ANN401  Airflow's own signature
        template_fields: Iterable[str],
        context: Context,
        jinja_env: jinja2.Environment,
        seen_oids: set[int],
    ) -> None:
        """Render as Airflow does; its 3.2 leaves a template as it is where it makes nothing."""
        given = {name: getattr(parent, name) for name in template_fields}
        super()._do_render_template_fields(parent, [*given], context, jinja_env, seen_oids)
        for name, value in given.items():
            if isinstance(value, str) and getattr(parent, name) is value:
                setattr(parent, name, self.render_template(value, context, jinja_env, seen_oids))

    def notify(self, context: Context) -> None:
        """
        Send the notification, and wait for the answer.

        :param context: Airflow's
        :raises NotificationFailed: if it was not delivered
        :raises ConfigurationError: if the connection, or `data`, cannot be used
        """
        if prepared := self._prepare(context):
            hook, request = prepared
            self._conclude(hook.send(request, self.schedule))

    async def async_notify(self, context: Context) -> None:
        """
        Send the notification, and let the event loop go on meanwhile.

        :param context: Airflow's
        :raises NotificationFailed: if it was not delivered
        :raises ConfigurationError: if the connection, or `data`, cannot be used
        """
        from asgiref.sync import sync_to_async

        # In a thread: imports, and the question for the connection, would hold up the loop.
        if prepared := await sync_to_async(self._prepare)(context):
            hook, request = prepared
            self._conclude(await hook.async_send(request, self.schedule))

    def _prepare(self, context: Context) -> tuple[WebhookHook, Request] | None:
        from zbl_provider.hooks.webhook import WebhookHook

        hook = WebhookHook(self.webhook_conn_id, auth_type=self.auth_type)
        if hook.destination.active:
            return hook, self._request(context)
        self.log.warning("%s is not active: the notification is not sent.", self.webhook_conn_id)
        return None

    def _request(self, context: Context) -> Request:
        from airflow.sdk.configuration import conf

        from zbl_provider.delivery.exchange import Request

        happened = occasion(context)
        event = self.event or happened.event
        document = {
            "event": event,
            "timestamp": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "dag_id": happened.dag_id,
            "run_id": happened.run_id,
            "task_id": happened.task_id,
            "map_index": happened.map_index,
            "try_number": happened.try_number,
            "state": happened.state,
            "logical_date": happened.logical_date,
            "run_after": happened.run_after,
            "deadline": happened.deadline,
            "url": happened.url(conf.get("api", "base_url", fallback="")),
            "message": self.message,
            "data": _object(self.data),
        }
        # The same however often it is sent (Contract 2.3).
        name = json.dumps(
            (self.webhook_conn_id, event, happened.dag_id, happened.run_id, happened.task_id,
             happened.map_index, happened.turn)
        )  # fmt: skip
        webhook_id = "msg_" + hashlib.sha256(name.encode()).hexdigest()[:40]
        return Request(webhook_id, _encode(document))

    def _conclude(self, outcome: Outcome) -> None:
        from zbl_provider.delivery.outcome import Verdict

        if outcome.verdict is not Verdict.DELIVERED:
            raise NotificationFailed(self.webhook_conn_id, outcome.detail)
        self.log.info("Notified %s: status %s.", self.webhook_conn_id, outcome.status)


def _object(data: object) -> Mapping[str, object]:
    """Read `data` as it is after rendering: a template makes a text, and is to make JSON."""
    if isinstance(data, str) and data.strip():
        with suppress(ValueError, RecursionError):  # their words may quote the data
            data = json.loads(data)
    if isinstance(data, Mapping):
        return data
    if data is None or (isinstance(data, str) and not data.strip()):
        return {}
    raise ConfigurationError(
        field="data",
        problem="its template makes neither an object nor JSON text of one",
        remedy="Pass a dict, or a template that ends in | tojson",
    )


def _encode(document: Mapping[str, object]) -> bytes:
    import orjson

    try:
        return orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:
        pass  # its words may quote the data
    raise ConfigurationError(
        field="data", problem="it is not JSON", remedy="Pass texts, numbers, lists and objects"
    )
