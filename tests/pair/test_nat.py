"""NAT traversal, seen from both ends: detection, port 4500, keepalives, a NAT that forgets. B35

RFC 7296 2.23, RFC 3948.
"""

import hashlib
import ipaddress

import pytest

from proto.ike.core import SaCore, replace
from proto.ike.effects import InstallChild, Path, Progress, UpdateChild
from proto.ike.enums import ExchangeType, NotifyType
from proto.ike.errors import TicketReason
from proto.ike.events import Answered, TicketRefused
from proto.ike.message import decode_clear, encode_clear
from proto.ike.nat import BETWEEN, HERE, KEEPALIVE, PRETENDED, SHOWN, THERE
from proto.ike.payloads import NoncePayload, NotifyPayload
from proto.ike.record import decode
from tests.pair.craft import sealed
from tests.pair.natted import HOSTS, IKE, NAT, NAT_SETTINGS, NattedPair
from tests.pair.pair import Side

STRANGE = ("203.0.113.200", 7777)


def shown_by(side: Side, index: int = 0) -> list[NotifyPayload]:
    """The NAT_DETECTION notifies of one datagram."""
    kinds = (NotifyType.NAT_DETECTION_SOURCE_IP, NotifyType.NAT_DETECTION_DESTINATION_IP)
    return [n for n in decode_clear(side.sent[index].data).notifies if n.type in kinds]


def progress(side: Side, spi: bytes) -> Progress:
    """How far an SA has come, which there must be."""
    found = side.endpoint.progress(spi)
    assert found is not None
    return found


def installed(side: Side) -> InstallChild:
    """The newest Child SA."""
    return [op for op in side.kernel if isinstance(op, InstallChild)][-1]


def ends(pair: NattedPair, spi: bytes) -> tuple[SaCore, SaCore]:
    """The SA at the client, and at the gateway."""
    pair.agree(spi)
    return pair.client.core(spi), pair.gateway.core(pair.other_end(spi))


@pytest.mark.parametrize("version", [4, 6])
def test_both_show_the_hashes_of_the_rfc_and_without_a_nat_nothing_changes(version: int) -> None:
    pair = NattedPair(client_behind=False, version=version)
    spi = pair.begin()
    client, gateway = ends(pair, spi)
    assert client.nat == gateway.nat == SHOWN
    spis = (spi + bytes(8), spi + client.spi_r)
    for index, side in enumerate((pair.client, pair.gateway)):
        way = side.sent[0].path
        for notify, (host, port) in zip(shown_by(side), (way.local, way.remote), strict=True):
            octets = spis[index] + ipaddress.ip_address(host).packed + port.to_bytes(2, "big")
            assert notify.data == hashlib.sha1(octets, usedforsecurity=False).digest()
            assert (notify.protocol, notify.spi) == (0, b"")
    assert {d.path.remote[1] for d in pair.client.sent} == {IKE}
    assert not installed(pair.client).encapsulated
    assert not installed(pair.gateway).encapsulated
    pair.run(200)
    assert pair.keepalives == []


def test_the_notifies_stand_right_after_the_nonce() -> None:
    pair = NattedPair()
    pair.begin()
    for side in (pair.client, pair.gateway):
        payloads = decode_clear(side.sent[0].data).payloads
        at = next(i for i, p in enumerate(payloads) if isinstance(p, NoncePayload))
        assert list(payloads[at + 1 : at + 3]) == shown_by(side)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("resumed", [False, True])
def test_behind_a_nat_a_client_goes_on_at_port_4500(version: int, resumed: bool) -> None:
    pair = NattedPair(version=version)  # R28
    spi = pair.begin()
    if resumed:
        pair.rebind()
        before = len(pair.client.sent)
        spi = pair.begin(pair.ticket())
        first, then = pair.client.sent[before:]
        assert first.data[18] == ExchangeType.IKE_SESSION_RESUME
    else:
        first, then = pair.client.sent
    host = HOSTS[version][0]
    assert (first.path.remote, then.path.remote) == ((host, IKE), (host, NAT))
    assert first.path.local != then.path.local
    client, gateway = ends(pair, spi)
    assert (client.nat, gateway.nat) == (SHOWN | HERE, SHOWN | THERE)
    outer = HOSTS[version][2]
    for side, local, remote in (
        (pair.gateway, (host, NAT), outer),
        (pair.client, then.path.local, host),
    ):
        made = installed(side)
        assert made.encapsulated
        assert (made.path.local, made.path.remote[0]) == (local, remote)


