"""Run every benchmark and print its table."""

from __future__ import annotations

import os
import platform

from benchmarks import bulk, import_cost, stages


def main() -> None:
    """Name the machine, since figures mean nothing without it, then measure."""
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    for member in (import_cost, stages, bulk):
        member.main()
        print()


if __name__ == "__main__":
    main()
