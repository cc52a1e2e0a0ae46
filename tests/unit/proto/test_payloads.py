"""Every payload: one encoding, nothing accepted that isn't whole, unknown ones kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.ike.enums import IdType, PayloadType, ProtocolId
from proto.ike.errors import TooLong, WireError
from proto.ike.payloads import (
    MAX_PAYLOADS,
    CpPayload,
    DeletePayload,
    IdPayload,
    NoncePayload,
    NotifyPayload,
    Proposal,
    SaPayload,
    Transform,
    UnknownPayload,
    VendorIdPayload,
    decode_chain,
    encode_chain,
)
from proto.ike.payloads.lists import ATTRIBUTES_MAX
from proto.ike.payloads.sa import PROPOSALS_MAX
from tests.unit.proto.strategies import chains, payloads


@given(chains)
def test_decoding_gives_back_what_was_encoded(chain):
    first, octets = encode_chain(chain)
    assert decode_chain(first, octets) == chain


@given(payloads)
def test_a_chain_cut_anywhere_is_a_wire_error(payload):
    first, octets = encode_chain([payload])
    for end in range(len(octets)):
        with pytest.raises(WireError):
            decode_chain(first, octets[:end])


@given(payloads)
def test_a_body_cut_anywhere_is_decoded_or_a_wire_error(payload):
    first, octets = encode_chain([payload])
    for end in range(4, len(octets)):
        shortened = octets[:2] + end.to_bytes(2, "big") + octets[4:end]
        try:
            again = encode_chain(decode_chain(first, shortened))
        except WireError:
            continue
        assert len(again[1]) == end


@given(chains.filter(len), st.data())
def test_one_flipped_bit_is_decoded_or_a_wire_error(chain, data):
    first, octets = encode_chain(chain)
    bit = data.draw(st.integers(0, 8 * len(octets) - 1))
    flipped = bytearray(octets)
    flipped[bit // 8] ^= 1 << bit % 8
    try:
        decoded = decode_chain(first, bytes(flipped))
    except WireError:
        return
    encode_chain(decoded)


@given(st.integers(0, 255), st.binary(max_size=200))
def test_any_octets_are_decoded_or_a_wire_error(first, octets):
    try:
        decode_chain(first, octets)
    except WireError:
        return


def test_no_payloads_are_no_octets():
    assert encode_chain([]) == (PayloadType.NONE, b"")
    assert decode_chain(0, b"") == ()


@pytest.mark.parametrize("critical", [True, False])
def test_an_unknown_payload_keeps_its_octets_and_its_critical_bit(critical):
    unknown = UnknownPayload(200, critical, b"whatever")
    assert encode_chain([unknown]) == (200, bytes((0, 128 * critical, 0, 12)) + b"whatever")


def test_reserved_bits_and_the_critical_bit_of_a_known_payload_are_ignored():
    octets = bytes((0, 0xFF, 0, 8)) + b"\x02\xff\xff\xff"
    assert decode_chain(PayloadType.IDi, octets) == (
        IdPayload(PayloadType.IDi, IdType.ID_FQDN, b""),
    )


@pytest.mark.parametrize("length", [15, 257])
def test_a_nonce_out_of_bounds_is_a_wire_error(length):
    with pytest.raises(WireError):
        NoncePayload.decode(bytes(length))


@pytest.mark.parametrize("kind", [PayloadType.SK, PayloadType.SKF])
def test_an_encrypted_payload_has_no_place_in_a_clear_chain(kind):
    with pytest.raises(WireError, match="encrypted"):
        decode_chain(kind, b"\0\0\0\x04")


def test_the_number_of_payloads_is_bounded():
    chain = [VendorIdPayload(b"")] * MAX_PAYLOADS
    first, octets = encode_chain(chain)
    assert decode_chain(first, octets) == tuple(chain)
    first, octets = encode_chain([*chain, VendorIdPayload(b"")])
    with pytest.raises(WireError, match="more than"):
        decode_chain(first, octets)


def test_a_payload_too_long_for_its_length_field_is_not_encoded():
    encode_chain([VendorIdPayload(bytes(65531))])
    with pytest.raises(TooLong):
        encode_chain([VendorIdPayload(bytes(65532))])


def test_the_identity_s_body_has_three_zero_octets():
    payload = IdPayload(PayloadType.IDr, IdType.ID_RFC822_ADDR, b"alice@example.com")
    assert payload.body == b"\x03\0\0\0alice@example.com"
    assert PayloadType.IDr == payload.TYPE


def test_a_notify_with_a_protocol_and_no_spi_is_taken():
    """R61: RFC 7296 3.10 has the Protocol ID ignored where the SPI is empty."""
    payload = NotifyPayload.decode(b"\x01\x00\x40\x1d" + b"ticket")
    assert payload == NotifyPayload(16413, b"ticket", ProtocolId.IKE)


@pytest.mark.parametrize(
    "body",
    [
        b"\x03\x04\x00\x02" + bytes(4),
        b"\x03\x04\x00\x01" + bytes(5),
        b"\x03\x00\x00\x02",
        b"\x03\x04\x00",
    ],
)
def test_a_delete_whose_spis_do_not_fill_it_is_a_wire_error(body):
    with pytest.raises(WireError):
        DeletePayload.decode(body)


GOOD_SA = SaPayload(
    (
        Proposal(1, ProtocolId.IKE, b"", (Transform(1, 20, 128), Transform(2, 5))),
        Proposal(2, ProtocolId.IKE, b"", (Transform(1, 12, 256),)),
    )
)


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (0, 0),  # the first proposal says that it is the last
        (0, 3),  # no such mark
        (3, 0x40),  # proposal longer than the payload
        (3, 7),  # proposal shorter than its head
        (7, 3),  # more transforms counted than there are
        (7, 1),  # fewer
        (8, 0),  # the first transform says that it is the last
        (11, 13),  # transform one octet too long
        (11, 4),  # transform shorter than its head
        (20, 3),  # the last transform says that it isn't
    ],
)
def test_a_proposal_whose_marks_or_lengths_disagree_is_a_wire_error(offset, value):
    octets = bytearray(GOOD_SA.encode())
    assert SaPayload.decode(bytes(octets)) == GOOD_SA
    octets[offset] = value
    with pytest.raises(WireError):
        SaPayload.decode(bytes(octets))


def test_all_attributes_but_the_first_key_length_are_kept_as_sent():
    attributes = bytes.fromhex("8001abcd000200020102800e0100")
    transform = bytes.fromhex("0000001a0100000c800e0080") + attributes
    octets = bytes.fromhex("0000002201010001") + transform
    decoded = SaPayload.decode(octets)
    assert decoded.proposals[0].transforms == (Transform(1, 12, 128, attributes),)
    assert decoded.encode() == octets


def test_a_proposal_that_offers_nothing_is_a_wire_error():
    with pytest.raises(WireError, match="without transforms"):
        SaPayload.decode(SaPayload((Proposal(1, ProtocolId.IKE, b"", ()),)).encode())


@pytest.mark.parametrize(
    ("most", "of"),
    [
        (PROPOSALS_MAX, lambda n: SaPayload(GOOD_SA.proposals[:1] * n)),
        (ATTRIBUTES_MAX, lambda n: CpPayload(1, ((1, b""),) * n)),
    ],
    ids=["proposals", "configuration attributes"],
)
def test_what_a_list_holds_is_bounded(most, of):
    assert type(of(1)).decode(of(most).encode()) == of(most)
    with pytest.raises(WireError, match="more than"):
        type(of(1)).decode(of(most + 1).encode())
