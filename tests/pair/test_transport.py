"""Transport mode of Child SAs (RFC 7296 1.3.1), both roles."""

import pytest

from proto.ike.core import Settings, replace
from proto.ike.effects import InstallChild
from proto.ike.enums import NotifyType
from proto.ike.events import ChildRefused, MoveRefused
from proto.ike.selectors import parse_selector
from tests.pair.craft import opened
from tests.pair.natted import NAT_SETTINGS, NattedPair
from tests.pair.pair import Pair
from tests.pair.parts import CLIENT, GATEWAY, PEER, SETTINGS
from tests.pair.rekeys import BOTH, Up, agree
from tests.pair.test_adopt import adopts, survivor
from tests.pair.test_mobike import MOBILE, mobile, move

HOSTS = replace(SETTINGS, transport=True, liveness_interval_s=0.0)
TUNNELS = replace(SETTINGS, liveness_interval_s=0.0)
PEER_OF_HOSTS = replace(PEER, transport=True)
ASKED = NotifyType.USE_TRANSPORT_MODE


def modes(pair: Pair) -> list[list[bool]]:
    """Of the Child SAs that client and gateway have put into their kernels, in order."""
    return [
        [op.transport for op in side.kernel if isinstance(op, InstallChild)]
        for side in (pair.client, pair.gateway)
    ]


def pair_of(gateway: Settings, peer=PEER_OF_HOSTS, client: Settings = HOSTS) -> Pair:
    pair = Pair(gateway, peer)
    pair.client.endpoint.settings = client
    return pair


def test_b26_who_asks_for_transport_mode_gets_it_where_it_is_configured() -> None:
    pair = pair_of(HOSTS)
    spi = pair.connect()
    pair.agree(spi)
    assert modes(pair) == [[True], [True]]
    (child,) = pair.client.core(spi).children
    hosts = (parse_selector(CLIENT[0]),), (parse_selector(GATEWAY[0]),)
    assert (child.local_ts, child.remote_ts) == hosts


def test_b26_who_does_not_ask_gets_a_tunnel() -> None:
    pair = pair_of(HOSTS, PEER, TUNNELS)
    pair.agree(pair.connect())
    assert modes(pair) == [[False], [False]]


def test_b26_who_is_declined_deletes_the_child_sa_and_says_why() -> None:
    pair = pair_of(TUNNELS)
    spi = pair.connect()
    pair.run(5)
    (client,), (gateway,) = pair.client.live(), pair.gateway.live()
    assert client.children == gateway.children == ()
    assert modes(pair) == [[], [False]]
    (event,) = pair.client.of(ChildRefused)
    assert (event.spi, event.why) == (spi, "its mode isn't the one that was asked for")


def test_through_a_nat_it_is_not_granted() -> None:
    natted = NattedPair(settings=replace(NAT_SETTINGS, transport=True), peer=PEER_OF_HOSTS)
    natted.begin()
    assert modes(natted) == [[], [False]]
    assert len(natted.client.of(ChildRefused)) == 1


def test_r45_a_resumption_asks_for_it_again_or_has_a_tunnel() -> None:
    pair = pair_of(HOSTS)
    pair.connect()
    pair.resume()
    assert modes(pair) == [[True, True], [True, True]]
    pair.client.endpoint.settings = TUNNELS
    pair.resume(peer=PEER)
    assert modes(pair) == [[True, True, False], [True, True, False]]


@BOTH
@pytest.mark.parametrize("transport", [True, False])
def test_b27_a_rekey_keeps_the_mode(by_client: bool, transport: bool) -> None:
    pair = pair_of(HOSTS, PEER_OF_HOSTS if transport else PEER)
    pair.connect()
    sides = (pair.client, pair.gateway) if by_client else (pair.gateway, pair.client)
    at = Up(pair, *sides)
    at.rekey_child()
    pair.run(5)
    agree(at)
    assert modes(pair) == [[transport] * 2, [transport] * 2]


@BOTH
def test_b26_a_further_child_sa_is_in_the_mode_that_is_configured(by_client: bool) -> None:
    pair = pair_of(HOSTS)
    pair.connect()
    sides = (pair.client, pair.gateway) if by_client else (pair.gateway, pair.client)
    at = Up(pair, *sides)
    outcome = at.side.endpoint.new_child(at.own.spi, pair.now)
    pair.carry_out(at.side, outcome)
    pair.run()
    agree(at)
    assert modes(pair) == [[True, True], [True, True]]
    assert opened(at.own, at.side.octets()[-1]).notify(ASKED) is not None


def test_a_further_child_sa_in_another_mode_than_asked_for_is_deleted() -> None:
    pair = pair_of(TUNNELS, PEER, HOSTS)
    pair.connect()
    at = Up(pair, pair.client, pair.gateway)
    pair.carry_out(at.side, at.side.endpoint.new_child(at.own.spi, pair.now))
    pair.run(5)
    assert modes(pair) == [[False], [False, False]]
    assert len(at.own.children) == len(at.theirs.children) == 1


def test_an_adopter_installs_it_in_its_mode() -> None:
    pair = pair_of(HOSTS)
    pair.connect()
    heir = survivor(pair)
    assert adopts(pair, heir) == ""
    assert [op.transport for op in heir.kernel if isinstance(op, InstallChild)] == [True]


def test_b40_an_sa_in_transport_mode_does_not_move() -> None:
    settings = replace(MOBILE, transport=True)
    pair = mobile(settings=settings, client=settings)
    pair.peer = PEER_OF_HOSTS
    spi = pair.begin()
    assert modes(pair) == [[True], [True]]
    move(pair, spi)
    pair.run()
    assert [event.why for event in pair.client.of(MoveRefused)] == [
        "the gateway refuses our address"
    ]
