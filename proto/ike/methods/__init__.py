"""Key exchange methods, one module for each family; `proto.ike.dh` has the table of them.

Rules: private values come from the given randomness; a peer's value is checked before it is used.
"""

from typing import Protocol

from proto.ike.enums import NotifyType
from proto.ike.errors import PeerError
from proto.ike.seams import Rng
from proto.secret import Secret

EXTRA_OCTETS = 8
"""Beyond a group's order, so that reducing them leaves no bias worth naming (FIPS 186-5 A.2.1)."""


class Half(Protocol):
    """What the initiator of an exchange keeps until the answer is there."""

    @property
    def public(self) -> bytes:
        """What goes into the KE payload."""
        ...

    def shared(self, peer_public: bytes) -> Secret:
        """The shared secret. Raises PeerError INVALID_SYNTAX."""
        ...


class Method(Protocol):
    """One key exchange method."""

    def draw(self, rng: Rng) -> Secret:
        """A fresh private value."""
        ...

    def half(self, private: Secret, public: bytes = b"") -> Half:
        """The initiator's half of that private value; `public`: known already, if given."""
        ...

    def answer(self, private: Secret, peer_public: bytes) -> tuple[bytes, Secret]:
        """The responder's KE data and the shared secret. Raises PeerError INVALID_SYNTAX."""
        ...


def bad(why: str) -> PeerError:
    """The peer's value is none of its method (RFC 6989 2.5)."""
    return PeerError(NotifyType.INVALID_SYNTAX, why=why)


def check_length(peer_public: bytes, octets: int, name: str) -> None:
    """Raises PeerError INVALID_SYNTAX for KE data of another length."""
    if len(peer_public) != octets:
        raise bad(f"KE data of {len(peer_public)} octets for {name}")
