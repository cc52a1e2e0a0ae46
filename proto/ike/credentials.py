"""What the core asks of whoever keeps keys and policy; nothing here computes.

Rules: answered from memory, at once. What is gone is refused from then on, at resumptions too.
"""

from typing import Protocol

from proto.ike.connection import OwnKey
from proto.ike.identity import Identity
from proto.ike.payloads import CertreqPayload, IdPayload
from proto.ike.ticket import TicketBody
from proto.secret import Secret


class Credentials(Protocol):
    """Keys, and policy by identity. Implementer: `node.credentials.Credentials`."""

    def psk(self, peer: IdPayload) -> Secret | None:
        """The key shared with this peer; None: not known here (any more)."""
        ...

    def own(
        self,
        identity: Identity,
        requests: tuple[CertreqPayload, ...],
        announced: frozenset[int] | None,
    ) -> OwnKey | None:
        """What we sign with as `identity`, for a peer that sent these CERTREQs and `announced`
        these hashes (None: none); None: we have nothing for that.
        """
        ...

    def ppk(self, ppk_id: bytes, peer: IdPayload) -> Secret | None:
        """The PPK of that PPK_ID for this peer; None: there is none, or not for it."""
        ...

    def expects_ppk(self, peer: IdPayload) -> bool:
        """Is there any PPK for this peer?"""
        ...

    def may_resume(self, body: TicketBody, address: str) -> bool:
        """Is what the ticket's bearer has proven still good, from that IP address: key, account,
        certificate (RFC 5723 5, notes 1 to 4)?
        """
        ...
