"""A pair whose one side stands in a given state, for properties that must hold in every state."""

from typing import NamedTuple

from proto.ike.core import SaCore, State, replace
from proto.ike.effects import Datagram
from proto.ike.enums import ExchangeType, ProtocolId
from proto.ike.payloads import DeletePayload
from tests.pair.craft import sealed
from tests.pair.pair import LOST, ONCE, Fate, Pair, Side, exchange, is_response
from tests.pair.parts import SETTINGS

QUIET = replace(SETTINGS, liveness_interval_s=0)


class Case(NamedTuple):
    """`side` is under test, its SA `spi` is in the wanted state; `peer` is the other end's view of
    it, as far as there is one.
    """

    pair: Pair
    side: Side
    spi: bytes
    peer: SaCore | None

    @property
    def other(self) -> Side:
        """The side whose messages the one under test gets."""
        return self.pair.client if self.side is self.pair.gateway else self.pair.gateway


class Place(NamedTuple):
    """A state and who is in it."""

    state: State
    initiator: bool
    resumed: bool = False
    waiting: bool = False
    """A durable write is in flight."""
    asking: bool = False
    """A request of our own is outstanding."""

    def __str__(self) -> str:
        role = "initiator" if self.initiator else "responder"
        extra = [word for word in ("resumed", "waiting", "asking") if getattr(self, word)]
        return "-".join([self.state.name, role, *extra])


PLACES = [
    Place(State.INIT_SENT, True),
    Place(State.RESUME_SENT, True, resumed=True),
    Place(State.AUTH_SENT, True),
    Place(State.RESUME_AUTH_SENT, True, resumed=True),
    Place(State.INIT_ANSWERED, False),
    Place(State.INIT_ANSWERED, False, waiting=True),
    Place(State.RESUME_ANSWERED, False, resumed=True),
    Place(State.RESUME_ANSWERED, False, resumed=True, waiting=True),
    Place(State.ESTABLISHED, True),
    Place(State.ESTABLISHED, True, asking=True),
    Place(State.ESTABLISHED, False),
    Place(State.ESTABLISHED, False, asking=True),
    Place(State.ESTABLISHED, False, waiting=True, asking=True),
    Place(State.DEAD, True),
    Place(State.DEAD, False),
]

FIRST = (ExchangeType.IKE_SA_INIT, ExchangeType.IKE_SESSION_RESUME)


def stop_at(place: Place) -> Case:
    """Run a handshake up to `place`, and no further; nothing is under way afterwards."""
    pair = Pair(QUIET)
    if place.resumed:
        pair.connect()

    def only_first(side: Side, datagram: Datagram) -> Fate:
        return ONCE if exchange(datagram) in FIRST else LOST

    match place.state:
        case State.INIT_SENT | State.RESUME_SENT:
            pair.deliver = lambda side, d: LOST
        case State.AUTH_SENT | State.RESUME_AUTH_SENT:
            # the answer exists, so that there is something genuine to arrive
            pair.deliver = lambda side, d: (
                LOST if is_response(d) and exchange(d) not in FIRST else ONCE
            )
        case State.INIT_ANSWERED | State.RESUME_ANSWERED:
            pair.deliver = (lambda side, d: ONCE) if place.waiting else only_first
    pair.hold_writes = place.waiting and place.state is not State.ESTABLISHED
    spi = pair.start_resume() if place.resumed else pair.start()
    pair.run(0.1)
    gateway_spi = pair.client.core(spi).spi_r
    side, own = (pair.client, spi) if place.initiator else (pair.gateway, gateway_spi)
    other, theirs = (pair.gateway, gateway_spi) if place.initiator else (pair.client, spi)
    peer = other.endpoint.find(theirs)
    pair.deliver = lambda s, d: LOST
    if place.state is State.DEAD:
        pair.deliver = lambda s, d: ONCE
        pair.carry_out(other, other.endpoint.terminate(theirs, False, "over", pair.now))
        pair.run(0.1)
        pair.deliver = lambda s, d: LOST
    if place.asking:
        pair.carry_out(side, side.endpoint.probe(own, pair.now))
    if place.waiting and place.state is State.ESTABLISHED:
        delete_child(pair, own)
    case = Case(pair, side, own, peer)
    assert side.core(own).state is place.state
    assert bool(pair.held) == place.waiting
    return case


def delete_child(pair: Pair, gateway_spi: bytes) -> None:
    """The client deletes its Child SA, and the gateway's write of that stays in flight."""

    (core,) = pair.client.live()
    assert core.spi_r == gateway_spi
    delete = DeletePayload(ProtocolId.ESP, 4, (core.children[0].spi_in,))
    pair.hold_writes = True
    pair.inject(pair.gateway, sealed(core, ExchangeType.INFORMATIONAL, 2, [delete]))
