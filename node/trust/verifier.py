"""A peer's CERT payloads looked at, and ours chosen.

Rules: the first certificate is the peer's own (RFC 7296 3.6), the others may be above it or not;
other encodings than a certificate's own (hash and URL, above all) are not believed. Nothing is
fetched, and nobody asked, for a peer whose chain doesn't hold. An identity that is an address has
to be the one that the peer sends from (RFC 4945 3.1.1), unless it is configured otherwise.
"""

import ipaddress
from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec
from cryptography import x509

from cluster.seams import Clock
from node.trust.certificate import (
    Certificate,
    CertificateId,
    Unfit,
    decode_certificate,
    read_certificate,
)
from node.trust.names import speaks_for
from node.trust.own import Own, below, choose_own, exact
from node.trust.path import CERTIFICATES_MAX, Anchors, Chain, find_chain
from node.trust.revocation import Revocation
from node.trust.staples import Staples
from proto.ike.enums import CertEncoding, IdType
from proto.ike.identity import Identity, format_identity
from proto.ike.payloads import CertPayload, CertreqPayload
from proto.ike.signature import PublicKey

_ADDRESSES = (IdType.ID_IPV4_ADDR, IdType.ID_IPV6_ADDR)


class TrustSettings(msgspec.Struct, frozen=True):
    """What is trusted."""

    anchors: Anchors
    """Of connections that name none of their own."""
    own_anchors: Mapping[str, Anchors] = {}
    """Of those that do, by the connection's name."""
    intermediates: tuple[Certificate, ...] = ()
    """Known beforehand, for peers that don't send them."""
    own: tuple[Own, ...] = ()
    tls_purposes: bool = False
    """Certificates that are for TLS only will do."""
    check_address: bool = True
    """An identity that is an address must be the one that the peer sends from."""


class Checked(msgspec.Struct, frozen=True):
    """A peer whose certificates hold. His AUTH is now to be checked with this key."""

    key: PublicKey
    ids: tuple[CertificateId, ...]
    """What of the chain may be revoked: a ticket keeps it."""
    not_after_wall_s: float
    """No authentication lasts longer."""
    subject: str
    """For people."""


