"""A conversation that the gateway itself holds: it asks for the identity where that is wanted, and
proposes its methods in order until the peer takes one.

Rules: IKE loses and repeats nothing, so what RFC 3748 would discard ends the conversation instead
(4.1, 5.3.1). A Nak counts only as the first answer to a method, and chooses among those not yet
proposed. RFC 3748 2, 4, 5; RFC 7296 3.16.
"""

from collections.abc import Callable, Sequence

from node.eap.method import (
    Failure,
    Proven,
    Reason,
    Refused,
    Round,
    ServerMethod,
    succeeded,
)
from node.eap.packet import (
    EapCode,
    EapError,
    EapPacket,
    EapType,
    MalformedEapError,
    decode_identity,
    name_of_type,
)

ROUNDS_MAX = 100
"""EAP-TLS with 64 KiB in fragments of 1 KiB from either side fits."""

MakeMethod = Callable[[str], ServerMethod]
"""A run of one method for whoever claims to be that."""


class LocalServer:
    """Implements `node.eap.method.Conversation`."""

    def __init__(
        self, methods: Sequence[MakeMethod], identity: str, first: int, *, ask: bool = False
    ) -> None:
        """`first`: the first request's identifier. `ask`: for the identity, before all else;
        otherwise it is `identity`.
        """
        self._left = list(methods)
        self._identity = identity
        self._next = first % 256
        self._sent = 0
        """The last request's identifier."""
        self._ask = ask
        self._method: ServerMethod | None = None
        self._fresh = False
        """The method's first request isn't answered yet: a Nak may come."""
        self._rounds = 0

    async def answer(self, packet: bytes) -> Round:
        """See `Conversation.answer`."""
        self._rounds += 1
        if self._rounds > ROUNDS_MAX:
            return self._end(Failure(Reason.TOO_LONG, f"more than {ROUNDS_MAX} rounds"))
        try:
            if packet:
                return await self._take(EapPacket.decode(packet))
            if self._ask:
                return self._request(EapType.IDENTITY, b"")
            return await self._propose()
        except MalformedEapError as error:
            return self._end(Failure(Reason.MALFORMED, str(error)))
        except EapError as error:
            return self._end(Failure(Reason.CREDENTIALS, str(error)))

    def close(self) -> None:
        """Nothing is under way outside of this object."""

    async def _take(self, packet: EapPacket) -> Round:
        if packet.code != EapCode.RESPONSE or packet.identifier != self._sent:
            raise MalformedEapError("not the response to our request")
        method = self._method
        if method is None:
            if packet.type != EapType.IDENTITY:
                raise MalformedEapError(f"{name_of_type(packet.type)} where IDENTITY was to come")
            self._identity = decode_identity(packet.data) or self._identity
            return await self._propose()
        if packet.type == EapType.NAK and self._fresh:
            return await self._propose(packet.data)
        if packet.type != method.type:
            named = name_of_type(method.type)
            raise MalformedEapError(f"{name_of_type(packet.type)} where {named} was to come")
        self._fresh = False
        return self._went(method, await method.answer(packet.data))

    async def _propose(self, wanted: bytes | None = None) -> Round:
        """The next method; after a Nak one of the `wanted` types."""
        while self._left:
            method = self._left.pop(0)(self._identity)
            if wanted is None or method.type in wanted:
                self._method, self._fresh = method, True
                return self._request(method.type, await method.begin(self._next))
        asked = ", ".join(map(name_of_type, wanted or b"")) or "nothing"
        return self._end(Failure(Reason.NO_METHOD, f"no method in common; the peer wants {asked}"))

    def _went(self, method: ServerMethod, step: bytes | Proven | Refused) -> Round:
        match step:
            case bytes():
                went, refusal = self._request(method.type, step), method.refusal
                if refusal is None:
                    return went
                verdict = Failure(refusal.reason, refusal.why, self._identity)
                return Round(went.packet, None, verdict)
            case Proven():
                packet = EapPacket(EapCode.SUCCESS, self._sent).encode()
                return Round(packet, succeeded(method.type, step))
            case Refused():
                return self._end(Failure(step.reason, step.why))

    def _request(self, type_: int, data: bytes) -> Round:
        self._sent, self._next = self._next, (self._next + 1) % 256
        return Round(EapPacket(EapCode.REQUEST, self._sent, type_, data).encode())

    def _end(self, failure: Failure) -> Round:
        packet = EapPacket(EapCode.FAILURE, self._sent).encode()
        named = Failure(failure.reason, failure.why, self._identity)
        return Round(packet, named)
