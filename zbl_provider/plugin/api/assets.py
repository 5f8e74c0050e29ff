"""The page itself: HTML, CSS and JavaScript as they are written, for those who are signed in."""

from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import AccessView
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles

from zbl_provider.plugin.address import DOOR, ROUTE

routes = APIRouter()

_FOLDER = Path(__file__).parents[1] / "static"
_FILES = StaticFiles(directory=_FOLDER)
_NAMES = frozenset(file.name for file in _FOLDER.iterdir())

_SIGN_IN = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Lead deliveries</title>
<p>Please <a href="{up}api/v2/auth/login?next={next}" target="_top">sign in to Airflow</a> to see
the lead deliveries.</p>
<script>{script}</script>
</html>
"""
_SCRIPT = (_FOLDER / "sign-in.js").read_text("utf-8")
SCRIPT_HASH = f"'sha256-{b64encode(sha256(_SCRIPT.encode()).digest()).decode()}'"
"""Of the one script that is no file, for a Content-Security-Policy."""


@routes.get("/")
async def page(request: Request) -> Response:
    """Return the page."""
    return await _file("index.html", request)


@routes.get(f"/{DOOR}")
async def door(request: Request, user: GetUserDep) -> Response:
    """Lead to the page: in Airflow's UI for users whom it shows plugins, or else by itself."""
    shown = get_auth_manager().is_authorized_view(access_view=AccessView.PLUGINS, user=user)
    page = f"../plugin/{ROUTE}" if shown else "./"
    query = request.url.query
    return RedirectResponse(f"{page}?{query}" if query else page, status_code=307)


@routes.get("/static/{name}")
async def asset(name: str, request: Request) -> Response:
    """
    Return one of its files.

    :raises HTTPException: 404 if there is none of this name
    """
    if name not in _NAMES:
        raise HTTPException(404, "There is no such file.")
    return await _file(name, request)


def sign_in(request: Request) -> Response:
    """Return what a browser shows somebody who opens the page without a login."""
    path = request.url.path
    asked = path + (f"?{request.url.query}" if request.url.query else "")
    # Out of the page's own application: that may be below a reverse proxy's path.
    up = "../" * path.removeprefix(request.scope.get("root_path", "")).count("/")
    return HTMLResponse(_SIGN_IN.format(next=quote(asked), up=up, script=_SCRIPT), status_code=401)


async def _file(name: str, request: Request) -> Response:
    answer = await _FILES.get_response(name, request.scope)
    # Asked for anew each time, and answered in a word while it is the same: no stale page after an
    # upgrade.
    answer.headers["Cache-Control"] = "no-cache"
    return answer
