"""The shell around the core: datagrams and time in, Outcomes carried out.

Rules: a datagram crosses this file once, in one direction: receive, carry out. It never waits; a
datagram for a shard owned elsewhere is forwarded once to its owner; a ticket under a key unknown
here is looked at again after one look at the ring, one by reference or one that may have been used
after one read of the store. (Everything asynchronous: `node.wiring`.)
"""

from collections.abc import Awaitable, Callable

from cluster.link import Forward, PeerLink, Return
from cluster.ownership import Ownership
from cluster.references import Kept
from cluster.ring_keeper import RingKeeper
from cluster.seams import Clock, Spawn
from cluster.shards import SpiCodec
from node.lane import Lane
from node.metrics import Metrics
from node.shell import Shell
from proto.ike.effects import Datagram, Outcome, Path
from proto.ike.endpoint import Endpoint
from proto.ike.enums import FLAG_INITIATOR, ExchangeType
from proto.ike.events import Dropped
from proto.ike.redirect import Target
from proto.ike.reference import Reference
from proto.ike.ticket import TicketBody

LOOK_UPS_MAX = 256
"""Datagrams that may wait for one look at the ring; beyond it they are answered without."""
CONFIRMS_MAX = 64
"""Reads in flight for tickets that may have been used; beyond it they are served, and the session
chain decides at IKE_AUTH."""
FETCHES_MAX = 256
"""Reads in flight for tickets by reference; beyond it they are dropped: their clients ask again."""
FORWARD_OCTETS_MAX = 16_384
"""The largest datagram that is forwarded; no message of a peer's is near it."""
FIRST_EXCHANGES = (ExchangeType.IKE_SA_INIT, ExchangeType.IKE_SESSION_RESUME)
EXCHANGE_OFFSET = 18
FLAGS_OFFSET = 19
SPI_I, SPI_R = slice(0, 8), slice(8, 16)
HEADER_OCTETS = 28
ESP_SPI_OCTETS = 4