def test_a_gateway_behind_a_static_nat_knows_it_and_keeps_its_mapping() -> None:
    pair = NattedPair(client_behind=False, gateway_behind=True)
    spi = pair.begin()
    client, gateway = ends(pair, spi)
    assert (client.nat, gateway.nat) == (SHOWN | THERE, SHOWN | HERE)
    assert pair.client.sent[1].path.remote[1] == NAT
    pair.run(50)
    assert [d.path.local[1] for d in pair.keepalives] == [NAT, NAT]


def test_who_shows_nothing_gets_nothing_shown() -> None:
    pair = NattedPair()
    pair.peer = replace(pair.peer)
    path, _ = pair.paths()
    pair.carry_out(pair.client, pair.client.endpoint.connect(pair.peer, path, pair.now))
    pair.run()
    assert shown_by(pair.client) == shown_by(pair.gateway) == []
    assert [core.nat for core in pair.gateway.live()] == [0]
    assert {d.path.remote[1] for d in pair.client.sent} == {IKE}


def test_a_gateway_without_port_4500_shows_nothing_and_the_client_stays_where_it_is() -> None:
    pair = NattedPair(settings=replace(NAT_SETTINGS, nat_traversal=False))
    spi = pair.begin()
    client, gateway = ends(pair, spi)
    assert len(shown_by(pair.client)) == 2
    assert shown_by(pair.gateway) == []
    assert client.nat == gateway.nat == 0
    assert {d.path.remote[1] for d in pair.client.sent} == {IKE}


def test_one_right_source_among_several_is_no_nat() -> None:
    pair = NattedPair(client_behind=False)
    asked = decode_clear(first_request(pair))
    payloads = list(asked.payloads)
    wrong = NotifyPayload(NotifyType.NAT_DETECTION_SOURCE_IP, bytes(20))
    at = payloads.index(shown_by(pair.client)[0])
    data = encode_clear(
        asked.header.spi_i, bytes(8), asked.header.exchange, 8, 0,
        (*payloads[:at], wrong, *payloads[at:]),
    )  # fmt: skip
    outcome = pair.inject(pair.gateway, data, pair.paths()[0].local)
    (answer,) = outcome.send
    assert pair.gateway.core(answer.data[8:16]).nat == SHOWN


def first_request(pair: NattedPair) -> bytes:
    """A client's first request, which never arrives."""
    path, nat_path = pair.paths()
    outcome = pair.client.endpoint.connect(pair.peer, path, pair.now, nat_path)
    pair.client.sent.extend(outcome.send)
    return outcome.send[0].data


@pytest.mark.parametrize("ours", [True, False])
def test_encapsulation_can_be_had_without_any_nat(ours: bool) -> None:
    pair = NattedPair(client_behind=False)
    side = pair.client if ours else pair.gateway
    side.endpoint.settings = replace(side.endpoint.settings, encapsulate_always=True)
    spi = pair.begin()
    client, gateway = ends(pair, spi)
    wanted = (SHOWN | PRETENDED, SHOWN | THERE)
    assert (client.nat, gateway.nat) == (wanted if ours else wanted[::-1])
    assert pair.client.sent[1].path.remote[1] == NAT
    assert installed(pair.client).encapsulated
    assert installed(pair.gateway).encapsulated
    pair.run(200)
    assert pair.keepalives == []


# -- keepalives


