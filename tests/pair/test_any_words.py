"""A peer that has proven who it is may still say anything: it is answered, or it isn't, and nobody
raises.

Rules: from some point of an honest run on, one side's sealed messages are opened, their payloads
changed, and they are sealed again with its own keys.
"""

from hypothesis import given, settings
from hypothesis import strategies as st

from proto.ike import fragment, message
from proto.ike.core import SaCore
from proto.ike.effects import Datagram, Outcome, Path
from proto.ike.enums import FLAG_INITIATOR, CfgAttribute, IdType, NotifyType, PayloadType
from proto.ike.errors import TooLong, WireError
from proto.ike.events import TicketReceived
from proto.ike.payloads import CpPayload, IdPayload, NotifyPayload, Payload, SaPayload, TsPayload
from tests.fuzz.world import COOKIES, EAP, situated, with_eap
from tests.pair.craft import iv_for, opened, protections
from tests.pair.pair import LOST, ONCE, Fate, Pair, Side
from tests.unit.proto.strategies import octets, payloads, proposals, selectors

LENGTHS = st.sampled_from([64, 65, 1300, 20_000, 60_000, 65_400, 65_519])
PIECES = st.sampled_from([544, 1280, 14_000])
"""Octets of the fragments in which goes what is too long for a datagram."""
SITUATIONS = 256
MESSAGES = 15
"""Of one side, that are honest at most."""
CHANGES_MAX = 3
STEPS = 6


def _selectors(kind: PayloadType) -> st.SearchStrategy[TsPayload]:
    return st.builds(TsPayload, st.just(kind), st.lists(selectors, max_size=6).map(tuple))


def _ids(kind: PayloadType) -> st.SearchStrategy[IdPayload]:
    return st.builds(IdPayload, st.just(kind), st.sampled_from([*IdType, 200]), octets)


ADDRESSES = st.sampled_from([4, 8, 16, 17]).flatmap(lambda n: st.binary(min_size=n, max_size=n))
NOTES = st.builds(
    NotifyPayload,
    st.sampled_from(list(NotifyType)),
    octets | ADDRESSES | st.sampled_from([b"", b"\x01\x04\xc0\0\2\3", b"\3\x04gw-2"]),
    st.sampled_from([0, 1, 3]),
    st.sampled_from([b"", bytes(4), bytes(8)]),
)
LONG = st.builds(NotifyPayload, st.sampled_from(list(NotifyType)), LENGTHS.map(bytes))
ALIKE: dict[int, st.SearchStrategy[Payload]] = {
    PayloadType.SA: st.builds(SaPayload, st.lists(proposals, min_size=1, max_size=3).map(tuple)),
    PayloadType.TSi: _selectors(PayloadType.TSi),
    PayloadType.TSr: _selectors(PayloadType.TSr),
    PayloadType.IDi: _ids(PayloadType.IDi),
    PayloadType.IDr: _ids(PayloadType.IDr),
    PayloadType.NOTIFY: NOTES,
    PayloadType.CP: st.builds(
        CpPayload,
        st.integers(1, 4),
        st.lists(
            st.tuples(st.sampled_from(list(CfgAttribute)), octets | ADDRESSES), max_size=4
        ).map(tuple),
    ),
}
ANY = st.one_of(payloads, *ALIKE.values())


def _changed(chain: list[Payload], data: st.DataObject) -> None:
    """One payload goes, comes twice, or makes way for another; or a long one comes in."""
    draw = data.draw
    how = draw(st.sampled_from(["drop", "twice", "alike", "other", "insert", "long"]))
    at = draw(st.integers(0, len(chain)))
    if how == "long":
        chain.insert(at, draw(LONG))
    elif how == "insert" or at == len(chain):
        chain.insert(at, draw(ANY))
    elif how == "twice":
        chain.insert(at, chain[at])
    elif how == "drop":
        del chain[at]
    else:
        chain[at] = draw(ALIKE.get(chain[at].TYPE, ANY) if how == "alike" else ANY)


