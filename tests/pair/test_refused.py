"""What is refused is told once, with what was offered and what is configured."""

import pytest

from proto.ike.core import replace
from proto.ike.enums import ExchangeType, PayloadType
from proto.ike.events import Failed, Refused
from proto.ike.names import parse_children, parse_suites
from proto.ike.offers import SHOWN_MAX, no_proposal
from proto.ike.payloads import (
    NoncePayload,
    Proposal,
    SaPayload,
    TrafficSelector,
    Transform,
    TsPayload,
)
from proto.ike.selectors import parse_selector
from tests.pair.craft import sealed
from tests.pair.pair import Pair
from tests.pair.parts import CLIENT, PEER, SETTINGS

STRONG = replace(SETTINGS, suites=(parse_suites("aes256gcm16-prfsha384-ecp384"),))
NETS = replace(
    SETTINGS,
    local_ts=(parse_selector("10.1.0.0/16"),),
    remote_ts=(parse_selector("10.2.0.0/16"),),
)


def test_a_refused_proposal_is_told_with_both_sides_algorithms() -> None:
    pair = Pair(STRONG)
    pair.client.endpoint.settings = SETTINGS
    pair.start()
    pair.run(0.02)
    assert pair.gateway.of(Failed) == [
        Failed(
            b"",
            False,
            "no proposal in common: offered aes256gcm16-prfsha256-x25519;"
            " configured aes256gcm16-prfsha384-ecp384",
            CLIENT[0],
        )
    ]


def test_refused_selectors_and_algorithms_of_a_child_sa_leave_the_ike_sa_and_are_told() -> None:
    wanting = replace(PEER, remote_ts=(parse_selector("10.9.0.0/16"),))
    pair = Pair(NETS, wanting)
    pair.connect()
    (core,) = pair.gateway.live()
    (refused,) = pair.gateway.of(Refused)
    assert refused == Refused(
        core.spi,
        "rfc822:alice@example.com",
        "TS_UNACCEPTABLE",
        "no selectors in common: offered 0.0.0.0-255.255.255.255 to 10.9.0.0-10.9.255.255;"
        " configured 10.2.0.0-10.2.255.255 to 10.1.0.0-10.1.255.255",
    )
    other = replace(PEER, child_suites=(parse_children("chacha20poly1305"),))
    pair = Pair(peer=other)
    pair.connect()
    (refused,) = pair.gateway.of(Refused)
    assert refused.what == "NO_PROPOSAL_CHOSEN"
    assert refused.why == (
        "no proposal in common: offered chacha20poly1305;"
        " configured aes256gcm16-noesn; aes256-sha256-noesn"
    )


def test_a_type_of_selectors_without_addresses_is_refused_and_told_by_its_number() -> None:
    pair = Pair(NETS, replace(PEER, local_ts=NETS.remote_ts, remote_ts=NETS.local_ts))
    pair.connect()
    (client,) = pair.client.live()
    fibre = TrafficSelector(9, 0, 0, 0, bytes(20), b"")  # TS_FC_ADDR_RANGE (RFC 4595)
    offer = SaPayload((Proposal(1, 3, b"abcd", (Transform(1, 20, 256), Transform(5, 0))),))
    sides = [TsPayload(kind, (fibre,)) for kind in (PayloadType.TSi, PayloadType.TSr)]
    asked = [offer, NoncePayload(bytes(32)), *sides]
    pair.inject(pair.gateway, sealed(client, ExchangeType.CREATE_CHILD_SA, 2, asked))
    (refused,) = pair.gateway.of(Refused)
    assert refused.what == "TS_UNACCEPTABLE"
    assert "offered type9 to type9; configured 10.2.0.0" in refused.why


@pytest.mark.parametrize("what", ["NO_PROPOSAL_CHOSEN", "TS_UNACCEPTABLE"])
def test_what_create_child_sa_refuses_is_told_too(what: str) -> None:
    pair = Pair(NETS, replace(PEER, local_ts=NETS.remote_ts, remote_ts=NETS.local_ts))
    spi = pair.connect()
    assert pair.gateway.of(Refused) == []
    (client,) = pair.client.live()
    if what == "TS_UNACCEPTABLE":
        pair.client.endpoint.settings = replace(SETTINGS, local_ts=NETS.local_ts)
        pair.carry_out(pair.client, pair.client.endpoint.new_child(spi, pair.now))
    else:
        offer = SaPayload((Proposal(1, 3, b"abcd", (Transform(1, 99), Transform(5, 0))),))
        asked = [offer, NoncePayload(bytes(32))]
        pair.inject(pair.gateway, sealed(client, ExchangeType.CREATE_CHILD_SA, 2, asked))
    pair.run(0.1)
    (refused,) = pair.gateway.of(Refused)
    assert refused.what == what
    assert len(pair.gateway.live()) == 1
    if what == "NO_PROPOSAL_CHOSEN":
        assert "offered encr99-0;" in refused.why


def test_a_line_is_bounded_whatever_was_offered() -> None:
    transforms = tuple(Transform(kind, number) for kind in range(20) for number in range(200))
    offer = SaPayload(tuple(Proposal(n, 1, b"", transforms) for n in range(1, 100)))
    line = no_proposal(offer, SETTINGS.suites)
    assert len(line) < 1500
    assert line.count("; ") <= 2 * SHOWN_MAX + 1
