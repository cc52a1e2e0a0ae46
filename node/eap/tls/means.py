"""What EAP-TLS works with, from the trust settings that IKE's own certificates have: what we show,
whom we believe, by connection.

Rules: TLS looks at a peer's certificate first and tells it in an alert what is wrong; what counts
is `node.trust`, which looks at the chain once more, with the connection's authorities and no
others.
"""

from collections.abc import Sequence

from cryptography import x509
from OpenSSL import SSL

from cluster.seams import Clock
from node.eap.tls.engine import TlsCredentials, context
from node.eap.tls.server import Trust
from node.trust.certificate import Unfit, read_certificate
from node.trust.own import Own
from node.trust.path import Anchors, find_chain
from node.trust.verifier import TrustSettings


class TlsMeans:
    """See the module."""

    def __init__(self, settings: TrustSettings, own: Own, clock: Clock) -> None:
        """`own`: what we show. Raises ValueError where its key isn't for TLS."""
        self._settings = settings
        self._clock = clock
        self._default = self._context(own, settings.anchors)
        self._by_connection = {
            name: self._context(own, anchors) for name, anchors in settings.own_anchors.items()
        }

    def context(self, connection: str) -> SSL.Context:
        """For TLS with a peer of that connection."""
        return self._by_connection.get(connection, self._default)

    def trust(self, connection: str) -> Trust:
        """What is asked of a chain that TLS found right. For `TlsServer` and `TlsPeer`."""
        anchors = self._settings.own_anchors.get(connection, self._settings.anchors)

        async def check(chain: Sequence[x509.Certificate]) -> str:
            try:
                leaf, *others = map(read_certificate, chain)
                known = (*others, *self._settings.intermediates)
                find_chain(leaf, known, anchors, self._clock.wall_s(), tls_purposes=True)
            except Unfit as error:
                return str(error)
            return ""

        return check

    def _context(self, own: Own, anchors: Anchors) -> SSL.Context:
        above = tuple(one.parsed for one in own.above if not one.self_issued)
        credentials = TlsCredentials(
            (own.certificate.parsed, *above),
            own.key,
            tuple(one.parsed for one in anchors.certificates),
            tuple(one.parsed for one in self._settings.intermediates),
        )
        return context(credentials)
