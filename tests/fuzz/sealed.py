"""Targets for what is sealed: messages, fragments, tickets and records; raw, and behind the right
key.

Rules: octets that a key protects are mutated before they are sealed; a fuzzer can't forge.
"""

from typing import cast

import msgspec

from proto.ike import aead, record, ticket
from proto.ike.core import replace
from proto.ike.effects import Now, Path
from proto.ike.endpoint import Endpoint
from proto.ike.enums import ExchangeType, NotifyType
from proto.ike.errors import PeerError, TicketRejected, WireError
from proto.ike.fragment import FRAGMENTS_MAX, Fragment, Reassembly, open_fragment
from proto.ike.message import encode_clear, open_sealed, peek
from proto.ike.names import parse_suite
from proto.ike.payloads import NoncePayload, NotifyPayload, encode_chain
from proto.ike.reference import encode_state, open_reference
from proto.ike.ticket import (
    REFERENCE_FORMAT,
    TICKET_MAX,
    ClientTicket,
    TicketBody,
    open_ticket,
)
from proto.secret import Secret
from tests.fuzz import samples
from tests.fuzz.target import Choices, Target, block
from tests.pair.parts import (
    CLIENT,
    GATEWAY,
    SETTINGS,
    WALL_S,
    CookieRing,
    Key,
    Psks,
    Ring,
    SeededRng,
    Spis,
)

PROTECTIONS = tuple(
    aead.protection(parse_suite(text), Secret(bytes(key)), Secret(bytes(integ)))
    for text, key, integ in (
        ("aes256gcm16-prfsha256-x25519", 36, 0),
        ("chacha20poly1305-prfsha512-ecp384", 36, 0),
        ("aes256-sha256-prfsha256-x25519", 32, 32),
    )
)
SPIS = b"initiator"[:8] + b"responder"[:8]
REALM = SETTINGS.realm
KEY = Key(b"key-id-1", Secret(bytes(range(32))))
LIMIT = 4096


def head(kind: int, exchange: int, body_len: int) -> bytes:
    """An IKE header over one payload of type `kind`."""
    length = 28 + body_len
    return SPIS + bytes((kind, 0x20, exchange, 8)) + bytes(4) + length.to_bytes(4, "big")


def wrap(protection: aead.Protection, first: int, exchange: int, plaintext: bytes) -> bytes:
    """An authentic message with exactly `plaintext` in its SK payload."""
    sk_len = 4 + protection.sealed_len(len(plaintext))
    aad = head(46, exchange, sk_len) + bytes((first, 0)) + sk_len.to_bytes(2, "big")
    return aad + protection.seal(aad, bytes(protection.iv_len), plaintext)


def wrap_fragment(protection: aead.Protection, part: Fragment) -> bytes:
    """An authentic fragment, whatever its numbers are."""
    skf_len = 8 + protection.sealed_len(len(part.plaintext))
    aad = head(53, 35, skf_len) + bytes((part.first, 0)) + skf_len.to_bytes(2, "big")
    aad += part.number.to_bytes(2, "big") + part.total.to_bytes(2, "big")
    return aad + protection.seal(aad, bytes(protection.iv_len), part.plaintext)


def content(data: bytes) -> None:
    """Authentic content: PeerError, or a message that opens to the same payloads once encoded
    again. Any changed octet of it: WireError.
    """
    choices = Choices(data)
    protection = PROTECTIONS[choices.below(len(PROTECTIONS))]
    flip, first, plaintext = choices.byte(), choices.byte(), choices.rest()[:LIMIT]
    sealed = wrap(protection, first, ExchangeType.INFORMATIONAL, plaintext)
    try:
        message = open_sealed(sealed, peek(sealed), protection)
    except PeerError:
        message = None
    if message is not None:
        kind, again = encode_chain(message.payloads)
        once_more = wrap(protection, kind, ExchangeType.INFORMATIONAL, again)
        assert open_sealed(once_more, peek(once_more), protection).payloads == message.payloads
    damaged = bytearray(sealed)
    damaged[28 + flip % (len(sealed) - 28)] ^= 1 << flip % 8
    try:
        open_sealed(bytes(damaged), peek(bytes(damaged)), protection)
    except WireError:
        return
    raise AssertionError("octets that nobody sealed were opened")


def unsealed(data: bytes) -> None:
    """Octets that nobody sealed: WireError, whole or fragment."""
    for protection in PROTECTIONS:
        for opens in (open_sealed, open_fragment):
            try:
                opens(data, peek(data), protection)
            except WireError:
                continue
            raise AssertionError("octets that nobody sealed were opened")


def fragments(data: bytes) -> None:
    """Authentic fragments in any order and number: WireError, or in the end exactly the pieces of
    the largest set; never more than the limit.
    """
    choices = Choices(data)
    limit = 256 * (1 + choices.below(16))
    collected, pieces, total = Reassembly(limit), dict[int, Fragment](), 0
    while choices:
        part = Fragment(choices.byte(), choices.byte(), choices.byte(), choices.block()[:1024])
        octets = wrap_fragment(PROTECTIONS[0], part)
        try:
            opened = open_fragment(octets, peek(octets), PROTECTIONS[0])
        except WireError:
            assert not 1 <= part.number <= part.total <= FRAGMENTS_MAX
            continue
        assert opened == replace(part, octets=len(octets))
        if part.total > total:
            pieces, total = {}, part.total
        if part.total == total:
            pieces.setdefault(part.number, part)
        size = sum(len(piece.plaintext) for piece in pieces.values())
        try:
            whole = collected.add(part)
        except WireError:
            assert size > limit
            return
        assert size <= limit
        if whole is not None:
            assert sorted(pieces) == list(range(1, total + 1))
            joined = b"".join(pieces[number].plaintext for number in sorted(pieces))
            assert whole == (pieces[1].first, joined)
            return
        assert len(pieces) < total or part.total < total


