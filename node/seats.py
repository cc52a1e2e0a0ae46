"""Counts the sessions of one peer over all members, for connections that limit them.

Rules: nothing is counted ahead: when a session of a limited connection is to begin, every member is
asked, and answers out of what it has at hand. Who doesn't answer in time (dead, suspected, or cut
off) has no sessions: those of a dead member aren't alive until they are adopted or resumed. So it
is in failsafe, too, for members reach each other then; the store is never asked. Of two that begin
at once at two members exactly one gets the last seat: a member tells what is about to begin there,
and that counts if it was heard of before, or else by its SPI.
"""

import asyncio
from typing import TYPE_CHECKING

import msgspec

from cluster.link import Seat, SeatLost, SeatsAsk, SeatsTold
from node.contact import Contacts
from node.observe import SparseLog
from node.whose import Pair, Whose
from proto.ike.errands import Result
from proto.ike.events import Limited, OverLimit
from proto.ike.exchanges.authenticated import SENT_AWAY_S
from proto.ike.limits import Counted, CountSessions

if TYPE_CHECKING:
    from node.wiring import Node

ANSWER_S = 0.5
"""How long an answer of another member is waited for."""
COUNTS_MAX = 1024
"""Counts under way; beyond it no session of a limited connection begins. As many for oldest ones
that are to end: beyond that they stay until the next session of their peer begins."""
BEGINS_S = 5.0
"""How long what is about to begin is remembered: more than its write takes."""
BEGINS_MAX = 8192
"""Pairs of which something is about to begin."""
SEATS_MAX = 4096
"""The most that one answer tells: far beyond any limit."""
WHY = "the peer has too many newer ones"


class _Count(msgspec.Struct):
    """A question that is out."""

    waiting: set[str]
    """Members whose answer is still to come."""
    done: asyncio.Event
    seats: dict[bytes, tuple[str, Seat]]
    """By chain: where it is, and the seat."""
    begin: set[bytes]


