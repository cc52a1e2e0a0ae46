"""Targets for what strangers send in clear: header, messages, payloads, proposals, selectors,
cookies.
"""

import ipaddress
from collections.abc import Callable, Sequence
from typing import TypeVar

from proto.ike import nat, redirect
from proto.ike.cookie import COOKIE_LEN, make, verify
from proto.ike.effects import Path
from proto.ike.enums import NotifyType, PayloadType
from proto.ike.errors import PeerError, WireError
from proto.ike.exchanges import mobike
from proto.ike.message import Header, Message, decode_clear, encode_clear, peek
from proto.ike.names import parse_children, parse_suites
from proto.ike.negotiation import ChildChoice, chosen, chosen_child, select, select_child
from proto.ike.offers import no_proposal, no_selectors
from proto.ike.payloads import (
    MAX_PAYLOADS,
    AuthPayload,
    CertPayload,
    CertreqPayload,
    CpPayload,
    DeletePayload,
    EapPayload,
    IdPayload,
    KePayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    SaPayload,
    TsPayload,
    VendorIdPayload,
)
from proto.ike.payloads.lists import ATTRIBUTES_MAX
from proto.ike.payloads.sa import PROPOSALS_MAX
from proto.ike.selectors import SELECTORS_MAX, narrow, parse_selector, text
from proto.ike.suite import WITHOUT_KE, Kes, holds
from tests.fuzz import samples
from tests.fuzz.target import Choices, Target, block
from tests.pair.parts import CLIENT, GATEWAY, SETTINGS, CookieRing

Decode = Callable[[bytes], Payload]
S = TypeVar("S")
FIXED: tuple[Decode, ...] = (
    KePayload.decode,
    IdPayload.decode_initiator,
    IdPayload.decode_responder,
    CertPayload.decode,
    CertreqPayload.decode,
    AuthPayload.decode,
    NoncePayload.decode,
    NotifyPayload.decode,
    DeletePayload.decode,
    VendorIdPayload.decode,
    EapPayload.decode,
)
"""Payloads with a fixed head; the first octet of an input chooses."""
FIXED_TYPES = (34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 48)
MADE: tuple[Payload, ...] = (
    CertPayload(4, b"certificate"),
    CertreqPayload(4, bytes(40)),
    DeletePayload(3, 4, (b"spi1", b"spi2")),
    VendorIdPayload(b"vendor"),
    EapPayload(bytes((1, 1, 0, 5, 1))),
)
POLICY = tuple(map(parse_selector, ("10.0.0.0/8", "192.168.1.0/24", "fd00::/8")))
COOKIES = CookieRing()
SETS = (
    parse_suites("aes256gcm16-aes128ccm8-prfsha256-prfaescmac-x25519-modp2048-ke1_mlkem768"),
    parse_suites("aes256-aes128ctr-sha1-sha256-prfsha1-x448-ke1_mlkem768-ke1_none-ke3_x25519"),
)
CHILD_SETS = (parse_children("aes256gcm16-chacha20poly1305-esn-noesn"), parse_children("null-sha1"))
CHILD_KES = (Kes((31, 14), ((36, 37, 0), (), (36, 0))), *WITHOUT_KE)
NOTIFIES = (
    NotifyType.REDIRECT,
    NotifyType.NAT_DETECTION_SOURCE_IP,
    NotifyType.NAT_DETECTION_DESTINATION_IP,
    NotifyType.ADDITIONAL_IP4_ADDRESS,
    NotifyType.ADDITIONAL_IP6_ADDRESS,
    NotifyType.NO_ADDITIONAL_ADDRESSES,
)


def header(data: bytes) -> None:
    """WireError, or a header whose fields are those octets."""
    try:
        seen = peek(data)
    except WireError:
        return
    assert seen.length == len(data)
    assert seen.spi_i + seen.spi_r == data[:16]
    assert any(seen.spi_i)
    assert seen.major >= 2


