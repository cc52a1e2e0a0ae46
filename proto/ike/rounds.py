"""Where an IKE_AUTH stands that takes more than one request: EAP, and several authentications (RFC
7296 2.16, RFC 4739).

Rules: values, as everything of a handshake: a handler replaces them, and they are gone once the SA
is established.
"""

import msgspec

from proto.ike.connection import Connection, Method
from proto.ike.message import Message
from proto.ike.payloads import IdPayload
from proto.ike.proofs import EapDone
from proto.secret import Secret


class Passed(msgspec.Struct, frozen=True):
    """One authentication that the peer has passed."""

    method: str
    """`psk`, `certificate`, `null`, or `eap-` and the method's name."""
    identity: str
    """Who it is by that."""
    certificate: bytes = b""
    """See `proto.ike.proofs.ChainChecked.certificate`."""
    expires_wall_s: float = float("inf")
    """When what was proven no longer holds."""


class Rounds(msgspec.Struct, frozen=True):
    """Responder: what the peer has proven so far."""

    connection: Connection
    request: Message
    """The first request: what it asks for is given with the last answer."""
    idi: IdPayload
    """The first IDi, by which the connection was chosen."""
    latest: IdPayload
    """The latest one: what AUTH covers (RFC 4739 2.1)."""
    passed: tuple[Passed, ...] = ()
    said: bool = False
    """Our own AUTH has left."""
    alone: bool = False
    """EAP proves both sides: there is none of ours before (RFC 5998)."""
    in_eap: bool = False
    """A conversation is under way."""
    done: EapDone | None = None
    """It has succeeded: what is left is AUTH with its key."""

    @property
    def method(self) -> Method:
        """What is to be proven now."""
        return self.connection.remote_auth[len(self.passed)]


class Proof(msgspec.Struct, frozen=True):
    """Initiator: one thing that we prove."""

    method: Method
    local_id: IdPayload
    """Of kind IDi."""
    psk: Secret | None = None


class Proving(msgspec.Struct, frozen=True):
    """Initiator: what we have proven so far, and the gateway to us."""

    at: int = 0
    """Which of our proofs is under way."""
    gateway: bool = False
    """The gateway has proven itself by its own AUTH, or is to do so by EAP's alone."""
    alone: bool = False
    """It left its own AUTH out: EAP must prove it (RFC 5998)."""
    begun: bool = False
    """An EAP conversation is under way."""
    done: EapDone | None = None
    """It has succeeded: AUTH with its key has left, and is waited for."""
    passed: tuple[str, ...] = ()
    """The methods of the proofs before this one, as `Passed.method` has them."""
    idr: IdPayload | None = None
    """The gateway's identity, once it was told."""

    def has_shown(self, proofs: tuple[Proof, ...]) -> bool:
        """Was AUTH in the request that is being answered, with these `proofs`?"""
        if self.at >= len(proofs):
            return False
        return self.done is not None or proofs[self.at].method is not Method.EAP
