"""MOBIKE: a client changes its address and keeps its SAs (RFC 4555)."""

import pytest

from proto.ike.core import SaCore, replace
from proto.ike.effects import Outcome, Path, UpdateChild
from proto.ike.enums import ExchangeType, NotifyType
from proto.ike.events import Answered, Ended, Failed, Moved, MoveRefused
from proto.ike.message import decode_clear
from proto.ike.nat import HERE, SHOWN, THERE
from proto.ike.payloads import NotifyPayload
from proto.ike.record import decode
from tests.pair.craft import opened, sealed
from tests.pair.natted import IKE, NAT, NAT_SETTINGS, NattedPair
from tests.pair.pair import LOST, ONCE, Side

MOBILE = replace(NAT_SETTINGS, mobike=True, liveness_interval_s=0.0)
ELSEWHERE = ("198.51.100.50", 40001)
THIRD = ("198.51.100.60", 40001)
OVER_IPV6 = ("2001:db8::50", 40001)
INFORMATIONAL = ExchangeType.INFORMATIONAL


def mobile(client_behind: bool = False, settings=MOBILE, client=MOBILE) -> NattedPair:
    """A pair whose client may move."""
    pair = NattedPair(client_behind=client_behind, settings=settings)
    pair.client.endpoint.settings = client
    for host in (ELSEWHERE, THIRD, OVER_IPV6):
        pair.sides[host] = pair.client
    pair.sides["2001:db8::1", NAT] = pair.gateway
    return pair


def move(pair: NattedPair, spi: bytes, to=ELSEWHERE, gateway: str = "") -> Outcome:
    """The client goes on from there."""
    at = (gateway or pair.known, NAT)
    outcome = pair.client.endpoint.move(spi, Path(to, at), pair.now)
    assert outcome is not None
    pair.carry_out(pair.client, outcome)
    return outcome


def both(pair: NattedPair, spi: bytes) -> tuple[SaCore, SaCore]:
    """The SA at both ends."""
    pair.agree(spi)
    return pair.client.core(spi), pair.gateway.core(pair.other_end(spi))


def path_of(side: Side, spi: bytes) -> Path:
    """Where an SA's end takes the other to be."""
    progress = side.endpoint.progress(spi)
    assert progress is not None
    return progress.path


def said(side: Side, core: SaCore, index: int = -1) -> list[NotifyPayload]:
    """The notifies of a sealed message of a side."""
    return list(opened(core, side.octets()[index]).notifies)


def kinds(notifies: list[NotifyPayload]) -> list[int]:
    """Their types."""
    return [notify.type for notify in notifies]


# -- agreed on


def test_b40_both_announce_it_and_go_on_at_port_4500_without_any_nat() -> None:
    settings = replace(MOBILE, additional_addresses=("192.0.2.77", "2001:db8::77"))
    pair = mobile(settings=settings)
    spi = pair.begin()
    client, gateway = both(pair, spi)
    assert client.mobike
    assert gateway.mobike
    assert client.peer_addresses == ("192.0.2.77", "2001:db8::77")
    assert gateway.peer_addresses == ()
    assert [d.path.remote[1] for d in pair.client.sent] == [IKE, NAT]
    assert client.nat == gateway.nat == SHOWN
    sent = said(pair.client, client, 1)
    assert NotifyPayload(NotifyType.MOBIKE_SUPPORTED) in sent
    assert NotifyType.NO_NATS_ALLOWED not in kinds(sent)
    answered = said(pair.gateway, gateway, 1)
    assert [n.data for n in answered if n.type == NotifyType.ADDITIONAL_IP4_ADDRESS] == [
        bytes((192, 0, 2, 77))
    ]


