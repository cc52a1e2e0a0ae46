"""Internal addresses: given, kept through resumptions and rekeys (RFC 7296 2.19, 3.15)."""

import ipaddress

import pytest

from proto.ike.connection import DEFAULT
from proto.ike.core import connections_of, replace
from proto.ike.effects import Persist, PersistKind, Settlement
from proto.ike.enums import CfgAttribute, CfgType
from proto.ike.events import AddressesReceived, Established, Failed
from proto.ike.exchanges import configuration
from proto.ike.payloads import CpPayload
from proto.ike.pools import Address, Configured, Leased, Pool
from tests.pair.pair import Pair
from tests.pair.parts import PEER, SECOND_GATEWAY, SETTINGS

OFFICE = Pool(
    "office", 4, (ipaddress.ip_address("10.0.0.53"),), (ipaddress.ip_network("10.0.0.0/8"),),
    ("corp.example",),
)  # fmt: skip
SIX = Pool("six", 6, (ipaddress.ip_address("fd00::53"),), (ipaddress.ip_network("fd00::/48"),))
BOTH = replace(PEER, families=(4, 6))
ONE = replace(PEER, families=(4,))


class Book:
    """Addresses in order, in the test's hand."""

    def __init__(self) -> None:
        self.free = {
            "office": ["10.9.0.1", "10.9.0.2", "10.9.0.3"],
            "six": ["fd00:9::1", "fd00:9::2"],
        }
        self.wanted: list[Address | None] = []

    def choose(self, pool: str, chain: bytes, wanted: Address | None) -> Address | None:
        self.wanted.append(wanted)
        free = self.free[pool]
        return ipaddress.ip_address(free.pop(0)) if free else None


def pair(*pools: Pool) -> tuple[Pair, Book]:
    everybody = connections_of(SETTINGS).named(DEFAULT)
    assert everybody is not None
    given = replace(everybody, pools=pools or (OFFICE, SIX))
    made, book = Pair(settings=replace(SETTINGS, connections=(given,))), Book()
    made.gateway.endpoint._addresses = book
    return made, book


def test_an_answer_that_no_message_holds_refuses_what_it_would_have_answered() -> None:
    endless = replace(OFFICE, domains=("a" * 40_000, "b" * 40_000))
    made, _book = pair(endless)
    made.connect(peer=ONE)
    (failed,) = made.gateway.of(Failed)
    assert "octets" in failed.why
    assert not writes(made)
    assert [len(made.client.of(kind)) for kind in (Failed, Established)] == [1, 0]
    made.run(60)
    assert made.gateway.endpoint.spis() == []


def writes(made: Pair) -> list[Persist]:
    return made.chains.writes


def given(made: Pair) -> Configured:
    return made.client.of(AddressesReceived)[-1].configured


def test_r44_a_client_gets_addresses_servers_and_routes_and_keeps_them_through_a_resumption() -> (
    None
):
    made, _book = pair()
    spi = made.connect(peer=BOTH)
    made.agree(spi)
    first = given(made)
    assert [str(a) for a in first.addresses] == ["10.9.0.1", "fd00:9::1"]
    assert [str(a) for a in first.dns] == ["10.0.0.53", "fd00::53"]
    assert [str(n) for n in first.subnets] == ["10.0.0.0/8", "fd00::/48"]
    assert first.domains == ("corp.example",)
    write = writes(made)[-1]
    assert write.takes
    assert [row.pool for row in write.leased] == ["office", "six"]
    other = made.add_gateway("second", SECOND_GATEWAY)
    resumed = made.resume(to=SECOND_GATEWAY, peer=BOTH)
    made.agree(resumed, other)
    assert given(made) == first
    again = writes(made)[-1]
    assert (again.kind, again.takes, again.leased) == (PersistKind.REDEEM, False, write.leased)


def test_the_peers_side_of_a_child_sa_is_its_internal_address() -> None:
    made, _book = pair()
    spi = made.connect(peer=ONE)
    (child,) = made.gateway.core(made.other_end(spi)).children
    assert child.remote_ts == configuration.selectors((Leased("office", b"\x0a\x09\x00\x01"),))
    assert made.client.core(spi).children[0].local_ts == child.remote_ts