def test_who_is_behind_a_nat_keeps_its_mapping_while_nothing_else_passes() -> None:
    pair = NattedPair()
    settings = replace(pair.client.endpoint.settings, liveness_interval_s=0.0)
    pair.gateway.endpoint.settings = replace(NAT_SETTINGS, liveness_interval_s=0.0)
    pair.client.endpoint.settings = settings
    spi = pair.begin()
    pair.run(61)
    assert [d.data for d in pair.keepalives] == [KEEPALIVE] * 3
    assert {d.path for d in pair.keepalives} == {pair.paths()[1]}
    pair.ask(pair.client, spi)
    pair.keepalives.clear()
    pair.run(18.5)
    assert pair.keepalives == []
    pair.run(2)
    assert len(pair.keepalives) == 1
    pair.carry_out(
        pair.client, pair.client.endpoint.terminate(spi, False, "the user is gone", pair.now)
    )
    pair.run(100)
    assert len(pair.keepalives) == 1
    assert pair.client.endpoint.spis() == []


def test_keepalives_can_be_left_out_and_go_on_after_a_rekey() -> None:
    pair = NattedPair()
    for side in (pair.client, pair.gateway):
        side.endpoint.settings = replace(NAT_SETTINGS, liveness_interval_s=0.0)
    spi = pair.begin()
    pair.carry_out(pair.client, pair.client.endpoint.rekey_ike(spi, pair.now))
    pair.run(31)
    (after,) = pair.client.live()
    assert after.spi != spi
    assert after.nat == SHOWN | HERE
    assert len(pair.keepalives) == 1
    off = NattedPair()
    off.client.endpoint.settings = replace(
        NAT_SETTINGS, liveness_interval_s=0.0, nat_keepalive_s=0.0
    )
    off.begin()
    off.run(60)
    assert off.keepalives == []


# -- a NAT that forgets


def test_a_gateway_follows_its_client_through_a_nat_that_has_forgotten() -> None:
    pair = NattedPair()
    spi = pair.begin()
    core = ends(pair, spi)[1]
    before = progress(pair.gateway, core.spi).path
    pair.rebind()
    old = pair.client.sent[-1]
    pair.ask(pair.client, spi)
    after = progress(pair.gateway, core.spi).path
    assert after.remote[0] == before.remote[0]
    assert after.remote[1] != before.remote[1]
    (child,) = core.children
    assert pair.gateway.kernel[-1] == UpdateChild(child.spi_in, after, True)
    pair.ask(pair.gateway, core.spi)
    assert len(pair.gateway.of(Answered)) == 1
    # what is old leads nobody back, and what is forged nowhere
    pair.inject(pair.gateway, old.data, STRANGE, (before.local[0], NAT))
    client = pair.client.core(spi)
    forged = bytearray(sealed(client, ExchangeType.INFORMATIONAL, 3, ()))
    forged[-1] ^= 1
    pair.inject(pair.gateway, bytes(forged), STRANGE, (before.local[0], NAT))
    assert progress(pair.gateway, core.spi).path == after


def test_an_answer_from_a_new_port_moves_the_gateway_too() -> None:
    pair = NattedPair()
    spi = pair.begin()
    core = ends(pair, spi)[1]
    mapping = dict(pair.mapped)
    before = progress(pair.gateway, core.spi).path
    pair.rebind()
    pair.mapped |= {before.remote: mapping[before.remote]}
    outcome = pair.gateway.endpoint.probe(core.spi, pair.now)
    assert outcome is not None
    (asked,) = outcome.send
    answer = pair.client.endpoint.receive(asked.data, pair.paths()[1], pair.now).send[0]
    pair.inject(pair.gateway, answer.data, STRANGE, before.local)
    assert progress(pair.gateway, core.spi).path == Path(before.local, STRANGE)
    assert isinstance(pair.gateway.kernel[-1], UpdateChild)


