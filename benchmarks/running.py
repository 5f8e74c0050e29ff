"""Runs benchmarks, one or all, and shows what came of them."""

from __future__ import annotations

import argparse
import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from benchmarks.figures import table
from benchmarks.plot import svg

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.figures import Figure

PICTURE = "benchmarks.svg"


class Benchmark(Protocol):
    """Measures and prints the details; returns what has a goal, if anything has."""

    def __call__(self, *, quick: bool = False) -> list[Figure]: ...  # noqa: D102  the class says it


def run_benchmarks(benchmarks: Mapping[str, Benchmark]) -> None:
    """
    Run benchmarks as the command line asks, and end in one table of what has a goal.

    :param benchmarks: by name, in the order in which they are to run
    """
    options = _options(benchmarks)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{machine}, receiver and databases on the same machine", flush=True)
    _warn(options)
    started, figures = time.monotonic(), []
    for place, name in enumerate(options.names, 1):
        print(f"\n[{place}/{len(options.names)}] {name}", flush=True)
        begun = time.monotonic()
        figures += benchmarks[name](quick=options.quick)
        print(f"[{place}/{len(options.names)}] {name} took {time.monotonic() - begun:.0f} s")
    print(f"\nAll of it took {time.monotonic() - started:.0f} s.\n")
    if figures:
        _warn(options)
        print(table(figures))
        _draw(figures, options, machine)


def _options(benchmarks: Mapping[str, Benchmark]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(benchmarks)}")
    parser.add_argument("--quick", action="store_true", help="reduced size, to see that it works")
    parser.add_argument("--pictures", type=Path, help=f"folder to write {PICTURE} to")
    options = parser.parse_args()
    options.names = options.names or list(benchmarks)
    if unknown := set(options.names) - set(benchmarks):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    return options


def _warn(options: argparse.Namespace) -> None:
    if options.quick:
        print("A trial at reduced size: that it works is all that this can show.")


def _draw(figures: list[Figure], options: argparse.Namespace, machine: str) -> None:
    if options.pictures is None:
        return
    trial = "A TRIAL AT REDUCED SIZE, " if options.quick else ""
    picture = options.pictures / PICTURE
    picture.write_text(svg(figures, f"{trial}{machine}, loopback"))
    print(f"\nDrawn: {picture}")
