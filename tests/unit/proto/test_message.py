"""The header alone, clear messages octet for octet, sealed messages and everything that must not
open.
"""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.ike.aead import protection
from proto.ike.enums import (
    FLAG_INITIATOR,
    FLAG_RESPONSE,
    Encr,
    ExchangeType,
    NotifyType,
    PayloadType,
    ProtocolId,
)
from proto.ike.errors import PeerError, TooLong, WireError
from proto.ike.message import (
    CLEAR_MAX,
    HEADER_LEN,
    MESSAGE_MAX,
    decode_clear,
    encode_clear,
    open_sealed,
    peek,
    seal,
)
from proto.ike.names import parse_suite
from proto.ike.payloads import (
    MAX_PAYLOADS,
    DeletePayload,
    IdPayload,
    NoncePayload,
    NotifyPayload,
    TsPayload,
    UnknownPayload,
    VendorIdPayload,
)
from proto.ike.suite import Suite
from proto.secret import Secret
from tests.unit.proto.known import load, octets
from tests.unit.proto.strategies import chains

SPI_I = octets("c0c1c2c3c4c5c6c7")
SPI_R = octets("d0d1d2d3d4d5d6d7")
NO_SPI = bytes(8)
SUITES = [
    parse_suite("aes128gcm16-prfsha256-x25519"),
    parse_suite("aes256gcm16-prfsha256-x25519"),
    parse_suite("chacha20poly1305-prfsha256-x25519"),
    parse_suite("aes128-sha256-prfsha256-x25519"),
    parse_suite("aes192-sha384-prfsha384-x25519"),
    parse_suite("aes256-sha512-prfsha512-x25519"),
    parse_suite("aes128-sha1-prfsha1-modp2048"),
    parse_suite("aes128-aesxcbc-prfaesxcbc-x448"),
    parse_suite("aes256-aescmac-prfaescmac-ecp521"),
    parse_suite("aes128ctr-sha256-prfsha256-x25519"),
    parse_suite("aes256ctr-aescmac-prfaescmac-x25519"),
    parse_suite("aes256gcm8-prfsha256-x25519"),
    parse_suite("aes192gcm12-prfsha256-x25519"),
    parse_suite("aes128ccm8-prfsha256-x25519"),
    parse_suite("aes192ccm12-prfsha256-x25519"),
    parse_suite("aes256ccm16-prfsha256-x25519"),
]


def keyed(suite: Suite):
    """A protection under fixed keys of the right lengths, and an IV for it."""
    sk_e = Secret(bytes(range(suite.encr_key_octets)))
    sk_a = Secret(bytes(range(100, 100 + suite.integ_key_octets)))
    box = protection(suite, sk_e, sk_a)
    return box, bytes(range(50, 50 + box.iv_len))


def test_house_messages_octet_for_octet():
    """RFC 5723 a.1 facts: exchange 38, notifies without protocol and SPI, SPIr zero in NACK and
    COOKIE.
    """
    house = load("house_resumption_sha256.json")
    given_, expected = house["inputs"], house["messages"]
    ni, nr = NoncePayload(octets(given_["Ni"])), NoncePayload(octets(given_["Nr"]))
    ticket = NotifyPayload(NotifyType.TICKET_OPAQUE, octets(given_["ticket"]))
    cookie = NotifyPayload(NotifyType.COOKIE, octets(given_["cookie"]))
    nack = NotifyPayload(NotifyType.TICKET_NACK)
    resume = ExchangeType.IKE_SESSION_RESUME
    made = {
        "resume_request": (NO_SPI, FLAG_INITIATOR, [ni, ticket]),
        "cookie_response": (NO_SPI, FLAG_RESPONSE, [cookie]),
        "resume_request_with_cookie": (NO_SPI, FLAG_INITIATOR, [cookie, ni, ticket]),
        "resume_response": (SPI_R, FLAG_RESPONSE, [nr]),
        "nack_response": (NO_SPI, FLAG_RESPONSE, [nack]),
    }
    assert set(made) == set(expected)
    for name, (spi_r, flags, payloads) in made.items():
        message = encode_clear(SPI_I, spi_r, resume, flags, 0, payloads)
        assert message.hex() == expected[name]
        assert list(decode_clear(message).payloads) == payloads


