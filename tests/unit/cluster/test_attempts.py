"""Attempts at one change: what is unknown is tried again, and stays in doubt until it is known."""

import pytest

from cluster.attempts import attempts
from cluster.errors import ClusterError, Conflict, LeaseLost, Unavailable, Unknown

MOST = 3


def fate_of(*fates: ClusterError | None) -> int:
    """How many attempts were made; each ends as `fates` says in turn, None: it is done."""
    made = 0
    for attempt in attempts(MOST):
        with attempt:
            made += 1
            fate = fates[made - 1]
            if fate is not None:
                raise fate
            return made
    raise Conflict(f"in vain, {made} times")


@pytest.mark.parametrize("lost", range(MOST))
def test_what_is_unknown_is_tried_again_until_it_is_done(lost: int) -> None:
    assert fate_of(*[Unknown("lost")] * lost, None) == lost + 1


def test_attempts_are_bounded_and_the_last_one_s_doubt_leaves() -> None:
    """Nobody else is to blame for answers that are lost."""
    with pytest.raises(Unknown, match=str(MOST)):
        fate_of(*[Unknown(str(number + 1)) for number in range(MOST + 1)])


@pytest.mark.parametrize("lost", range(MOST))
def test_who_knows_at_last_that_it_was_in_vain_is_in_no_doubt(lost: int) -> None:
    made = 0
    for attempt in attempts(MOST):
        with attempt:
            made += 1
            if made <= lost:
                raise Unknown("lost")
    assert made == MOST


def test_a_store_that_is_away_from_the_first_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="away"):
        fate_of(Unavailable("away"), None)


def test_a_store_that_goes_away_once_there_is_doubt_leaves_it_unknown() -> None:
    with pytest.raises(Unknown, match="away") as told:
        fate_of(Unknown("lost"), Unavailable("away"), None)
    assert told.value.__suppress_context__


@pytest.mark.parametrize("error", [Conflict("no"), LeaseLost("gone")])
def test_other_errors_leave_as_they_are(error: ClusterError) -> None:
    for before in ([], [Unknown("lost")]):
        with pytest.raises(type(error)) as told:
            fate_of(*before, error, None)
        assert told.value is error


def test_one_change_s_doubt_is_not_another_s() -> None:
    with pytest.raises(Unknown):
        fate_of(Unknown("lost"), Unavailable("away"))
    with pytest.raises(Unavailable):
        fate_of(Unavailable("away"))
