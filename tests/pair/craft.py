"""Messages that an honest endpoint wouldn't send, made with the keys of a side under test.

Rules: an IV made here has its top bit set, so that it never meets one of the endpoint's own.
"""

import itertools
from collections.abc import Sequence

from proto.ike import aead, fragment, message
from proto.ike.core import SaCore
from proto.ike.effects import Outcome
from proto.ike.enums import FLAG_INITIATOR, FLAG_RESPONSE, ExchangeType, NotifyType
from proto.ike.errors import TicketReason
from proto.ike.events import TicketRefused
from proto.ike.message import Message, decode_clear, encode_clear
from proto.ike.payloads import KePayload, NoncePayload, NotifyPayload, Payload, SaPayload
from tests.pair.pair import Pair, Side

_count = itertools.count(1 << 63)


def protections(core: SaCore) -> tuple[aead.Protection, aead.Protection]:
    """(of what this side sends, of what it receives)."""
    assert core.suite is not None
    assert core.keys is not None
    initiator = aead.protection(core.suite, core.keys.ei, core.keys.ai)
    responder = aead.protection(core.suite, core.keys.er, core.keys.ar)
    return (initiator, responder) if core.initiator else (responder, initiator)


def iv_for(protection: aead.Protection) -> bytes:
    """An IV that wasn't used before."""
    return next(_count).to_bytes(8, "big").rjust(protection.iv_len, b"\x80")


def sealed(
    core: SaCore,
    exchange: int,
    message_id: int,
    payloads: Sequence[Payload],
    response: bool = False,
) -> bytes:
    """A message that the owner of `core` could have sent."""
    tx, _ = protections(core)
    flags = (FLAG_INITIATOR if core.initiator else 0) | (FLAG_RESPONSE if response else 0)
    return message.seal(
        core.spi_i, core.spi_r, exchange, flags, message_id, payloads, tx, iv_for(tx)
    )


def sealed_garbage(core: SaCore, exchange: int, message_id: int, response: bool = False) -> bytes:
    """As `sealed`, with a payload inside whose length field lies: authentic, and malformed."""
    tx, _ = protections(core)
    flags = (FLAG_INITIATOR if core.initiator else 0) | (FLAG_RESPONSE if response else 0)
    plaintext = b"\x00\x00\xff\xff"
    sk_len = 4 + tx.sealed_len(len(plaintext))
    head = core.spi_i + core.spi_r + bytes((46, 0x20, exchange, flags))
    head += message_id.to_bytes(4, "big") + (28 + sk_len).to_bytes(4, "big")
    aad = head + bytes((41, 0)) + sk_len.to_bytes(2, "big")
    return aad + tx.seal(aad, iv_for(tx), plaintext)


def opened(core: SaCore, data: bytes) -> Message:
    """What the owner of `core` sent in `data`."""
    tx, _ = protections(core)
    return message.open_sealed(data, message.peek(data), tx)


def fragments(core: SaCore, data: bytes, max_octets: int) -> list[bytes]:
    """The sealed message `data` of the owner of `core`, as SKF messages."""
    whole = opened(core, data)
    tx, _ = protections(core)
    head = whole.header
    return fragment.seal_fragments(
        head.spi_i,
        head.spi_r,
        head.exchange,
        head.flags,
        head.message_id,
        whole.payloads,
        tx,
        lambda: iv_for(tx),
        max_octets,
    )


def in_fragments(
    core: SaCore,
    exchange: int,
    message_id: int,
    payloads: Sequence[Payload],
    max_octets: int,
    response: bool = False,
) -> list[bytes]:
    """A message that the owner of `core` could have sent, as SKF messages; of any length."""
    tx, _ = protections(core)
    flags = (FLAG_INITIATOR if core.initiator else 0) | (FLAG_RESPONSE if response else 0)
    return fragment.seal_fragments(
        core.spi_i, core.spi_r, exchange, flags, message_id, payloads, tx, lambda: iv_for(tx),
        max_octets,
    )  # fmt: skip


def garbage_fragments(core: SaCore, exchange: int, message_id: int) -> list[bytes]:
    """Two authentic fragments of a request, whose whole is malformed."""
    tx, _ = protections(core)
    pieces = []
    flags = FLAG_INITIATOR if core.initiator else 0
    for number in (1, 2):
        skf_len = 8 + tx.sealed_len(3)
        head = core.spi_i + core.spi_r + bytes((53, 0x20, exchange, flags))
        head += message_id.to_bytes(4, "big") + (28 + skf_len).to_bytes(4, "big")
        aad = head + bytes((41 if number == 1 else 0, 0)) + skf_len.to_bytes(2, "big")
        aad += number.to_bytes(2, "big") + (2).to_bytes(2, "big")
        pieces.append(aad + tx.seal(aad, iv_for(tx), b"\x00\xff\xff"))
    return pieces


def first_payloads(pair: Pair, nonce: bytes) -> list[SaPayload | KePayload | NoncePayload]:
    """SA, KE and Ni as a client of this pair sends them."""
    other = Pair(pair.settings, pair.peer)
    other.start()
    asked = decode_clear(other.client.sent[0].data)
    offer, ke = asked.find(SaPayload), asked.find(KePayload)
    assert offer is not None
    assert ke is not None
    return [offer, ke, NoncePayload(nonce)]


def show(pair: Pair, ticket: bytes, gateway: Side | None = None) -> Outcome:
    """Present `ticket` out of a client's hands."""
    payloads: list[Payload] = [
        NoncePayload(b"n" * 32),
        NotifyPayload(NotifyType.TICKET_OPAQUE, ticket),
    ]
    data = encode_clear(b"12345678", bytes(8), ExchangeType.IKE_SESSION_RESUME, 8, 0, payloads)
    return pair.inject(gateway or pair.gateway, data)


def assert_nacked(pair: Pair, outcome: Outcome, reason: TicketReason) -> None:
    """TICKET_NACK at once, unprotected, without state; the reason stays here."""
    (datagram,) = outcome.send
    answer = decode_clear(datagram.data)
    assert answer.payloads == (NotifyPayload(NotifyType.TICKET_NACK),)
    assert (answer.header.spi_i, answer.header.spi_r) == (b"12345678", bytes(8))
    assert outcome.events == (TicketRefused(b"", reason.value),)
    assert outcome.persist is None
    assert pair.gateway.endpoint.half_open == 0
