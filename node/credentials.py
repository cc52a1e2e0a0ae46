"""Who may connect: pre-shared keys by identity (RFC 7296 2.15).

Rules: the exact entry of the file wins, else the first pattern that fits; an identity is looked at
as the text that operators write (`node.identity`). Looked up at every handshake and every
resumption, so that a key taken away is refused at once.
"""

from node.identity import PskTable as Patterns
from node.identity import find_psk
from proto.ike.enums import PayloadType
from proto.ike.exchanges.authenticated import text
from proto.ike.payloads import IdPayload
from proto.ike.ticket import TicketBody, psk_identities
from proto.secret import Secret

_IDI = PayloadType.IDi
KNOWN_MAX = 65_536
"""Identities whose key is remembered; beyond it the memory starts anew."""


class PskTable:
    """Implements `proto.ike.core.Credentials`."""

    def __init__(self, patterns: Patterns) -> None:
        self._patterns = patterns
        self._known: dict[tuple[int, bytes], Secret] = {}

    def psk(self, peer: IdPayload) -> Secret | None:
        """The key shared with `peer`, or None."""
        key = (peer.id_type, peer.data)
        found = self._known.get(key)
        if found is not None:
            return found
        found = find_psk(self._patterns, text(peer))
        if found is not None:
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            self._known[key] = found
        return found

    def may_resume(self, body: TicketBody) -> bool:
        """See `Credentials.may_resume`: the pre-shared keys are still there."""
        for key in psk_identities(body):
            if key not in self._known and self.psk(IdPayload(_IDI, *key)) is None:
                return False
        return True
