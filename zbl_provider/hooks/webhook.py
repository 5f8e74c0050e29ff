"""The integration as Airflow knows it: a connection of type `zbl_webhook`."""

from __future__ import annotations

import asyncio
import re
import secrets
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING, Any

from airflow.providers.http.hooks.http import HttpHook
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowException
from airflow.sdk.log import mask_secret
from requests import PreparedRequest, RequestException, Response, Session

from zbl_provider.delivery.destination import Destination
from zbl_provider.delivery.destination.headers import (
    read_credentials,
    read_header,
    without_duplicates,
)
from zbl_provider.delivery.destination.keys import read_extra
from zbl_provider.delivery.exchange import DEADLINE_SECONDS, Answer
from zbl_provider.delivery.guard import Guard
from zbl_provider.delivery.outcome import Outcome, Verdict, classify
from zbl_provider.delivery.schedule import Schedule
from zbl_provider.exceptions import ConfigurationError, ZblError, without_context
from zbl_provider.hooks.connections import find_connection

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from airflow.sdk import Connection
    from requests.auth import AuthBase

    from zbl_provider.delivery.exchange import Request

_OPTIONS = frozenset({"timeout", "check_response"})
_SHORTEST_MASKED = 5
# Such as leads, error, /leads, application/json; what could name a secret is not one of them.
_EVERYDAY = re.compile(r"(?!.*(?:secret|token|pass|key))/?[a-z]{1,12}(/[a-z]{1,12})?")


