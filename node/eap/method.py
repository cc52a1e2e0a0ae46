"""What a conversation is made of: rounds, what they end in, and who carries them out.

Rules: one round is one packet in and one out. A conversation belongs to one IKE SA and to one task
at a time; nothing of it outlives the handshake. Keys leave it as `Secret` only. The same shapes
serve both sides: at the gateway packets from the peer come in, at the client those of the gateway.
RFC 3748 7.10 (MSK), RFC 7296 2.16, RFC 5998 4 (what a method must be able to do).
"""

import enum
from typing import Protocol

import msgspec

from node.eap.packet import EapType
from proto.secret import Secret

MSK_OCTETS = 64
"""What every method here exports; a shorter key is followed by zeros, as its peers do."""


class Reason(enum.Enum):
    """Why a conversation failed; the values are label values of a metric."""

    MALFORMED = "malformed"
    """Octets that aren't EAP, or not what was to come now."""
    NO_METHOD = "no-method"
    """Nothing that both sides would do."""
    CREDENTIALS = "credentials"
    """Unknown user, wrong password, or a certificate that isn't trusted: not told apart."""
    REJECTED = "rejected"
    """The other side, or the RADIUS server, said no."""
    AWAY = "away"
    """No RADIUS server answered in time."""
    BUSY = "busy"
    """More conversations than the configuration allows, or more requests than a server takes."""
    NO_KEY = "no-key"
    """It succeeded without the key that IKE needs."""
    TOO_LONG = "too-long"
    """More rounds or octets than any method needs."""


class Success(msgspec.Struct, frozen=True):
    """The peer (at a client: the server) has proven who it is."""

    identity: str
    """Who was authenticated, as the method names it: policy goes by it (RFC 7296 2.16)."""
    method: int
    """The EAP type that did it, for the ticket and for what RFC 5998 asks of it."""
    msk: Secret
    """64 octets."""
    lifetime_s: float | None = None
    """After which it must authenticate again (RADIUS Session-Timeout), if limited."""
    classes: tuple[bytes, ...] = ()
    """RADIUS Class values, opaque, for accounting."""
    certificate: bytes = b""
    """By which one, for its revocation: `node.trust.verifier.encode_ids`."""
    expires_wall_s: float = float("inf")
    """When what was proven no longer holds."""


class Failure(msgspec.Struct, frozen=True):
    """Nothing was proven."""

    reason: Reason
    why: str
    """One line for the log; never for the peer."""
    identity: str = ""
    """Who it claimed to be, as far as known."""


class Round(msgspec.Struct, frozen=True):
    """What one packet led to."""

    packet: bytes = b""
    """To be sent; empty: nothing (a failure then becomes AUTHENTICATION_FAILED)."""
    result: Success | Failure | None = None
    """None: the conversation goes on."""
    verdict: Failure | None = None
    """It goes on only to tell the peer of this, and some peers leave at once."""


class Conversation(Protocol):
    """One conversation. Implementers: `local.LocalServer`, `radius.relay.RadiusRelay`,
    `peer.EapPeer`.
    """

    async def answer(self, packet: bytes) -> Round:
        """The next round; at the gateway b"" begins. Raises nothing of its own."""
        ...

    def close(self) -> None:
        """Forget what is under way: the IKE SA is gone. Harmless at any time."""
        ...


class Asked(msgspec.Struct, frozen=True):
    """Whose conversation begins."""

    identity: str
    """What IDi names, as a network access identifier: no kind before it."""
    remote: str
    """The address that the peer comes from."""
    methods: tuple[str, ...] = ()
    """Those that its connection allows; empty: all that are configured, in their order."""
    connection: str = ""
    """Its name, by which it is looked up whose certificates are believed."""


class Backend(Protocol):
    """Who begins conversations. Implementers: `backend.EapBackend` (gateway), `EapClient`."""

    def converse(self, asked: Asked) -> Conversation:
        """A new one; a gateway's first `answer(b"")` is the first request."""
        ...


class Proven(msgspec.Struct, frozen=True):
    """What a method's run came to."""

    identity: str
    msk: Secret
    certificate: bytes = b""
    """See `Success`, of this and the next one."""
    expires_wall_s: float = float("inf")


class Refused(msgspec.Struct, frozen=True):
    """A method's run failed, and there is nothing more to say in it."""

    reason: Reason
    why: str


def succeeded(method: int, proven: Proven) -> Success:
    """What a method's run means for the conversation."""
    return Success(
        proven.identity,
        method,
        proven.msk,
        certificate=proven.certificate,
        expires_wall_s=proven.expires_wall_s,
    )


class ServerMethod(Protocol):
    """One run of a method at the gateway. Implementers: `mschapv2.server.MschapV2Server`,
    `tls.server.TlsServer`.
    """

    @property
    def type(self) -> int:
        """Its EAP type."""
        ...

    @property
    def refusal(self) -> Refused | None:
        """What the peer is being told of; None: nothing is decided against it."""
        ...

    async def begin(self, identifier: int) -> bytes:
        """The data of its first request, which has that identifier."""
        ...

    async def answer(self, data: bytes) -> bytes | Proven | Refused:
        """A response's data → the next request's, or how it ended. Raises EapError."""
        ...


class PeerMethod(Protocol):
    """One run of a method at the client. Implementers: `mschapv2.peer.MschapV2Peer`,
    `tls.peer.TlsPeer`.
    """

    @property
    def type(self) -> int:
        """Its EAP type."""
        ...

    @property
    def proven(self) -> Proven | None:
        """What EAP's Success seals; None as long as it would come too early."""
        ...

    @property
    def refusal(self) -> str:
        """Why it failed, if the method was told or found out; a line for the log."""
        ...

    async def answer(self, data: bytes) -> bytes:
        """A request's data → the response's. Raises EapError."""
        ...


class Traits(msgspec.Struct, frozen=True):
    """What a method can do, for policy."""

    mutual: bool
    """Both sides prove who they are."""
    makes_key: bool
    """It exports an MSK."""
    resists_dictionary: bool
    """Whoever listens, or poses as the server, can't try passwords offline."""

    @property
    def fits_eap_only(self) -> bool:
        """Good enough to be the gateway's only proof (RFC 5998 4)."""
        return self.mutual and self.makes_key and self.resists_dictionary


SAFE = Traits(mutual=True, makes_key=True, resists_dictionary=True)
NOTHING = Traits(mutual=False, makes_key=False, resists_dictionary=False)
TRAITS: dict[int, Traits] = {
    # RFC 5998 4 names the safe ones
    EapType.TLS: SAFE,
    EapType.TTLS: SAFE,
    EapType.SIM: SAFE,
    EapType.AKA: SAFE,
    EapType.AKA_PRIME: SAFE,
    EapType.FAST: SAFE,
    EapType.PAX: SAFE,
    EapType.SAKE: SAFE,
    EapType.GPSK: SAFE,
    EapType.PWD: SAFE,
    EapType.EKE: SAFE,
    EapType.MSCHAPV2: Traits(mutual=True, makes_key=True, resists_dictionary=False),
}


def traits(method: int) -> Traits:
    """Those of an EAP type; one that isn't known can do nothing."""
    return TRAITS.get(method, NOTHING)
