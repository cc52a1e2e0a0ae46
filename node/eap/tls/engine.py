"""One TLS connection without a socket: octets in, octets out, and the key at its end.

Rules: what TLS refuses raises TlsError, after which `take` still has the alert for the other side.
No renegotiation, no compression, no tickets of our own making a way around the certificates. The
MSK is the first 64 of 128 exported octets: TLS 1.3 makes others of a shorter export (RFC 9190
2.3).
"""

from collections.abc import Callable

import msgspec
from cryptography import x509
from OpenSSL import SSL, crypto

from node.eap.method import MSK_OCTETS
from node.eap.packet import EapError, EapType
from proto.ike.signature import PrivateKey
from proto.secret import Secret

EXPORT_OCTETS = 128
LABEL_1_2 = b"client EAP encryption"
LABEL_1_3 = b"EXPORTER_EAP_TLS_Key_Material"
_READ = 65_536
_DEPTH_MAX = 8


class TlsError(EapError):
    """TLS refused what came; there may be an alert to send."""


class TlsCredentials(msgspec.Struct, frozen=True):
    """What one side shows, and whom it trusts."""

    chain: tuple[x509.Certificate, ...]
    """Its own certificate first, then those that lead to an anchor."""
    key: PrivateKey
    anchors: tuple[x509.Certificate, ...]
    """Authorities whose certificates the other side may have."""
    intermediates: tuple[x509.Certificate, ...] = ()
    """Further ones, for a side that doesn't send them: TLS itself takes them for anchors."""


def context(credentials: TlsCredentials) -> SSL.Context:
    """What all connections with these credentials share. Raises ValueError if they don't fit."""
    made = SSL.Context(SSL.TLS_METHOD)
    made.set_min_proto_version(SSL.TLS1_2_VERSION)
    made.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    # strongSwan's TLS 1.2 doesn't know RFC 5746; without renegotiation nothing can be spliced in
    made.set_options(SSL.OP_LEGACY_SERVER_CONNECT)
    made.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    try:
        made.use_certificate(credentials.chain[0])
        made.use_privatekey(credentials.key)
        made.check_privatekey()
    except SSL.Error as error:
        raise ValueError(f"a certificate and key that don't fit: {_reason(error)}") from None
    for certificate in credentials.chain[1:]:
        made.add_extra_chain_cert(certificate)
    for anchor in credentials.anchors:
        made.add_client_ca(anchor)
    store = made.get_cert_store()
    if store is not None:
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)  # an anchor needn't be a root
        for known in (*credentials.anchors, *credentials.intermediates):
            store.add_cert(crypto.X509.from_cryptography(known))
    made.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
    made.set_verify_depth(_DEPTH_MAX)
    return made


class TlsEngine:
    """See the module."""

    def __init__(self, shared: SSL.Context, *, server: bool) -> None:
        self._connection = SSL.Connection(shared, None)
        if server:
            self._connection.set_accept_state()
        else:
            self._connection.set_connect_state()
        self.done = False
        """The handshake is over: the other side's certificate is verified, its key proven."""

    @property
    def is_1_3(self) -> bool:
        """TLS 1.3 was agreed."""
        return self._connection.get_protocol_version() == SSL.TLS1_3_VERSION

    def feed(self, octets: bytes) -> None:
        """Take what the other side sent, as far as the handshake goes. Raises TlsError."""
        if octets:
            self._connection.bio_write(octets)
        if not self.done:
            self.done = self._try(self._connection.do_handshake)

    def take(self) -> bytes:
        """All that is to be sent now."""
        taken = b""
        while True:
            try:
                taken += self._connection.bio_read(_READ)
            except SSL.WantReadError:
                return taken

    def write(self, octets: bytes) -> None:
        """Application data, after the handshake. Raises TlsError."""
        self._try(lambda: self._connection.send(octets))

    def read(self) -> bytes:
        """Application data that came; b"" if none did. Raises TlsError."""
        read: list[bytes] = []
        self._try(lambda: read.append(self._connection.recv(_READ)))
        return b"".join(read)

    def peer_chain(self) -> tuple[x509.Certificate, ...]:
        """The other side's certificate, then those up to the anchor that verified it."""
        return tuple(self._connection.get_verified_chain(as_cryptography=True) or ())

    def msk(self) -> Secret:
        """The key of the method (RFC 5216 2.3, RFC 9190 2.3)."""
        label, given = (LABEL_1_3, bytes((EapType.TLS,))) if self.is_1_3 else (LABEL_1_2, None)
        exported = self._connection.export_keying_material(label, EXPORT_OCTETS, given)
        return Secret(exported[:MSK_OCTETS])

    def _try(self, step: Callable[[], object]) -> bool:
        """Whether it could be done with what is here. Raises TlsError."""
        try:
            step()
        except SSL.WantReadError:
            return False
        except SSL.ZeroReturnError:
            raise TlsError("TLS was closed by the other side") from None
        except SSL.Error as error:
            raise TlsError(f"TLS: {_reason(error)}") from None
        return True


def _reason(error: SSL.Error) -> str:
    """The last of OpenSSL's reasons."""
    told = error.args[0] if error.args else ()
    last = told[-1][-1] if isinstance(told, list) and told and told[-1] else ""
    return str(last) or type(error).__name__
