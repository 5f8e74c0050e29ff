"""A value that nobody is to see in Airflow's pages and logs."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Hidden:
    """A value that Airflow's rendered view shows as stars (Contract 4.3)."""

    def __init__(self, value: Any) -> None:  # noqa: ANN401  whatever was rendered
        self.value = value

    def __repr__(self) -> str:
        return "***"


class Postponed(Hidden):
    """
    A hidden value that is made once somebody asks for it, if anybody does.

    :param make: returns the value
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    @cached_property
    def value(self) -> Any:  # noqa: ANN401  whatever was rendered
        """The value."""
        return self._make()
