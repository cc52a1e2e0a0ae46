"""What EAP-TLS works with, from the trust settings that IKE's own certificates have: what we show,
whom we believe, by connection.

Rules: TLS looks at a peer's certificate first and tells it in an alert what is wrong; what counts
is `node.trust`, which looks at the chain once more, with the connection's authorities and no
others.
"""

from collections.abc import Sequence

from cryptography import x509
from OpenSSL import SSL

from node.eap.packet import EapError
from node.eap.tls.engine import TlsCredentials, context
from node.eap.tls.server import Trust as Vouch
from node.eap.tls.server import Vouched
from node.trust.certificate import Unfit
from node.trust.own import Own
from node.trust.path import Anchors
from node.trust.verifier import Trust, encode_ids


class TlsMeans:
    """See the module."""

    def __init__(self, trust: Trust, own: Own) -> None:
        """`own`: what we show. Raises ValueError where its key isn't for TLS."""
        self._trust = trust
        settings = trust.settings
        self._default = self._context(own, settings.anchors)
        self._by_connection = {
            name: self._context(own, anchors) for name, anchors in settings.own_anchors.items()
        }

    def context(self, connection: str) -> SSL.Context:
        """For TLS with a peer of that connection."""
        return self._by_connection.get(connection, self._default)

    def trust(self, connection: str) -> Vouch:
        """What is asked of a chain that TLS found right. For `TlsServer` and `TlsPeer`."""

        async def vouch(chain: Sequence[x509.Certificate]) -> Vouched:
            try:
                found = await self._trust.check_tls(chain, connection)
            except Unfit as error:
                raise EapError(str(error)) from None
            return Vouched(encode_ids(found.ids), found.not_after_wall_s)

        return vouch

    def _context(self, own: Own, anchors: Anchors) -> SSL.Context:
        above = tuple(one.parsed for one in own.above if not one.self_issued)
        credentials = TlsCredentials(
            (own.certificate.parsed, *above),
            own.key,
            tuple(one.parsed for one in anchors.certificates),
            tuple(one.parsed for one in self._trust.settings.intermediates),
        )
        return context(credentials)
