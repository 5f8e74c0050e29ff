"""Who sees what, and who may change it (Contract 7.2). Airflow's auth manager decides.

- Every route needs a user whom Airflow has authenticated, else 401.
- A user sees the leads of the Dags whose task instances he or she may read (Contract 8.10).
- A user resends the leads of the Dags whose task instances he or she may edit, that is, clear.
- Holding or resuming an integration, and sending a test lead, touches all Dags that send to it: the
  user must be allowed to edit the task instances of each of them.
- A test lead takes, besides, what Airflow's own Test button takes (Contract 1.6).

A plugin's application has no authentication of its own (apache/airflow#72655), so these functions
are dependencies of its routes.
"""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any
from urllib.parse import urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.batch_apis import (
    IsAuthorizedConnectionRequest,
    IsAuthorizedDagRequest,
)
from airflow.api_fastapi.auth.managers.models.resource_details import (
    ConnectionDetails,
    DagAccessEntity,
    DagDetails,
)
from airflow.api_fastapi.core_api.security import GetUserDep, bearer_scheme, get_user
from airflow.configuration import conf
from airflow.models.connection import Connection
from airflow.models.dag import DagModel
from fastapi import Depends, HTTPException, Request, Response
from pydantic import AfterValidator, Field

from zbl_provider.log.storage.text import storable
from zbl_provider.plugin.api.deps import Log
from zbl_provider.plugin.api.rights import Method, Rights
from zbl_provider.plugin.api.threads import OwnThreadRoute, own_thread

Dags = frozenset[str]
RIGHTS = Rights()
"""Of this process of the API server."""

Name = Annotated[str, Field(max_length=1000), AfterValidator(storable)]
"""Of an integration, in a path."""

LARGEST_BODY = 8 * 2**20
"""Bytes; what the page itself sends at most, ten thousand task instances, is far less."""

_TOO_LARGE = "This is more than the page takes."
_NOTHING_SEEN = "You may not read the task instances of any Dag that has sent leads."
_NO_DAG = "You may not edit the task instances of any Dag that has sent leads."


def permitted(user: BaseUser, dags: Dags, method: Method) -> Dags:
    """
    Return which of the Dags a user may read (GET) or edit (PUT).

    The auth manager's answers are remembered for some seconds: it may ask a server for each Dag.

    :param user: as Airflow has authenticated
    :param dags: Dag ids, of which some may have been deleted meanwhile
    """
    return RIGHTS.held(user.get_id(), method, dags, lambda some: _permitted(user, some, method))


def _permitted(user: BaseUser, dags: Dags, method: Method) -> Dags:
    manager = get_auth_manager()
    teams: dict[str, str | None] = {}
    if conf.getboolean("core", "multi_team", fallback=False):
        # A deleted Dag belongs to no team: nobody can tell any more whose leads it had.
        teams = DagModel.get_dag_id_to_team_name_mapping(sorted(dags))
        allowed = dags & manager.get_authorized_dag_ids(user=user, method=method)
    else:
        allowed = Dags(
            manager.filter_authorized_dag_ids(dag_ids=set(dags), user=user, method=method)
        )

    def may_all(dag_ids: list[str]) -> bool:
        # Airflow shows, or lets be cleared, the Dags' task instances (Contract 8.10).
        return manager.batch_is_authorized_dag(
            [
                IsAuthorizedDagRequest(
                    method=method,
                    access_entity=DagAccessEntity.TASK_INSTANCE,
                    details=DagDetails(id=dag_id, team_name=teams.get(dag_id)),
                )
                for dag_id in dag_ids
            ],
            user=user,
        )

    return Dags(_granted(sorted(allowed), may_all))


def _granted(names: list[str], may_all: Callable[[list[str]], bool]) -> list[str]:
    """
    Return for which of the names a right is held, as far as possible asked for many at once.

    An auth manager that asks a server, such as Keycloak's or AWS's, asks it for many names in
    parallel, or in one request; for name after name people would wait. What it answers is whether
    the right is held for all of them, so those that it is not are found by halves.
    """
    if not names or may_all(names):
        return names
    half = len(names) // 2
    return [*_granted(names[:half], may_all), *_granted(names[half:], may_all)] if half else []


def readable(user: GetUserDep, log: Log) -> Dags | None:
    """
    Return the Dags whose leads are shown; None is all that the log knows.

    :raises HTTPException: 403 if the user may read the task instances of none of them
    """
    known = log.reader.dags()
    readable = permitted(user, known, "GET")
    if known and not readable:
        raise HTTPException(403, _NOTHING_SEEN)
    return None if readable == known else readable


def editable(user: GetUserDep, log: Log) -> Dags:
    """Return the Dags whose leads the user may resend."""
    return permitted(user, log.reader.dags(), "PUT")


Readable = Annotated[Dags | None, Depends(own_thread(readable))]
Editable = Annotated[Dags, Depends(own_thread(editable))]


