"""The page itself: HTML, CSS and JavaScript as they are written, for those who are signed in."""

from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

routes = APIRouter()

_FOLDER = Path(__file__).parents[1] / "static"
_FILES = StaticFiles(directory=_FOLDER)
_NAMES = frozenset(file.name for file in _FOLDER.iterdir())

_SIGN_IN = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Lead deliveries</title>
<p>Please <a href="../api/v2/auth/login?next={next}" target="_top">sign in to Airflow</a> to see the
lead deliveries.</p>
</html>
"""


@routes.get("/")
async def page(request: Request) -> Response:
    """Return the page."""
    return await _file("index.html", request)


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
    return HTMLResponse(_SIGN_IN.format(next=quote(request.url.path)), status_code=401)


async def _file(name: str, request: Request) -> Response:
    answer = await _FILES.get_response(name, request.scope)
    # Asked for anew each time, and answered in a word while it is the same: no stale page after an
    # upgrade.
    answer.headers["Cache-Control"] = "no-cache"
    return answer
