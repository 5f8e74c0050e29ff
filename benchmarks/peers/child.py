"""One step of a peer, in a process of its own: ``python -m benchmarks.peers.child PEER STEP``."""

from __future__ import annotations

import resource
import sys
from importlib import import_module

from benchmarks.leads import bodies
from benchmarks.peers.place import Place

WARM = "warm"


def main(peer: str, step: str) -> None:
    """Do the step: `install`, `warm`, `produce` or `work`."""
    module, place = import_module(f"benchmarks.peers.{peer}"), Place.here()
    if step == "produce":
        leads = [(f"lead-{n:08}", body) for n, body in enumerate(bodies(place.leads))]
        print("ready", flush=True)
        input()
        before = _cpu()
        module.produce(place, leads)
        print(_cpu() - before)
    elif step == "warm":
        module.produce(place, [(WARM, b"{}")])
    else:
        getattr(module, step)(place)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main(*sys.argv[1:])
