"""The delivery log, opened once for a process of the API server."""

import threading
from functools import cache
from typing import Annotated

from fastapi import Depends

from zbl_provider.log.store import DeliveryLog

_OPENING = threading.Lock()


def the_log() -> DeliveryLog:
    """
    Return the log that `[zbl] delivery_log_conn_id` names, with the one pool of this process.

    Opened at the first request, so after any fork. An error is not remembered: the next request
    tries again.

    :raises DeliveryLogError: if the database can't serve, naming what to change
    :raises DeliveryLogUnavailable: if it is away now
    """
    with _OPENING:
        return _opened()


@cache
def _opened() -> DeliveryLog:
    from zbl_provider.hooks.delivery_log import delivery_log

    return delivery_log()


Log = Annotated[DeliveryLog, Depends(the_log)]
