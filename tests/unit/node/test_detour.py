"""Whom a client lets itself be redirected to, and how often (RFC 5685 D6, D9, D21)."""

import pytest

from node.detour import Detour, Follow

GATEWAYS = (("192.0.2.1", 500), ("192.0.2.2", 1500))
NAT = (("192.0.2.1", 4500), ("192.0.2.2", 4501))


def detour(follow: Follow = Follow.KNOWN) -> Detour:
    return Detour(GATEWAYS, NAT, follow)


def test_d6_by_default_only_to_a_gateway_of_its_own_list() -> None:
    there = detour()
    assert there.turn("203.0.113.9", GATEWAYS[0], 0.0) == "not one of ours"
    assert there.at is None
    assert there.turn("192.0.2.2", GATEWAYS[0], 0.0) == ""
    assert there.at == (("192.0.2.2", 1500), ("192.0.2.2", 4501))
    assert there.came_from == "192.0.2.1"


def test_d6_anywhere_if_it_says_so_at_the_ports_of_the_gateway_that_redirects() -> None:
    there = detour(Follow.ANY)
    assert there.turn("203.0.113.9", GATEWAYS[1], 0.0) == ""
    assert there.at == (("203.0.113.9", 1500), ("203.0.113.9", 4500))


@pytest.mark.parametrize("follow", list(Follow))
def test_a_name_is_not_followed(follow: Follow) -> None:
    assert detour(follow).turn("gw2.example.com", GATEWAYS[0], 0.0) == "a name, not an address"


def test_who_follows_nobody_stays() -> None:
    assert detour(Follow.NEVER).turn("192.0.2.2", GATEWAYS[0], 0.0) == "not one of ours"


def test_d21_five_redirects_in_five_minutes_and_no_more() -> None:
    there = detour()
    turns = [there.turn(GATEWAYS[n % 2][0], GATEWAYS[1 - n % 2], 10.0 * n) for n in range(6)]
    assert turns == [""] * 5 + ["5 redirects in 300 s"]
    assert there.turn("192.0.2.1", GATEWAYS[1], 300.5) == ""  # the first is forgotten


def test_back_to_the_list_when_nobody_answers_there() -> None:
    there = detour()
    there.turn("192.0.2.2", GATEWAYS[0], 0.0)
    assert there.give_up()
    assert (there.at, there.came_from) == (None, "")
    assert not there.give_up()