class Seats:
    """See the module."""

    def __init__(self, node: "Node", whose: Whose, contacts: Contacts, log: SparseLog) -> None:
        """`node`: its gateway is built after."""
        self._node = node
        self._whose = whose
        self._contacts = contacts
        self._log = log
        self._calls = 0
        self._making_room = 0
        self._out: dict[int, _Count] = {}
        self._begins: dict[Pair, dict[bytes, tuple[float, bool]]] = {}
        """SPIs: since when (boot seconds) each is about to begin, and whether here."""
        node.seams.errands.on(CountSessions, self._count, limit_s=4 * ANSWER_S, at_most=COUNTS_MAX)
        node.dispatch.on(SeatsAsk, self._asked)
        node.dispatch.on(SeatsTold, self._told)
        node.dispatch.on(SeatLost, lambda _sender, frame: self._lost(frame.chain))

    # -- refusing the new one -------------------------------------------------------------------

    async def _count(self, asked: CountSessions) -> Result:
        """How many others there are, those that are about to begin among them."""
        pair = (asked.identity, asked.local_id)
        before = set(self._about_to_begin(pair, here=False))
        self._note(pair, asked.spi, here=True)
        if asked.begins_anew and self._contacts.obeyed:
            return Counted(0)  # the others end
        found = await self._ask(pair, asked.spi)
        seats = {chain: seat for chain, (_, seat) in found.seats.items() if chain != asked.chain}
        live = {seat.spi for seat in seats.values()}
        first = {spi for spi in found.begin - live if spi in before or spi < asked.spi}
        return Counted(len(seats) + len(first - {asked.spi}))

    def refused(self, event: OverLimit) -> None:
        """A session didn't begin."""
        self._node.metrics.over_limit.add("refused")
        self._forget((event.identity, event.local_id), event.spi)

    def begun(self, event: Limited) -> None:
        """A session has begun."""
        self._forget((event.identity, event.local_id), event.spi)
        if event.oldest_ends and self._making_room < COUNTS_MAX:
            self._making_room += 1
            self._node.seams.spawn(self._make_room(event), "session-limit")

    # -- ending the oldest one ------------------------------------------------------------------

    async def _make_room(self, event: Limited) -> None:
        try:
            found = await self._ask((event.identity, event.local_id), event.spi)
        finally:
            self._making_room -= 1
        by_age = sorted(
            found.seats.values(), key=lambda at: (at[1].established_wall_s, at[1].chain)
        )
        me, too_many = self._node.config.member.name, len(by_age) - event.most
        for member, seat in by_age[: max(too_many, 0)]:
            self._node.metrics.over_limit.add("ended")
            self._log.info(
                "too many sessions: the oldest one ends", identity=event.identity,
                sessions=len(by_age), sessions_max=event.most, spi=seat.spi.hex(), member=member,
            )  # fmt: skip
            if member == me:
                self._lost(seat.chain)
            else:
                self._node.seams.link.send(member, SeatLost(seat.chain))

    def _lost(self, chain: bytes) -> None:
        spi = self._whose.where(chain)
        if spi is not None:
            self._node.gateway.terminate(spi, WHY)

    # -- asking and answering -------------------------------------------------------------------

    async def _ask(self, pair: Pair, spi: bytes) -> _Count:
        """What all members have, this one included."""
        node = self._node
        me, suspected = node.config.member.name, node.heartbeats.suspected
        count = _Count(set(), asyncio.Event(), {}, set())
        self._calls += 1
        call = self._calls
        self._out[call] = count
        question = SeatsAsk(call, *pair, spi)
        for name in node.membership.members:
            if name != me and node.seams.link.send(name, question) and name not in suspected:
                count.waiting.add(name)
        try:
            if count.waiting:
                async with asyncio.timeout(ANSWER_S):
                    await count.done.wait()
        except TimeoutError:
            self._log.info("sessions of silent members aren't counted", silent=len(count.waiting))
        finally:
            del self._out[call]
        self._add(count, me, self._tell(call, pair))
        return count

    def _asked(self, sender: str, ask: SeatsAsk) -> None:
        pair = (ask.identity, ask.local_id)
        told = self._tell(ask.call, pair)
        self._note(pair, ask.spi, here=False)
        self._node.seams.link.send(sender, told)

    def _told(self, sender: str, told: SeatsTold) -> None:
        count = self._out.get(told.call)
        if count is not None and sender in count.waiting:
            count.waiting.discard(sender)
            self._add(count, sender, told)
            if not count.waiting:
                count.done.set()

    def _add(self, count: _Count, member: str, told: SeatsTold) -> None:
        count.begin.update(told.begin)
        for seat in told.seats:
            known = count.seats.get(seat.chain)
            if known is None or known[1].established_wall_s < seat.established_wall_s:
                count.seats[seat.chain] = (member, seat)

    def _tell(self, call: int, pair: Pair) -> SeatsTold:
        """What is here, but for what only waits for its client's Delete (RFC 5685 6)."""
        seats = [
            Seat(core.chain, core.spi, core.established_wall_s)
            for core in self._whose.sessions(pair)[:SEATS_MAX]
            if core.expires_wall_s - core.established_wall_s > SENT_AWAY_S
        ]
        return SeatsTold(call, tuple(seats), tuple(self._about_to_begin(pair, here=True)))

    # -- what is about to begin -----------------------------------------------------------------

    def _note(self, pair: Pair, spi: bytes, *, here: bool) -> None:
        now_s = self._node.seams.clock.boot_s()
        begins = self._begins.pop(pair, {})
        for other in [other for other, (at_s, _) in begins.items() if now_s - at_s > BEGINS_S]:
            del begins[other]
        begins[spi] = (now_s, here)
        if len(self._begins) >= BEGINS_MAX:
            del self._begins[next(iter(self._begins))]
        self._begins[pair] = begins

    def _forget(self, pair: Pair, spi: bytes) -> None:
        begins = self._begins.get(pair, {})
        begins.pop(spi, None)
        if not begins:
            self._begins.pop(pair, None)

    def _about_to_begin(self, pair: Pair, *, here: bool) -> list[bytes]:
        """Of that pair, as far as was heard; `here`: at this member alone."""
        old_s = self._node.seams.clock.boot_s() - BEGINS_S
        begins = self._begins.get(pair, {})
        return [spi for spi, (at_s, ours) in begins.items() if at_s > old_s and (ours or not here)]
