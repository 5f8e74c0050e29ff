"""Whether leads that somebody waits for have arrived (Contract 8.1). Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

from zbl_provider.dispatch.report import undelivered
from zbl_provider.log.model import FAILED, Failed, Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zbl_provider.log.outbox.decision import Known

IfFiltered = Literal["fail", "accept"]


@dataclass(frozen=True, slots=True)
class Arrivals:
    """
    Where the leads stand whose delivery somebody waits for.

    :param total: how many they are
    :param counts: those that the log knows, by status
    :param failed: those that will not be delivered, unless somebody does something
    """

    total: int
    counts: Mapping[Status, int]
    failed: tuple[Failed, ...]

    @classmethod
    def judge(
        cls, wanted: Mapping[str, str], known: Mapping[str, Known], if_filtered: IfFiltered
    ) -> Self:
        """
        Tell where the leads stand.

        :param wanted: their ids, by webhook id
        :param known: what the log knows of them, and perhaps of others
        :param if_filtered: whether a lead that is kept back by the integration's filters is as bad
            as one in error, or as good as one that is delivered
        """
        leads = [(lead_id, known[key]) for key, lead_id in wanted.items() if key in known]
        bad = FAILED | {Status.FILTERED} if if_filtered == "fail" else FAILED
        return cls(
            total=len(wanted),
            counts=Counter(lead.status for _, lead in leads),
            failed=tuple(
                Failed(lead_id, lead.status, lead.reason)
                for lead_id, lead in leads
                if lead.status in bad
            ),
        )

    @property
    def over(self) -> bool:
        """Whether the wait is over, for better or worse."""
        return bool(self.failed) or self.arrived

    @property
    def arrived(self) -> bool:
        """Whether every lead is delivered, or as good as that."""
        settled = self.counts.get(Status.DELIVERED, 0) + self.counts.get(Status.FILTERED, 0)
        return not self.failed and settled == self.total

    @property
    def summary(self) -> dict[str, int]:
        """Counts by status (Contract 4.3)."""
        return {str(status): count for status, count in self.counts.items()}

    def failure(self, integration: str) -> str:
        """Say how many will not be delivered, which come first, and what to do (Contract 4.7)."""
        kinds = Counter(lead.status for lead in self.failed)
        return (
            f"{undelivered(integration, self.total, kinds, self.failed)} "
            "Fix the cause and send them again, then clear this task."
        )
