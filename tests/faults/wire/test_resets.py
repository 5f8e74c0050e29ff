import asyncio
import threading

import pytest
import uvloop

from tests.support.peers import response
from zbl_provider.delivery.exchange import Answer, Failure, FailureKind, Request

ANSWER = response(200, b"taken")


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def send_and_look_late(request, receive, transport):
    """Send, and look at what came back when the peer has sent it all and reset the connection."""

    def send(*parts):
        asked, looking_away, reset = (threading.Event() for _ in range(3))

        def behave(peer, _):
            asked.set()
            looking_away.wait(10)
            for part in parts:
                peer.send(part)
            peer.reset()
            reset.set()

        receiver = receive(behave)

        async def attempt():
            async with transport(receiver.url(), deadline=3) as opened:
                sending = asyncio.create_task(opened.send(Request("msg_1", b"{}")))
                await asyncio.to_thread(asked.wait, 10)
                looking_away.set()
                reset.wait(10)  # nothing else runs in the event loop's thread meanwhile
                return await sending

        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(attempt())

    return send


def test_a_reset_behind_a_part_of_the_headers_is_seen_at_once(send_and_look_late):
    """However busy the sender is, it does not sit the deadline out (Contract 3 and 6.3)."""
    result = send_and_look_late(ANSWER[:20])
    assert isinstance(result, Failure)
    assert result.kind is FailureKind.RESET


@pytest.mark.parametrize("cut", [20, ANSWER.index(b"taken"), len(ANSWER) - 1])
def test_an_answer_in_parts_counts_though_a_reset_follows(send_and_look_late, cut):
    """What arrived before the reset is read to its end: the lead need not go out again (2.4)."""
    result = send_and_look_late(ANSWER[:cut], ANSWER[cut:])
    assert isinstance(result, Answer)
    assert (result.status, result.excerpt) == (200, "taken")