@pytest.mark.parametrize("who", ["gateway", "client"])
def test_b40_who_is_not_asked_does_not_answer_and_without_it_nobody_moves(who: str) -> None:
    fixed = replace(MOBILE, mobike=False)
    pair = mobile(
        settings=fixed if who == "gateway" else MOBILE, client=fixed if who == "client" else MOBILE
    )
    spi = pair.begin()
    client, gateway = both(pair, spi)
    assert not client.mobike
    assert not gateway.mobike
    assert pair.client.endpoint.move(spi, Path(ELSEWHERE, (pair.known, NAT)), pair.now) is None
    assert NotifyType.MOBIKE_SUPPORTED not in kinds(said(pair.gateway, gateway, 1))


def test_b40_it_is_agreed_on_anew_at_a_resumption_and_kept_at_a_rekey() -> None:
    pair = mobile()
    pair.begin()
    spi = pair.begin(pair.ticket())
    assert both(pair, spi)[1].mobike
    pair.carry_out(pair.client, pair.client.endpoint.rekey_ike(spi, pair.now))
    pair.run(2)
    new = pair.client.live()[-1]
    assert new.spi != spi
    assert new.mobike
    assert pair.gateway.core(new.spi_r).mobike
    pair.client.endpoint.settings = replace(MOBILE, mobike=False)
    spi = pair.begin(pair.ticket())
    assert not both(pair, spi)[1].mobike


# -- moved


@pytest.mark.parametrize("to", [ELSEWHERE, OVER_IPV6], ids=["ipv4", "ipv6"])
def test_b40_a_client_that_moves_takes_its_sas_along(to) -> None:
    pair = mobile()
    spi = pair.begin()
    client, gateway = both(pair, spi)
    (child,), (other,) = client.children, gateway.children
    over = "2001:db8::1" if ":" in to[0] else pair.known
    move(pair, spi, to, over)
    assert pair.client.kernel[-1] == UpdateChild(child.spi_in, Path(to, (over, NAT)), False)
    installed = len(pair.gateway.kernel)
    before = len(pair.chains.writes)
    pair.run()
    path = Path((over, NAT), to)
    assert path_of(pair.gateway, gateway.spi) == path
    assert pair.gateway.kernel[installed:] == [UpdateChild(other.spi_in, path, False)]
    assert len(pair.client.of(Moved)) == len(pair.gateway.of(Moved)) == 1
    # what an adopter reads is the new address, written before the answer left
    (write,) = pair.chains.writes[before:]
    record = decode(write.record)
    assert (record.local, record.remote, record.mobike) == (path.local, path.remote, True)
    # asked from the new address, and answered there
    pair.ask(pair.gateway, gateway.spi)
    assert len(pair.gateway.of(Answered)) == 2
    assert pair.check == []


def test_b40_the_update_has_what_the_rfc_wants() -> None:
    pair = mobile()
    spi = pair.begin()
    client, gateway = both(pair, spi)
    move(pair, spi)
    pair.run()
    update = next(
        notifies
        for data in pair.client.octets()[2:]
        if NotifyType.UPDATE_SA_ADDRESSES in kinds(notifies := list(opened(client, data).notifies))
    )
    assert kinds(update) == [
        NotifyType.UPDATE_SA_ADDRESSES,
        NotifyType.NAT_DETECTION_SOURCE_IP,
        NotifyType.NAT_DETECTION_DESTINATION_IP,
        NotifyType.COOKIE2,
    ]
    assert update[0] == NotifyPayload(NotifyType.UPDATE_SA_ADDRESSES)
    answer = said(pair.gateway, gateway, 2)
    assert kinds(answer) == [
        NotifyType.NAT_DETECTION_SOURCE_IP,
        NotifyType.NAT_DETECTION_DESTINATION_IP,
        NotifyType.COOKIE2,
    ]
    assert answer[-1] == update[-1]
    check = said(pair.gateway, gateway, 3)
    assert kinds(check) == [NotifyType.COOKIE2]
    assert 8 <= len(check[0].data) <= 64
    assert said(pair.client, client) == check