class Gateway(Shell):
    """A member's shell: the core, and the cluster around it."""

    def __init__(
        self,
        endpoint: Endpoint,
        lane: Lane,
        clock: Clock,
        *,
        codec: SpiCodec,
        ownership: Ownership,
        link: PeerLink | None,
        rings: RingKeeper,
        spawn: Spawn,
        metrics: Metrics,
        me: str,
        closed: Callable[[], str],
        confirm: Callable[[bytes, int], Awaitable[bool]] | None = None,
        fetch: Callable[[bytes, int], Awaitable[Kept | None]] | None = None,
        lapsed: Callable[[], bool] = lambda: False,
        unread: Callable[[int], bool] = lambda _shard: False,
        has_esp: Callable[[bytes], bool] = lambda _spi: True,
    ) -> None:
        """`closed`: why no session may begin now, in a word; first requests are then dropped.
        `confirm`: was a ticket used, by its chain and generation. `fetch`: what is kept for one by
        reference, likewise. `lapsed`: whether nothing may be said until the lease was looked at.
        `unread`: may sessions of a shard still turn up. `has_esp`: is there such a Child SA.
        """
        super().__init__(endpoint, lane, clock)
        self._codec = codec
        self._ownership = ownership
        self._link = link
        self._rings = rings
        self._spawn = spawn
        self._metrics = metrics
        self._me = me
        self._closed = closed
        self._looking: list[tuple[bytes, Path]] = []
        self._confirm = confirm
        self._confirming: dict[tuple[bytes, int], None] = {}
        self._fetch = fetch
        self._fetching: dict[tuple[bytes, int], None] = {}
        self._lapsed = lapsed
        self._unread = unread
        self._has_esp = has_esp
        self.draining = False
        """Going down: no new sessions."""

    def on_datagram(self, data: bytes, path: Path) -> None:
        """Hand one datagram to the core; see the module for what isn't the core's."""
        metrics = self._metrics
        metrics.datagrams_in += 1
        if self._lapsed():
            metrics.dropped.add("lease_over")
            return
        first = len(data) > EXCHANGE_OFFSET and data[EXCHANGE_OFFSET] in FIRST_EXCHANGES
        why = first and ("draining" if self.draining else self._closed())
        if why:
            metrics.dropped.add(why)
            return
        leaving = self._ownership.leaving
        if leaving and len(data) >= HEADER_OCTETS:
            spi = _own_spi(data)
            # of an SA whose write is under way: only that its peer still waits is learned from it
            if self._codec.shard_of(spi) in leaving and not self.endpoint.is_writing(spi):
                metrics.dropped.add("handing_over")
                return
        outcome = self.endpoint.receive(data, path, self.now())
        if outcome.look_up:
            self._look_up(data, path)
        elif outcome.confirm is not None or outcome.fetch is not None:
            self._ask_store(outcome, data, path)
        elif outcome.events and type(outcome.events[0]) is Dropped:
            self._dropped(outcome.events[0].reason, data, path)
        else:
            self.lane.carry_out(outcome)
        self.rearm()

    def _dropped(self, reason: str, data: bytes, path: Path) -> None:
        if reason == "unknown_spi" and len(data) >= HEADER_OCTETS:
            shard = self._codec.shard_of(_own_spi(data))
            if not path.via and self._forward(shard, data, path):
                reason = "forwarded"
            elif self._is_nobodys(shard):
                self.lane.carry_out(self.endpoint.unknown(data, path, self.now()))
        self._metrics.dropped.add(reason)

    def on_esp(self, data: bytes, path: Path) -> None:
        """ESP that came to a port of IKE's: there is no data plane to hand it to."""
        self._metrics.dropped.add("esp")
        spi = data[:ESP_SPI_OCTETS]
        if not self._has_esp(spi) and self._is_nobodys(self._codec.shard_of_esp(spi)):
            self.lane.carry_out(self.endpoint.hints.unknown_esp(spi, path, self.now()))

    def _is_nobodys(self, shard: int) -> bool:
        """Is what isn't here of that shard nowhere? Only its owner knows, once it has read what
        there is, and while the store could tell of another owner. That the store names this
        member is not enough: it may be meant for one of its former lives, or not be taken up yet.
        """
        ours = self._ownership.fence_of(shard) is not None
        return ours and not self._unread(shard) and not self._closed()

    def _forward(self, shard: int, data: bytes, path: Path) -> bool:
        """To the owner of `shard`, once; False: there is none but us, or no way to it."""
        if self._link is None or len(data) > FORWARD_OCTETS_MAX or shard >= self._codec.shards:
            return False
        owner = self._ownership.owner_of(shard)
        if owner is None or owner == self._me:
            return False
        return self._link.send(owner, Forward(data, path.local, path.remote))

    def on_forward(self, sender: str, frame: Forward) -> None:
        """A datagram that arrived at another member's socket."""
        self.on_datagram(frame.data, Path(frame.local, frame.remote, sender))

    def terminate(self, spi: bytes, why: str = "terminated by an operator") -> bool:
        """Delete an established SA, tell its peer, void its tickets; False: it isn't here, or its
        end is being written already.
        """
        outcome = self.endpoint.terminate(spi, True, why, self.now())
        if outcome is None:
            return False
        self.lane.carry_out(outcome)
        self.rearm()
        return True

    def redirect(self, spi: bytes, target: Target) -> bool:
        """Send the client of an established session elsewhere; False: it can't be told now."""
        outcome = self.endpoint.redirect(spi, target, self.now())
        if outcome is None:
            return False
        self.lane.carry_out(outcome)
        self.rearm()
        return True

    def send_back(self, datagram: Datagram) -> None:
        """A reply to a forwarded datagram leaves from where that arrived."""
        path = datagram.path
        if self._link is not None:
            self._link.send(path.via, Return(datagram.data, path.local, path.remote))

    def _look_up(self, data: bytes, path: Path) -> None:
        """One look at the ring for all who wait; then the datagram again, and no third time."""
        if len(self._looking) >= LOOK_UPS_MAX:
            self._again(data, path)
            return
        self._looking.append((data, path))
        if len(self._looking) == 1:
            self._spawn(self._look(), "ring-look-up")

    async def _look(self) -> None:
        await self._rings.refresh()
        waiting, self._looking = self._looking, []
        for data, path in waiting:
            self._again(data, path)

    def _again(
        self, data: bytes, path: Path, used: bool | None = None, state: bytes | None = None
    ) -> None:
        outcome = self.endpoint.receive(data, path, self.now(), True, used, state)
        if outcome.confirm is not None or outcome.fetch is not None:
            self._ask_store(outcome, data, path)
            return
        self.lane.carry_out(outcome)
        self.rearm()

    def _ask_store(self, outcome: Outcome, data: bytes, path: Path) -> None:
        if outcome.confirm is not None:
            self._ask(outcome.confirm, data, path)
        elif outcome.fetch is not None:
            self._resolve(outcome.fetch, data, path)

    def _ask(self, ticket: TicketBody, data: bytes, path: Path) -> None:
        """One read of the chain of a ticket that may have been used, then the datagram again."""
        asked = (ticket.chain, ticket.generation)
        if asked in self._confirming:
            self._metrics.dropped.add("confirming")  # a repeat: the first one will be answered
        elif self._confirm is None or len(self._confirming) >= CONFIRMS_MAX:
            self._again(data, path, used=False)
        else:
            self._confirming[asked] = None
            self._spawn(self._confirmed(self._confirm, asked, data, path), "confirm-used")

    async def _confirmed(
        self,
        confirm: Callable[[bytes, int], Awaitable[bool]],
        asked: tuple[bytes, int],
        data: bytes,
        path: Path,
    ) -> None:
        try:
            used = await confirm(*asked)
        finally:
            del self._confirming[asked]
        self._again(data, path, used)

    def _resolve(self, ticket: Reference, data: bytes, path: Path) -> None:
        """One read for a ticket by reference, then the datagram again."""
        asked = (ticket.chain, ticket.generation)
        if asked in self._fetching:
            self._metrics.dropped.add("fetching")  # a repeat: the first one will be answered
        elif self._fetch is None or len(self._fetching) >= FETCHES_MAX:
            self._metrics.dropped.add("fetches_full")
        else:
            self._fetching[asked] = None
            self._spawn(self._fetched(self._fetch, asked, data, path), "fetch-ticket")

    async def _fetched(
        self,
        fetch: Callable[[bytes, int], Awaitable[Kept | None]],
        asked: tuple[bytes, int],
        data: bytes,
        path: Path,
    ) -> None:
        try:
            kept = await fetch(*asked)
        finally:
            del self._fetching[asked]
        if kept is None:  # as with any ticket while the store is away: no session could begin
            self._metrics.dropped.add("store_away")
        else:
            self._again(data, path, kept.used, kept.state)


def _own_spi(data: bytes) -> bytes:
    """Ours of the two SPIs in a whole header: a gateway is the original initiator of what it has
    rekeyed itself.
    """
    return data[SPI_R if data[FLAGS_OFFSET] & FLAG_INITIATOR else SPI_I]
