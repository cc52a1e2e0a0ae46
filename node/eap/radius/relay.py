"""Conversations that a RADIUS server holds through us, and which server that is.

Rules: a conversation begins at the first server that isn't known to be away and keeps to it, for
only that one knows the State; when it goes silent in the middle, the conversation fails. One round
takes no longer than its limit, whatever the number of servers. An Accept lets nobody in whom it
doesn't give a key and EAP's Success. RFC 3579 2.
"""

import asyncio
from collections.abc import Sequence

import msgspec

from node.eap.method import Asked, Failure, Reason, Round, Success
from node.eap.packet import EapCode, EapPacket, EapType, MalformedEapError, decode_identity
from node.eap.radius.packet import (
    EAP_OCTETS_MAX,
    Attribute,
    Code,
    Reply,
    eap_attributes,
)
from node.eap.radius.server import Away, Busy, RadiusServer

FRAMED_MTU = 1100
"""The longest EAP packet that we would like to be sent: with IKE's headers it fits into 1280."""
SERVICE_TYPE_FRAMED = 2
NAS_PORT_TYPE_VIRTUAL = 5
ROUNDS_MAX = 100
IDENTITY_OCTETS_MAX = 253


class RelaySettings(msgspec.Struct, frozen=True):
    """What all conversations share."""

    nas_identifier: str
    timeout_s: float
    """The longest that a round takes, all servers together."""
    ask: bool = False
    """For the identity, before a server is asked."""


class RadiusServers:
    """Those that are configured, the preferred one first."""

    def __init__(self, servers: Sequence[RadiusServer], settings: RelaySettings) -> None:
        self.servers = tuple(servers)
        self.settings = settings

    async def first(self, attributes: list[tuple[int, bytes]]) -> tuple[RadiusServer, Reply]:
        """Whichever answers first, in order, those that were away lately last. Raises Away,
        Busy.
        """
        ends_s = asyncio.get_running_loop().time() + self.settings.timeout_s
        last: Away | Busy = Away("no server")
        for server in sorted(self.servers, key=lambda server: server.is_away):
            left_s = ends_s - asyncio.get_running_loop().time()
            if left_s <= 0:
                break
            try:
                return server, await server.ask(attributes, left_s)
            except (Away, Busy) as error:
                last = error
        raise last

    def close(self) -> None:
        """Give the sockets back."""
        for server in self.servers:
            server.close()


class RadiusRelay:
    """Implements `node.eap.method.Conversation`."""

    def __init__(self, servers: RadiusServers, asked: Asked, first: int) -> None:
        """`first`: the identifier of an identity request of ours, should there be one."""
        self._servers = servers
        self._server: RadiusServer | None = None
        self._identity = asked.identity
        self._remote = asked.remote
        self._identifier = first % 256
        self._state: tuple[bytes, ...] = ()
        self._method = 0
        self._asking = False
        self._rounds = 0

    async def answer(self, packet: bytes) -> Round:
        """See `Conversation.answer`."""
        self._rounds += 1
        if self._rounds > ROUNDS_MAX:
            return self._failed(Reason.TOO_LONG, f"more than {ROUNDS_MAX} rounds")
        try:
            if packet:
                return await self._take(packet)
            return await self._begin()
        except MalformedEapError as error:
            return self._failed(Reason.MALFORMED, str(error))
        except Away as error:
            return self._failed(Reason.AWAY, f"RADIUS server {error} doesn't answer")
        except Busy as error:
            return self._failed(Reason.BUSY, f"too many requests to RADIUS server {error}")

    def close(self) -> None:
        """What is under way belongs to the task that asks."""

    async def _begin(self) -> Round:
        """Ask for the identity, or tell the server the one that IKE knows (RFC 3579 2.1)."""
        if self._servers.settings.ask:
            self._asking = True
            asked = EapPacket(EapCode.REQUEST, self._identifier, EapType.IDENTITY)
            return Round(asked.encode())
        return await self._ask(self._as_told())

    def _as_told(self) -> bytes:
        named = self._identity.encode()
        return EapPacket(EapCode.RESPONSE, self._identifier, EapType.IDENTITY, named).encode()

    async def _take(self, packet: bytes) -> Round:
        came = EapPacket.decode(packet)
        if came.code != EapCode.RESPONSE or came.identifier != self._identifier:
            raise MalformedEapError("not the response to the last request")
        if len(packet) > EAP_OCTETS_MAX:
            return self._failed(Reason.TOO_LONG, f"an EAP packet of {len(packet)} octets")
        if self._asking:
            if came.type != EapType.IDENTITY:
                raise MalformedEapError("another type where IDENTITY was to come")
            self._asking = False
            named = decode_identity(came.data)
            if not named:
                return await self._ask(self._as_told())
            self._identity = named
        return await self._ask(came.encode())

    async def _ask(self, packet: bytes) -> Round:
        attributes = self._attributes(packet)
        if self._server is None:
            self._server, reply = await self._servers.first(attributes)
        else:
            reply = await self._server.ask(attributes, self._servers.settings.timeout_s)
        return self._went(reply)

    def _attributes(self, packet: bytes) -> list[tuple[int, bytes]]:
        named = self._identity.encode()
        if not 0 < len(named) <= IDENTITY_OCTETS_MAX:
            raise MalformedEapError(f"an identity of {len(named)} octets")
        fixed: list[tuple[int, bytes]] = [
            (Attribute.USER_NAME, named),
            (Attribute.NAS_IDENTIFIER, self._servers.settings.nas_identifier.encode()),
            (Attribute.CALLING_STATION_ID, self._remote.encode()),
            (Attribute.SERVICE_TYPE, SERVICE_TYPE_FRAMED.to_bytes(4, "big")),
            (Attribute.NAS_PORT_TYPE, NAS_PORT_TYPE_VIRTUAL.to_bytes(4, "big")),
            (Attribute.FRAMED_MTU, FRAMED_MTU.to_bytes(4, "big")),
        ]
        state = [(Attribute.STATE, value) for value in self._state]
        return [*fixed, *eap_attributes(packet), *state]

    def _went(self, reply: Reply) -> Round:
        said = EapPacket.decode(reply.eap) if reply.eap else None
        octets = b"" if said is None else said.encode()
        match reply.code:
            case Code.ACCESS_CHALLENGE if said is not None and said.code == EapCode.REQUEST:
                self._identifier, self._state = said.identifier, reply.state
                if said.type not in (EapType.IDENTITY, EapType.NOTIFICATION):
                    self._method = said.type
                return Round(octets)
            case Code.ACCESS_ACCEPT if said is not None and said.code == EapCode.SUCCESS:
                return self._accepted(octets, reply)
            case Code.ACCESS_REJECT:
                told = octets if said is not None and said.code == EapCode.FAILURE else b""
                return self._failed(Reason.REJECTED, "the RADIUS server refused", told)
            case _:
                why = f"the RADIUS server's {reply.code.name} holds another EAP packet"
                return self._failed(Reason.MALFORMED, why)

    def _accepted(self, success: bytes, reply: Reply) -> Round:
        if reply.msk is None:
            return self._failed(Reason.NO_KEY, "the RADIUS server gave no key")
        lifetime_s = reply.session_timeout_s
        result = Success(
            identity=reply.user_name or self._identity,
            method=self._method,
            msk=reply.msk,
            lifetime_s=None if lifetime_s is None else float(lifetime_s),
            classes=reply.classes,
        )
        return Round(success, result)

    def _failed(self, reason: Reason, why: str, packet: bytes = b"") -> Round:
        return Round(packet, Failure(reason, why, self._identity))
