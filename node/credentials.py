"""Who may connect, by what, and what we show ourselves (RFC 7296 2.15).

Rules: of pre-shared keys the exact entry of the file wins, else the first pattern that fits; an
identity is looked at as the text that operators write (`node.identity`). Looked at again at every
resumption, from memory: a key that was taken away, a user that is gone and a certificate that is
known to be revoked are refused at once.
"""

from node.eap.users import Users, load_users
from node.identity import PskTable as Patterns
from node.identity import find_psk, load_psks
from node.ppk import Ppks, load_ppks
from node.sections import GatewayConfig
from node.trust.verifier import Trust, decode_ids
from proto.ike.connection import Method, OwnKey
from proto.ike.enums import PayloadType
from proto.ike.exchanges.authenticated import text
from proto.ike.identity import Identity
from proto.ike.payloads import CertreqPayload, IdPayload
from proto.ike.proofs import EAP_PREFIX
from proto.ike.ticket import TicketBody, psk_identities
from proto.secret import Secret

_IDI = PayloadType.IDi
KNOWN_MAX = 65_536
"""Identities whose key is remembered; beyond it the memory starts anew."""
NO_PPKS = Ppks()
BY_CERTIFICATE = Method.CERTIFICATE.value
BY_PASSWORD = EAP_PREFIX + "mschapv2"


class PskTable:
    """Implements `proto.ike.credentials.Credentials` with pre-shared keys alone."""

    def __init__(self, patterns: Patterns, ppks: Ppks = NO_PPKS) -> None:
        self._patterns = patterns
        self._ppks = ppks
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

    def ppk(self, ppk_id: bytes, peer: IdPayload) -> Secret | None:
        """See `Credentials.ppk`."""
        return self._ppks.find(ppk_id, text(peer))

    def expects_ppk(self, peer: IdPayload) -> bool:
        """See `Credentials.expects_ppk`."""
        return self._ppks.first(text(peer)) is not None

    def own(
        self,
        identity: Identity,
        requests: tuple[CertreqPayload, ...],
        announced: frozenset[int] | None,
    ) -> OwnKey | None:
        """Nothing to sign with."""
        return None

    def may_resume(self, body: TicketBody, address: str) -> bool:
        """See `Credentials.may_resume`: the pre-shared keys are still there."""
        for key in psk_identities(body):
            if key not in self._known and self.psk(IdPayload(_IDI, *key)) is None:
                return False
        return True


class Credentials(PskTable):
    """The same with certificates and EAP's users."""

    def __init__(
        self, patterns: Patterns, trust: Trust, users: Users | None = None, ppks: Ppks = NO_PPKS
    ) -> None:
        """`users`: of EAP-MSCHAPv2; None where the gateway has none."""
        super().__init__(patterns, ppks)
        self._trust = trust
        self._users = users

    def own(
        self,
        identity: Identity,
        requests: tuple[CertreqPayload, ...],
        announced: frozenset[int] | None,
    ) -> OwnKey | None:
        """See `Credentials.own`."""
        found = self._trust.own(identity, requests, announced)
        if found is None:
            return None
        return OwnKey(found.key, self._trust.payloads(found, requests))

    def may_resume(self, body: TicketBody, address: str) -> bool:
        """See `Credentials.may_resume`."""
        if not super().may_resume(body, address):
            return False
        if BY_CERTIFICATE in body.auth_method and not self._trust.may_come_from(
            (body.idi_type, body.idi), address
        ):
            return False
        if body.certificate and self._trust.revoked(decode_ids(body.certificate)):
            return False
        if self._users is None or not body.auth_method.endswith(BY_PASSWORD):
            return True
        return self._users.find(body.identity.partition(":")[2]) is not None


def gateway_credentials(config: GatewayConfig, trust: Trust) -> Credentials:
    """Those of a gateway's files, which are read here. Raises ConfigError."""
    psks = load_psks(config.ike.psk_file) if config.ike.psk_file else ()
    users = load_users(config.eap.users_file) if config.eap.users_file else None
    ppks = load_ppks(config.ike.ppk_file) if config.ike.ppk_file else NO_PPKS
    return Credentials(psks, trust, users, ppks)
