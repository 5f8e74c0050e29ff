"""
What users may do, remembered for some seconds (Contract 8.10).

The page asks several questions at once, and each asks for the rights to every Dag. Most auth
managers answer from what they know; one that asks a server, such as Keycloak's, makes requests for
each. So an answer holds for some seconds, and a right that is taken away is gone after them.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Literal

Names = frozenset[str]
Method = Literal["GET", "PUT"]
Right = Literal[Method, "TEST"]
"""To read or edit a Dag's task instances, or to test a connection."""

SECONDS = 5.0
"""How long an answer holds."""

_USERS = 1000


class _Answers:
    """Of one user: whether each right is held, and until when that is taken for true."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.held: dict[tuple[Right, str], tuple[bool, float]] = {}


class Rights:
    """
    Remembers the auth manager's answers about each user's Dags and connections.

    :param seconds: how long an answer holds, unless the auth manager is slow
    :param users: whose answers are kept at most; who has not asked for longest is forgotten
    :param monotonic: seconds that never go back
    """

    def __init__(
        self,
        seconds: float = SECONDS,
        users: int = _USERS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = seconds
        self._most = users
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._users: OrderedDict[str, _Answers] = OrderedDict()

    def held(self, user: str, right: Right, names: Names, ask: Callable[[Names], Names]) -> Names:
        """
        Return for which of the Dags, or connections, a user has a right.

        :param user: the auth manager's id of the user
        :param right: which
        :param names: Dag ids, or connection ids
        :param ask: the auth manager; asked about those of which nothing is known. What it raises is
            raised, and not remembered
        """
        with self._lock:
            answers = self._users.setdefault(user, _Answers())
            self._users.move_to_end(user)
            if len(self._users) > self._most:
                self._users.popitem(last=False)
        # Who asks at the same moment waits for this answer, and does not ask again.
        with answers.lock:
            now = self._monotonic()
            held = {key: answer for key, answer in answers.held.items() if answer[1] > now}
            unknown = Names(name for name in names if (right, name) not in held)
            if unknown:
                allowed = ask(unknown)
                # From before it was asked: a right that is taken away meanwhile is gone in time.
                # What took long holds as long again, or it would be asked for all the time.
                until = now + max(self._seconds, 2 * (self._monotonic() - now))
                held |= {(right, name): (name in allowed, until) for name in unknown}
            answers.held = held
            return Names(name for name in names if held[right, name][0])

    def forget(self) -> None:
        """Forget all answers."""
        with self._lock:
            self._users.clear()
