"""A small Keycloak: the token endpoint, where its Airflow auth manager asks who may do what."""

from __future__ import annotations

import json
import threading
from base64 import b64decode, urlsafe_b64encode
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from collections.abc import Callable

MANAGER = "airflow.providers.keycloak.auth_manager.keycloak_auth_manager.KeycloakAuthManager"
REALM = "airflow"
CLIENT = "airflow-client"
_UMA_TICKET = "urn:ietf:params:oauth:grant-type:uma-ticket"
_CLAIMS = "urn:ietf:params:oauth:token-type:jwt"


@dataclass(frozen=True, slots=True)
class Question:
    """
    Whether a user has a permission.

    :param user: whose access token was sent
    :param resource: such as `Dag`
    :param scope: such as `GET`
    :param id: of the Dag or the connection; None where all or none is meant
    :param entity: what of a Dag, such as `TASK_INSTANCE`
    """

    user: str
    resource: str
    scope: str
    id: str | None
    entity: str | None


class Keycloak:
    """
    Answers requests for permissions as Keycloak's documentation has it (UMA grant type).

    :param policy: whether a permission is granted
    """

    def __init__(self, policy: Callable[[Question], bool]) -> None:
        self.asked: list[Question] = []
        self.policy = policy
        keycloak = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                path = f"/realms/{REALM}/protocol/openid-connect/token"
                status, answer = 404, {"error": "unknown"}
                if self.path == path:
                    token = self.headers["Authorization"].removeprefix("Bearer ")
                    status, answer = keycloak._answer(token, parse_qs(body))
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, token: str, form: dict[str, list[str]]) -> tuple[int, dict[str, Any]]:
        if (form["grant_type"], form["audience"]) != ([_UMA_TICKET], [CLIENT]):
            return 400, {"error": "invalid_request"}
        user = _subject_of(token)
        if user is None:
            return 401, {"error": "invalid_token"}
        claims: dict[str, list[str]] = {}
        if "claim_token" in form:
            assert form["claim_token_format"] == [_CLAIMS]
            claims = json.loads(b64decode(form["claim_token"][0]))
        ((permission,),) = [form["permission"]]
        resource, _, scope = permission.partition("#")
        (resource_id,) = claims.get("resource_id", [None])
        (entity,) = claims.get("dag_entity", [None])
        question = Question(user, resource, scope, resource_id, entity)
        self.asked.append(question)
        if not self.policy(question):
            return 403, {"error": "access_denied", "error_description": "not_authorized"}
        return 200, {"upgraded": False, "access_token": token, "token_type": "Bearer"}


def access_token(user: str) -> str:
    """Return what stands for a user's access token; nobody here checks its signature."""
    claims = urlsafe_b64encode(json.dumps({"sub": user, "exp": 2**33}).encode()).decode()
    return f"e30.{claims.rstrip('=')}.c2ln"


def _subject_of(token: str) -> str | None:
    try:
        claims: dict[str, Any] = json.loads(b64decode(token.split(".")[1] + "==", "-_"))
        return str(claims["sub"])
    except (IndexError, KeyError, ValueError):
        return None
