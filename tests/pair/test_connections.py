"""Connections: which one a peer gets, what it has of it, and that its ticket holds on to it."""

import pytest

from proto.ike import record
from proto.ike.connection import Connection, Connections, is_like
from proto.ike.core import Settings, replace
from proto.ike.enums import IdType, PayloadType
from proto.ike.errors import TicketReason
from proto.ike.events import Failed
from proto.ike.payloads import IdPayload
from proto.ike.selectors import parse_selector
from tests.pair.craft import assert_nacked, show
from tests.pair.pair import Pair
from tests.pair.parts import BOB_ID, BOB_PSK, CLIENT_ID, GATEWAY_ID, PEER, SETTINGS

BOBS = Connection(
    "bobs",
    IdPayload(PayloadType.IDr, IdType.ID_FQDN, b"bobs.example.com"),
    (parse_selector("10.1.0.0/16"),),
    (parse_selector("10.2.0.0/16"),),
    ("rfc822:bob@*",),
)
REST = Connection("rest", GATEWAY_ID, SETTINGS.local_ts, SETTINGS.remote_ts)
BOTH = replace(SETTINGS, connections=(BOBS, REST))
BOB = replace(PEER, local_id=BOB_ID, remote_id=BOBS.local_id, psk=BOB_PSK)


def pair_of(settings: Settings = BOTH) -> Pair:
    """Alice and Bob both have a key."""
    pair = Pair(settings)
    pair.client.endpoint.settings = SETTINGS
    pair.gateway.psks.known[BOB_ID.data] = BOB_PSK
    return pair


def test_the_first_connection_that_fits_is_taken_and_gives_its_selectors() -> None:
    pair = pair_of()
    pair.agree(pair.connect())
    pair.agree(pair.connect(peer=BOB))
    alice, bob = pair.gateway.live()
    assert (alice.connection, bob.connection) == ("rest", "bobs")
    assert bob.idr == BOBS.local_id
    assert bob.children[0].local_ts == BOBS.local_ts
    assert bob.children[0].remote_ts == BOBS.remote_ts
    assert alice.children[0].remote_ts == SETTINGS.remote_ts


def test_another_child_sa_is_within_the_connection_too() -> None:
    pair = pair_of()
    spi = pair.connect(peer=BOB)
    pair.carry_out(pair.client, pair.client.endpoint.new_child(spi, pair.now))
    pair.run()
    (bob,) = pair.gateway.live()
    assert [child.local_ts for child in bob.children] == [BOBS.local_ts] * 2


def test_whoever_asks_for_an_identity_gets_a_connection_that_has_it() -> None:
    settings = replace(SETTINGS, connections=(BOBS, replace(REST, identities=("rfc822:*",))))
    pair = pair_of(settings)
    pair.agree(pair.connect(peer=replace(BOB, remote_id=GATEWAY_ID)))
    (bob,) = pair.gateway.live()
    assert bob.connection == "rest"


def test_a_peer_that_no_connection_is_for_is_told_no_more_than_any_other() -> None:
    pair = pair_of(replace(SETTINGS, connections=(BOBS,)))
    pair.connect()
    assert pair.gateway.live() == []
    (failed,) = pair.gateway.of(Failed)
    assert failed.why == (
        "no connection for rfc822:alice@example.com that asks for fqdn:vpn.example.com and begins"
        " with psk; configured: bobs (rfc822:bob@* proves psk to fqdn:bobs.example.com)"
    )
    (told,) = pair.client.of(Failed)
    assert told.why == "the gateway answered AUTHENTICATION_FAILED"


def test_a_resumed_session_and_a_rekeyed_one_keep_their_connection() -> None:
    pair = pair_of()
    pair.connect(peer=BOB)
    spi = pair.resume(peer=BOB)
    (bob,) = pair.gateway.live()
    assert (bob.connection, bob.resumed) == ("bobs", True)
    assert bob.children[0].local_ts == BOBS.local_ts
    pair.carry_out(pair.client, pair.client.endpoint.rekey_ike(spi, pair.now))
    pair.run()
    (bob,) = pair.gateway.live()
    assert (bob.connection, bob.resumed) == ("bobs", False)


def test_a_record_holds_the_connection_and_one_of_a_former_release_means_the_default() -> None:
    pair = pair_of()
    pair.connect(peer=BOB)
    (octets,) = pair.chains.records.values()
    kept = record.decode(octets)
    assert kept.connection == "bobs"
    fields = record.Record.__struct_fields__.index("connection")
    former = record._ENCODER.encode(list(record._DECODER.__class__().decode(octets))[:fields])
    assert record.decode(former).connection == ""


GONE = replace(SETTINGS, connections=(REST,))
NOT_FOR_HIM = replace(SETTINGS, connections=(replace(BOBS, identities=("rfc822:rob@*",)), REST))
OTHERWISE_CALLED = replace(SETTINGS, connections=(replace(BOBS, local_id=GATEWAY_ID), REST))


@pytest.mark.parametrize(
    "today", [GONE, NOT_FOR_HIM, OTHERWISE_CALLED], ids=["gone", "not for him", "we are others"]
)
def test_the_policy_is_looked_at_again_at_resumption(today: Settings) -> None:
    pair = pair_of()
    pair.connect(peer=BOB)
    ticket = pair.ticket().ticket
    assert show(pair, ticket).send
    pair.gateway.endpoint.settings = today
    other = pair_of(today)
    other.gateway.endpoint.tickets = pair.gateway.ring
    assert_nacked(other, show(other, ticket), TicketReason.POLICY)


def test_a_connection_that_goes_between_ticket_and_proof_ends_the_resumption() -> None:
    pair = pair_of()
    pair.connect(peer=BOB)
    pair.start_resume(peer=BOB)
    pair.run(0.015)
    pair.gateway.endpoint.settings = GONE
    pair.run()
    assert [failed.why for failed in pair.gateway.of(Failed)] == ["the ticket's connection is gone"]


def test_a_child_sa_of_a_connection_that_is_not_configured_here_is_for_later() -> None:
    """A member that adopts may have an older file."""
    pair = pair_of()
    spi = pair.connect(peer=BOB)
    pair.gateway.endpoint.settings = GONE
    pair.carry_out(pair.client, pair.client.endpoint.new_child(spi, pair.now))
    pair.run()
    assert len(pair.gateway.live()[0].children) == 1
    (core, _) = next(pair.gateway.endpoint.established())
    assert pair.gateway.endpoint.new_child(core.spi, pair.now) is None  # nothing to ask for
    pair.gateway.endpoint.settings = BOTH
    pair.run(30)
    assert len(pair.gateway.live()[0].children) == 2


def test_patterns_have_stars_and_nothing_else() -> None:
    assert is_like("fqdn:a.example", "*")
    assert is_like("fqdn:a.example", "fqdn:*.example")
    assert is_like("rfc822:a@b.example", "rfc822:*@*.example")
    assert not is_like("fqdn:a.example", "fqdn:?.example")
    assert not is_like("fqdn:a.example.com", "fqdn:*.example")
    assert not is_like("fqdn:axexample", "fqdn:a.example")


def test_what_was_admitted_is_remembered_within_bounds() -> None:
    connections = Connections((BOBS, REST))
    for number in range(70_000):
        identity = b"%d@example.com" % number
        assert connections.admitting("rest", IdType.ID_RFC822_ADDR, identity, "psk") is REST
    assert len(connections._admitted) <= 65_536
    assert connections.admitting("bobs", CLIENT_ID.id_type, CLIENT_ID.data, "psk") is None
    assert connections.admitting("bobs", BOB_ID.id_type, BOB_ID.data, "psk") is BOBS
