"""Real servers, over networks with a round trip of 0, 40 and 100 ms."""

import asyncio

import pytest
import uvloop

from tests.servers.catalogue import CASES
from tests.servers.trial import Trial

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
TRIALS = [pytest.param(case, pace, id=f"{case}, {pace}") for case in CASES for pace in case.paces]


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(("case", "pace"), TRIALS)
def test_a_server_gets_each_lead_once_at_the_first_attempt(case, pace, loop, site, record_property):
    """However it ends its connections: no second attempt, no wrong outcome, no lead twice (2.6)."""
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        tallies = runner.run(Trial(case, pace, site).run())
    for tally in tallies:
        record_property("counted", [str(case), str(pace), tally.figures()])
    assert {tally.round_trip: wrong for tally in tallies if (wrong := tally.problems())} == {}
