"""Who sees what, and who may change it (Contract 7.2). Airflow's auth manager decides.

- Every route needs a user whom Airflow has authenticated, else 401.
- A user sees the leads of the Dags that he or she may read.
- A user resends the leads of the Dags that he or she may edit (the right to clear their tasks).
- Holding or resuming an integration, and sending a test lead, touches all Dags that send to it: the
  user must be allowed to edit each of them.

A plugin's application has no authentication of its own (apache/airflow#72655), so these functions
are dependencies of its routes.
"""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.configuration import conf
from fastapi import Depends, HTTPException, Request

from zbl_provider.plugin.api.deps import Log

Dags = frozenset[str]


def permitted(user: BaseUser, dags: Dags, method: Literal["GET", "PUT"]) -> Dags:
    """
    Return which of the Dags a user may read (GET) or edit (PUT).

    :param user: as Airflow has authenticated
    :param dags: Dag ids, of which some may have been deleted meanwhile
    """
    manager = get_auth_manager()
    if conf.getboolean("core", "multi_team", fallback=False):
        # A deleted Dag belongs to no team: whose leads those were, nobody can tell any more.
        return dags & manager.get_authorized_dag_ids(user=user, method=method)
    return Dags(manager.filter_authorized_dag_ids(dag_ids=set(dags), user=user, method=method))


def readable(user: GetUserDep, log: Log) -> Dags | None:
    """
    Return the Dags whose leads are shown; None is all that the log knows.

    :raises HTTPException: 403 if the user may read none of them
    """
    known = log.reader.dags()
    found = permitted(user, known, "GET")
    if known and not found:
        raise HTTPException(403, "You may read none of the Dags that have sent leads.")
    return None if found == known else found


def editable(user: GetUserDep, log: Log) -> Dags:
    """Return the Dags whose leads the user may resend."""
    return permitted(user, log.reader.dags(), "PUT")


def editor(dags: Annotated[Dags, Depends(editable)]) -> Dags:
    """
    Return the Dags whose leads the user may resend.

    :raises HTTPException: 403 if there is none
    """
    if not dags:
        raise HTTPException(403, "You may edit none of the Dags that have sent leads.")
    return dags


def keeper(name: str, user: GetUserDep, log: Log) -> str:
    """
    Return the integration's connection id, for a user who may change what happens to it.

    :param name: of the path
    :raises HTTPException: 403 if there is a Dag sending to it that the user may not edit, 404 if
        no Dag ever sent to it
    """
    dags = log.reader.dags(integration=name)
    if permitted(user, dags, "PUT") != dags:
        raise HTTPException(403, f"You may not edit every Dag that sends to {name}.")
    if not dags:
        editor(editable(user, log))
        raise HTTPException(404, f"No lead was ever enrolled for {name}.")
    return name


def from_this_page(request: Request) -> None:
    """
    Refuse a change that another site asks for with the user's cookie.

    A form or an image of another site can't send JSON without asking first (CORS), Airflow's cookie
    is `SameSite=Lax`, and a browser names where a request comes from.

    :raises HTTPException: 415 without JSON, 403 from elsewhere
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "Send JSON.")
    if not _same_origin(request):
        raise HTTPException(403, "This request comes from another site.")


def _same_origin(request: Request) -> bool:
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    # Neither: no browser sent it, so no cookie came along unasked.
    return origin is None or urlsplit(origin).netloc in _own_hosts(request)


def _own_hosts(request: Request) -> set[str]:
    # Behind a reverse proxy the host that the browser sees is the one of `[api] base_url`.
    return {
        request.headers.get("host", ""),
        urlsplit(conf.get("api", "base_url", fallback="")).netloc,
    }


Readable = Annotated[Dags | None, Depends(readable)]
Editable = Annotated[Dags, Depends(editable)]
Editor = Annotated[Dags, Depends(editor)]
Keeper = Annotated[str, Depends(keeper)]