def test_b40_its_child_sas_follow_only_once_it_is_heard_from_there() -> None:
    pair = mobile()
    spi = pair.begin()
    _, gateway = both(pair, spi)
    installed = len(pair.gateway.kernel)

    def deliver(side: Side, datagram) -> tuple[float, ...]:
        is_check = side is pair.gateway and datagram.data[19] & 0x20 == 0
        return LOST if is_check else ONCE

    pair.deliver = deliver
    move(pair, spi)
    pair.run(0.2)
    assert path_of(pair.gateway, gateway.spi).remote == ELSEWHERE
    assert len(pair.gateway.kernel) == installed
    pair.deliver = lambda side, d: ONCE
    pair.run(3)
    assert len(pair.gateway.kernel) == installed + 1


def test_b40_what_was_under_way_goes_on_from_the_new_address() -> None:
    pair = mobile()
    spi = pair.begin()
    pair.deliver = lambda side, d: LOST
    pair.carry_out(pair.client, pair.client.endpoint.probe(spi, pair.now))
    pair.run(0.4)
    pair.deliver = lambda side, d: ONCE
    asked, before = pair.client.sent[-1], len(pair.client.sent)
    move(pair, spi)
    pair.run(0.05)
    again = pair.client.sent[before]
    assert again.data == asked.data
    assert again.path.local == ELSEWHERE
    pair.run()
    _, gateway = both(pair, spi)
    assert path_of(pair.gateway, gateway.spi).remote == ELSEWHERE
    assert pair.check == []


def test_b40_of_two_moves_the_newer_one_counts() -> None:
    pair = mobile()
    spi = pair.begin()
    _, gateway = both(pair, spi)
    move(pair, spi)
    pair.run(0.015)  # its update is at the gateway, its answer isn't back
    move(pair, spi, THIRD)
    pair.run(3)
    assert path_of(pair.gateway, gateway.spi).remote == THIRD
    moved = [op for op in pair.gateway.kernel if isinstance(op, UpdateChild)]
    assert moved[-1].path.remote == THIRD
    assert pair.check == []


def test_b40_nothing_but_an_update_moves_an_sa() -> None:
    pair = mobile()
    spi = pair.begin()
    client, gateway = both(pair, spi)
    before = path_of(pair.gateway, gateway.spi)
    asked = sealed(client, INFORMATIONAL, 2, ())
    outcome = pair.inject(pair.gateway, asked, ELSEWHERE, before.local)
    assert outcome.send[0].path.remote == ELSEWHERE
    assert path_of(pair.gateway, gateway.spi) == before
    # nor does the gateway move its client
    update = [NotifyPayload(NotifyType.UPDATE_SA_ADDRESSES)]
    at = path_of(pair.client, spi)
    pair.inject(pair.client, sealed(gateway, INFORMATIONAL, 0, update), THIRD, at.local)
    assert path_of(pair.client, spi) == at


# -- refused


def test_b40_an_address_that_policy_forbids_is_refused() -> None:
    pair = mobile(settings=replace(MOBILE, mobike_from=("10.0.0.0/8", "192.0.2.0/24")))
    spi = pair.begin()
    _, gateway = both(pair, spi)
    before = path_of(pair.gateway, gateway.spi)
    move(pair, spi)
    pair.run()
    assert path_of(pair.gateway, gateway.spi) == before
    (refused,) = pair.client.of(MoveRefused)
    assert "refuses" in refused.why
    answer = said(pair.gateway, gateway)
    assert kinds(answer) == [NotifyType.UNACCEPTABLE_ADDRESSES, NotifyType.COOKIE2]


def test_b40_an_answer_with_another_cookie_closes_the_sa() -> None:
    pair = mobile()
    spi = pair.begin()
    _, gateway = both(pair, spi)
    pair.deliver = lambda side, d: LOST
    move(pair, spi)
    pair.run(0.01)
    other = [NotifyPayload(NotifyType.COOKIE2, bytes(16))]
    forged = sealed(gateway, INFORMATIONAL, 2, other, response=True)
    pair.inject(pair.client, forged, (pair.known, NAT), ELSEWHERE)
    (ended,) = pair.client.of(Ended)
    assert "COOKIE2" in ended.why