def test_who_is_behind_a_nat_is_not_led_elsewhere_but_answers_where_it_was_asked() -> None:
    pair = NattedPair(client_behind=False, gateway_behind=True)
    spi = pair.begin()
    core = ends(pair, spi)[1]
    before = progress(pair.gateway, core.spi)
    ops = len(pair.gateway.kernel)
    data = sealed(pair.client.core(spi), ExchangeType.INFORMATIONAL, 2, ())
    outcome = pair.inject(pair.gateway, data, STRANGE, before.path.local)
    assert outcome.send[0].path.remote == STRANGE
    after = progress(pair.gateway, core.spi)
    assert after.path == before.path
    assert after.ids[0] == before.ids[0] + 1
    assert len(pair.gateway.kernel) == ops


def test_a_client_behind_a_nat_is_not_led_elsewhere_by_a_request() -> None:
    pair = NattedPair()
    spi = pair.begin()
    core = ends(pair, spi)[1]
    data = sealed(core, ExchangeType.INFORMATIONAL, 0, ())
    outcome = pair.inject(pair.client, data, STRANGE, pair.paths()[1].local)
    assert outcome.send[0].path.remote == STRANGE
    assert progress(pair.client, spi).path == pair.paths()[1]


def test_a_child_that_is_made_later_is_made_between_the_sas_addresses() -> None:
    pair = NattedPair(client_behind=False, gateway_behind=True)
    spi = pair.begin()
    core = ends(pair, spi)[1]
    pair.carry_out(pair.client, pair.client.endpoint.new_child(spi, pair.now))
    asked = pair.wire.pop().datagram
    pair.inject(pair.gateway, asked.data, STRANGE, (pair.gateway.address[0], NAT))
    made = installed(pair.gateway)
    assert made.path == progress(pair.gateway, core.spi).path
    assert made.path.remote != STRANGE
    assert made.encapsulated


# -- tickets and records


def resumed_unseen(pair: NattedPair) -> list[NotifyPayload]:
    """What the gateway answers to a client that resumes and looks for no NAT, as libreswan does."""
    path = Path(pair.paths()[0].local, (pair.known, IKE))
    ticket = pair.ticket()
    pair.carry_out(pair.client, pair.client.endpoint.resume(ticket, pair.peer, path, pair.now))
    before = len(pair.gateway.sent)
    pair.run()
    return list(decode_clear(pair.gateway.sent[before].data).notifies)


def test_who_was_behind_a_nat_and_looks_for_none_must_begin_anew() -> None:
    pair = NattedPair()
    pair.begin()
    assert resumed_unseen(pair) == [NotifyPayload(NotifyType.TICKET_NACK)]
    assert pair.gateway.of(TicketRefused)[-1].reason == TicketReason.NAT_UNKNOWN.value
    pair.begin(pair.ticket())  # looked for, it is as good as ever
    assert len(pair.gateway.live()) == 1
    assert pair.gateway.live()[0].resumed


def test_it_may_resume_where_that_is_wanted_and_is_taken_to_be_where_it_was() -> None:
    pair = NattedPair(settings=replace(NAT_SETTINGS, resume_undetected=True))
    pair.begin()
    resumed_unseen(pair)
    (core,) = pair.gateway.live()
    assert core.resumed
    assert core.nat == THERE
    assert installed(pair.gateway).encapsulated


def test_who_was_behind_none_may_resume_without_looking() -> None:
    pair = NattedPair(client_behind=False)
    pair.begin()
    resumed_unseen(pair)
    (core,) = pair.gateway.live()
    assert core.resumed
    assert core.nat == 0


def test_who_adopts_the_sa_knows_of_the_nat() -> None:
    pair = NattedPair()
    spi = pair.begin()
    core = ends(pair, spi)[1]
    record = decode(pair.chains.records[core.spi])
    heir = pair.add_gateway("heir", ("192.0.2.3", IKE))
    heir.spis.fence = 2
    outcome = heir.endpoint.adopt(record, pair.now)
    assert not isinstance(outcome, str)
    (made,) = outcome.kernel
    assert isinstance(made, InstallChild)
    assert made.encapsulated
    assert made.path.local[1] == NAT
    assert heir.core(core.spi).nat & BETWEEN == THERE
