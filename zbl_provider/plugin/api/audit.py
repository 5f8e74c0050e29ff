"""What people do on the page, in Airflow's audit log (Contract 8.8)."""

import json
from typing import Any

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.models.log import Log as AuditLog
from airflow.utils.session import create_session

from zbl_provider.log.model import RunKey


def record(user: BaseUser, event: str, *, of: RunKey | None = None, **facts: Any) -> None:
    """
    Write down who does what, before it is done: what cannot be recorded does not happen.

    :param user: who
    :param event: what, in a word or two
    :param of: the task instance that it concerns, if it is one
    :param facts: more of it, and no person's data: Airflow keeps it after a person is erased
    """
    about = {} if of is None else of.as_dict()
    with create_session() as session:
        session.add(
            AuditLog(
                event=f"zbl.{event}",
                owner=user.get_name(),
                owner_display_name=user.get_name(),
                extra=json.dumps(facts, default=str),
                **about,
            )
        )
