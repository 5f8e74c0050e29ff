"""The application behind the page: its routes, their guards, and the headers of every answer."""

from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from jwt import InvalidTokenError
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from starlette.datastructures import MutableHeaders
from starlette.responses import Response

from zbl_provider.driver_errors import told
from zbl_provider.exceptions import DeliveryLogUnavailable, ZblError
from zbl_provider.plugin.api import assets
from zbl_provider.plugin.api.access import signed_in
from zbl_provider.plugin.api.routes import actions, deliveries, integrations

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# What receivers have answered is shown on this page: nothing but its own files may run or load.
_POLICY = (
    f"default-src 'none'; script-src 'self' {assets.SCRIPT_HASH}; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
_AWAY = "The delivery log's database does not answer. The API server's log says more."


def create_app() -> FastAPI:
    """Return the application; each of its routes asks for a user of Airflow (Contract 7.2)."""
    # Without a schema or its pages, which FastAPI serves to everybody.
    app = _Guarded(title="ZBL lead deliveries", openapi_url=None, dependencies=[Depends(signed_in)])
    for part in (deliveries, integrations, actions):
        app.include_router(part.routes, prefix="/api")
    app.include_router(assets.routes)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _misunderstood)
    app.add_exception_handler(ZblError, _unusable)
    app.add_exception_handler(DeliveryLogUnavailable, _away)
    app.add_exception_handler(SQLAlchemyError, _away)
    return app


class _Guarded(FastAPI):
    """An application whose every answer has the headers, even one to an error of our own."""

    def build_middleware_stack(self) -> "ASGIApp":
        return Headers(super().build_middleware_stack())


class Headers:
    """
    Adds the headers that keep a hostile answer from being more than text (Contract 7.3).

    :param app: what answers
    """

    def __init__(self, app: "ASGIApp") -> None:
        self._app = app

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer a request."""

        async def guarded(message: "Message") -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, guarded)


async def _refused(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, HTTPException)  # noqa: S101  registered for these alone
    if isinstance(problem.__context__, InvalidTokenError):
        # Airflow answers an invalid session with 403; its user has to sign in, as without one.
        problem = HTTPException(
            HTTPStatus.UNAUTHORIZED, "Your session is not valid. Sign in to Airflow again."
        )
    is_read_by_a_person = "text/html" in request.headers.get("accept", "")
    if problem.status_code == HTTPStatus.UNAUTHORIZED and is_read_by_a_person:
        return assets.sign_in(request)
    return await http_exception_handler(request, problem)


async def _misunderstood(_: Request, problem: Exception) -> Response:
    assert isinstance(problem, RequestValidationError)  # noqa: S101  registered for these alone
    # Without what was given: it may be no JSON (NaN), no text (half a surrogate), or a person's.
    said = [{"loc": error["loc"], "msg": error["msg"]} for error in problem.errors()]
    return JSONResponse({"detail": said}, status_code=422)


async def _unusable(_: Request, problem: Exception) -> Response:
    return JSONResponse({"detail": str(problem)}, status_code=503)


async def _away(_: Request, problem: Exception) -> Response:
    import logging

    # Host and database are for those who run the server, not for every user; a lead's data is for
    # neither, and a statement or its parameters may hold it.
    said: object = type(problem).__name__
    if isinstance(problem, DeliveryLogUnavailable):
        said = problem
    elif isinstance(problem, DBAPIError) and problem.orig:
        said = told(problem.orig, problem.statement or "")
    logging.getLogger(__name__).error("delivery log: %s", said)
    return JSONResponse({"detail": _AWAY}, status_code=503, headers={"Retry-After": "5"})