def test_b40_any_cookie2_comes_back_as_it_was() -> None:
    pair = mobile(settings=replace(MOBILE, mobike=False))
    spi = pair.begin()
    client, gateway = both(pair, spi)
    cookie = NotifyPayload(NotifyType.COOKIE2, b"sixteen octets!!")
    pair.inject(pair.gateway, sealed(client, INFORMATIONAL, 2, [cookie]))
    assert said(pair.gateway, gateway) == [cookie]


@pytest.mark.parametrize(("octets", "comes_back"), [(7, False), (8, True), (64, True), (65, False)])
def test_what_is_too_short_or_too_long_for_a_cookie2_does_not(
    octets: int, comes_back: bool
) -> None:
    """RFC 4555 4.2.5."""
    pair = mobile()
    spi = pair.begin()
    client, gateway = both(pair, spi)
    cookie = NotifyPayload(NotifyType.COOKIE2, bytes(octets))
    pair.inject(pair.gateway, sealed(client, INFORMATIONAL, 2, [cookie]))
    assert said(pair.gateway, gateway) == [cookie] * comes_back


# -- NATs


def strict(client_behind: bool) -> NattedPair:
    """Without NAT traversal, and with the prohibition of NATs instead."""
    settings = replace(MOBILE, nat_traversal=False)
    return mobile(client_behind, settings, replace(settings, no_nats=True))


def test_b40_without_nat_traversal_addresses_are_protected() -> None:
    pair = strict(client_behind=False)
    spi = pair.begin()
    client, _ = both(pair, spi)
    assert client.mobike
    (told,) = [n for n in said(pair.client, client, 1) if n.type == NotifyType.NO_NATS_ALLOWED]
    assert told.data == bytes((10, 0, 0, 2, 192, 0, 2, 1)) + (40000).to_bytes(2, "big") + (
        500
    ).to_bytes(2, "big")


def test_b40_a_nat_before_ike_auth_is_unexpected_where_none_is_allowed() -> None:
    pair = strict(client_behind=True)
    pair.begin()
    (failed,) = pair.client.of(Failed)
    assert "UNEXPECTED_NAT_DETECTED" in failed.why
    assert pair.gateway.live() == []


def test_b40_a_nat_that_comes_later_is_unexpected_too_and_tried_again() -> None:
    pair = strict(client_behind=False)
    spi = pair.begin()
    pair.client_behind = True
    before = len(pair.client.sent)
    outcome = pair.client.endpoint.move(
        spi, Path((pair.client.address[0], 40001), (pair.known, IKE)), pair.now
    )
    pair.carry_out(pair.client, outcome)
    pair.run(5)
    (refused,) = pair.client.of(MoveRefused)
    assert "NAT" in refused.why
    assert len(pair.client.sent) - before == 4


def test_b40_behind_a_nat_it_notices_that_it_is_seen_elsewhere_and_says_so() -> None:
    pair = mobile(client_behind=True)
    spi = pair.begin()
    client, gateway = both(pair, spi)
    assert (client.nat, gateway.nat) == (SHOWN | HERE, SHOWN | THERE)
    pair.ask(pair.client, spi)
    shown = [NotifyType.NAT_DETECTION_SOURCE_IP, NotifyType.NAT_DETECTION_DESTINATION_IP]
    assert kinds(said(pair.client, client)) == kinds(said(pair.gateway, gateway)) == shown
    before = path_of(pair.gateway, gateway.spi)
    pair.rebind()
    pair.ask(pair.client, spi)
    pair.run()
    after = path_of(pair.gateway, gateway.spi)
    assert after.remote[0] == before.remote[0]
    assert after.remote[1] != before.remote[1]
    assert isinstance(pair.gateway.kernel[-1], UpdateChild)
    asked = len(pair.client.sent)
    pair.ask(pair.client, spi)
    assert len(pair.client.sent) == asked + 1


