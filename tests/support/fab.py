"""Roles and users of the FAB auth manager; as a program, it makes those that a file names."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

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
    assert manager.flask_app
    with manager.flask_app.app_context():
        security = manager.security_manager
        for name, rights in roles.items():
            made = security.add_role(name)
            for right in rights:
                security.add_permission_to_role(made, security.create_permission(*right))
        for name, role_name in users.items():
            role = security.find_role(role_name)
            security.add_user(name, name, "", f"{name}@example.com", role, password)


def main(file: str) -> None:
    """Make the roles and users of a file, in the Airflow of this environment."""
    from airflow.api_fastapi.app import init_auth_manager
    from fastapi import FastAPI

    manager = cast("FabAuthManager", init_auth_manager(FastAPI()))
    add_users(manager, **json.loads(Path(file).read_text()))


if __name__ == "__main__":
    main(sys.argv[1])
