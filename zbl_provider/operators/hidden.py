"""A value that nobody is to see in Airflow's pages and logs."""

from __future__ import annotations

from typing import Any


class Hidden:
    """A value that Airflow's rendered view shows as stars (Contract 4.3)."""

    def __init__(self, value: Any) -> None:  # noqa: ANN401  whatever was rendered
        self.value = value

    def __repr__(self) -> str:
        return "***"
