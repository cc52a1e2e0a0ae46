"""Who may connect: pre-shared keys by identity (RFC 7296 2.15).

Rules: the first pattern of the file that fits an identity wins; an identity is looked at as the
text that operators write (`node.identity`). Looked up at every handshake and every resumption, so
that a key taken away is refused at once.
"""

import fnmatch
import re

from node.identity import PskTable as Patterns
from proto.ike.exchanges.ike_auth import text
from proto.ike.payloads import IdPayload
from proto.secret import Secret

KNOWN_MAX = 65_536
"""Identities whose key is remembered; beyond it the memory starts anew."""


class PskTable:
    """Implements `proto.ike.core.Credentials`."""

    def __init__(self, patterns: Patterns) -> None:
        self._patterns = [
            (re.compile(fnmatch.translate(pattern)), secret) for pattern, secret in patterns
        ]
        self._known: dict[tuple[int, bytes], Secret] = {}

    def psk(self, peer: IdPayload) -> Secret | None:
        """The key shared with `peer`, or None."""
        key = (peer.id_type, peer.data)
        found = self._known.get(key)
        if found is not None:
            return found
        name = text(peer)
        for pattern, secret in self._patterns:
            if pattern.match(name):
                if len(self._known) >= KNOWN_MAX:
                    self._known.clear()
                self._known[key] = secret
                return secret
        return None
