"""Whose clock is off, by what heartbeats say."""

import pytest

from cluster.clocks import BEATS, STALE_S, Clocks
from cluster.link import Heartbeat
from tests.unit.cluster.fakes import HandClock

APART_S = 2.5
ENOUGH = BEATS + 6
"""Heartbeats until a clock is found off: it has to stay so."""


class Member:
    """One that hears others, whose clocks differ from its own as the test says."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.clocks = Clocks(self.clock, APART_S)
        self.changes: list[float] = []
        self.clocks.on_changed.append(lambda: self.changes.append(self.clocks.off_s))

    def hears(
        self, ahead_s: dict[str, float], beats: int = BEATS, late_s: float = 0.0, life: str = "1"
    ) -> None:
        """So many heartbeats of each, `late_s` after they were sent."""
        for number in range(beats):
            self.clock.advance(0.2)
            for name, ahead in ahead_s.items():
                wall_s = self.clock.wall_s() + ahead - late_s
                beat = Heartbeat(life, number, 0, 0, "normal", wall_s=wall_s)
                self.clocks.heard(name, beat)


@pytest.mark.parametrize("off_s", [-20.0, 20.0])
def test_who_differs_from_two_that_agree_is_off_until_they_agree(off_s: float) -> None:
    member = Member()
    member.hears({"b": off_s, "c": off_s + 1}, beats=ENOUGH)
    assert member.changes == [pytest.approx(off_s + 0.5)]
    assert list(member.clocks.differing()) == ["b", "c"]
    member.hears({"b": 1.0, "c": -1.0})
    assert member.changes[1:] == [0.0]
    assert member.clocks.differing() == {}


@pytest.mark.parametrize(
    "ahead_s",
    [
        {"b": 20.0},
        {"b": 20.0, "c": -20.0},
        {"b": 20.0, "c": 0.0},
        {"b": 20.0, "c": 20.0, "d": 0.0},
        {"b": 20.0, "c": 40.0, "d": 60.0},
        {"b": APART_S, "c": APART_S},
    ],
    ids=["of two", "all differ", "another", "two of four", "all of four", "within what is allowed"],
)
def test_nobody_is_off_where_no_majority_says_so(ahead_s: dict[str, float]) -> None:
    member = Member()
    member.hears(ahead_s, beats=ENOUGH)
    assert member.changes == []
    differing = {name: s for name, s in ahead_s.items() if abs(s) > APART_S}
    assert member.clocks.differing() == pytest.approx(differing)


def test_who_stays_behind_a_majority_that_it_was_off_of_is_off_though_one_has_gone() -> None:
    member = Member()
    member.hears({"b": 20.0, "c": 20.0}, beats=ENOUGH)
    member.clock.advance(STALE_S)
    member.hears({"b": 20.0}, beats=ENOUGH)
    assert member.changes == [20.0]
    member.hears({"b": 0.0, "c": 0.0})
    assert member.changes == [20.0, 0.0]


def test_a_heartbeat_that_was_late_is_not_judged_by() -> None:
    """As those that waited while this process stood still: the newest of them was not late."""
    member = Member()
    member.hears({"b": 0.0, "c": 0.0})
    member.hears({"b": 0.0, "c": 0.0}, beats=BEATS - 1, late_s=30.0)
    assert member.changes == []


def test_what_waited_while_this_process_stood_still_is_not_judged_by_though_all_of_it_is_late() -> (
    None
):
    member = Member()
    for number in range(150):  # 30 seconds of them, heard at once
        for name in ("b", "c"):
            wall_s = member.clock.wall_s() - 30.0 + 0.2 * number
            member.clocks.heard(name, Heartbeat("1", number, 0, 0, "normal", wall_s=wall_s))
    member.hears({"b": 0.0, "c": 0.0}, beats=ENOUGH)
    assert member.changes == []


def test_nobody_is_judged_by_before_some_heartbeats_of_this_life_have_come() -> None:
    member = Member()
    member.hears({"b": 20.0, "c": 20.0}, beats=BEATS - 1)
    member.hears({"b": 20.0, "c": 20.0}, beats=BEATS - 1, life="2")
    assert (member.changes, member.clocks.differing()) == ([], {})


def test_a_release_that_says_no_time_is_not_judged_by() -> None:
    member = Member()
    for number in range(2 * BEATS):
        for name in ("b", "c"):
            member.clocks.heard(name, Heartbeat("1", number, 0, 0, "normal"))
    assert (member.changes, member.clocks.differing()) == ([], {})
