"""Tickets by reference: a sealed pointer to what a ticket by value would hold, and the store keeps
under the session's chain.

Rules: a pointer is opened, and its dates looked at, before anybody is asked for what it points to;
nothing readable in it says anything about the client. What is kept belongs to the chain and not to
the SA: it outlives the SA's end, as a ticket by value does. RFC 5723 6.1, 9.1, 9.3.
"""

import msgspec

from proto.ike.errors import TicketReason, TicketRejected
from proto.ike.seams import Rng
from proto.ike.ticket import (
    BY_REFERENCE,
    REFERENCE_FORMAT,
    TicketBody,
    TicketKey,
    TicketKeys,
    check_dates,
    decode_body,
    encode_body,
    open_octets,
    seal_octets,
)
from proto.ike.wire import UNREADABLE

STATE_FORMAT = 1


class Reference(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What such a ticket holds. New fields go to the end, with defaults."""

    id: bytes
    """16 random octets: each ticket has its own, though several may point to one state."""
    chain: bytes
    """Session chain, 16 octets."""
    generation: int
    """The chain's generation that this ticket redeems."""
    epoch: int
    issued_wall_s: float
    expires_wall_s: float


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Reference).decode


def is_reference(octets: bytes) -> bool:
    """Does a presented ticket say that it is one?"""
    return octets[:1] == bytes((REFERENCE_FORMAT,))


def seal_reference(body: TicketBody, key: TicketKey, realm: bytes, rng: Rng) -> bytes:
    """A pointer to `body`, about 110 octets; see `proto.ike.ticket.seal_octets`."""
    reference = Reference(
        body.id, body.chain, body.generation, body.epoch, body.issued_wall_s, body.expires_wall_s
    )
    return seal_octets(REFERENCE_FORMAT, _encode(reference), key, realm, rng)


def open_reference(
    octets: bytes, keys: TicketKeys, realm: bytes, now_wall_s: float, skew_s: float
) -> Reference:
    """What `octets` point to. Raises TicketRejected as `proto.ike.ticket.open_ticket`."""
    plaintext = open_octets(REFERENCE_FORMAT, octets, keys, realm, now_wall_s)
    try:
        reference = _decode(plaintext)
    except UNREADABLE:
        raise TicketRejected(TicketReason.MALFORMED) from None
    check_dates(reference.issued_wall_s, reference.expires_wall_s, now_wall_s, skew_s)
    return reference


def encode_state(body: TicketBody) -> bytes:
    """What the store keeps: `format 1 | body`. It holds a key: whoever stores it seals it first."""
    kept = msgspec.structs.replace(body, flags=body.flags | BY_REFERENCE)
    return bytes((STATE_FORMAT,)) + encode_body(kept)


def resolve(reference: Reference, state: bytes) -> TicketBody:
    """The ticket that `reference` stands for, from what is kept; its id and dates are the
    pointer's. Raises TicketRejected: UNRESOLVED, where `state` is empty or isn't what it points to.
    """
    if state[:1] != bytes((STATE_FORMAT,)):
        raise TicketRejected(TicketReason.UNRESOLVED)
    try:
        body = decode_body(state[1:])
    except UNREADABLE:
        raise TicketRejected(TicketReason.UNRESOLVED) from None
    kept = (body.chain, body.generation, body.epoch)
    if kept != (reference.chain, reference.generation, reference.epoch):
        raise TicketRejected(TicketReason.UNRESOLVED)
    return msgspec.structs.replace(
        body,
        id=reference.id,
        issued_wall_s=reference.issued_wall_s,
        expires_wall_s=reference.expires_wall_s,
    )
