"""Attempts at one change, made again while the store's answers are lost.

Rules: an attempt that is `Unknown` is over, and the next one finds out what became of it; that of
the last one leaves. Once there is doubt, that nothing answers any more doesn't say that nothing
happened: `Unavailable` leaves as `Unknown`.
"""

from collections.abc import Iterator
from types import TracebackType

from cluster.errors import Unavailable, Unknown


def attempts(most: int) -> Iterator["Attempt"]:
    """`for attempt in attempts(most):`, and `with attempt:` around what is tried: whoever is done
    leaves the loop, and after it all have been in vain. Raises Unknown: see the module.
    """
    attempt = Attempt()
    for _ in range(most):
        yield attempt
    if attempt.lost is not None:
        raise attempt.lost


class Attempt:
    """The one under way; the same object for all of a change, because doubt outlives its cause."""

    def __init__(self) -> None:
        self._doubt = False
        """Whether the fate of one of them is unknown."""
        self.lost: Unknown | None = None
        """How the latest one ended, if its own is."""

    def __enter__(self) -> None:
        self.lost = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """True: it was `Unknown`, and is over."""
        if isinstance(error, Unknown):
            self._doubt, self.lost = True, error
            return True
        if self._doubt and isinstance(error, Unavailable):
            raise Unknown(str(error)) from None
        return False
