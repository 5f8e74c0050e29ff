"""Rights are remembered for some seconds, of some users, and no longer (8.10)."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from zbl_provider.plugin.api.access import _granted
from zbl_provider.plugin.api.rights import Rights

A, B = frozenset({"a"}), frozenset({"b"})
SECONDS = 5.0


class Server:
    """Knows who may do what, and counts how often it is asked."""

    def __init__(self, *allowed: str) -> None:
        self.allowed = set(allowed)
        self.asked: list[frozenset[str]] = []

    def __call__(self, dags: frozenset[str]) -> frozenset[str]:
        self.asked.append(dags)
        return dags & self.allowed


@pytest.fixture
def clock():
    return [0.0]


@pytest.fixture
def rights(clock):
    return Rights(SECONDS, users=2, monotonic=lambda: clock[0])


def test_the_server_is_asked_once_for_what_is_not_known(rights, clock):
    """Each Dag is asked for once in that time; one that is new is asked for alone (8.10)."""
    server = Server("a")
    for dags in (A, A, A | B, A | B, B):
        assert rights.held("ana", "GET", dags, server) == dags & A
    assert server.asked == [A, B]
    clock[0] = SECONDS
    assert rights.held("ana", "GET", A, server) == A
    assert server.asked == [A, B, A]


def test_reading_and_editing_are_two_rights_and_users_are_two(rights):
    """No answer is taken for one about another right, or about somebody else (7.2, 8.10)."""
    yes, no = Server("a"), Server()
    assert rights.held("ana", "GET", A, yes) == A
    assert rights.held("ana", "PUT", A, no) == frozenset()
    assert rights.held("bob", "GET", A, no) == frozenset()
    assert rights.held("ana", "GET", A, no) == A


def test_of_too_many_users_the_one_who_asked_longest_ago_is_forgotten(rights):
    """However many people come, what is remembered has a bound (7.5, 8.10)."""
    server = Server("a")
    for user in ("ana", "bob", "ana", "eve", "ana", "bob"):
        rights.held(user, "GET", A, server)
    assert len(server.asked) == 4, "bob was forgotten for eve"
    assert len(rights._users) == 2


def test_a_server_that_fails_is_asked_again(rights):
    """What could not be told is no answer (8.10)."""

    def fail(_: object) -> frozenset[str]:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        rights.held("ana", "GET", A, fail)
    assert rights.held("ana", "GET", A, Server("a")) == A


def test_a_slow_server_is_given_time(rights, clock):
    """Who takes longer to answer than an answer holds is not asked all the time (7.5, 8.10)."""
    server = Server("a")

    def slowly(dags: frozenset[str]) -> frozenset[str]:
        clock[0] += 8
        return server(dags)

    assert rights.held("ana", "GET", A, slowly) == A
    clock[0] = 15.9
    assert rights.held("ana", "GET", A, slowly) == A
    assert len(server.asked) == 1
    clock[0] = 16
    server.allowed.clear()
    assert rights.held("ana", "GET", A, slowly) == frozenset()


def test_questions_at_the_same_moment_ask_once(rights):
    """The page asks several things at once: the others wait for the first one's answer (8.10)."""
    begun, go_on = threading.Event(), threading.Event()
    asked = []

    def slowly(dags: frozenset[str]) -> frozenset[str]:
        asked.append(dags)
        begun.set()
        assert go_on.wait(10)
        return dags

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(rights.held, "ana", "GET", A, slowly)
        assert begun.wait(10)
        others = [pool.submit(rights.held, "ana", "GET", A, slowly) for _ in range(3)]
        assert rights.held("bob", "GET", A, Server()) == frozenset(), "nobody else waits"
        go_on.set()
        assert {answer.result() for answer in (first, *others)} == {A}
    assert asked == [A]


class Revocations(RuleBasedStateMachine):
    """Rights that come and go, at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.rights = Rights(SECONDS, users=2, monotonic=lambda: self.now)
        self.allowed = {"a"}
        self.changed = {"a": -SECONDS, "b": -SECONDS}

    @rule(seconds=st.floats(0.1, 4))
    def wait(self, seconds):
        self.now += seconds

    @rule(dag=st.sampled_from("ab"))
    def change(self, dag):
        self.allowed ^= {dag}
        self.changed[dag] = self.now

    @rule(user=st.sampled_from(["ana", "bob", "eve"]), dags=st.frozensets(st.sampled_from("ab")))
    def look(self, user, dags):
        held = self.rights.held(user, "GET", dags, lambda some: some & self.allowed)
        assert held <= dags
        settled = {dag for dag in dags if self.now - self.changed[dag] >= SECONDS}
        assert held & settled == self.allowed & settled

    @invariant()
    def bounded(self):
        assert len(self.rights._users) <= 2


TestRevocations = Revocations.TestCase
TestRevocations.__doc__ = "A right that was given or taken holds after these seconds (8.10)."


@given(st.lists(st.booleans(), max_size=300))
def test_a_right_is_found_by_asking_for_many_at_once(held):
    """What is held is told exactly, and most of it at once, whatever is not (8.10)."""
    names = [f"dag_{n}" for n in range(len(held))]
    allowed = {name for name, holds in zip(names, held, strict=True) if holds}
    asked = []

    def may_all(some: list[str]) -> bool:
        asked.append(some)
        return allowed.issuperset(some)

    assert set(_granted(names, may_all)) == allowed
    steps = max(len(names), 2).bit_length()
    assert len(asked) <= 1 + 2 * steps * (len(names) - len(allowed))


def test_who_may_all_is_asked_for_once():
    """For whom no Dag is closed, one question is enough; nobody is asked about nothing (8.10)."""
    asked = []
    names = ["crm", "make", "sales"]
    assert _granted(names, lambda some: not asked.append(some)) == names
    assert asked == [names]
    assert _granted([], lambda _: pytest.fail("asked about nothing")) == []