def clear(data: bytes) -> None:
    """WireError, or a bounded message that says the same once encoded again."""
    try:
        message = decode_clear(data)
    except WireError:
        return
    assert len(message.payloads) <= MAX_PAYLOADS + 1
    assert not any(p.TYPE in (PayloadType.SK, PayloadType.SKF) for p in message.payloads)
    head = message.header
    again = encode_clear(
        head.spi_i, head.spi_r, head.exchange, head.flags, head.message_id, message.payloads
    )
    assert len(again) == len(data)
    assert decode_clear(again).payloads == message.payloads


def same_again(decode: Decode, body: bytes) -> Payload | None:
    """The payload, after seeing that encoding and decoding it gives it again; None: no payload."""
    try:
        payload = decode(body)
    except WireError:
        return None
    octets = payload.encode()
    assert len(octets) == len(body)
    assert decode(octets) == payload
    return payload


def fixed(data: bytes) -> None:
    """WireError, or a payload that is the same once encoded again."""
    if data:
        same_again(FIXED[data[0] % len(FIXED)], data[1:])


def attributes(data: bytes) -> None:
    """WireError, or a bounded configuration payload that is the same once encoded again."""
    payload = same_again(CpPayload.decode, data)
    assert not isinstance(payload, CpPayload) or len(payload.attributes) <= ATTRIBUTES_MAX


def notifies(data: bytes) -> None:
    """What is told of NATs, addresses and other gateways: WireError, or a target that is the same
    once encoded again and has a text; addresses that are some, and bounded.
    """
    choices = Choices(data)
    chain: list[NotifyPayload] = []
    while choices and len(chain) < MAX_PAYLOADS:
        kind = NOTIFIES[choices.below(len(NOTIFIES))]
        chain.append(NotifyPayload(kind, choices.block()))
    head = Header(b"initator", b"respondr", 41, 0x20, 37, 8, 2, 28)
    message = Message.of(head, tuple(chain))
    for notify in chain:
        try:
            target, nonce = redirect.decode(notify.data)
        except WireError:
            continue
        assert redirect.decode(target.encode() + nonce) == (target, nonce)
        assert redirect.parse_target(target.text).text == target.text
    told = redirect.in_protected(message)
    assert told is None or redirect.was_sent_by(Message.of(head, (_sent_by(told),)), told)
    found = nat.found(message, Path(GATEWAY, CLIENT), pretend=False)
    assert found & ~(nat.SHOWN | nat.HERE | nat.THERE) == 0
    hosts = mobike.additional(message) or ()
    assert len(hosts) <= mobike.ADDRESSES_MAX
    assert [str(ipaddress.ip_address(host)) for host in hosts] == list(hosts)


def _sent_by(target: redirect.Target) -> NotifyPayload:
    return NotifyPayload(NotifyType.REDIRECTED_FROM, target.encode())


def selectors(data: bytes) -> None:
    """WireError, or selectors that can be shown and narrowed: to part of what both sides said."""
    payload = same_again(TsPayload.decode_initiator, data)
    if not isinstance(payload, TsPayload):
        return
    assert no_selectors(payload, payload, POLICY, POLICY)
    kept = narrow(payload.selectors, POLICY)
    assert len(kept) <= SELECTORS_MAX
    for one in kept:
        assert text(one)
        for side in (payload.selectors, POLICY):
            assert any(
                other.ts_type == one.ts_type
                and other.start_address <= one.start_address <= one.end_address
                and one.end_address <= other.end_address
                and other.start_port <= one.start_port <= one.end_port <= other.end_port
                for other in side
            )


def proposals(data: bytes) -> None:
    """WireError, or an offer of which what is chosen is a part; as an answer: PeerError or one of
    ours.
    """
    offer = same_again(SaPayload.decode, data)
    if not isinstance(offer, SaPayload):
        return
    assert len(offer.proposals) <= PROPOSALS_MAX
    assert no_proposal(offer, SETTINGS.suites)
    for suites in (SETTINGS.suites, SETS):
        ours = select(offer, suites)
        if ours is not None:
            assert holds(suites, ours[0])
            is_part(ours[1], offer)
        accepts(chosen, offer, suites)
    for child_suites in (SETTINGS.child_suites, CHILD_SETS):
        child = select_child(offer, child_suites, CHILD_KES)
        if child is not None:
            assert any(some.holds(child.suite) for some in child_suites)
            assert len(child.peer_spi) == 4
            is_part(child.reply(b"mine"), offer)
        accepts(chosen_child, offer, child_suites)