class Trust:
    """See the module."""

    def __init__(
        self,
        settings: TrustSettings,
        clock: Clock,
        revocation: Revocation | None = None,
        staples: Staples | None = None,
    ) -> None:
        """`revocation`: None where nobody is asked. `staples`: None where there are none."""
        self.settings = settings
        self._clock = clock
        self._revocation = revocation
        self._staples = staples
        every = (settings.anchors, *settings.own_anchors.values())
        self._all_anchors = Anchors(one for anchors in every for one in anchors.certificates)
        above = (*self._all_anchors.certificates, *settings.intermediates)
        self._own = tuple(below(own, above) for own in settings.own)

    def requests(self, connection: str | None) -> tuple[CertreqPayload, ...]:
        """CERTREQ payloads for a peer of that connection; None: it isn't known yet whose.

        One for certificates, where an authority is trusted at all, and one for an OCSP response
        (RFC 4806 3.1), where one would be looked at.
        """
        anchors = self._all_anchors if connection is None else self._anchors(connection)
        if not anchors.certificates:
            return ()
        found = [CertreqPayload(CertEncoding.X509_SIGNATURE, anchors.key_hashes())]
        if self._revocation is not None and self._revocation.asks_responders:
            hashes = b"".join(one.key_hash for one in self._revocation.trusted_responders)
            found.append(CertreqPayload(CertEncoding.OCSP_CONTENT, hashes))
        return tuple(found)

    def own(
        self,
        identity: Identity,
        requests: Sequence[CertreqPayload] = (),
        announced: Collection[int] | None = None,
    ) -> Own | None:
        """Ours for that identity: see `node.trust.own.choose_own`."""
        return choose_own(self._own, identity, requests, announced)

    def exact(self, identity: Identity) -> Identity:
        """`identity` as our certificate has it: see `node.trust.own.exact`."""
        return exact(self._own, identity)

    def payloads(
        self, own: Own, requests: Sequence[CertreqPayload] = ()
    ) -> tuple[CertPayload, ...]:
        """What is sent of it: certificates, and an OCSP response where the peer asks for one and it
        is at hand.
        """
        sent = own.payloads()
        if self._staples is None or all(
            one.encoding != CertEncoding.OCSP_CONTENT for one in requests
        ):
            return sent
        staple = self._staples.of(own.certificate)
        return (*sent, CertPayload(CertEncoding.OCSP_CONTENT, staple)) if staple else sent

    def revoked(self, ids: Iterable[CertificateId]) -> bool:
        """Is one of them known to be revoked by now? From memory, and at once."""
        return self._revocation is not None and self._revocation.revoked(ids)

    def may_come_from(self, identity: Identity, address: str) -> bool:
        """May a peer of that identity, which it proves by certificate, send from that IP address?
        (RFC 7296 4, RFC 4945 3.1.1)
        """
        id_type, data = identity
        if id_type not in _ADDRESSES or not self.settings.check_address:
            return True
        return ipaddress.ip_address(address).packed == data

    async def check(
        self,
        certificates: Sequence[CertPayload],
        identity: Identity,
        connection: str,
        address: str,
    ) -> Checked:
        """Are these the certificates of a peer with that identity, which sends from `address`, as
        the connection wants them? Raises Unfit.
        """
        settings, now_wall_s = self.settings, self._clock.wall_s()
        leaf, others = _read(certificates)
        chain = find_chain(
            leaf,
            (*others, *settings.intermediates),
            self._anchors(connection),
            now_wall_s,
            tls_purposes=settings.tls_purposes,
        )
        if not speaks_for(leaf, *identity):
            raise Unfit(f"{leaf.text}: doesn't speak for {format_identity(identity)}")
        if not self.may_come_from(identity, address):
            raise Unfit(f"{format_identity(identity)} comes from {address}")
        if not isinstance(leaf.key, PublicKey):
            raise Unfit(f"{leaf.text}: no key for signatures")
        if self._revocation is not None:
            stapled = [p.data for p in certificates if p.encoding == CertEncoding.OCSP_CONTENT]
            await self._revocation.check(chain, stapled)
        return Checked(leaf.key, chain.ids, chain.not_after_wall_s, leaf.text)

    async def check_tls(self, certificates: Sequence[x509.Certificate], connection: str) -> Chain:
        """The same of what a TLS peer showed, whose names are for the caller to look at. Raises
        Unfit.
        """
        if not certificates:
            raise Unfit("no certificate")
        leaf, *others = map(read_certificate, certificates)
        known = (*others, *self.settings.intermediates)
        now_wall_s = self._clock.wall_s()
        chain = find_chain(leaf, known, self._anchors(connection), now_wall_s, tls_purposes=True)
        if self._revocation is not None:
            await self._revocation.check(chain, ())
        return chain

    def _anchors(self, connection: str) -> Anchors:
        return self.settings.own_anchors.get(connection, self.settings.anchors)


def encode_ids(ids: Iterable[CertificateId]) -> bytes:
    """What of a chain may be revoked, for a ticket: `| length 1 | issuer 8 | serial … | … |`."""
    parts = [one.encode() for one in ids]
    return b"".join(bytes((len(part),)) + part for part in parts)


def decode_ids(octets: bytes) -> tuple[CertificateId, ...]:
    """What `encode_ids` was given."""
    found = []
    at = 0
    while at < len(octets):
        end = at + 1 + octets[at]
        found.append(CertificateId.decode(octets[at + 1 : end]))
        at = end
    return tuple(found)


def _read(payloads: Sequence[CertPayload]) -> tuple[Certificate, list[Certificate]]:
    """The peer's own certificate and those others that can be read. Raises Unfit."""
    certificates = [one for one in payloads if one.encoding == CertEncoding.X509_SIGNATURE]
    if not payloads or payloads[0].encoding != CertEncoding.X509_SIGNATURE:
        given = f"encoding {payloads[0].encoding}" if payloads else "there is none"
        raise Unfit(f"the first CERT payload isn't a certificate: {given}")
    if len(certificates) > CERTIFICATES_MAX:
        raise Unfit(f"{len(certificates)} certificates in one message")
    leaf = decode_certificate(certificates[0].data)
    others = []
    for one in certificates[1:]:
        try:
            others.append(decode_certificate(one.data))
        except Unfit:
            continue  # one that nobody needs is no reason to refuse (RFC 4945 3.3.10.2)
    return leaf, others
