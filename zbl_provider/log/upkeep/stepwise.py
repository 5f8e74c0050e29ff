"""Purging in many short transactions, so that none keeps the log's writers waiting for long."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# More than most tasks add: with a single step, retention could fall behind for ever.
_STEPS_AFTER_A_TASK = 30


def step_by_step(purge: Callable[[], int]) -> Iterator[int]:
    """
    Purge until nothing is left to purge.

    :param purge: one step; returns how many it has purged
    :return: how many were purged so far, after each step
    """
    total = 0
    while purged := purge():
        total += purged
        yield total


def purge_after_task(purge: Callable[[], int]) -> None:
    """
    Purge at the end of a task: as far as a bounded number of steps goes (Contract 6.4).

    :param purge: as of `step_by_step`
    """
    for _ in islice(step_by_step(purge), _STEPS_AFTER_A_TASK):
        pass
