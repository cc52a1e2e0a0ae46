"""What an established SA wants to ask its peer for, and when: rekeys that are due, Deletes that
follow from a rekey, requests to be repeated.

Rules: it only says what is due; whoever asks has one request outstanding at a time. A rekey is due
up to a tenth before its age, by how the SPI is at random, so that many SAs made at once aren't
rekeyed at once (RFC 7296 2.8).
"""

import msgspec

from proto.ike.core import SaCore, Settings, Want, Work

NEVER = float("inf")
WANTS_MAX = 64
"""Beyond it a want is forgotten: an SA has far fewer Child SAs."""
JITTER = 0.1
"""Of a rekey's age."""
RETRY_S = 10.0
"""After a TEMPORARY_FAILURE, or any other refusal of a rekey (RFC 7296 2.25: not at once)."""
RETRIES_MAX = 18
"""Then, after several minutes, the two ends are out of step for good."""


class Agenda:
    """See the module. Made for every SA; it holds next to nothing until something is wanted."""

    __slots__ = ("_children", "_rekey_s", "_wants")

    def __init__(self) -> None:
        self._wants: tuple[Want, ...] = ()
        self._rekey_s = NEVER
        self._children: dict[bytes, float] | None = None

    def begin(self, core: SaCore, settings: Settings, boot_s: float) -> None:
        """The IKE SA is new: its rekey is due in time."""
        self._rekey_s = NEVER
        self._wants = tuple([want for want in self._wants if want.work is not Work.REKEY_IKE])
        if settings.ike_rekey_s:
            self._rekey_s = boot_s + _early(settings.ike_rekey_s, core.spi[0])
        self.keep(core, settings, boot_s)

    def keep(self, core: SaCore, settings: Settings, boot_s: float) -> None:
        """Follow the Child SAs: a new one's rekey is due in time, nobody else's."""
        if not settings.child_rekey_s:
            return
        known = self._children or {}
        self._children = {
            child.spi_in: known.get(
                child.spi_in, boot_s + _early(settings.child_rekey_s, child.spi_in[-1])
            )
            for child in core.children
            if not child.rekeyed
        }

    def add(self, wants: tuple[Want, ...]) -> None:
        """Something more is wanted."""
        self._wants = (*self._wants, *wants)[:WANTS_MAX]

    def holds(self, work: Work) -> bool:
        """Is that wanted already?"""
        return any(want.work is work for want in self._wants)

    def due_s(self) -> float:
        """When the first of it is due."""
        due_s = self._rekey_s
        for want in self._wants:
            due_s = min(due_s, want.after_s)
        if self._children:
            due_s = min(due_s, *self._children.values())
        return due_s

    def take(self, boot_s: float) -> Want | None:
        """What is due now, which is then no longer here."""
        for want in self._wants:
            if want.after_s <= boot_s:
                self._wants = tuple([other for other in self._wants if other is not want])
                return want
        if self._rekey_s <= boot_s:
            self._rekey_s = NEVER
            return Want(Work.REKEY_IKE)
        for spi, due_s in (self._children or {}).items():
            if due_s <= boot_s and self._children is not None:
                self._children[spi] = NEVER
                return Want(Work.REKEY_CHILD, spi)
        return None


def again(want: Want, boot_s: float, random_octet: int) -> Want:
    """The same once more, later; by up to twice as much, so that two who are in each other's way
    don't come back at once.
    """
    after_s = boot_s + RETRY_S * (1 + random_octet / 256)
    return msgspec.structs.replace(want, after_s=after_s, tries=want.tries + 1)


def _early(age_s: float, random_octet: int) -> float:
    return age_s * (1 - JITTER * random_octet / 256)
