"""Roles and users of the FAB auth manager; as a program, it makes those that a file names."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow.providers.fab.auth_manager.fab_auth_manager import FabAuthManager

MANAGER = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"


def add_users(
    manager: FabAuthManager,
    roles: Mapping[str, Iterable[tuple[str, str]]],
    users: Mapping[str, str],
    password: str = "",
) -> None:
    """
    Make roles, and a user with a role each.

    :param manager: with its Flask application
    :param roles: actions and resources (`can_read`, `DAG Runs`) by the name of the role
    :param users: the name of a role, one of these or of FAB's own, by the user's name
    :param password: of each user; without one they can't sign in by themselves
    """
    with manager.flask_app.app_context():
        security = manager.security_manager
        for name, rights in roles.items():
            role = security.add_role(name)
            for right in rights:
                security.add_permission_to_role(role, security.create_permission(*right))
        for name, role in users.items():
            security.add_user(
                name, name, "", f"{name}@example.com", security.find_role(role), password
            )


def main(file: str) -> None:
    """Make the roles and users of a file, in the Airflow of this environment."""
    from airflow.api_fastapi.app import init_auth_manager
    from fastapi import FastAPI

    add_users(init_auth_manager(FastAPI()), **json.loads(Path(file).read_text()))


if __name__ == "__main__":
    main(sys.argv[1])
