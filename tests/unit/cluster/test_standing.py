"""The named state: the gravest cause names it, and only what changed is told."""

import pytest

from cluster.standing import Standing, State
from tests.unit.cluster.fakes import HandClock


class Bench:
    """A standing whose lease the test holds."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.lease = True
        self.standing = Standing(self.clock, lambda: self.lease)
        self.told: list[tuple[State, str]] = []
        self.standing.on_changed.append(lambda state, why: self.told.append((state, why)))


def test_without_a_cause_the_lease_decides() -> None:
    bench = Bench()
    assert bench.standing.state is State.NORMAL
    bench.lease = False
    assert bench.standing.state is State.ISOLATED
    assert not bench.standing.agrees
    assert bench.told == []  # time alone tells nobody
    bench.standing.look()
    bench.standing.look()
    assert bench.told == [(State.ISOLATED, "")]


def test_a_lease_that_ended_unnoticed_is_lapsed_until_it_is_told() -> None:
    bench = Bench()
    assert not bench.standing.lapsed
    bench.lease = False
    assert bench.standing.lapsed
    bench.standing.look()
    assert not bench.standing.lapsed  # the policy for `isolated` has decided
    bench.lease = True
    bench.standing.look()
    bench.standing.enter(State.FAILSAFE, "all pledged")
    bench.lease = False
    assert not bench.standing.lapsed  # pledges hold, whatever becomes of the lease


def test_the_gravest_of_several_causes_names_the_state() -> None:
    bench = Bench()
    standing = bench.standing
    standing.enter(State.RELAYED, "through gw2")
    assert standing.agrees
    standing.enter(State.STORE_REWOUND, "revision 4 after 9")
    standing.enter(State.FAILSAFE, "all pledged")
    bench.lease = False
    assert (standing.state, standing.why) == (State.STORE_REWOUND, "revision 4 after 9")
    standing.leave(State.STORE_REWOUND)
    assert (standing.state, standing.agrees) == (State.FAILSAFE, False)
    standing.leave(State.FAILSAFE)
    assert (standing.state, standing.why) == (State.ISOLATED, "")
    assert standing.holds(State.RELAYED)
    bench.lease = True
    standing.leave(State.FAILSAFE)  # it didn't hold: nothing is told
    standing.look()
    assert [state for state, _ in bench.told] == [
        State.RELAYED, State.STORE_REWOUND, State.FAILSAFE, State.ISOLATED, State.RELAYED,
    ]  # fmt: skip


def test_another_reason_is_told_and_the_state_goes_on() -> None:
    bench = Bench()
    bench.clock.advance(5)
    began_s = bench.clock.boot_s()
    bench.standing.enter(State.RELAYED, "through gw2")
    bench.clock.advance(5)
    bench.standing.enter(State.RELAYED, "through gw3")
    bench.standing.enter(State.RELAYED, "through gw3")
    assert bench.told == [(State.RELAYED, "through gw2"), (State.RELAYED, "through gw3")]
    assert bench.standing.since_boot_s == began_s


@pytest.mark.parametrize("state", [State.NORMAL, State.ISOLATED])
def test_what_follows_from_the_rest_is_not_entered(state: State) -> None:
    with pytest.raises(ValueError, match="nobody enters"):
        Bench().standing.enter(state, "because")
