"""What a run found wrong: sentences, each with the invariant and the promise that it is about.

Rules: a finding goes into the trace at the instant in which it is found, so that a reader sees what
came before it. Only the first `FINDINGS_MAX` are kept: one fault leads to many.
"""

from collections.abc import Iterable

from tests.sim.trace import Trace

FINDINGS_MAX = 30
MARK = "FINDING"
"""Kind of the trace's lines that say what was found."""

PROMISE_OF = {"I1": 5, "I2": 6, "I3": 5, "I4": 5, "I5": 4, "I6": 3, "I8": 7, "I9": 1}
"""Which of the design's promises an invariant stands for. I7 (secrets) and I10 (a seed repeats)
stand for none; I9 stands for the second one while the store is away.
"""


class Findings(list[str]):
    """Findings in the order in which they were found; `trace` (if any) is told of each."""

    def __init__(self, trace: Trace | None = None) -> None:
        super().__init__()
        self._trace = trace

    def append(self, finding: str) -> None:
        """Note one that a play has put into words."""
        if len(self) < FINDINGS_MAX:
            super().append(finding)
            if self._trace is not None:
                self._trace.event(MARK, finding)

    def __iadd__(self, findings: Iterable[str]) -> "Findings":
        for finding in findings:
            self.append(finding)
        return self

    def broken(self, invariant: str, what: str, promise: int | None = None) -> None:
        """Note that `invariant` (I1 to I9) doesn't hold, and `promise`, or else its own."""
        promise = promise or PROMISE_OF.get(invariant)
        about = invariant if promise is None else f"{invariant}, promise {promise}"
        self.append(f"{about}: {what}")

    def unanswered(self, who: str, store: str) -> None:
        """Note that `who` wasn't answered while the store was `store`: I9, without the store."""
        self.broken("I9", f"{who} was not answered while the store was {store}", promise=2)
