"""Where leads are sent and under which rules: one Airflow connection, validated once, frozen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NoReturn, Self
from urllib.parse import urlsplit

from zbl_provider.delivery.destination import extra as settings
from zbl_provider.delivery.destination.headers import Headers, parse_headers
from zbl_provider.delivery.destination.url import parse_url
from zbl_provider.delivery.signing import parse_secrets
from zbl_provider.exceptions import ConfigurationError, HeaderError, SigningSecretError
from zbl_provider.leads.filters import Filters


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """
    One integration (Contract 1). What is secret in it shows in no repr, and it is never pickled.

    :param integration: the connection's id
    :param url: the whole HTTPS URL
    :param origin: scheme, host and port of it: what may be shown
    :param host: the host name or address to connect to
    :param port: the TCP port to connect to
    :param headers: the integration's own headers, Authorization among them
    :param signing_secrets: keys that sign, the first one first; none: not signed
    :param active: whether leads are sent, or held
    :param filters: which leads are sent
    :param retry_statuses: extra statuses to retry (Contract 3.3)
    :param max_concurrency: requests in flight, per task
    :param max_rate: requests per second, per task; None: no limit
    :param keep_alive: whether connections are kept and used again (Contract 2.6)
    :param verify: whether certificates are verified, or the path of a private CA to trust
    :param cert: client certificate: a PEM file with both parts, or certificate and key
    :param proxy: URL of the HTTP proxy that the connection names
    :param trust_env: whether the environment's proxies may be used (Contract 2.5)
    """

    integration: str
    url: str = field(repr=False)
    origin: str
    host: str
    port: int
    headers: Headers = field(default=(), repr=False)
    signing_secrets: tuple[bytes, ...] = field(default=(), repr=False)
    active: bool = True
    filters: Filters
    retry_statuses: frozenset[int] = frozenset()
    max_concurrency: int = settings.DEFAULT_CONCURRENCY
    max_rate: float | None = None
    keep_alive: bool = True
    verify: bool | str = True
    cert: str | tuple[str, str] | None = field(default=None, repr=False)
    proxy: str | None = field(default=None, repr=False)
    trust_env: bool = False

    @classmethod
    def parse(
        cls,
        *,
        integration: str,
        host: str | None,
        schema: str | None = None,
        port: int | None = None,
        login: str | None = None,
        password: str | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> Self:
        """
        Read a connection (Contract 1.2, 1.3 and 1.4). Nothing is looked up, opened or sent.

        :param integration: the connection's id
        :param host: the whole URL, or the host where the URL comes in parts
        :param schema: scheme, where the URL comes in parts
        :param port: port, where the URL comes in parts
        :param login: for Basic authorization
        :param password: for Basic authorization
        :param extra: the keys of Contract 1.2, and `HttpHook`'s `verify`, `cert`, `proxies` and
            `trust_env`; its other keys are left aside, and no unknown key becomes a header
        :raises ConfigurationError: by its kind, naming the field and what to change
        """
        given = {} if extra is None else extra
        target = parse_url(host, schema, port)
        _refuse_lost_secrets(given)
        return cls(
            integration=integration,
            url=target.url,
            origin=target.origin,
            host=target.host,
            port=target.port,
            headers=parse_headers(given.get("secret_headers"), login, password),
            signing_secrets=parse_secrets(_text(given, "signing_secret")),
            active=settings.boolean(given, "active", default=True),
            filters=_filters(given),
            retry_statuses=settings.statuses(given),
            max_concurrency=settings.concurrency(given),
            max_rate=settings.rate(given),
            keep_alive=settings.boolean(given, "keep_alive", default=True),
            verify=settings.verification(given),
            cert=settings.certificate(given),
            proxy=settings.proxy(given, target.host),
            trust_env=settings.boolean(given, "trust_env", default=False),
        )

    def secrets(self) -> Iterator[str]:
        """Give what must not be shown wherever it turns up (Contract 1.5), short texts, too."""
        parts = urlsplit(self.url)
        yield self.url
        yield f"{parts.path}?{parts.query}"
        yield parts.path
        yield parts.query
        for _, value in self.headers:
            yield value
            yield value.partition(" ")[2]  # the token behind "Bearer" or "Basic"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Destination holds secrets: pass the connection's id instead")


def _refuse_lost_secrets(extra: Mapping[str, object]) -> None:
    """Refuse Airflow's mask where a secret was: leads must not go out without it, unnoticed."""
    if extra.get("signing_secret") == "***":
        raise SigningSecretError(field="signing_secret", problem=_LOST, remedy=_AGAIN)
    headers = extra.get("secret_headers")
    values = headers.values() if isinstance(headers, Mapping) else (headers,)
    if "***" in values:
        raise HeaderError(field="secret_headers", problem=_LOST, remedy=_AGAIN)
    if settings.given(extra, "headers"):
        raise HeaderError(
            field="headers",
            problem="is not read, because Airflow shows what is under it",
            remedy="Move the headers to secret_headers",
        )


_LOST = "holds Airflow's mask in place of the secret"
_AGAIN = "Enter it again"


def _text(extra: Mapping[str, object], key: str) -> str | None:
    value = settings.given(extra, key)
    if value is None or isinstance(value, str):
        return value
    raise ConfigurationError(field=key, problem="is no text", remedy="Put it in quotes")


def _filters(extra: Mapping[str, object]) -> Filters:
    return Filters.parse(
        min_score=settings.given(extra, "min_score"),
        lists=settings.given(extra, "lists"),
        field_filters=settings.given(extra, "field_filters"),
    )