def shown(data: bytes) -> None:
    """Octets that no member sealed: TicketRejected, in either form."""
    for opens in (open_ticket, open_reference):
        try:
            opens(data, Ring(), REALM, WALL_S, 60.0)
        except TicketRejected:
            continue
        raise AssertionError("a ticket that nobody issued was opened")


def reference(data: bytes) -> None:
    """A pointer that another release sealed, to a state that another release kept: a gateway asks
    once at most, answers once, writes nothing and doesn't raise.
    """
    choices = Choices(data)
    pointer, state = choices.block()[:TICKET_MAX], choices.rest()
    octets = ticket.seal_octets(REFERENCE_FORMAT, pointer, KEY, REALM, SeededRng("salt"))
    core, path, now = gateway(), Path(GATEWAY, CLIENT), Now(100.0, WALL_S)
    outcome = core.receive(request(octets), path, now)
    if outcome.fetch is not None:
        assert (outcome.send, core.half_open) == ((), 0)
        outcome = core.receive(request(octets), path, now, True, False, state)
        assert outcome.fetch is None
    assert len(outcome.send) == 1
    assert outcome.persist is None


def body(data: bytes) -> None:
    """What another release sealed: TicketRejected, or a body within its time; and a gateway that
    is shown it answers once and doesn't raise.
    """
    octets = seal_octets(data[:TICKET_MAX])
    try:
        opened = open_ticket(octets, Ring(), REALM, WALL_S, 60.0)
    except TicketRejected:
        opened = None
    if opened is not None:
        assert opened.issued_wall_s - 60 <= WALL_S <= opened.expires_wall_s + 60
        assert opened.auth_deadline_wall_s + 60 >= WALL_S
        assert len(octets) <= TICKET_MAX
    outcome = gateway().receive(request(octets), Path(GATEWAY, CLIENT), Now(100.0, WALL_S))
    assert len(outcome.send) == 1
    assert outcome.persist is None


def gateway() -> Endpoint:
    """One that knows no SA."""
    rng = SeededRng("fuzz")
    settings = replace(SETTINGS, nat_traversal=True)
    return Endpoint(settings, rng, Psks(), Spis(rng), Ring(), CookieRing())


def request(octets: bytes) -> bytes:
    """An IKE_SESSION_RESUME that shows `octets`."""
    payloads = (NoncePayload(bytes(32)), NotifyPayload(NotifyType.TICKET_OPAQUE, octets))
    return encode_clear(SPIS[:8], bytes(8), ExchangeType.IKE_SESSION_RESUME, 8, 0, payloads)


def seal_octets(plaintext: bytes) -> bytes:
    """A ticket of ours around `plaintext`."""
    return ticket.seal(cast(TicketBody, msgspec.Raw(plaintext)), KEY, REALM, SeededRng("salt"))


def client_ticket(data: bytes) -> None:
    """What stands in a client's file: TicketRejected, or a ticket that is the same once encoded
    again.
    """
    try:
        kept = ClientTicket.decode(data)
    except TicketRejected:
        return
    assert ClientTicket.decode(kept.encode()) == kept


def sa_record(data: bytes) -> None:
    """WireError, or a record of the format that is known."""
    try:
        kept = record.decode(data)
    except WireError:
        return
    assert kept.format == record.FORMAT
    assert repr(kept)


def _content_seeds() -> list[bytes]:
    chains = [*samples.chains(), *samples.unsealed()]
    return [bytes((i % 3, 7 * i % 256)) + chain for i, chain in enumerate(chains)]


def _unsealed_seeds() -> list[bytes]:
    fragment = wrap_fragment(PROTECTIONS[0], Fragment(1, 2, 41, bytes(40)))
    captured = [d for d in samples.captured() if d[16] in (samples.SK, samples.SKF)]
    return [*captured, fragment[:-1] + b"\0"]


def _fragment_seeds() -> list[bytes]:
    whole = [bytes((n, 3, 41)) + block(bytes((n,)) * 60) for n in (2, 1, 3)]
    smaller = [bytes((n, 2, 41)) + block(bytes((n,)) * 60) for n in (1, 2)]
    return [b"\x0f" + b"".join(whole), b"\x0f" + smaller[0] + b"".join(whole), b"\0" + smaller[1]]


def _bodies() -> list[TicketBody]:
    pair = samples.normal_run()
    kept = pair.ticket()
    opened = open_ticket(kept.ticket, pair.gateway.ring, REALM, pair.now.wall_s, 60.0)
    return [opened, replace(opened, issued_wall_s=WALL_S - 100)]


def _reference_seeds() -> list[bytes]:
    (opened, early) = _bodies()
    pointers = [
        msgspec.msgpack.encode(
            (one.id, one.chain, one.generation, one.epoch, early.issued_wall_s, one.expires_wall_s)
        )
        for one in (opened, early)
    ]
    return [block(pointer) + encode_state(early) for pointer in pointers]


def _record_seeds() -> list[bytes]:
    return [op.record for op in samples.normal_run().chains.writes if op.record][:4]


TARGETS = (
    Target("content", content, _content_seeds, 3),
    Target("unsealed", unsealed, _unsealed_seeds, 2),
    Target("fragments", fragments, _fragment_seeds, 3),
    Target("ticket", shown, lambda: [samples.normal_run().ticket().ticket]),
    Target("ticket-body", body, lambda: [msgspec.msgpack.encode(b) for b in _bodies()], 2),
    Target("reference", reference, _reference_seeds, 2),
    Target("client-ticket", client_ticket, lambda: [samples.normal_run().ticket().encode()]),
    Target("record", sa_record, _record_seeds, 2),
)
