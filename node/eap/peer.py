"""A conversation as a client holds it.

Rules: a method that isn't ours is answered with a Nak, once one has begun no other is taken (RFC
3748 5.3.1). EAP's Success counts only when the method has proven the server; one that comes early
ends the conversation. Failure is believed: IKE protects it. RFC 3748 4.2, 5.
"""

from collections.abc import Sequence

from node.eap.method import Failure, PeerMethod, Reason, Round, succeeded
from node.eap.packet import (
    EapCode,
    EapError,
    EapPacket,
    EapType,
    MalformedEapError,
    name_of_type,
)

ROUNDS_MAX = 100


class EapPeer:
    """Implements `node.eap.method.Conversation`."""

    def __init__(self, identity: str, methods: Sequence[PeerMethod]) -> None:
        """`identity`: told to whoever asks. `methods`: one run of each that we would do."""
        self._identity = identity
        self._methods = {method.type: method for method in methods}
        self._method: PeerMethod | None = None
        self._rounds = 0

    async def answer(self, packet: bytes) -> Round:
        """See `Conversation.answer`."""
        self._rounds += 1
        if self._rounds > ROUNDS_MAX:
            return _failed(Reason.TOO_LONG, f"more than {ROUNDS_MAX} rounds")
        try:
            return await self._take(EapPacket.decode(packet))
        except MalformedEapError as error:
            return _failed(Reason.MALFORMED, str(error))
        except EapError as error:
            return _failed(Reason.CREDENTIALS, str(error))

    def close(self) -> None:
        """Nothing is under way outside of this object."""

    async def _take(self, packet: EapPacket) -> Round:
        match packet.code:
            case EapCode.REQUEST:
                return await self._respond(packet)
            case EapCode.SUCCESS:
                return self._succeed()
            case EapCode.FAILURE:
                told = self._method.refusal if self._method is not None else ""
                return _failed(Reason.REJECTED, told or "the server refused")
            case _:
                raise MalformedEapError("a response, from the server")

    def _succeed(self) -> Round:
        method = self._method
        if method is None or method.proven is None:
            raise MalformedEapError("success before the method's end")
        return Round(b"", succeeded(method.type, method.proven))

    async def _respond(self, packet: EapPacket) -> Round:
        match packet.type:
            case EapType.IDENTITY if self._method is None:
                return _response(packet, packet.type, self._identity.encode())
            case EapType.NOTIFICATION:
                return _response(packet, packet.type, b"")
            case EapType.IDENTITY | EapType.NAK:
                raise MalformedEapError(f"a request for {name_of_type(packet.type)}")
        if self._method is None:
            self._method = self._methods.get(packet.type)
            if self._method is None:
                return _response(packet, EapType.NAK, bytes(self._methods) or b"\0")
        if packet.type != self._method.type:
            named = name_of_type(self._method.type)
            raise MalformedEapError(f"{name_of_type(packet.type)} in the middle of {named}")
        return _response(packet, packet.type, await self._method.answer(packet.data))


def _response(request: EapPacket, type_: int, data: bytes) -> Round:
    return Round(EapPacket(EapCode.RESPONSE, request.identifier, type_, data).encode())


def _failed(reason: Reason, why: str) -> Round:
    return Round(b"", Failure(reason, why))