async def editor(dags: Editable) -> Dags:
    """
    Return the Dags whose leads the user may resend.

    :raises HTTPException: 403 if there is none
    """
    if not dags:
        raise HTTPException(403, _NO_DAG)
    return dags


def keeper(name: Name, user: GetUserDep, log: Log) -> str:
    """
    Return the integration's connection id, for a user who may change what happens to it.

    :param name: of the path
    :raises HTTPException: 403 if the user may not edit the task instances of each Dag that sends to
        it, 404 if no Dag ever sent to it
    """
    dags = log.reader.dags(integration=name)
    if permitted(user, dags, "PUT") != dags:
        raise HTTPException(
            403, f"You may not edit the task instances of every Dag that sends to {name}."
        )
    if not dags:
        if not editable(user, log):
            raise HTTPException(403, _NO_DAG)
        raise HTTPException(404, f"No lead was ever enrolled for {name}.")
    return name


def tester(name: Annotated[str, Depends(own_thread(keeper))], user: GetUserDep) -> str:
    """
    Return the integration's connection id, for a user who may test connections.

    :raises HTTPException: 403 if connections are not tested here, or not by this user
    """
    if not _testing_is_on():
        raise HTTPException(403, "Testing connections is off: see [core] test_connection.")
    if not testable(user, frozenset({name})):
        raise HTTPException(403, f"You may not test the connection {name}.")
    return name


def testable(user: BaseUser, names: frozenset[str]) -> frozenset[str]:
    """Return with which of the connections a user may send a test lead."""
    if not _testing_is_on():
        return frozenset()
    return RIGHTS.held(user.get_id(), "TEST", names, lambda some: _testable(user, some))


def _testing_is_on() -> bool:
    setting: str = conf.get("core", "test_connection", fallback="Disabled")
    return setting.strip().lower() == "enabled"


def _testable(user: BaseUser, names: frozenset[str]) -> frozenset[str]:
    manager = get_auth_manager()
    # Airflow asks for the right to test one, and to read the one whose secrets are used.
    if not manager.is_authorized_connection(method="POST", user=user):
        return frozenset()
    teams: dict[str, str | None] = {}
    if conf.getboolean("core", "multi_team", fallback=False):
        teams = {name: Connection.get_team_name(name) for name in names}

    def may_all(conn_ids: list[str]) -> bool:
        return manager.batch_is_authorized_connection(
            [
                IsAuthorizedConnectionRequest(
                    method="GET",
                    details=ConnectionDetails(conn_id=conn_id, team_name=teams.get(conn_id)),
                )
                for conn_id in conn_ids
            ],
            user=user,
        )

    return frozenset(_granted(sorted(names), may_all))


async def from_this_page(request: Request) -> None:
    """
    Refuse a change that another site asks for with the user's cookie.

    A form or an image of another site can't send JSON without asking first (CORS), Airflow's cookie
    is `SameSite=Lax`, and a browser names where a request comes from.

    :raises HTTPException: 415 without JSON, 403 from elsewhere
    """
    kind = request.headers.get("content-type", "").partition(";")[0]
    if kind.strip().lower() != "application/json":
        raise HTTPException(415, "Send JSON.")
    if not _same_origin(request):
        raise HTTPException(403, "This request comes from another site.")


def _same_origin(request: Request) -> bool:
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    # What takes the origin away may leave the address of the page that asks.
    origin = request.headers.get("origin") or request.headers.get("referer")
    if not origin:
        return True  # no browser sent it, so no cookie came along unasked
    try:
        host = urlsplit(origin).netloc
    except ValueError:  # no address at all
        return False
    # Behind a reverse proxy the host that the browser sees is the one of `[api] base_url`.
    base_url = conf.get("api", "base_url", fallback="")
    return bool(host) and host in {request.headers.get("host", ""), urlsplit(base_url).netloc}


async def signed_in(user: GetUserDep) -> BaseUser:
    """
    Return the user whom Airflow has authenticated (Contract 7.2).

    :raises HTTPException: 401 if there is none
    """
    return _known(user)


def _known(user: BaseUser | None) -> BaseUser:
    # Keycloak's auth manager has no user, and no refusal, for a session without Keycloak's token.
    if user is None:
        raise HTTPException(401, "Your session has ended. Sign in to Airflow again.")
    return user


class GuardedRoute(OwnThreadRoute):
    """A route that reads no body before it knows who sends it, and none that is too large (7.2)."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers; FastAPI by itself reads and parses a body before all else."""
        answer = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            _known(await get_user(request, None, await bearer_scheme(request)))
            return await answer(_Bounded(request.scope, request.receive))

        return guarded


class _Bounded(Request):
    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            body = bytearray()
            async for piece in self.stream():
                body += piece
                if len(body) > LARGEST_BODY:
                    raise HTTPException(413, _TOO_LARGE)
            self._body = bytes(body)
        return self._body


Editor = Annotated[Dags, Depends(editor)]
Keeper = Annotated[str, Depends(own_thread(keeper))]
Tester = Annotated[str, Depends(own_thread(tester))]
