"""Where leads are sent and under which rules: one Airflow connection, validated once, frozen."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NoReturn, Self
from urllib.parse import unquote, urlsplit

from zbl_provider.delivery.destination import extra as settings
from zbl_provider.delivery.destination.headers import Headers, parse_headers
from zbl_provider.delivery.destination.keys import read_extra
from zbl_provider.delivery.destination.url import parse_url
from zbl_provider.delivery.signing import parse_secrets
from zbl_provider.exceptions import without_context

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from zbl_provider.leads.body import Body
    from zbl_provider.leads.filters import Filters

_WORDS: Final = re.compile(r"[^\s;,=\"]+")
# What could be a key of its own. A folder such as "hooks" could not: masking it wherever it turns
# up would make answers unreadable.
_TOKEN: Final = re.compile(r"(?=\D*\d).{6,}|.{16,}")
_SHORT_WORD: Final = re.compile(r"[a-z]{0,7}")  # such as "true" or "json"


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
    :param body: makes the body of each request; None: the standard payload (Contract 2.7)
    :param verify: whether certificates are verified, or the path of a private CA to trust
    :param cert: client certificate: a PEM file with both parts, or certificate and key
    :param proxy: URL of the HTTP proxy that the connection names
    :param trust_env: whether the environment's proxies may be used (Contract 2.5)
    :param remarks: what the connection asks for without effect, to be told to its user
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
    body: Body | None = field(default=None, repr=False)
    verify: bool | str = True
    cert: str | tuple[str, str] | None = field(default=None, repr=False)
    proxy: str | None = field(default=None, repr=False)
    trust_env: bool = False
    remarks: tuple[str, ...] = ()

    @classmethod
    @without_context
    def parse(
        cls,
        *,
        integration: str,
        host: object,
        schema: object = None,
        port: object = None,
        login: object = None,
        password: object = None,
        extra: str | Mapping[str, object] | None = None,
    ) -> Self:
        """
        Read a connection (Contract 1.2, 1.3 and 1.4). Nothing is looked up, opened or sent.

        Every part that is given is used, or refused. The same connection reads the same in every
        form that Airflow knows: the form, JSON, URI or file.

        :param integration: the connection's id
        :param host: the whole URL, or the host where the URL comes in parts
        :param schema: scheme, where the URL comes in parts
        :param port: port, where the URL comes in parts
        :param login: for Basic authorization
        :param password: for Basic authorization
        :param extra: the JSON text of Extra, or the object in it: the keys of Contract 1.2, and
            those of `HttpHook`'s connections that mean something here
        :raises ConfigurationError: by its kind, naming the field and what to change
        """
        target = parse_url(host, schema, port)
        given = read_extra(extra)
        filters = settings.filters(given)
        return cls(
            integration=integration,
            url=target.url,
            origin=target.origin,
            host=target.host,
            port=target.port,
            headers=parse_headers(given.get("secret_headers"), login, password),
            signing_secrets=parse_secrets(settings.text(given, "signing_secret")),
            active=settings.boolean(given, "active", default=True),
            filters=filters,
            retry_statuses=settings.statuses(given),
            max_concurrency=settings.concurrency(given),
            max_rate=settings.rate(given),
            keep_alive=settings.boolean(given, "keep_alive", default=True),
            body=settings.body(given),
            verify=settings.verification(given),
            cert=settings.certificate(given),
            proxy=settings.proxy(given, target.host),
            trust_env=settings.boolean(given, "trust_env", default=False),
            remarks=(*settings.remarks(given), *filters.remarks()),
        )

    def secrets(self) -> Iterator[str]:
        """
        Yield what must not be shown, wherever it turns up (Contract 1.5); short texts, too.

        A receiver may name only a part of it: n8n's 404 has the path without its first folder, and
        an echo has the query's values, or the login, taken apart.
        """
        parts = urlsplit(self.url)
        yield self.url
        yield f"{parts.path}?{parts.query}"
        yield parts.path
        yield parts.query
        folders = parts.path.strip("/").split("/")
        yield from ("/".join(folders[start:]) for start in range(len(folders) - 1))
        yield from filter(_TOKEN.fullmatch, folders)
        for pair in parts.query.split("&"):
            name, equals, value = pair.partition("=")
            value = value if equals else name  # base64 ends with more of them
            yield "" if _SHORT_WORD.fullmatch(value) else value
        for _, value in self.headers:
            scheme, _, credentials = value.partition(" ")
            yield from (value, credentials)
            yield from filter(_TOKEN.fullmatch, _WORDS.findall(value))
            if scheme.lower() == "basic":
                yield from _login_and_password(credentials)
        if (proxy := urlsplit(self.proxy or "")).password:
            yield from (proxy.password, unquote(proxy.password), proxy.netloc.rpartition("@")[0])
        for key in self.signing_secrets:
            encoded = b64encode(key).decode("ascii")
            yield from (f"whsec_{encoded}", encoded.rstrip("="))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Destination holds secrets: pass the connection's id instead")


def _login_and_password(credentials: str) -> tuple[str, ...]:
    """Read what Basic authentication has encoded; the login alone is no secret."""
    try:
        octets = b64decode(credentials)
    except ValueError:
        return ()
    try:
        pair = octets.decode()
    except UnicodeDecodeError:
        pair = octets.decode("latin-1")
    return pair, pair.partition(":")[2]