def test_without_a_request_nothing_is_given() -> None:
    made, book = pair()
    made.connect()
    assert made.client.of(AddressesReceived) == book.wanted == []
    assert writes(made)[-1].leased == ()


def test_if_none_is_left_the_ike_sa_stands_without_a_child_sa() -> None:
    made, book = pair(OFFICE)
    book.free["office"] = []
    spi = made.connect(peer=ONE)
    made.agree(spi)
    assert made.client.core(spi).children == made.gateway.live()[0].children == ()


def test_one_family_is_better_than_none() -> None:
    made, book = pair()
    book.free["office"] = []
    made.agree(made.connect(peer=BOTH))
    assert [str(a) for a in given(made).addresses] == ["fd00:9::1"]


def test_the_first_pool_that_has_one_gives_it() -> None:
    second = Pool("six", 4)
    made, book = pair(OFFICE, second)
    book.free = {"office": [], "six": ["10.8.0.1"]}
    made.agree(made.connect(peer=ONE))
    assert [str(a) for a in given(made).addresses] == ["10.8.0.1"]


def test_a_rekeyed_session_keeps_its_address_and_gives_it_back_at_its_end() -> None:
    made, _book = pair(OFFICE)
    spi = made.connect(peer=ONE)
    old = made.gateway.live()[0]
    made.carry_out(made.gateway, made.gateway.endpoint.rekey_ike(made.other_end(spi), made.now))
    made.run()
    (core,) = made.gateway.live()
    assert core.spi != old.spi
    assert core.leased == old.leased != ()
    rekey = next(w for w in writes(made) if w.kind is PersistKind.REKEY)
    assert (rekey.leased, rekey.takes) == (old.leased, False)


def test_an_address_that_somebody_else_was_quicker_to_take_ends_the_handshake() -> None:
    made, _book = pair(OFFICE)
    made.hold_writes = True
    spi = made.connect(peer=ONE)
    made.release(Settlement.REFUSED)
    made.run()
    assert made.client.endpoint.find(spi) is None or not made.client.of(Established)
    assert not made.gateway.live()


def asked(*attributes: tuple[int, bytes], kind: int = CfgType.CFG_REQUEST) -> CpPayload:
    return CpPayload(kind, attributes)


@pytest.mark.parametrize("value", [b"\x0a\x09\x00\x02", b"\x0a\x09\x00\x02\xff"])
def test_b24_what_is_asked_for_is_a_hint(value: bytes) -> None:
    found = configuration._wanted(asked((CfgAttribute.INTERNAL_IP4_ADDRESS, value)), 4)
    assert found == (True, ipaddress.ip_address("10.9.0.2"))


@pytest.mark.parametrize("value", [b"", bytes(4), b"\x01"])
def test_no_hint_is_none(value: bytes) -> None:
    found = configuration._wanted(asked((CfgAttribute.INTERNAL_IP4_ADDRESS, value)), 4)
    assert found == (True, None)


def test_what_a_gateway_gives_malformed_is_left_out() -> None:
    reply = CpPayload(
        CfgType.CFG_REPLY,
        (
            (CfgAttribute.INTERNAL_IP4_ADDRESS, b"\x01"),
            (CfgAttribute.INTERNAL_IP4_DNS, b"\x01\x02"),
            (CfgAttribute.INTERNAL_IP4_SUBNET, bytes(4) + b"\xff\x00\xff\x00"),
            (CfgAttribute.INTERNAL_IP6_SUBNET, bytes(16) + b"\xff"),
            (CfgAttribute.INTERNAL_DNS_DOMAIN, b"\xff"),
            (CfgAttribute.INTERNAL_IP6_ADDRESS, bytes(15) + b"\x09\x40"),
            (9999, b"x"),
        ),
    )
    assert configuration.accept(reply) == Configured((ipaddress.ip_address("::9"),))
