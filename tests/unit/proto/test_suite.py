"""Names of suites, offers, and choices among them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.ike.enums import Encr, Integ, KeMethod, Prf, ProtocolId, TransformType
from proto.ike.errors import PeerError
from proto.ike.payloads import Proposal, SaPayload, Transform
from proto.ike.suite import (
    ChildSuite,
    Suite,
    child_proposal,
    chosen,
    chosen_child,
    parse_child,
    parse_suite,
    proposal,
    select,
    select_child,
)

ENCRS = ["aes128gcm16", "aes256gcm16", "chacha20poly1305"]
ENCRS += [f"aes{bits}-sha{hash_}" for bits in (128, 192, 256) for hash_ in (256, 384, 512)]
NAMES = [
    f"{encr}-prfsha{prf}-{ke}"
    for encr in ENCRS
    for prf in (256, 384, 512)
    for ke in ("x25519", "ecp256", "ecp384")
]
CHILD_NAMES = [f"{encr}-{esn}" for encr in ENCRS for esn in ("esn", "noesn")]
SUITES = [parse_suite(name) for name in NAMES]
CHILDREN = [parse_child(name) for name in CHILD_NAMES]
GCM = parse_suite("aes256gcm16-prfsha256-x25519")
CBC = parse_suite("aes256-sha256-prfsha384-ecp256")
CHACHA = parse_suite("chacha20poly1305-prfsha512-ecp384")
CHILD = parse_child("aes256gcm16")
SPI = b"\x01\x02\x03\x04"


@pytest.mark.parametrize("name", NAMES)
def test_a_suite_s_name_reads_back(name):
    assert str(parse_suite(name)) == name


@pytest.mark.parametrize("name", CHILD_NAMES)
def test_a_child_suite_s_name_reads_back(name):
    assert str(parse_child(name)) == name


def test_names_stand_for_iana_s_numbers():
    assert Suite(Encr.ENCR_AES_GCM_16, 256, 0, Prf.PRF_HMAC_SHA2_256, KeMethod.CURVE25519) == GCM
    assert Suite(12, 256, Integ.AUTH_HMAC_SHA2_256_128, 6, 19) == CBC
    assert Suite(28, 256, 0, 7, 20) == CHACHA
    assert ChildSuite(20, 256, 0, False) == CHILD
    assert parse_child("aes128-sha512-esn") == ChildSuite(12, 128, 14, True)


def test_key_lengths_in_octets():
    assert (GCM.encr_key_octets, GCM.integ_key_octets) == (36, 0)
    assert (CBC.encr_key_octets, CBC.integ_key_octets) == (32, 32)
    assert (CHACHA.encr_key_octets, CHACHA.integ_key_octets) == (36, 0)
    assert parse_suite("aes192-sha384-prfsha256-x25519").integ_key_octets == 48
    assert parse_child("aes128-sha512").integ_key_octets == 64
    assert parse_child("aes128gcm16").encr_key_octets == 20


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "aes256gcm16"),
        ("des-sha256-prfsha256-x25519", "aes256gcm16"),
        ("aes256gcm16", "prfsha256"),
        ("aes256gcm16-x25519", "prfsha256"),
        ("aes256gcm16-prfsha256", "x25519"),
        ("aes256gcm16-prfsha256-modp1024", "x25519"),
        ("aes256gcm16-prfsha256-x25519-noesn", "x25519"),
        ("aes256gcm16-sha256-prfsha256-x25519", "leave out"),
        ("aes256-prfsha256-x25519", "sha256"),
    ],
)
def test_an_unknown_suite_is_one_line_that_says_what_is_known(text, told):
    with pytest.raises(ValueError, match=told) as caught:
        parse_suite(text)
    assert "\n" not in str(caught.value)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", ["", "aes256", "aes256gcm16-sha256", "aes256gcm16-x25519"])
def test_an_unknown_child_suite_is_one_line(text):
    with pytest.raises(ValueError, match=repr(text)):
        parse_child(text)


@given(st.lists(st.sampled_from(SUITES), min_size=1, max_size=6, unique=True), st.data())
def test_b14_what_one_side_selects_the_other_recognises(offered, data):
    acceptable = data.draw(st.lists(st.sampled_from(SUITES), max_size=6, unique=True))
    offer = SaPayload.decode(proposal(offered).encode())
    selected = select(offer, acceptable)
    common = [suite for suite in acceptable if suite in offered]
    if not common:
        assert selected is None
        return
    assert selected is not None
    suite, answer = selected
    assert suite == common[0]
    assert chosen(SaPayload.decode(answer.encode()), offered) == suite
    assert answer.proposals[0].number == offered.index(suite) + 1
    assert answer.proposals[0] == offer.proposals[offered.index(suite)]


@given(st.lists(st.sampled_from(CHILDREN), min_size=1, max_size=6, unique=True), st.data())
def test_b14_the_same_for_child_sas(offered, data):
    acceptable = data.draw(st.lists(st.sampled_from(CHILDREN), max_size=6, unique=True))
    groups = data.draw(st.sampled_from([(0,), (31, 0), (19, 31), (31,)]))
    taken = data.draw(st.permutations(groups))
    offer = SaPayload.decode(child_proposal(offered, SPI, groups).encode())
    choice = select_child(offer, acceptable, taken)
    common = [suite for suite in acceptable if suite in offered]
    if not common:
        assert choice is None
        return
    assert choice is not None
    assert (choice.suite, choice.group, choice.peer_spi) == (common[0], taken[0], SPI)
    answer = choice.reply(b"\x09\x09\x09\x09")
    understood = chosen_child(answer, offered, groups)
    assert (understood.suite, understood.group) == (common[0], taken[0])
    assert understood.peer_spi == b"\x09\x09\x09\x09"


def one(*transforms: Transform, number=1, protocol=ProtocolId.IKE, spi=b"") -> SaPayload:
    """An SA payload with one proposal."""
    return SaPayload((Proposal(number, protocol, spi, transforms),))


AES256 = Transform(TransformType.ENCR, Encr.ENCR_AES_GCM_16, 256)
PRF = Transform(TransformType.PRF, 5)
KE = Transform(TransformType.KE, 31)


def test_a_proposal_with_many_transforms_of_a_type_is_answered_with_one_of_each():
    offer = one(Transform(1, 20, 128), AES256, Transform(2, 7), PRF, Transform(4, 14), KE, number=4)
    assert select(offer, [CBC, GCM]) == (GCM, one(AES256, PRF, KE, number=4))


def test_our_order_of_preference_wins():
    offer = proposal([GCM, CHACHA])
    assert select(offer, [CHACHA, GCM]) == (CHACHA, SaPayload(offer.proposals[1:]))


@pytest.mark.parametrize(
    "encr",
    [
        Transform(1, 20),
        Transform(1, 20, 192),
        Transform(1, 20, 256, b"\x80\x01\x00\x01"),
        Transform(1, 20, 256, b"\x80\x0e\x00\x80"),
        Transform(1, 99, 256),
    ],
)
def test_b14_an_unknown_attribute_or_number_makes_only_that_transform_unacceptable(encr):
    assert select(one(encr, PRF, KE), [GCM]) is None
    assert select(one(encr, AES256, PRF, KE), [GCM]) == (GCM, one(AES256, PRF, KE))


def test_chacha_has_no_key_length_attribute():
    """RFC 7634 5."""
    assert CHACHA.transforms[0] == Transform(1, 28)
    assert select(one(Transform(1, 28, 256), Transform(2, 7), Transform(4, 20)), [CHACHA]) is None


def test_a_type_that_we_do_not_know_can_only_be_declined():
    extra, none = Transform(6, 35), Transform(6, 0)
    assert select(one(AES256, PRF, KE, extra), [GCM]) is None
    assert select(one(AES256, PRF, KE, extra, none), [GCM]) == (GCM, one(AES256, PRF, KE, none))


def test_rfc5282_an_aead_does_not_go_with_an_integrity_algorithm():
    integ, none = Transform(3, 12), Transform(3, 0)
    assert select(one(AES256, PRF, KE, integ), [GCM]) is None
    assert select(one(AES256, PRF, KE, none), [GCM]) == (GCM, one(AES256, PRF, KE, none))


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_proposal_that_lacks_a_type_is_unacceptable(missing):
    transforms = [AES256, PRF, KE]
    del transforms[missing]
    assert select(one(*transforms), [GCM]) is None


def test_a_proposal_for_another_protocol_is_passed_over():
    assert select(one(AES256, PRF, KE, protocol=ProtocolId.ESP), [GCM]) is None


ESN0 = Transform(TransformType.ESN, 0)


@pytest.mark.parametrize("spi", [b"", bytes(4), bytes(8)])
def test_b26_a_child_needs_a_spi_of_four_octets_that_is_not_zero(spi):
    assert select_child(one(AES256, ESN0, protocol=ProtocolId.ESP, spi=spi), [CHILD]) is None


def test_a_child_offer_for_ah_is_passed_over():
    assert select_child(one(AES256, ESN0, protocol=ProtocolId.AH, spi=SPI), [CHILD]) is None


def test_a_child_offer_without_esn_means_none():
    choice = select_child(one(AES256, protocol=ProtocolId.ESP, spi=SPI), [CHILD])
    assert choice is not None
    assert choice.reply(SPI).proposals[0].transforms == (AES256,)
    extended = ChildSuite(20, 256, 0, True)
    assert select_child(one(AES256, protocol=ProtocolId.ESP, spi=SPI), [extended]) is None


def test_a_key_exchange_in_a_child_offer_can_only_be_declined():
    esp = {"protocol": ProtocolId.ESP, "spi": SPI}
    assert select_child(one(AES256, ESN0, KE, **esp), [CHILD]) is None
    choice = select_child(one(AES256, ESN0, KE, Transform(4, 0), **esp), [CHILD])
    assert choice is not None
    assert choice.transforms == (AES256, ESN0, Transform(4, 0))


@pytest.mark.parametrize(
    "answer",
    [
        SaPayload(()),
        SaPayload(proposal([GCM, CBC]).proposals),
        proposal([CHACHA]),
        one(AES256, PRF, KE, number=0),
        one(AES256, PRF, KE, number=2),
        one(AES256, PRF, KE, number=3),
        one(AES256, PRF),
        one(AES256, PRF, KE, KE),
        one(AES256, PRF, KE, Transform(4, 19)),
        one(AES256, PRF, PRF),
        one(Transform(1, 20, 128), PRF, KE),
        one(AES256, PRF, KE, protocol=ProtocolId.ESP),
    ],
)
def test_b14_an_answer_that_we_did_not_offer_is_refused(answer):
    assert chosen(one(AES256, PRF, KE), [GCM, CBC]) == GCM
    with pytest.raises(PeerError, match="NO_PROPOSAL_CHOSEN"):
        chosen(answer, [GCM, CBC])


@pytest.mark.parametrize(
    "answer",
    [
        one(AES256, ESN0, protocol=ProtocolId.ESP, spi=bytes(4)),
        one(AES256, ESN0, protocol=ProtocolId.AH, spi=SPI),
        one(AES256, Transform(5, 1), protocol=ProtocolId.ESP, spi=SPI),
    ],
)
def test_a_child_answer_that_we_did_not_offer_is_refused(answer):
    with pytest.raises(PeerError, match="NO_PROPOSAL_CHOSEN"):
        chosen_child(answer, [CHILD])


def test_an_answer_with_its_transforms_in_another_order_or_a_none_is_taken():
    assert chosen(one(KE, PRF, AES256), [GCM]) == GCM
    assert chosen(one(AES256, PRF, Transform(3, 0), KE), [GCM]) == GCM


def test_a_rekey_s_spi_is_answered_with_ours():
    selected = select(proposal([GCM], bytes(range(8))), [GCM], spi=bytes(range(8, 16)))
    assert selected is not None
    assert selected[1].proposals[0].spi == bytes(range(8, 16))