def test_b40_moving_behind_a_nat_turns_encapsulation_on_and_off_again() -> None:
    pair = mobile()
    spi = pair.begin()
    pair.client_behind = True
    move(pair, spi)
    pair.run()
    client, gateway = both(pair, spi)
    assert (client.nat, gateway.nat) == (SHOWN | HERE, SHOWN | THERE)
    for side in (pair.client, pair.gateway):
        op = side.kernel[-1]
        assert isinstance(op, UpdateChild)
        assert op.encapsulated
    pair.run(25)
    assert pair.keepalives
    pair.client_behind = False
    move(pair, spi, THIRD)
    pair.run()
    client, gateway = both(pair, spi)
    assert client.nat == gateway.nat == SHOWN
    pair.keepalives.clear()
    pair.run(60)
    assert pair.keepalives == []


# -- other addresses


def test_b40_a_list_of_addresses_replaces_the_one_before() -> None:
    pair = mobile()
    spi = pair.begin()
    client, gateway = both(pair, spi)
    four = NotifyPayload(NotifyType.ADDITIONAL_IP4_ADDRESS, bytes((192, 0, 2, 9)))
    six = NotifyPayload(NotifyType.ADDITIONAL_IP6_ADDRESS, bytes(15) + b"\x01")
    wrong = NotifyPayload(NotifyType.ADDITIONAL_IP4_ADDRESS, bytes(5))
    pair.inject(pair.gateway, sealed(client, INFORMATIONAL, 2, [four, six, wrong, four]))
    assert pair.gateway.core(gateway.spi).peer_addresses == ("192.0.2.9", "::1")
    assert decode(pair.chains.records[gateway.spi]).peer_addresses == ("192.0.2.9", "::1")
    pair.inject(pair.gateway, sealed(client, INFORMATIONAL, 3, ()))
    assert pair.gateway.core(gateway.spi).peer_addresses == ("192.0.2.9", "::1")
    none = [NotifyPayload(NotifyType.NO_ADDITIONAL_ADDRESSES)]
    pair.inject(pair.gateway, sealed(client, INFORMATIONAL, 4, none))
    assert pair.gateway.core(gateway.spi).peer_addresses == ()
    many = [
        NotifyPayload(NotifyType.ADDITIONAL_IP4_ADDRESS, bytes((10, 0, 0, n))) for n in range(20)
    ]
    pair.inject(pair.gateway, sealed(client, INFORMATIONAL, 5, many))
    assert len(pair.gateway.core(gateway.spi).peer_addresses) == 8


def test_b40_an_adopter_goes_on_with_a_mobile_sa() -> None:
    pair = mobile()
    spi = pair.begin()
    _, gateway = both(pair, spi)
    record = decode(pair.chains.records[gateway.spi])
    heir = pair.add_gateway("heir", ("192.0.2.3", NAT))
    heir.spis.fence = 2
    pair.carry_out(heir, heir.endpoint.adopt(record, pair.now))
    assert heir.core(gateway.spi).mobike
    outcome = pair.client.endpoint.move(spi, Path(ELSEWHERE, ("192.0.2.3", NAT)), pair.now)
    pair.carry_out(pair.client, outcome)
    pair.run()
    assert path_of(heir, gateway.spi) == Path(("192.0.2.3", NAT), ELSEWHERE)


def test_b40_the_first_exchange_says_nothing_of_it() -> None:
    pair = mobile()
    pair.begin()
    for side in (pair.client, pair.gateway):
        message = decode_clear(side.octets()[0])
        assert message.notify(NotifyType.MOBIKE_SUPPORTED) is None
