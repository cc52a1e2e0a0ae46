"""Offers, and choices among them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.ike.enums import Encr, ProtocolId, TransformType
from proto.ike.errors import PeerError
from proto.ike.names import parse_child, parse_children, parse_suite, parse_suites
from proto.ike.negotiation import (
    CACHED_TRANSFORMS_MAX,
    child_proposal,
    chosen,
    chosen_child,
    proposal,
    select,
    select_child,
)
from proto.ike.payloads import Proposal, SaPayload, Transform
from proto.ike.suite import WITHOUT_KE, ChildSuite, Kes
from tests.unit.proto.test_suite import CBC, CHACHA, CHILD, CHILD_NAMES, GCM, NAMES

SUITES = [parse_suite(name) for name in NAMES]
CHILDREN = [parse_child(name) for name in CHILD_NAMES]
SPI = b"\x01\x02\x03\x04"
KES = {0: WITHOUT_KE[0], 19: Kes((19,)), 31: Kes((31,))}


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
    numbers = data.draw(st.sampled_from([(0,), (31, 0), (19, 31), (31,)]))
    groups = [KES[number] for number in numbers]
    taken = data.draw(st.permutations(groups))
    offer = SaPayload.decode(child_proposal(offered, SPI, groups).encode())
    choice = select_child(offer, acceptable, taken)
    common = [suite for suite in acceptable if suite in offered]
    if not common:
        assert choice is None
        return
    assert choice is not None
    first = tuple(ke for ke in taken[0].kes if ke)
    assert (choice.suite, choice.kes, choice.peer_spi) == (common[0], first, SPI)
    answer = choice.reply(b"\x09\x09\x09\x09")
    understood = chosen_child(answer, offered, groups)
    assert (understood.suite, understood.kes) == (common[0], first)
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
    assert select(one(Transform(1, 28, 256), Transform(2, 7), Transform(4, 20)), [CHACHA]) is None


def test_a_type_that_we_do_not_want_can_only_be_declined():
    extra, none = Transform(6, 35), Transform(6, 0)
    assert select(one(AES256, PRF, KE, extra), [GCM]) is None
    assert select(one(AES256, PRF, KE, extra, none), [GCM]) == (GCM, one(AES256, PRF, KE, none))


@pytest.mark.parametrize("kind", [0, 13, 200])
def test_b14_a_proposal_with_a_type_that_we_do_not_know_is_passed_over(kind):
    """RFC 7296 3.3.6; the other proposals of the payload are looked at as usual."""
    odd = Proposal(1, ProtocolId.IKE, b"", (AES256, PRF, KE, Transform(kind, 0)))
    plain = Proposal(2, ProtocolId.IKE, b"", (AES256, PRF, KE))
    assert select(SaPayload((odd,)), [GCM]) is None
    assert select(SaPayload((odd, plain)), [GCM]) == (GCM, SaPayload((plain,)))


def test_rfc5282_an_aead_does_not_go_with_an_integrity_algorithm():
    integ, none = Transform(3, 12), Transform(3, 0)
    assert select(one(AES256, PRF, KE, integ), [GCM]) is None
    assert select(one(AES256, PRF, none, KE), [GCM]) == (GCM, one(AES256, PRF, none, KE))


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
    assert choice.transforms == (AES256, Transform(4, 0), ESN0)


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
        one(AES256, Transform(1, 0), PRF, KE),
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
        one(AES256, Transform(1, 0), ESN0, protocol=ProtocolId.ESP, spi=SPI),
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


MANY = parse_suites(
    "aes256gcm16-aes128gcm16-chacha20poly1305-prfsha256-prfsha384-x25519-ecp256-modp2048"
)
PLAIN = parse_suites("aes256-aes128-sha256-sha512-prfsha256-prfsha512-x25519-modp2048")
HYBRID = parse_suites("aes256gcm16-prfsha256-x25519-ke1_mlkem768-ke1_mlkem1024-ke1_none")
ADDKE1 = TransformType.ADDKE1


def test_a_set_is_offered_as_one_proposal_and_answered_with_one_of_each():
    offer = SaPayload.decode(proposal([MANY, PLAIN]).encode())
    assert [len(p.transforms) for p in offer.proposals] == [8, 8]
    selected = select(offer, [parse_suite("aes128-sha512-prfsha256-modp2048")])
    assert selected is not None
    assert selected[1].proposals[0].number == 2
    assert str(chosen(selected[1], [MANY, PLAIN])) == "aes128-sha512-prfsha256-modp2048"


def test_our_order_wins_within_a_set_but_for_the_group_that_the_peer_began_with():
    offer = proposal([MANY])
    mine = parse_suites("chacha20poly1305-aes256gcm16-prfsha384-prfsha256-ecp256-x25519-modp2048")
    for first_ke, expected in [(0, "ecp256"), (14, "modp2048"), (31, "x25519"), (20, "ecp256")]:
        selected = select(offer, [mine], first_ke=first_ke)
        assert selected is not None
        assert str(selected[0]) == f"chacha20poly1305-prfsha384-{expected}"


def test_b14_an_offer_with_dozens_of_transforms_most_of_them_unknown():
    """What a peer with every plugin sends: ciphers, prfs and groups nobody else has among ours."""
    encrs = [Transform(1, n, bits) for n in (12, 13, 23, 24, 3) for bits in (128, 192, 256)]
    integs = [Transform(3, n) for n in (12, 13, 14, 2, 5, 8, 1024)]
    prfs = [Transform(2, n) for n in (5, 6, 7, 4, 8, 2, 9)]
    kes = [Transform(4, n) for n in (31, 32, 19, 20, 21, 28, 29, 30, 14, 15, 16, 17, 18, 22, 1040)]
    offer = SaPayload.decode(one(*encrs, *integs, *prfs, *kes, number=1).encode())
    assert len(offer.proposals[0].transforms) > CACHED_TRANSFORMS_MAX
    selected = select(offer, [MANY, PLAIN])
    assert selected is not None
    assert str(selected[0]) == "aes256-sha256-prfsha256-x25519"
    assert select(offer, [MANY]) is None


def test_rfc9370_an_additional_key_exchange_that_is_demanded_and_one_that_is_not():
    demanded, open_to_both = one(AES256, PRF, KE, Transform(ADDKE1, 36)), proposal([HYBRID])
    plain = proposal([GCM])
    for offer, expected in [(demanded, (36,)), (open_to_both, (36,)), (plain, ())]:
        selected = select(offer, [HYBRID])
        assert selected is not None
        assert selected[0].addkes == expected
        assert chosen(selected[1], [HYBRID]) == selected[0]
    only_1024 = parse_suites("aes256gcm16-prfsha256-x25519-ke1_mlkem1024")
    assert select(demanded, [only_1024]) is None
    assert select(plain, [only_1024]) is None
    assert select(open_to_both, [GCM]) == (GCM, one(AES256, PRF, KE, Transform(ADDKE1, 0)))


def test_rfc9370_without_ike_intermediate_such_proposals_are_passed_over():
    offer = proposal([HYBRID, GCM])
    selected = select(offer, [HYBRID], addkes=False)
    assert selected is not None
    assert (selected[0], selected[1].proposals[0].number) == (GCM, 2)
    assert select(proposal([HYBRID]), [HYBRID], addkes=False) is None


def test_rfc9370_no_method_is_chosen_twice():
    """The first choice gives way where another one needs it."""
    offer = one(AES256, PRF, KE, *[Transform(7, n) for n in (36, 37)], Transform(8, 36))
    mine = parse_suites("aes256gcm16-prfsha256-x25519-ke2_mlkem768-ke2_mlkem1024-ke3_mlkem768")
    selected = select(offer, [mine])
    assert selected is not None
    assert selected[0].addkes == (0, 37, 36)
    assert selected[0].more_kes == (37, 36)
    twice = one(AES256, PRF, KE, Transform(7, 36), Transform(8, 36))
    both = parse_suites(
        "aes256gcm16-prfsha256-x25519-ke2_mlkem768-ke2_mlkem1024-ke3_mlkem768-ke3_mlkem1024"
    )
    assert select(twice, [both]) is None
    as_in_ike_sa_init = one(AES256, PRF, KE, Transform(6, 31), Transform(6, 36))
    mine = parse_suites("aes256gcm16-prfsha256-x25519-ecp256-ke1_x25519-ke1_mlkem768")
    selected = select(as_in_ike_sa_init, [mine])
    assert selected is not None
    assert (selected[0].ke, selected[0].addkes) == (31, (36,))


def test_rfc9370_an_answer_that_has_a_method_twice_is_refused():
    both = parse_suites(
        "aes256gcm16-prfsha256-x25519-ke1_mlkem768-ke1_mlkem1024-ke2_mlkem768-ke2_mlkem1024"
    )
    good = one(AES256, PRF, KE, Transform(6, 37), Transform(7, 36))
    assert chosen(good, [both]).more_kes == (37, 36)
    twice = one(AES256, PRF, KE, Transform(6, 36), Transform(7, 36))
    less = one(AES256, PRF, KE, Transform(6, 36))
    none = one(AES256, PRF, KE, Transform(6, 36), Transform(7, 0))
    for answer in (twice, less, none):
        with pytest.raises(PeerError, match="NO_PROPOSAL_CHOSEN"):
            chosen(answer, [both])


def test_rfc9370_a_child_has_its_own_additional_key_exchanges():
    kes = Kes((31, 19), ((36, 0), (32,)))
    suites = (parse_children("aes256gcm16-aes128gcm16"),)
    offer = SaPayload.decode(child_proposal(suites, SPI, (kes, *WITHOUT_KE)).encode())
    choice = select_child(offer, [CHILD], (Kes((19, 31), ((37, 36), (32,))),), 31)
    assert choice is not None
    assert choice.kes == (31, 36, 32)
    assert chosen_child(choice.reply(SPI), suites, (kes, *WITHOUT_KE)) == choice
    none = select_child(offer, [CHILD])
    assert none is not None
    assert (none.kes, none.number) == ((), 2)
    assert select_child(SaPayload(offer.proposals[:1]), [CHILD], (Kes((31,)),)) is None


@given(st.data())
def test_b14_of_sets_what_one_side_selects_the_other_recognises(data):
    """Whatever is chosen, both sides hold it, and each type that was offered is answered once."""
    texts = [
        "aes256gcm16-aes128gcm16-prfsha256-prfsha384-x25519-ecp256",
        "aes256gcm16-chacha20poly1305-prfsha384-ecp256-x448-ke1_mlkem768-ke1_none",
        "aes256-aes128-sha256-sha1-prfsha256-modp2048-x25519",
        "aes256gcm16-prfsha384-x25519-ke1_mlkem768-ke1_mlkem1024-ke2_x448-ke2_none",
    ]
    sets = st.lists(
        st.sampled_from([parse_suites(text) for text in texts]), min_size=1, unique=True
    )
    theirs, mine = data.draw(sets), data.draw(sets)
    first_ke = data.draw(st.sampled_from([0, 14, 19, 31]))
    offer = SaPayload.decode(proposal(theirs).encode())
    selected = select(offer, mine, first_ke=first_ke)
    if selected is None:
        return
    suite, answer = selected
    assert any(some.holds(suite) for some in mine)
    number = answer.proposals[0].number
    assert theirs[number - 1].holds(suite)
    types = [t.type for t in answer.proposals[0].transforms]
    assert sorted(types) == sorted({t.type for t in offer.proposals[number - 1].transforms})
    assert chosen(SaPayload.decode(answer.encode()), theirs) == suite
