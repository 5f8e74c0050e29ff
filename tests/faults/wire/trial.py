"""One fault tried out: a receiver that has it, and a process that sends to that receiver."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.wire.ailing import AilingReceiver
from tests.support.peers import Authority
from zbl_provider.delivery.http.reply import EXCERPT_BYTES

if TYPE_CHECKING:
    from tests.faults.wire.catalogue import Fault

MEGABYTES = 50
"""How much an attempt may take, at most."""

_ROOT = Path(__file__).parents[3]
_SENDER = "tests.faults.wire.sender"


@dataclass(frozen=True)
class Sent:
    """What became of a lead, or of some at once."""

    outcomes: frozenset[str]
    excerpts: frozenset[str]
    seconds: float
    megabytes: float


@dataclass(frozen=True)
class Trial:
    """
    What became of the lead that met the fault, and of the next one over the same transport.

    :param seconds: the longest attempt
    :param megabytes: how much memory the sending process took for them at most
    """

    fault: Fault
    faulty: Sent
    after: Sent

    @property
    def seconds(self) -> float:
        return max(self.faulty.seconds, self.after.seconds)

    @property
    def megabytes(self) -> float:
        return max(self.faulty.megabytes, self.after.megabytes)

    def problems(self, seconds: float) -> list[str]:
        """Give what the contract does not allow, for one lead."""
        as_expected = self.faulty.outcomes <= set(self.fault.outcomes)
        wrong = [] if as_expected else [f"{self.fault}: became {sorted(self.faulty.outcomes)}"]
        return wrong + self.harm(seconds)

    def harm(self, seconds: float) -> list[str]:
        """Give what it does to others, which the contract does not allow either."""
        excerpts = self.faulty.excerpts | self.after.excerpts
        limits = {
            "an excerpt over 4 KiB": all(
                len(excerpt.encode()) <= EXCERPT_BYTES for excerpt in excerpts
            ),
            f"an attempt of {self.seconds:.1f} s": self.seconds <= seconds,
            f"{self.megabytes:.0f} MB": self.megabytes <= MEGABYTES,
            f"the next lead became {sorted(self.after.outcomes)}": self.after.outcomes
            == {"delivered 200"},
            f"the next lead was answered {sorted(self.after.excerpts)}": self.after.excerpts
            == {"after"},
        }
        return [f"{self.fault}: {problem}" for problem, held in limits.items() if not held]


def attempt(fault: Fault, deadline: float, *, at_once: int = 1) -> Trial:
    """
    Send a lead into the fault, and one after it.

    :param fault: what the receiver does
    :param deadline: seconds that an attempt may take
    :param at_once: how often the lead is sent at the same time
    """
    authority = Authority()
    with tempfile.TemporaryDirectory() as folder, AilingReceiver(fault, authority) as receiver:
        plan = {
            "url": receiver.url(),
            "authority": authority.write(Path(folder) / "ca.pem"),
            "deadline": deadline,
            "body": fault.body,
        }
        with _sender(plan) as sender:
            # A connection that has carried a lead is the usual one to meet a fault.
            if not fault.is_on_connecting:
                assert _send(sender, "before").excerpts == {"before"}
            receiver.fall_ill()
            faulty = _send(sender, "faulty", at_once)
            receiver.recover()
            time.sleep(fault.pause)
            return Trial(fault, faulty, _send(sender, "after"))


def _sender(plan: dict) -> subprocess.Popen[str]:
    sender = subprocess.Popen(
        [sys.executable, "-m", _SENDER],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    _write(sender, json.dumps(plan))
    return sender


def _send(sender: subprocess.Popen[str], name: str, times: int = 1) -> Sent:
    _write(sender, f"{name} {times}")
    assert sender.stdout
    line = sender.stdout.readline()
    assert line, "the sender has ended"
    sent, megabytes = json.loads(line)
    return Sent(
        outcomes=frozenset(result["outcome"] for result in sent),
        excerpts=frozenset(result["excerpt"] for result in sent),
        seconds=max(result["seconds"] for result in sent),
        megabytes=megabytes,
    )


def _write(sender: subprocess.Popen[str], line: str) -> None:
    assert sender.stdin
    sender.stdin.write(line + "\n")
    sender.stdin.flush()