class WebhookHook(HttpHook):
    """
    An integration: where leads are sent, with which headers, and which leads (Contract 1).

    :param webhook_conn_id: id of a connection of type ``zbl_webhook``
    :param auth_type: class of a `requests` authentication, made with the connection's login and
        password where it has them, that sets headers, the same for all requests; HTTP Basic by
        default
    """

    conn_name_attr = "webhook_conn_id"
    default_conn_name = "zbl_webhook_default"
    conn_type = "zbl_webhook"
    hook_name = "ZBL Webhook"

    def __init__(
        self, webhook_conn_id: str = default_conn_name, *, auth_type: type[AuthBase] | None = None
    ) -> None:
        super().__init__(method="POST", http_conn_id=webhook_conn_id, auth_type=auth_type)
        self.webhook_conn_id = webhook_conn_id

    @cached_property
    @without_context
    def destination(self) -> Destination:
        """
        The connection's settings, validated (Contract 1.2 to 1.4).

        :raises ConfigurationError: naming the field that cannot work, and what to change
        """
        connection, destination = self._read(with_login=not self._auth_type)
        if self._auth_type:
            login, password = connection.login, connection.password
            credentials = (login, password) if read_credentials(login, password) else ()
            destination = _with_auth(destination, self._auth_type, credentials)
        _mask(destination, connection.extra)
        return destination

    @cached_property
    @without_context
    def without_login(self) -> Destination:
        """
        The same for whoever sends nothing: what Login means, an operator's ``auth_type`` may say.

        :raises ConfigurationError: as `destination`, but for Login and Password
        """
        connection, destination = self._read(with_login=False)
        _mask(destination, connection.extra)
        return destination

    def _read(self, *, with_login: bool) -> tuple[Connection, Destination]:
        connection = find_connection(self.webhook_conn_id, self.conn_name_attr, self.get_connection)
        try:
            # As it stands: `extra_dejson` gives {} for what is broken, and logs it.
            extra = connection.extra
        except ValueError:
            raise ConfigurationError(
                "Extra",
                "cannot be read, or is not a JSON object, as Airflow says",
                "Correct it in the connection",
            ) from None
        return connection, Destination.parse(
            integration=self.webhook_conn_id,
            host=connection.host,
            schema=connection.schema,
            port=connection.port,
            login=connection.login if with_login else None,
            password=connection.password if with_login else None,
            extra=extra,
        )

    @cached_property
    def guard(self) -> Guard:
        """
        Which addresses may be reached: `[zbl] allowed_networks` (Contract 7.1).

        :raises ConfigurationError: if the option is not a list of networks
        """
        return Guard.parse(conf.get("zbl", "allowed_networks", fallback=""))

    def send(self, request: Request, schedule: Schedule = Schedule.ONCE) -> Outcome:
        """
        Send one request through the provider's one transport, whatever `active` and filters say.

        :param request: the body with its id
        :param schedule: waits after failed attempts, spent here and now; by default there is one
            attempt
        :return: how the last attempt ended
        :raises ConfigurationError: if the connection's settings cannot work
        """
        return asyncio.run(self._sending(request, schedule))

    async def async_send(self, request: Request, schedule: Schedule = Schedule.ONCE) -> Outcome:
        """
        Send as `send` does, and let the event loop go on meanwhile.

        :param request: the body with its id
        :param schedule: waits after failed attempts
        :return: how the last attempt ended
        :raises ConfigurationError: if the connection's settings cannot work
        """
        from asgiref.sync import sync_to_async

        # To read the connection, Airflow may have to ask another process.
        return await (await sync_to_async(self._sending)(request, schedule))

    def _sending(self, request: Request, schedule: Schedule) -> Coroutine[Any, Any, Outcome]:
        from zbl_provider.delivery.transport import Transport

        transport = Transport(self.destination, self.guard)
        retry_statuses = self.destination.retry_statuses

        async def attempts() -> Outcome:
            async with transport:
                for attempt in count(1):
                    outcome = classify(await transport.send(request), retry_statuses)
                    ended_at = datetime.now(UTC)
                    due_at = schedule.next_attempt(attempt, outcome, ended_at)
                    if due_at is None:
                        break
                    await asyncio.sleep((due_at - ended_at).total_seconds())
            return outcome

        return attempts()

    def test_connection(self) -> tuple[bool, str]:
        """
        Send one test lead (Contract 1.6).

        :return: whether it was delivered, and the status and time, or the reason
        """
        from zbl_provider.delivery.exchange import Request
        from zbl_provider.leads import payload

        test_id = f"test-{secrets.token_hex(8)}"
        try:
            document = payload.sample(test_id, datetime.now(UTC))
            body = self.destination.body
            request = Request(
                webhook_id=payload.webhook_id(self.webhook_conn_id, test_id),
                body=payload.encode(body.render(document) if body else document),
                extra_headers=(("X-ZBL-Test", "true"),),
            )
            outcome = self.send(request)
        except ZblError as problem:
            return False, str(problem)
        took = f"{outcome.seconds * 1000:.0f} ms, {self.destination.origin}"
        if outcome.verdict is Verdict.DELIVERED:
            noted = "".join(f". {remark}" for remark in self.destination.remarks)
            return True, f"Test lead delivered: status {outcome.status} ({took}){noted}"
        return False, f"Test lead not delivered: {outcome.detail} ({took})"

    def get_conn(
        self,
        headers: Mapping[Any, Any] | None = None,
        extra_options: Mapping[str, Any] | None = None,
    ) -> Session:
        """
        Give a `requests` session to the destination: HTTPS alone, no redirects, no environment.

        It keeps the rules of section 2 as far as requests can: its timeout is one per read, not the
        whole deadline of 2.4, which the provider's own transport keeps.

        :param headers: more headers
        :param extra_options: of HttpHook: `timeout` in seconds, and what `run` reads; any other is
            refused
        :return: a session with the connection's headers, authentication, certificates and proxy
        :raises ConfigurationError: if the connection's settings, or the options, cannot work
        """
        from zbl_provider.hooks.session import WebhookSession

        for option in (extra_options or {}).keys() - _OPTIONS:
            raise ConfigurationError(
                "extra_options",
                f"has {option!r}, which would not be used",
                "Leave it out; certificates and proxies are set in the connection's Extra",
            )
        try:
            timeout = float((extra_options or {}).get("timeout") or DEADLINE_SECONDS)
        except (TypeError, ValueError):
            raise ConfigurationError(
                "extra_options", "has a timeout that is not a number", "Give it in seconds"
            ) from None
        session = WebhookSession(self.destination, self.guard, timeout)
        session.headers.update(headers or {})
        self.base_url, self._base_url_initialized = self.destination.url, True
        return session

    @without_context
    def run(
        self,
        endpoint: str | None = None,
        data: dict[str, Any] | str | None = None,
        headers: dict[str, Any] | None = None,
        extra_options: dict[str, Any] | None = None,
        **request_kwargs: Any,
    ) -> Response:
        """
        POST as `HttpHook.run` does, and show no part of the URL in logs or errors.

        :param endpoint: appended to the destination's URL
        :param data: the body
        :param headers: more headers
        :param extra_options: `timeout` in seconds; `check_response` False accepts every status
        :param request_kwargs: of `requests.Session.post`, such as ``json``
        :return: the answer
        :raises ConfigurationError: if the connection's settings cannot work
        :raises ZblError: if there was no answer, or its status is not 2xx
        """
        session = self.get_conn(headers, extra_options)
        try:
            response = session.post(self.url_from_endpoint(endpoint), data=data, **request_kwargs)
        except RequestException as problem:
            # The message of a RequestException holds the URL, and a catch-hook URL is a secret.
            raise ZblError(f"{self.destination.origin}: {type(problem).__name__}") from None
        outcome = classify(Answer(response.status_code, "", None, 0.0))
        if (extra_options or {}).get(
            "check_response", True
        ) and outcome.verdict is not Verdict.DELIVERED:
            raise ZblError(f"{self.destination.origin} {outcome.detail}")
        return response


