"""
The same job done by what people would take instead: speed, processor time, memory, and a kill.

Each is durable: a lead is on disk before it is sent, and its outcome after. All send the same
leads to the same nginx over TLS, in turns. Ours reads the rows, makes payloads of them, filters,
validates, signs and encrypts; the peers get ready-made bodies. Airflow's own way, a mapped task
for each lead, has no queue whose worker could be killed: it is measured for its speed alone.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.figures import Figure
from benchmarks.installation import running_installation
from benchmarks.leads import IN_FLIGHT, write_leads
from benchmarks.peers.peer import CELERY, HANDWRITTEN, OURS, PEERS, Peer
from benchmarks.peers.picture import Row, svg
from benchmarks.peers.trial import Death, Speed, kill, measure
from benchmarks.running import run_benchmarks
from benchmarks.standalone import took
from tests.support.databases import running_postgres

if TYPE_CHECKING:
    from collections.abc import Mapping

PICTURE = Path("build/peers.svg")
EXPAND = "Airflow, HttpOperator.expand"

Speeds = dict[Peer, list[Speed]]


def main(*, quick: bool = False) -> list[Figure]:
    """Measure in turns, then kill each once, then have Airflow map some tasks."""
    count, rounds = (300, 1) if quick else (5_000, 3)
    everyone = (OURS, *PEERS)
    for peer in everyone:
        print(f"{peer.name}: {peer.versions}")
    with (
        tempfile.TemporaryDirectory(prefix="zbl-bench-") as name,
        running_postgres(Path(name) / "postgres", durable=True) as server,
    ):
        counts = {peer: max(100, round(count * peer.share)) for peer in everyone}
        files = {peer: Path(name) / f"{counts[peer]}.db" for peer in everyone}
        for peer, path in files.items():
            if not path.exists():
                write_leads(path, counts[peer])
        speeds: Speeds = {peer: [] for peer in everyone}
        for turn in range(rounds):
            for peer in everyone:
                speeds[peer].append(measure(peer, server, files[peer], counts[peer]))
                print(_line(turn, peer, speeds[peer][-1], counts[peer]), flush=True)
        # The quick trial kills those alone that need no minute to see that a worker is dead.
        killed = (HANDWRITTEN,) if quick else everyone
        deaths = {peer: kill(peer, server, files[peer], counts[peer]) for peer in killed}
    mapped = _mapped(3 if quick else 50)
    _show(speeds, counts, deaths, mapped)
    _draw(speeds, counts, deaths, mapped)
    return _figures(speeds, counts, deaths)


def _line(turn: int, peer: Peer, speed: Speed, count: int) -> str:
    return (
        f"round {turn + 1}: {peer.name:<32}{count / speed.seconds:>8,.0f} leads/s"
        f"{speed.cpu / count * 1e6:>8,.0f} us CPU"
    )


def _mapped(count: int) -> float:
    """Return the leads a second of Airflow's own HTTP operator, a mapped task for each."""
    with running_installation(count, count, wait=1) as installation:
        return 1 / took(installation, "bench_mapped", count).whole


def _rate(speeds: Speeds, counts: Mapping[Peer, int], peer: Peer) -> float:
    return counts[peer] / statistics.median(speed.seconds for speed in speeds[peer])


def _show(
    speeds: Speeds, counts: Mapping[Peer, int], deaths: Mapping[Peer, Death], mapped: float
) -> None:
    print(f"median of {len(speeds[OURS])} rounds; a kill each, when half of the leads had arrived")
    heads = ("leads", "leads/s", "us CPU", "MB", "lost", "doubled", "all there after s")
    print(" " * 32 + "".join(f"{head:>19}" if " " in head else f"{head:>9}" for head in heads))
    for peer, measured in speeds.items():
        cpu = statistics.median(speed.cpu for speed in measured) / counts[peer] * 1e6
        peak = max(speed.peak_mb for speed in measured)
        row = f"{peer.name:<32}{counts[peer]:>9,}{_rate(speeds, counts, peer):>9,.0f}"
        row += f"{cpu:>9,.0f}{peak:>9,.0f}"
        if peer in deaths:
            death = deaths[peer]
            row += f"{death.lost:>9}{death.doubled:>9}{death.seconds:>19.0f}"
        print(row)
    print(f"{EXPAND:<41}{mapped:>9.1f}")


def _draw(
    speeds: Speeds, counts: Mapping[Peer, int], deaths: Mapping[Peer, Death], mapped: float
) -> None:
    rows = [
        Row(peer.name, _rate(speeds, counts, peer), deaths.get(peer), ours=peer is OURS)
        for peer in speeds
    ]
    rows.append(Row(EXPAND, mapped, None))
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(svg(sorted(rows, key=lambda row: row.rate, reverse=True)))
    print(f"Drawn: {PICTURE}")


def _figures(
    speeds: Speeds, counts: Mapping[Peer, int], deaths: Mapping[Peer, Death]
) -> list[Figure]:
    best = max(PEERS, key=lambda peer: _rate(speeds, counts, peer))
    thriftiest = min(
        PEERS, key=lambda peer: statistics.median(s.cpu for s in speeds[peer]) / counts[peer]
    )
    most = max((HANDWRITTEN, CELERY), key=lambda peer: _rate(speeds, counts, peer))
    note = f"{counts[OURS]:,} leads, PostgreSQL log; the peer: "
    figures = [
        Figure(
            name="Speed to the best durable peer",
            value=_ratio(speeds, counts, best, "seconds"),
            unit="x",
            goal=2,
            bound=1.3,
            more_is_better=True,
            note=note + best.name,
        ),
        Figure(
            name="Speed to what most teams have",
            value=_ratio(speeds, counts, most, "seconds"),
            unit="x",
            goal=5,
            bound=3,
            more_is_better=True,
            note=f"{note}{most.name}, the faster of {HANDWRITTEN.name} and {CELERY.name}",
        ),
        Figure(
            name="CPU a lead to the best durable peer",
            value=1 / _ratio(speeds, counts, thriftiest, "cpu"),
            unit="x",
            goal=0.5,
            bound=0.8,
            note=note + thriftiest.name,
        ),
    ]
    if death := deaths.get(OURS):
        note = f"killed when half of {counts[OURS]:,} leads had arrived"
        beyond = max(0, death.doubled - IN_FLIGHT)
        figures += [
            Figure(name="Lost at a kill", value=death.lost, unit="", goal=0, bound=0, note=note),
            Figure(
                name="Sent twice at a kill, beyond what was in flight",
                value=beyond,
                unit="",
                goal=0,
                bound=0,
                note=f"{note}, {IN_FLIGHT} in flight; {death.doubled} sent twice",
            ),
        ]
    return figures


def _ratio(speeds: Speeds, counts: Mapping[Peer, int], peer: Peer, what: str) -> float:
    """Return how many times as much the peer takes a lead; of neighbours, as the machine is."""
    ratios = [
        (getattr(theirs, what) / counts[peer]) / (getattr(mine, what) / counts[OURS])
        for mine, theirs in zip(speeds[OURS], speeds[peer], strict=True)
    ]
    print(f"{what}, {peer.name} to ours, by round:" + "".join(f"{ratio:>7.2f}" for ratio in ratios))
    return statistics.median(ratios)


if __name__ == "__main__":
    run_benchmarks({"peers": main})
