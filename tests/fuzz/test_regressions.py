"""Each fuzz target on its corpus, on what once broke it, and on mutations of both; and each
invariant of an endpoint's targets fails where it is broken. Needs no fuzzer.
"""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proto.ike.core import replace
from proto.ike.effects import Datagram, Now, Outcome, Path
from proto.ike.endpoint import Endpoint
from tests.fuzz.endpoint import stranger
from tests.fuzz.targets import CORPUS, REGRESSIONS, TARGETS, inputs
from tests.fuzz.world import build
from tests.pair.pair import Pair

MUTATIONS = 25
"""Of each target; as many for all as take some seconds."""
every_target = pytest.mark.parametrize("name", TARGETS)


@every_target
def test_a_target_has_a_corpus_and_survives_it(name: str) -> None:
    kept = inputs(CORPUS, name)
    assert kept
    for data in kept:
        TARGETS[name].check(data)


@every_target
def test_what_once_broke_a_target_does_so_no_more(name: str) -> None:
    for data in inputs(REGRESSIONS, name):
        TARGETS[name].check(data)


def test_every_kept_input_belongs_to_a_target() -> None:
    folders = [path.name for kept in (CORPUS, REGRESSIONS) for path in kept.iterdir()]
    assert [name for name in folders if name not in TARGETS] == []


def mutate(data: st.DataObject, kept: list[bytes]) -> bytes:
    """One of `kept`, cut, with octets changed, or with a piece of another in it."""
    octets = bytearray(data.draw(st.sampled_from(kept)))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(octets)))
        match data.draw(st.sampled_from(["change", "cut", "splice", "insert"])):
            case "change":
                octets[place : place + 1] = data.draw(st.binary(min_size=1, max_size=1))
            case "cut":
                del octets[place : place + data.draw(st.integers(1, 16))]
            case "splice":
                other = data.draw(st.sampled_from(kept))
                octets[place:place] = other[data.draw(st.integers(0, len(other))) :][:64]
            case "insert":
                octets[place:place] = data.draw(st.binary(max_size=8))
    return bytes(octets)


@every_target
@settings(
    max_examples=MUTATIONS,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_a_target_survives_mutations(name: str, data: st.DataObject) -> None:
    TARGETS[name].check(mutate(data, inputs(CORPUS, name)))


# -- the invariants can fail --------------------------------------------------------------------


class Talkative:
    """Answers a stranger with more than it was asked."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    def __getattr__(self, name: str) -> object:
        return getattr(self.endpoint, name)

    def receive(self, data: bytes, path: Path, now: Now) -> Outcome:
        """Always the same long answer."""
        return Outcome(send=(Datagram(bytes(28) + bytes(4 * len(data) + 200), path),))


class Spoilt(Talkative):
    """Forgets an SA at whatever arrives."""

    def receive(self, data: bytes, path: Path, now: Now) -> Outcome:
        """Nothing is said."""
        self.endpoint.drop(self.endpoint.spis()[0], "spoilt")
        return Outcome()


def careless(endpoint: Endpoint) -> Endpoint:
    """`endpoint`, which asks for no cookie any more."""
    endpoint.settings = replace(endpoint.settings, cookie_threshold=1000)
    return endpoint


def init() -> bytes:
    """A first request that no one has sent before."""
    pair = Pair()
    pair.client.rng.bytes(1)
    pair.start()
    return pair.client.sent[0].data


@pytest.mark.parametrize(
    ("breaks", "why"),
    [(Talkative, "amplified"), (Spoilt, "changed an SA"), (careless, "keep state")],
)
def test_a_gateway_that_breaks_an_invariant_is_found(
    breaks: Callable[[Endpoint], Endpoint], why: str
) -> None:
    stranger(build(1, on_gateway=True), init())
    broken = build(1, on_gateway=True)
    broken.side.endpoint = breaks(broken.side.endpoint)
    with pytest.raises(AssertionError, match=why):
        stranger(broken, init())
