"""An SA's generation goes to another one only when nobody knows of it any more."""

from tests.sim.forgotten import Forgotten

FIRST = bytes(8)
KNOWER, OTHER = ("gw1", "a"), ("gw2", "b")


def test_an_sa_that_the_store_has_seen_begin_is_never_forgotten():
    assert not Forgotten().holds(FIRST, {OTHER})


def test_it_is_forgotten_when_all_are_gone_that_made_or_kept_it():
    forgotten = Forgotten()
    forgotten.knowers[FIRST] = {KNOWER: None, OTHER: None}
    assert not forgotten.holds(FIRST, {OTHER})
    assert forgotten.holds(FIRST, {("gw2", "another life")})


def test_what_a_chain_in_the_store_has_named_is_known_for_good():
    forgotten = Forgotten()
    forgotten.knowers[FIRST] = {KNOWER: None}
    forgotten.named[FIRST] = None
    assert not forgotten.holds(FIRST, set())