def is_active(webhook_conn_id: str) -> bool | None:
    """
    Tell whether a connection lets its leads go out.

    :param webhook_conn_id: connection of the integration
    :return: None if it cannot be read, or cannot work: a task that uses it says why
    """
    try:
        return WebhookHook(webhook_conn_id).without_login.active
    except (ZblError, AirflowException, PermissionError):  # that of a secrets backend
        return None


def _with_auth(
    destination: Destination, auth_type: type[AuthBase], credentials: tuple[str | None, ...]
) -> Destination:
    """Add the headers that a `requests` authentication sets; it must set some (Contract 1.1)."""
    field, name = "auth_type", getattr(auth_type, "__name__", "it")
    try:
        auth = auth_type(*credentials)
    except TypeError:  # its words may quote the password
        with_what = "a login and a password" if credentials else "no login and no password"
        raise ConfigurationError(
            field,
            f"{name} cannot be made with {with_what}",
            "Name a class that takes what the connection has in Login and Password",
        ) from None
    probe = _Probe()
    probe.prepare(method="POST", url=destination.url, headers={})
    own = {header.lower() for header in probe.headers}
    values: Mapping[str, str | bytes] = {}  # whatever its author has set
    if callable(auth):
        values = _headers_by(auth, probe, name)
    added = tuple(
        read_header(header, value.decode("latin-1") if isinstance(value, bytes) else value)
        for header, value in values.items()
        if header.lower() not in own
    )
    if not added:
        raise ConfigurationError(
            field,
            f"{name} sets no header before the request, and so would not be used",
            "Name a class of requests' authentication that sets one, or use secret_headers",
        )
    if probe.is_read:
        raise ConfigurationError(
            field,
            f"{name} reads the body of each request, and leads would all have one header",
            "Sign leads with signing_secret, or name a class whose headers hold for all requests",
        )
    return replace(destination, headers=without_duplicates(destination.headers + added))


class _Probe(PreparedRequest):
    """
    A request without a body, to see which headers an authentication sets.

    :ivar is_read: whether the authentication has looked at the body
    """

    is_read = False

    @property
    def body(self) -> bytes:
        self.is_read = True
        return b""

    @body.setter
    def body(self, value: object) -> None:
        pass


def _headers_by(
    auth: Callable[[PreparedRequest], PreparedRequest], probe: _Probe, name: str
) -> Mapping[str, str | bytes]:
    probe.is_read = False  # requests itself has looked
    try:
        return auth(probe).headers
    except (TypeError, AttributeError):  # others may pass, such as a server of tokens that is away
        raise ConfigurationError(
            "auth_type",
            f"{name} cannot be used on a request",
            "Name a class that sets a header and returns the request; it gets no lead",
        ) from None


def _mask(destination: Destination, extra: str | None) -> None:
    """
    Have Airflow mask what must not be shown, should anybody's code log it (Contract 1.5).

    Nothing of this provider logs it. An everyday word is left: Airflow would mask it wherever it
    stands, in the level `error` of each line, too. Of texts under five characters it only warns.
    """
    for secret in destination.secrets():
        if len(secret) >= _SHORTEST_MASKED and not _EVERYDAY.fullmatch(secret):
            mask_secret(secret)
    for key, value in read_extra(extra).items():
        mask_secret(value, key)  # where the key says that it is a secret
