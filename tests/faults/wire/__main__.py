"""
Tries every fault with the real deadline, and prints the table of docs/faults.md.

python -m tests.faults.wire
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from tests.faults.wire.catalogue import FAULTS
from tests.faults.wire.trial import Trial, attempt
from zbl_provider.delivery.exchange import DEADLINE_SECONDS

HEAD = """| the destination | expected | seen | seconds | MB |
|---|---|---|---|---|
"""


def row(trial: Trial) -> str:
    expected = " or ".join(trial.fault.outcomes)
    seen = ", ".join(sorted(trial.faulty.outcomes))
    cost = f"{trial.seconds:.1f} | {max(trial.megabytes, 0):.0f}"
    return f"| {trial.fault} | {expected} | {seen} | {cost} |\n"


def main() -> int:
    sys.stdout.write(HEAD)
    problems: list[str] = []
    trials: list[Trial] = []
    with ThreadPoolExecutor(4) as executor:
        for trial in executor.map(partial(attempt, deadline=DEADLINE_SECONDS), FAULTS):
            sys.stdout.write(row(trial))
            sys.stdout.flush()
            trials.append(trial)
            problems += trial.problems(DEADLINE_SECONDS + 0.5)
    sys.stdout.write(
        f"\n{len(trials)} faults, {os.cpu_count()} cores. Longest attempt: "
        f"{max(trial.seconds for trial in trials):.2f} s. Most memory: "
        f"{max(trial.megabytes for trial in trials):.1f} MB.\n"
    )
    sys.stdout.writelines(f"{problem}\n" for problem in problems)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
