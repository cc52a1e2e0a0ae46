"""EAP-TLS at the gateway.

Rules: EAP's Success follows only the peer's acknowledgement of all that TLS had to say (RFC 5216
2.1.1, RFC 9190 2.1.1). Who was authenticated is a name of the certificate: the one that was
claimed, which must be one of its names, or its first where nothing was claimed.
"""

from collections.abc import Awaitable, Callable

import msgspec
from cryptography import x509
from OpenSSL import SSL

from node.eap.method import Proven, Reason, Refused
from node.eap.packet import EapError, EapType, MalformedEapError
from node.eap.tls import framing, names
from node.eap.tls.engine import TlsEngine, TlsError

COMMITMENT = b"\0"
"""The application data that says in TLS 1.3 that the server has accepted (RFC 9190 2.5)."""


class Vouched(msgspec.Struct, frozen=True):
    """A chain that holds."""

    certificate: bytes = b""
    """See `node.eap.method.Success`, of this and the next one."""
    expires_wall_s: float = float("inf")


Trust = Callable[[tuple[x509.Certificate, ...]], Awaitable[Vouched]]
"""A chain that TLS found right, the peer's certificate first. Raises EapError saying why not."""


class TlsServer:
    """Implements `node.eap.method.ServerMethod`."""

    type = EapType.TLS

    def __init__(self, shared: SSL.Context, claimed: str, trust: Trust) -> None:
        """`shared`: of `engine.context`."""
        self._engine = TlsEngine(shared, server=True)
        self._claimed = claimed
        self._trust = trust
        self._assembly = framing.Assembly()
        self._out: list[bytes] = []
        self._end: Proven | Refused | None = None
        """What there is to say once all has been sent and acknowledged."""

    @property
    def refusal(self) -> Refused | None:
        """See `ServerMethod.refusal`."""
        return self._end if isinstance(self._end, Refused) else None

    async def begin(self, identifier: int) -> bytes:
        """The start packet."""
        return framing.Fragment(framing.START).encode()

    async def answer(self, data: bytes) -> bytes | Proven | Refused:
        """See `ServerMethod.answer`."""
        fragment = framing.Fragment.decode(data)
        if self._out:
            if not fragment.is_acknowledgement:
                raise MalformedEapError("TLS where an acknowledgement was to come")
            return self._out.pop(0)
        if self._end is not None:
            return self._ended(fragment)
        whole = self._assembly.add(fragment)
        if whole is None:
            return framing.ACKNOWLEDGEMENT
        if not whole:
            raise MalformedEapError("an acknowledgement where TLS was to come")
        return await self._advance(whole)

    def _ended(self, fragment: framing.Fragment) -> Proven | Refused:
        """After the last word: an acknowledgement, or an alert."""
        if isinstance(self._end, Proven) and fragment.is_acknowledgement:
            return self._end
        if isinstance(self._end, Refused):
            return self._end
        return Refused(Reason.REJECTED, "the peer doesn't take our certificate")

    async def _advance(self, message: bytes) -> bytes | Proven | Refused:
        try:
            self._engine.feed(message)
        except TlsError as error:
            self._end = Refused(Reason.CREDENTIALS, str(error))
            alert = self._engine.take()
            return self._send(alert) if alert else self._end
        if self._engine.done:
            self._end = await self._judge()
            if isinstance(self._end, Refused):
                return self._end
            if self._engine.is_1_3:
                self._engine.write(COMMITMENT)
        return self._send(self._engine.take())

    async def _judge(self) -> Proven | Refused:
        chain = self._engine.peer_chain()
        try:
            vouched = await self._trust(chain)
        except EapError as error:
            return Refused(Reason.CREDENTIALS, str(error))
        identity = names.named(chain[0], self._claimed)
        if identity is None and names.is_anonymous(self._claimed):
            identity = next(iter(names.names(chain[0])), None)
        if identity is None:
            why = f"a certificate that isn't for {self._claimed!r}"
            return Refused(Reason.CREDENTIALS, why)
        msk = self._engine.msk()
        return Proven(identity, msk, vouched.certificate, vouched.expires_wall_s)

    def _send(self, message: bytes) -> bytes:
        if not message:
            raise MalformedEapError("a TLS message that ends early")
        self._out = framing.fragments(message)
        return self._out.pop(0)
