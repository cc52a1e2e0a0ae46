"""Which sessions INITIAL_CONTACT ends at one member, and which sessions are whose."""

from types import SimpleNamespace
from typing import Any

import pytest

from cluster.link import Alone
from node.contact import HEARD_MAX, Contacts
from node.whose import Whose, pair_of
from proto.ike.core import SaCore, replace
from proto.ike.events import InitialContact
from tests.pair.pair import Pair
from tests.pair.parts import BOB_ID, BOB_PSK, GATEWAY_ID, PEER

OTHER = b"\x00" * 16
ALICE = "rfc822:alice@example.com"


class Member:
    """As much of a member as it takes: one endpoint, and what its lane was given."""

    def __init__(self, pair: Pair, *, obey: bool = True) -> None:
        self.pair, self.told = pair, []
        side = pair.gateway
        gateway = SimpleNamespace(
            endpoint=side.endpoint,
            now=lambda: pair.now,
            rearm=lambda: None,
            lane=SimpleNamespace(carry_out=lambda outcome: pair.carry_out(side, outcome)),
        )
        node: Any = SimpleNamespace(
            gateway=gateway,
            dispatch=SimpleNamespace(on=self._on),
            config=SimpleNamespace(member=SimpleNamespace(name="gw1")),
            membership=SimpleNamespace(members={"gw1": None, "gw2": None}),
            seams=SimpleNamespace(link=SimpleNamespace(send=lambda *sent: self.told.append(sent))),
        )
        self.whose = Whose(side.endpoint.find)
        self.contacts = Contacts(node, self.whose, obey)
        for core in side.live():
            self.whose.up(core.chain, core.spi)

    def _on(self, _kind: type, receiver: Any) -> None:
        self.hear = lambda frame: receiver("gw2", frame)


def session(pair: Pair) -> SaCore:
    """Alice has one more."""
    spi = pair.connect()
    return pair.gateway.core(pair.other_end(spi))


def test_b11_older_sessions_of_the_same_two_identities_end_and_no_others() -> None:
    pair = Pair()
    old, new = session(pair), session(pair)
    pair.gateway.psks.known[BOB_ID.data] = BOB_PSK
    pair.connect(peer=replace(PEER, local_id=BOB_ID, psk=BOB_PSK))
    (bob,) = [core for core in pair.gateway.live() if core.identity != ALICE]
    member = Member(pair)
    between_s = (old.established_wall_s + new.established_wall_s) / 2
    member.hear(Alone(ALICE, b"other.example.com", OTHER, between_s))
    assert [core.spi for core in pair.gateway.live()] == [old.spi, new.spi, bob.spi]
    member.hear(Alone(ALICE, GATEWAY_ID.data, OTHER, between_s))
    assert [core.spi for core in pair.gateway.live()] == [new.spi, bob.spi]
    assert member.told == []


def test_b11_who_begins_here_is_newer_than_what_was_heard_before_by_whatever_clock() -> None:
    pair = Pair()
    member = Member(pair)
    ahead_s = pair.now.wall_s + 30
    member.hear(Alone(ALICE, GATEWAY_ID.data, OTHER, ahead_s))
    new = session(pair)
    member.whose.up(new.chain, new.spi)
    began = InitialContact(new.spi, new.chain, ALICE, GATEWAY_ID.data, new.established_wall_s)
    member.contacts.heard(began)
    assert [core.spi for core in pair.gateway.live()] == [new.spi]
    ((_, told),) = member.told
    assert told.established_wall_s > ahead_s, "who said that ends its own"


def test_b11_what_is_adopted_later_is_older_than_the_newest_word() -> None:
    pair = Pair()
    old, new = session(pair), session(pair)
    member = Member(pair)
    for core in (old, new):
        member.whose.down(core.chain, core.spi)  # nobody had them just then
    between_s = (old.established_wall_s + new.established_wall_s) / 2
    member.hear(Alone(ALICE, GATEWAY_ID.data, OTHER, between_s))
    member.hear(Alone(ALICE, GATEWAY_ID.data, OTHER, old.established_wall_s - 1))
    for core in (old, new):
        member.contacts.adopted(core.spi)
    assert [core.spi for core in pair.gateway.live()] == [new.spi]


def test_the_memory_of_what_was_said_is_bounded_and_forgets_the_oldest() -> None:
    member = Member(Pair())
    for number in range(HEARD_MAX + 2):
        member.hear(Alone(f"fqdn:{number}", b"", OTHER, 1.0))
    member.hear(Alone("fqdn:2", b"", OTHER, 2.0))  # said again: newer than all others now
    heard = list(member.contacts._heard)
    assert len(heard) == HEARD_MAX
    assert (heard[0][0], heard[-1][0]) == ("fqdn:3", "fqdn:2")


@pytest.mark.parametrize("obey", [True, False])
def test_where_it_does_not_count_nobody_is_told(obey: bool) -> None:
    pair = Pair(peer=replace(PEER, initial_contact=True))
    session(pair)
    old = pair.gateway.live()[0]
    member = Member(pair, obey=obey)
    new = session(pair)
    member.whose.up(new.chain, new.spi)
    member.contacts.heard(pair.gateway.of(InitialContact)[-1])
    left = [new.spi] if obey else [old.spi, new.spi]
    assert [core.spi for core in pair.gateway.live()] == left
    assert [name for name, _ in member.told] == (["gw2"] if obey else [])


def test_a_session_is_its_chains_whatever_its_spi() -> None:
    pair = Pair()
    first = session(pair)
    whose = Whose(pair.gateway.endpoint.find)
    whose.up(first.chain, first.spi)
    spi = pair.resume()
    second = pair.gateway.core(pair.other_end(spi))
    whose.up(second.chain, second.spi)
    whose.down(first.chain, first.spi)
    pair_ = pair_of(second)
    assert pair_ == (ALICE, GATEWAY_ID.data)
    assert [core.spi for core in whose.sessions(pair_)] == [second.spi]
    assert whose.where(second.chain) == second.spi
    whose.down(second.chain, second.spi)
    assert (whose.sessions(pair_), whose.where(second.chain)) == ([], None)
