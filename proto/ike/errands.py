"""Errands: what a handler needs and can't compute at once, carried out by whoever drives the core.

Rules: a handler asks with `Context.need`, which gives the result or raises `Needed`; then nothing
has happened, and the handler is run again, from its beginning, once the result is there. So it may
draw other randomness the second time, and must not depend on the first. While an errand is out,
nothing that arrives for its SA is answered. Exactly one result comes of each: `Undone` where it
can't be had, or not in time. (Who carries them out: `node.errands`.)
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from proto.ike.core import Context
    from proto.ike.effects import KernelOp, Outcome, Path


class Errand(msgspec.Struct, frozen=True):
    """Base of all kinds; what is in it, is all that is needed to carry it out."""


class Result(msgspec.Struct, frozen=True):
    """Base of what comes of them."""


class Undone(Result, frozen=True):
    """It took too long, there are too many under way, or nobody here can carry it out."""

    why: str


class Computation(Errand, frozen=True):
    """One that needs nothing but time, too much of it for the event loop: another process does it.
    (Not a thread: it would hold the interpreter's lock all the while.) A struct can't be abstract,
    so each kind has to have these three.
    """

    def run(self) -> Result:
        """Compute; pure."""
        raise NotImplementedError

    def request(self) -> bytes:
        """What another process needs for it, keys in clear."""
        raise NotImplementedError

    def result(self, answer: bytes) -> Result:
        """What that process's answer says. Raises WireError where it is none."""
        raise NotImplementedError


class Needed(Exception):
    """A handler can't go on without this."""

    def __init__(self, errand: Errand) -> None:
        super().__init__(type(errand).__name__)
        self.errand = errand


class Pending(msgspec.Struct, frozen=True):
    """An errand that is out, and how its SA goes on."""

    errand: Errand
    again: "Callable[[Context], Outcome]"
    """Does once more what asked for it, in a Context that holds the result."""
    raw: bytes
    path: "Path"
    """Of the datagram that led to it; this and the next two as they are in `Context`."""
    came: "Path | None"
    moved: "tuple[KernelOp, ...]"
    results: tuple[Result, ...]
    """What earlier errands of the same message came to."""
