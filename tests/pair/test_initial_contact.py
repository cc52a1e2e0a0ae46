"""INITIAL_CONTACT: what is said of it, and what of it is heard (RFC 7296 2.4)."""

import pytest

from proto.ike.core import replace
from proto.ike.effects import PersistKind, RemoveChild
from proto.ike.enums import NotifyType
from proto.ike.events import Ended, InitialContact
from proto.secret import Secret
from tests.pair.craft import opened
from tests.pair.pair import Pair
from tests.pair.parts import PEER

ALONE = replace(PEER, initial_contact=True)


@pytest.mark.parametrize("said", [True, False])
def test_b11_it_is_said_in_the_first_ike_auth_and_heard_once_the_session_is_durable(
    said: bool,
) -> None:
    pair = Pair(peer=ALONE if said else PEER)
    pair.hold_writes = True
    spi = pair.connect()
    assert pair.gateway.of(InitialContact) == []
    pair.release()
    pair.run()
    core = pair.gateway.core(pair.other_end(spi))
    asked = opened(pair.client.core(spi), pair.client.octets()[1])
    assert (asked.notify(NotifyType.INITIAL_CONTACT) is not None) is said
    assert core.idr is not None
    told = InitialContact(
        core.spi, core.chain, core.identity, core.idr.data, core.established_wall_s
    )
    assert pair.gateway.of(InitialContact) == ([told] if said else [])


def test_b11_a_resumption_and_a_rekey_do_not_say_it() -> None:
    pair = Pair(peer=ALONE)
    pair.connect()
    spi = pair.resume()
    pair.carry_out(pair.client, pair.client.endpoint.rekey_ike(spi, pair.now))
    pair.run(2)
    assert len(pair.gateway.of(InitialContact)) == 1


def test_b11_who_fails_to_prove_himself_says_it_in_vain() -> None:
    pair = Pair(peer=replace(ALONE, psk=Secret(b"not the key of this peer at all")))
    pair.connect()
    assert pair.gateway.of(InitialContact) == []


def test_b11_what_the_peer_has_lost_ends_without_a_word_and_with_its_tickets() -> None:
    pair = Pair()
    spi = pair.connect()
    core = pair.gateway.core(pair.other_end(spi))
    sent = len(pair.gateway.sent)
    outcome = pair.gateway.endpoint.vanish(core.spi, "the peer began anew", pair.now)
    assert outcome is not None
    assert outcome.persist is not None
    assert outcome.persist.kind is PersistKind.REVOKE
    pair.carry_out(pair.gateway, outcome)
    pair.run()
    assert len(pair.gateway.sent) == sent
    assert pair.gateway.live() == []
    assert pair.chains.records == pair.chains.version == {}
    assert pair.gateway.kernel[-1] == RemoveChild(core.children[0].spi_in)
    assert [event.why for event in pair.gateway.of(Ended)] == ["the peer began anew"]
    assert pair.gateway.endpoint.vanish(core.spi, "again", pair.now) is None


def test_b11_one_whose_write_is_under_way_ends_after_it() -> None:
    pair = Pair()
    spi = pair.connect()
    core = pair.gateway.core(pair.other_end(spi))
    pair.hold_writes = True
    pair.carry_out(
        pair.client,
        pair.client.endpoint.rekey_child(spi, pair.client.core(spi).children[0].spi_in, pair.now),
    )
    pair.run(0.1)
    pair.carry_out(pair.gateway, pair.gateway.endpoint.vanish(core.spi, "anew", pair.now))
    pair.release()
    pair.run(60)
    assert pair.gateway.live() == []
    assert pair.chains.version == {}