def test_peek_reads_every_field():
    data = encode_clear(SPI_I, SPI_R, ExchangeType.INFORMATIONAL, FLAG_RESPONSE, 7, [])
    header = peek(data)
    assert (header.spi_i, header.spi_r) == (SPI_I, SPI_R)
    assert (header.exchange, header.message_id, header.length) == (37, 7, HEADER_LEN)
    assert (header.major, header.next_payload) == (2, 0)
    assert header.is_response
    assert not header.from_initiator


@pytest.mark.parametrize("end", range(HEADER_LEN))
def test_fewer_octets_than_a_header_are_a_wire_error(end):
    data = encode_clear(SPI_I, SPI_R, ExchangeType.INFORMATIONAL, 0, 7, [])
    with pytest.raises(WireError):
        peek(data[:end])


def changed(data: bytes, offset: int, value: int) -> bytes:
    """`data` with one octet replaced."""
    return data[:offset] + bytes((value,)) + data[offset + 1 :]


def test_b2_a_wrong_length_a_zero_spi_and_ikev1_are_wire_errors():
    data = encode_clear(SPI_I, NO_SPI, ExchangeType.IKE_SA_INIT, FLAG_INITIATOR, 0, [])
    for bad in (changed(data, 27, 29), data + b"\0", NO_SPI + data[8:], changed(data, 17, 0x10)):
        with pytest.raises(WireError):
            peek(bad)


def test_b4_a_higher_major_version_is_left_to_the_caller():
    data = encode_clear(SPI_I, NO_SPI, ExchangeType.IKE_SA_INIT, FLAG_INITIATOR, 0, [])
    assert peek(changed(data, 17, 0x30)).major == 3
    assert peek(changed(data, 17, 0x2F)).major == 2


def test_finding_payloads():
    idi, idr = IdPayload(PayloadType.IDi, 2, b"i"), IdPayload(PayloadType.IDr, 2, b"r")
    tsi, tsr = TsPayload(PayloadType.TSi, ()), TsPayload(PayloadType.TSr, ())
    first, second = NotifyPayload(16384, b"1"), NotifyPayload(16384, b"2")
    chain = [idi, idr, tsi, tsr, first, second]
    message = decode_clear(encode_clear(SPI_I, SPI_R, 35, 0, 1, chain))
    assert message.identity(PayloadType.IDi) == idi
    assert message.find(NoncePayload) is None
    assert message.identity(PayloadType.IDr) == idr
    assert message.selectors(PayloadType.TSr) == tsr
    assert message.notify(NotifyType.INITIAL_CONTACT) == first
    assert message.notify(NotifyType.COOKIE) is None
    assert message.notifies == (first, second)


def test_rfc7634_appendix_b_octet_for_octet():
    keymat = bytes(range(0x80, 0xA0)) + octets("a0a1a2a3")
    suite = Suite(Encr.ENCR_CHACHA20_POLY1305, 256, 0, 5, 31)
    box = protection(suite, Secret(keymat), Secret(b""))
    payload = NotifyPayload(NotifyType.SET_WINDOW_SIZE, (10).to_bytes(4, "big"))
    expected = octets(
        "c0c1c2c3c4c5c6c7d0d1d2d3d4d5d6d7"
        "2e202500000000090000004529000029"
        "1011121314151617610394701f8d017f"
        "7c129248896b71bfe25236efd7cdc670"
        "66906315b2"
    )
    iv = octets("1011121314151617")
    message = seal(SPI_I, SPI_R, ExchangeType.INFORMATIONAL, 0, 9, [payload], box, iv)
    assert message == expected
    assert open_sealed(expected, peek(expected), box).payloads == (payload,)


@pytest.mark.parametrize("suite", SUITES, ids=str)
@given(chain=chains)
def test_what_was_sealed_opens(suite, chain):
    box, iv = keyed(suite)
    data = seal(SPI_I, SPI_R, ExchangeType.IKE_AUTH, FLAG_INITIATOR, 1, chain, box, iv)
    header = peek(data)
    assert header.next_payload == PayloadType.SK
    assert open_sealed(data, header, box).payloads == chain