def _own(source: Side, data: bytes) -> tuple[SaCore, message.Message] | None:
    """The SA of `source` whose keys sealed `data`, and what it says; None: none does, or the keys
    are others by now (RFC 9370 2.2.2).
    """
    core = source.endpoint.find(data[:8] if data[19] & FLAG_INITIATOR else data[8:16])
    if core is None or core.keys is None or data[16] != PayloadType.SK:
        return None
    try:
        return core, opened(core, data)
    except WireError:
        return None


class Meddler:
    """From its message number `number` on, `side` says something else instead."""

    def __init__(self, pair: Pair, side: Side, number: int, data: st.DataObject) -> None:
        self._pair, self._side, self._data = pair, side, data
        self._left = number
        self._said: list[tuple[bytes, Path]] = []
        pair.deliver = self._deliver

    def _deliver(self, source: Side, datagram: Datagram) -> Fate:
        own = _own(source, datagram.data) if source is self._side else None
        if own is None:
            return ONCE
        self._left -= 1
        if self._left >= 0:
            return ONCE
        self._said += [(piece, datagram.path) for piece in self._meddled(*own)]
        return LOST

    def _meddled(self, core: SaCore, said: message.Message) -> list[bytes]:
        chain = list(said.payloads)
        for _ in range(self._data.draw(st.integers(1, CHANGES_MAX))):
            _changed(chain, self._data)
        header, (tx, _) = said.header, protections(core)
        head = (
            header.spi_i, header.spi_r, header.exchange, header.flags, header.message_id, chain, tx,
        )  # fmt: skip
        try:
            return [message.seal(*head, iv_for(tx))]
        except TooLong:
            most = self._data.draw(PIECES)
            return fragment.seal_fragments(*head, lambda: iv_for(tx), most)

    def run(self) -> None:
        """Let what was begun come to an end."""
        self._pair.run(0.3)
        said, self._said = self._said, []
        for data, path in said:
            self._pair.inject(self._pair.sides[path.remote], data, path.local, path.remote)
        self._pair.run(0.3)


def _asks(pair: Pair, side: Side, what: str) -> Outcome | None:
    """One thing that `side` may want of its newest SA."""
    endpoint, now = side.endpoint, pair.now
    core = side.live()[-1]
    if not core.children:
        return endpoint.new_child(core.spi, now)
    child = core.children[-1].spi_in
    match what:
        case "probe":
            return endpoint.probe(core.spi, now)
        case "new child":
            return endpoint.new_child(core.spi, now)
        case "rekey child":
            return endpoint.rekey_child(core.spi, child, now)
        case "rekey":
            return endpoint.rekey_ike(core.spi, now)
        case "delete child":
            return endpoint.delete_child(core.spi, child, now)
        case _:
            return endpoint.request_ticket(core.spi, now)


WANTS = ("probe", "new child", "rekey child", "rekey", "delete child", "ticket", "resume")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_whatever_a_known_peer_says_nobody_raises_and_the_endpoints_come_to_rest(
    data: st.DataObject,
) -> None:
    situation = data.draw(st.integers(0, SITUATIONS - 1)) & ~COOKIES
    pair = situated(situation)
    evil = data.draw(st.sampled_from([pair.client, pair.gateway]))
    meddler = Meddler(pair, evil, data.draw(st.integers(0, MESSAGES - 1)), data)
    if situation & EAP:
        with_eap(pair)
    pair.start()
    meddler.run()
    for _ in range(STEPS):
        side = data.draw(st.sampled_from([pair.client, pair.gateway]))
        what = data.draw(st.sampled_from(WANTS))
        if not side.live():
            pair.start()
        elif what == "resume" and pair.client.of(TicketReceived):
            pair.start_resume()
        elif what != "resume" and (side is pair.client or what != "ticket"):
            pair.carry_out(side, _asks(pair, side, what))
        meddler.run()
    pair.run(30)