def is_part(answer: SaPayload, offer: SaPayload) -> None:
    """The one proposal answered holds transforms of one that was offered, one of each type."""
    (one,) = answer.proposals
    types = [t.type for t in one.transforms]
    assert len(types) == len(dict.fromkeys(types))
    assert any(
        p.number == one.number
        and p.protocol == one.protocol
        and all(t in p.transforms for t in one.transforms)
        for p in offer.proposals
    )
    assert SaPayload.decode(answer.encode()) == answer


def accepts(
    answered: Callable[[SaPayload, Sequence[S]], object], answer: SaPayload, suites: Sequence[S]
) -> None:
    """PeerError, or one that `suites` hold."""
    try:
        got = answered(answer, suites)
    except PeerError:
        return
    suite = got.suite if isinstance(got, ChildChoice) else got
    assert any(some.holds(suite) for some in suites)


def cookie(data: bytes) -> None:
    """True for what this cluster made for this request, and for nothing else."""
    choices = Choices(data)
    shown, spi_i, ni = choices.octets(COOKIE_LEN), choices.octets(8), choices.rest()
    made = make(COOKIES.secret, 1, ni, spi_i, "192.0.2.2")
    assert verify(shown, COOKIES, 0.0, ni, spi_i, "192.0.2.2") is (shown == made)
    assert verify(made, COOKIES, 0.0, ni, spi_i, "192.0.2.2")
    assert not verify(made, COOKIES, 0.0, ni, spi_i, "192.0.2.3")


def _bodies(*types: int) -> Callable[[], list[bytes]]:
    return lambda: [p.encode() for p in samples.payloads() if p.TYPE in types]


def _fixed_seeds() -> list[bytes]:
    """One of each type: real where the samples hold one."""
    one_each: dict[int, Payload] = {p.TYPE: p for p in (*MADE, *samples.payloads())}
    return [bytes((n,)) + one_each[kind].encode() for n, kind in enumerate(FIXED_TYPES)]


def _attribute_seeds() -> list[bytes]:
    """A request for addresses of both kinds, and an answer."""
    asked = CpPayload(1, ((1, b""), (3, b""), (8, b""), (10, b"")))
    given = CpPayload(2, ((1, bytes((10, 0, 0, 1))), (3, bytes((10, 0, 0, 53)))))
    return [asked.encode(), given.encode()]


def _notify_seeds() -> list[bytes]:
    """A REDIRECT to each kind of target, with and without a nonce; what a client tells of NATs and
    of its addresses.
    """
    texts = ("192.0.2.3", "2001:db8::3", "gw2.example.com")
    targets = [redirect.parse_target(text).encode() for text in texts]
    path = Path(GATEWAY, CLIENT)
    sides = [notify.data for notify in nat.shown(b"initator", b"respondr", path, False)]
    told = [block(sides[0]), block(sides[1]), block(bytes(4)), block(bytes(16)), block(b"")]
    of_addresses = b"".join(bytes((kind,)) + data for kind, data in enumerate(told, 1))
    return [b"\0" + block(t + bytes(n)) for t in targets for n in (0, 16)] + [of_addresses]


def _cookie_seeds() -> list[bytes]:
    return [make(COOKIES.secret, 1, bytes(32), b"initator", "192.0.2.2") + b"initator" + bytes(32)]


TARGETS = (
    Target("header", header, lambda: [d[:64] for d in samples.datagrams()[:6]]),
    Target("clear", clear, lambda: list(samples.clear()), 3),
    Target("fixed-payloads", fixed, _fixed_seeds, 2),
    Target("configuration", attributes, _attribute_seeds),
    Target("notifies", notifies, _notify_seeds),
    Target("selectors", selectors, _bodies(44, 45), 2),
    Target("proposals", proposals, _bodies(33), 3),
    Target("cookie", cookie, _cookie_seeds),
)