@pytest.mark.parametrize("suite", SUITES, ids=str)
def test_what_no_datagram_holds_is_not_sealed(suite):
    box, iv = keyed(suite)

    def length(octets, *most):
        chain = [VendorIdPayload(bytes(octets))]
        return len(seal(SPI_I, SPI_R, ExchangeType.INFORMATIONAL, 0, 9, chain, box, iv, *most))

    assert length(100) <= length(100, length(100))
    with pytest.raises(TooLong):
        length(100, length(100) - 1)
    fits = MESSAGE_MAX - (length(0) + 16)
    assert MESSAGE_MAX - 32 < length(fits) <= MESSAGE_MAX
    with pytest.raises(TooLong):
        length(fits + 32)


SEALED_CHAIN = [DeletePayload(ProtocolId.IKE, 0, ()), NotifyPayload(16384, b"data")]


@pytest.mark.parametrize("suite", SUITES, ids=str)
def test_no_flipped_bit_opens(suite):
    """B36: the header and the SK payload's own header are authenticated too."""
    box, iv = keyed(suite)
    data = seal(SPI_I, SPI_R, ExchangeType.IKE_AUTH, FLAG_INITIATOR, 1, SEALED_CHAIN, box, iv)
    for bit in range(8 * len(data)):
        flipped = changed(data, bit // 8, data[bit // 8] ^ 1 << bit % 8)
        with pytest.raises(WireError):
            open_sealed(flipped, peek_lenient(flipped), box)


def peek_lenient(data: bytes):
    """The header's fields whatever they are: what stands behind `peek` has to hold by itself."""
    good = peek(encode_clear(SPI_I, SPI_R, 37, 0, 0, []))
    return type(good)(
        data[:8],
        data[8:16],
        data[16],
        data[17],
        data[18],
        data[19],
        int.from_bytes(data[20:24], "big"),
        len(data),
    )


@pytest.mark.parametrize("suite", SUITES, ids=str)
def test_no_truncated_message_opens(suite):
    box, iv = keyed(suite)
    data = seal(SPI_I, SPI_R, ExchangeType.IKE_AUTH, FLAG_INITIATOR, 1, SEALED_CHAIN, box, iv)
    for end in range(HEADER_LEN, len(data)):
        # the length fields are made to fit, so that nothing but the integrity check is left
        sk_len = end - HEADER_LEN
        cut = data[:24] + end.to_bytes(4, "big") + data[28:30] + sk_len.to_bytes(2, "big")
        cut = (cut + data[32:])[:end]
        with pytest.raises(WireError):
            open_sealed(cut, peek(cut), box)


def test_another_key_opens_nothing():
    suite = SUITES[0]
    box, iv = keyed(suite)
    data = seal(SPI_I, SPI_R, ExchangeType.IKE_AUTH, FLAG_INITIATOR, 1, SEALED_CHAIN, box, iv)
    other = protection(suite, Secret(bytes(20)), Secret(b""))
    with pytest.raises(WireError):
        open_sealed(data, peek(data), other)


def sealed_by_hand(plain: bytes, before: bytes, first: int) -> bytes:
    """A message with clear payloads `before` the SK payload, whose content is `plain`, first type
    42.
    """
    box, iv = keyed(SUITES[0])
    sk_len = 4 + box.sealed_len(len(plain))
    length = HEADER_LEN + len(before) + sk_len
    head = SPI_I + SPI_R + bytes((first, 0x20, 37, 0)) + bytes(4) + length.to_bytes(4, "big")
    aad = head + before + bytes((42, 0)) + sk_len.to_bytes(2, "big")
    return aad + box.seal(aad, iv, plain)


def test_payloads_before_sk_are_authenticated_and_ignored():
    notify = bytes((PayloadType.SK, 0, 0, 8)) + bytes((0, 0, 0x40, 0))
    delete = bytes((0, 0, 0, 8, 1, 0, 0, 0))
    data = sealed_by_hand(delete, notify, PayloadType.NOTIFY)
    box, _ = keyed(SUITES[0])
    message = open_sealed(data, peek(data), box)
    assert message.payloads == (DeletePayload(ProtocolId.IKE, 0, ()),)
    with pytest.raises(WireError):
        open_sealed(changed(data, 34, 0x41), peek(data), box)


@pytest.mark.parametrize("length", [0, 3, 7, 200])
def test_a_clear_payload_before_sk_with_a_bad_length_is_a_wire_error(length):
    notify = bytes((PayloadType.SK, 0, 0, length)) + bytes((0, 0, 0x40, 0))
    data = sealed_by_hand(b"", notify, PayloadType.NOTIFY)
    box, _ = keyed(SUITES[0])
    with pytest.raises(WireError):
        open_sealed(data, peek(data), box)


def test_the_payloads_before_sk_are_bounded():
    """Their chain is walked before anything is authenticated."""
    box, _ = keyed(SUITES[0])
    vendor = bytes((PayloadType.VENDOR_ID, 0, 0, 4))
    last = bytes((PayloadType.SK, 0, 0, 4))
    few = sealed_by_hand(b"\0\0\0\x08\x01\0\0\0", vendor * (MAX_PAYLOADS - 2) + last, 43)
    assert open_sealed(few, peek(few), box).find(DeletePayload) is not None
    many = sealed_by_hand(b"\0\0\0\x08\x01\0\0\0", vendor * (MAX_PAYLOADS - 1) + last, 43)
    with pytest.raises(WireError, match="no encrypted"):
        open_sealed(many, peek(many), box)


def test_a_clear_message_s_size_is_bounded():
    room = CLEAR_MAX - HEADER_LEN - 4
    fits = encode_clear(SPI_I, NO_SPI, 34, FLAG_INITIATOR, 0, [VendorIdPayload(bytes(room))])
    assert decode_clear(fits).find(VendorIdPayload) is not None
    longer = encode_clear(SPI_I, NO_SPI, 34, FLAG_INITIATOR, 0, [VendorIdPayload(bytes(room + 1))])
    with pytest.raises(WireError, match=str(CLEAR_MAX + 1)):
        decode_clear(longer)


def test_octets_after_sk_are_a_wire_error():
    box, iv = keyed(SUITES[0])
    data = seal(SPI_I, SPI_R, 37, 0, 0, SEALED_CHAIN, box, iv) + b"\0\0\0\x04"
    longer = data[:24] + len(data).to_bytes(4, "big") + data[28:]
    with pytest.raises(WireError, match="after"):
        open_sealed(longer, peek(longer), box)


def test_a_clear_message_has_nothing_to_open_and_a_sealed_one_is_not_clear():
    box, iv = keyed(SUITES[0])
    clear = encode_clear(SPI_I, SPI_R, 37, 0, 0, SEALED_CHAIN)
    with pytest.raises(WireError, match="no encrypted"):
        open_sealed(clear, peek(clear), box)
    sealed = seal(SPI_I, SPI_R, 37, 0, 0, SEALED_CHAIN, box, iv)
    with pytest.raises(WireError):
        decode_clear(sealed)


def test_b33_malformed_content_of_an_authenticated_peer_is_invalid_syntax():
    data = sealed_by_hand(b"\0\0\0\x09\x01\0\0\0", b"", PayloadType.SK)
    box, _ = keyed(SUITES[0])
    with pytest.raises(PeerError) as caught:
        open_sealed(data, peek(data), box)
    assert caught.value.notify == NotifyType.INVALID_SYNTAX


def test_b3_an_unknown_critical_payload_reaches_the_caller():
    unknown = UnknownPayload(200, True, b"x")
    box, iv = keyed(SUITES[0])
    data = seal(SPI_I, SPI_R, 37, 0, 0, [unknown], box, iv)
    assert open_sealed(data, peek(data), box).payloads == (unknown,)


@given(st.binary(max_size=120))
def test_any_octets_are_a_message_or_a_wire_error(data):
    box, _ = keyed(SUITES[0])
    for octets_ in (data, (SPI_I + data[8:24]).ljust(24, b"\0") + data[24:]):
        fitted = octets_[:24] + len(octets_).to_bytes(4, "big") + octets_[28:]
        for candidate in (octets_, fitted):
            try:
                header = peek(candidate)
            except WireError:
                continue
            with contextlib.suppress(WireError):
                decode_clear(candidate, header)
            with pytest.raises(WireError):
                open_sealed(candidate, header, box)
