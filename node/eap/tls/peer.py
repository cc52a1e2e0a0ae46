"""EAP-TLS at the client.

Rules: its certificate and its proof leave only after the server's was found right, by TLS and by
`Trust`, and to be for one of the names that were expected. With TLS 1.3 the server's protected word
that it has accepted must have come before EAP's Success counts (RFC 9190 2.5).
"""

from collections.abc import Sequence

from OpenSSL import SSL

from node.eap.method import Proven
from node.eap.packet import EapError, EapType, MalformedEapError
from node.eap.tls import framing, names
from node.eap.tls.engine import TlsEngine, TlsError
from node.eap.tls.server import COMMITMENT, Trust


class TlsPeer:
    """Implements `node.eap.method.PeerMethod`."""

    type = EapType.TLS

    def __init__(
        self, shared: SSL.Context, identity: str, servers: Sequence[str], trust: Trust
    ) -> None:
        """`servers`: names of which the server's certificate must have one; none: any will do."""
        self._engine = TlsEngine(shared, server=False)
        self._identity = identity
        self._servers = tuple(name.casefold() for name in servers)
        self._trust = trust
        self._assembly = framing.Assembly()
        self._out: list[bytes] = []
        self._begun = False
        self._judged = False
        self.proven: Proven | None = None
        self.refusal = ""

    async def answer(self, data: bytes) -> bytes:
        """See `PeerMethod.answer`."""
        fragment = framing.Fragment.decode(data)
        if self.proven is not None or self.refusal:
            raise MalformedEapError("TLS after its end")
        if not self._begun:
            return self._begin(fragment)
        if self._out:
            if not fragment.is_acknowledgement:
                raise MalformedEapError("TLS where an acknowledgement was to come")
            return self._out.pop(0)
        whole = self._assembly.add(fragment)
        if whole is None:
            return framing.ACKNOWLEDGEMENT
        return await self._advance(whole)

    def _begin(self, fragment: framing.Fragment) -> bytes:
        if not fragment.flags & framing.START or fragment.octets:
            raise MalformedEapError("EAP-TLS without its start")
        self._begun = True
        self._engine.feed(b"")
        return self._send(self._engine.take())

    async def _advance(self, message: bytes) -> bytes:
        if not message:
            raise MalformedEapError("an acknowledgement where TLS was to come")
        try:
            self._engine.feed(message)
            done = self._engine.done
            if done and not self._judged:
                await self._judge()
            if done and (not self._engine.is_1_3 or self._engine.read() == COMMITMENT):
                self.proven = Proven(self._identity, self._engine.msk())
        except TlsError as error:
            self.refusal = str(error)
        return self._send(self._engine.take())

    async def _judge(self) -> None:
        """Raises EapError; what TLS would say next is never sent then."""
        self._judged = True
        chain = self._engine.peer_chain()
        try:
            await self._trust(chain)
        except EapError as error:
            raise EapError(f"the server's certificate: {error}") from None
        shown = [name.casefold() for name in names.server_names(chain[0])]
        if self._servers and not any(name in self._servers for name in shown):
            expected = ", ".join(self._servers)
            raise EapError(f"the server's certificate is for {', '.join(shown)}, not {expected}")

    def _send(self, message: bytes) -> bytes:
        if not message:
            return framing.ACKNOWLEDGEMENT
        self._out = framing.fragments(message)
        return self._out.pop(0)
