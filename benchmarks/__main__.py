"""Run every benchmark, or those that are named."""

from __future__ import annotations

from benchmarks import (
    bulk,
    claim,
    databases,
    growth,
    import_cost,
    integrations,
    latency,
    nothing_new,
    page,
    scale,
    sizing,
    speed_to_lead,
    stages,
    standalone,
    waiting,
)
from benchmarks.peers import race
from benchmarks.running import run_benchmarks

if __name__ == "__main__":
    run_benchmarks(
        {
            "import_cost": import_cost.main,
            "stages": stages.main,
            "bulk": bulk.main,
            "nothing_new": nothing_new.main,
            "peers": race.main,
            "scale": scale.main,
            "growth": growth.main,
            "integrations": integrations.main,
            "claim": claim.main,
            "latency": latency.main,
            "standalone": standalone.main,
            "speed_to_lead": speed_to_lead.main,
            "waiting": waiting.main,
            "page": page.main,
            "sizing": sizing.main,
            "databases": databases.main,
        }
    )
