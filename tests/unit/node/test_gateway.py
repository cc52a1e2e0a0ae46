"""The gateway's shell at its bounds: what strangers may make it keep, and what it passes on."""

import asyncio
from collections.abc import Coroutine
from typing import cast

import pytest

from cluster.link import Forward, Frame, PeerLink
from cluster.ownership import Ownership
from cluster.references import Kept
from cluster.rotation import RingKeeper
from cluster.shards import SPI_KEY_LEN, SpiCodec
from node.gateway import CONFIRMS_MAX, FETCHES_MAX, FORWARD_OCTETS_MAX, LOOK_UPS_MAX, Gateway
from node.kernel import NullKernel
from node.lane import Lane, NoCommits
from node.metrics import Metrics
from node.seams import OsClock
from proto.ike.core import replace
from proto.ike.effects import Now, Outcome, Path, ignored
from proto.ike.endpoint import Endpoint
from proto.ike.enums import ExchangeType
from proto.ike.reference import Reference
from proto.ike.ticket import TicketBody
from proto.secret import Secret
from tests.unit.node.test_shell import WAY, Nowhere

CODEC = SpiCodec(Secret(bytes(SPI_KEY_LEN)), 2)
MINE, THEIRS = 0, 1


class Core:
    """An endpoint that knows no SA, and no ticket key until the ring was looked at."""

    def __init__(self) -> None:
        self.fresh = 0
        self.hinted = 0
        self.doubtful: TicketBody | None = None
        """What every ticket holds, where each may have been used."""
        self.answers: list[bool | None] = []
        self.chain = b"c" * 16
        self.pointers = False
        """Is every ticket one by reference?"""
        self.kept: list[tuple[bool | None, bytes | None]] = []

    def is_writing(self, _spi: bytes) -> bool:
        return False

    def receive(
        self,
        data: bytes,
        path: Path,
        now: Now,
        ring_is_fresh: bool = False,
        used: bool | None = None,
        state: bytes | None = None,
    ) -> Outcome:
        """A first request asks for a look; everything else has an unknown SPI."""
        if data[18:19] != bytes((ExchangeType.IKE_SESSION_RESUME,)):
            return ignored("unknown_spi")
        if self.pointers:
            self.kept.append((used, state))
            pointer = Reference(b"", self.chain, data[-1], 0, 0.0, 0.0)
            return Outcome(fetch=pointer) if state is None else Outcome()
        if self.doubtful is not None:
            self.answers.append(used)
            ticket = replace(self.doubtful, generation=data[-1])
            return Outcome(confirm=ticket) if used is None else Outcome()
        self.fresh += ring_is_fresh
        return Outcome() if ring_is_fresh else Outcome(look_up=b"k" * 8)

    def unknown(self, data: bytes, path: Path, now: Now) -> Outcome:
        """A hint is given."""
        self.hinted += 1
        return Outcome()

    @property
    def hints(self) -> "Core":
        """Those of ESP are counted with the others."""
        return self

    def unknown_esp(self, spi: bytes, path: Path, now: Now) -> Outcome:
        """A hint is given."""
        return self.unknown(spi, path, now)

    def next_deadline_s(self) -> float:
        """Never."""
        return float("inf")


class Around:
    """Ownership, link and ring keeper in one."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Frame]] = []
        self.leaving: dict[int, None] = {}
        self.fences = {MINE: 1}
        self.looks = 0
        self.look_ended = asyncio.Event()
        self.tasks: list[asyncio.Task[object]] = []

    def owner_of(self, shard: int) -> str | None:
        """One shard each."""
        return ("gw1", "gw2")[shard]

    def fence_of(self, shard: int) -> int | None:
        """Of those that are owned in fact."""
        return self.fences.get(shard)

    def send(self, member: str, frame: Frame) -> bool:
        """Taken."""
        self.sent.append((member, frame))
        return True

    async def refresh(self) -> bool:
        """A look that takes as long as the test wants."""
        self.looks += 1
        await self.look_ended.wait()
        return False

    def spawn(self, coro: Coroutine[object, object, object], name: str) -> "asyncio.Task[None]":
        """A task that is held."""
        task = asyncio.ensure_future(coro)
        self.tasks.append(task)
        return cast("asyncio.Task[None]", task)


class Gate(Gateway):
    """A gateway with everything around it in the test's hand."""

    def __init__(self) -> None:
        self.core, self.around, self.figures = Core(), Around(), Metrics()
        self.why = ""
        self.stood_still = False
        self.unread: list[int] = []
        self.esp: list[bytes] = []
        self.reads: list[tuple[bytes, int]] = []
        self.read_ended = asyncio.Event()
        endpoint, clock = cast(Endpoint, self.core), OsClock()
        lane = Lane(endpoint, NoCommits(), NullKernel(), Nowhere(), clock, lambda event: None)
        super().__init__(
            endpoint,
            lane,
            clock,
            codec=CODEC,
            ownership=cast(Ownership, self.around),
            link=cast(PeerLink, self.around),
            rings=cast(RingKeeper, self.around),
            spawn=self.around.spawn,
            metrics=self.figures,
            me="gw1",
            closed=lambda: self.why,
            confirm=self.read,
            fetch=self.fetch,
            lapsed=lambda: self.stood_still,
            unread=lambda shard: shard in self.unread,
            has_esp=lambda spi: spi in self.esp,
        )

    async def read(self, chain: bytes, generation: int) -> bool:
        """A read of the session chain that takes as long as the test wants."""
        self.reads.append((chain, generation))
        await self.read_ended.wait()
        return generation % 2 == 0

    async def fetch(self, chain: bytes, generation: int) -> Kept | None:
        """A read of what is kept that takes as long; nothing is heard of the third."""
        self.reads.append((chain, generation))
        await self.read_ended.wait()
        return None if generation == 3 else Kept(generation == 2, b"state")


def datagram(exchange: int, shard: int, octets: int = 28) -> bytes:
    """One for an SA of `shard`."""
    head = b"i" * 8 + CODEC.ike_spi(shard, b"random") + bytes((46, 0x20, exchange, 8))
    return head + bytes(octets - len(head))


async def test_tickets_under_an_unknown_key_share_one_look_and_are_bounded() -> None:
    gate = Gate()
    resume = datagram(ExchangeType.IKE_SESSION_RESUME, MINE)
    for _ in range(LOOK_UPS_MAX + 10):
        gate.on_datagram(resume, WAY)
    await asyncio.sleep(0)
    assert gate.around.looks == 1
    assert gate.core.fresh == 10  # no room to wait: answered without
    gate.around.look_ended.set()
    await asyncio.gather(*gate.around.tasks)
    assert gate.core.fresh == LOOK_UPS_MAX + 10


TICKET = TicketBody(
    b"", b"c" * 16, 0, 0, 0.0, 0.0, 0.0, b"", b"", 3, b"a", 2, b"b", "", "psk", (0, 0, 0, 0, 0), b""
)


async def test_a_ticket_that_may_have_been_used_costs_one_read_and_repeats_none() -> None:
    gate = Gate()
    gate.core.doubtful = TICKET
    resume = datagram(ExchangeType.IKE_SESSION_RESUME, MINE)
    for generation in (1, 2, 1, 2):
        gate.on_datagram(resume[:-1] + bytes((generation,)), WAY)
    await asyncio.sleep(0)
    assert gate.reads == [(TICKET.chain, 1), (TICKET.chain, 2)]
    assert gate.figures.dropped.by == {"confirming": 2}
    gate.read_ended.set()
    await asyncio.gather(*gate.around.tasks)
    assert gate.core.answers == [None] * 4 + [False, True]


async def test_reads_for_tickets_that_may_have_been_used_are_bounded() -> None:
    gate = Gate()
    gate.core.doubtful = TICKET
    resume = datagram(ExchangeType.IKE_SESSION_RESUME, MINE)
    for generation in range(CONFIRMS_MAX + 3):
        gate.on_datagram(resume[:-1] + bytes((generation,)), WAY)
    await asyncio.sleep(0)
    assert len(gate.reads) == CONFIRMS_MAX
    assert gate.core.answers.count(False) == 3  # served: the chain decides at IKE_AUTH
    gate.read_ended.set()
    await asyncio.gather(*gate.around.tasks)


async def test_a_ticket_by_reference_costs_one_read_and_its_repeats_none() -> None:
    gate = Gate()
    gate.core.pointers = True
    resume = datagram(ExchangeType.IKE_SESSION_RESUME, MINE)
    for generation in (1, 2, 1, 2, 3):
        gate.on_datagram(resume[:-1] + bytes((generation,)), WAY)
    await asyncio.sleep(0)
    assert gate.reads == [(b"c" * 16, 1), (b"c" * 16, 2), (b"c" * 16, 3)]
    assert gate.figures.dropped.by == {"fetching": 2}
    gate.read_ended.set()
    await asyncio.gather(*gate.around.tasks)
    assert gate.core.kept == [(None, None)] * 5 + [(False, b"state"), (True, b"state")]
    assert gate.figures.dropped.by == {"fetching": 2, "store_away": 1}
    gate.on_datagram(resume[:-1] + b"\x03", WAY)  # asked again, it is looked at again
    assert len(gate.around.tasks) == 4
    await asyncio.gather(*gate.around.tasks)


async def test_reads_for_tickets_by_reference_are_bounded() -> None:
    gate = Gate()
    gate.core.pointers = True
    resume = datagram(ExchangeType.IKE_SESSION_RESUME, MINE)
    for generation in range(FETCHES_MAX):
        gate.on_datagram(resume[:-1] + bytes((generation,)), WAY)
    gate.core.chain = b"d" * 16
    gate.on_datagram(resume, WAY)
    await asyncio.sleep(0)
    assert len(gate.reads) == FETCHES_MAX
    assert gate.figures.dropped.by == {"fetches_full": 1}
    gate.read_ended.set()
    await asyncio.gather(*gate.around.tasks)


def test_a_datagram_for_another_members_shard_goes_there_once_if_it_is_of_a_sane_size() -> None:
    gate = Gate()
    wanted = datagram(ExchangeType.IKE_AUTH, THEIRS)
    gate.on_datagram(wanted, WAY)
    assert gate.around.sent == [("gw2", Forward(wanted, WAY.local, WAY.remote))]
    gate.on_forward("gw2", Forward(wanted, WAY.local, WAY.remote))
    gate.on_datagram(datagram(ExchangeType.IKE_AUTH, MINE), WAY)
    gate.on_datagram(datagram(ExchangeType.IKE_AUTH, THEIRS, FORWARD_OCTETS_MAX + 1), WAY)
    assert len(gate.around.sent) == 1
    assert gate.figures.dropped.by == {"forwarded": 1, "unknown_spi": 3}


async def test_no_session_begins_where_none_could_be_finished_or_at_the_end() -> None:
    gate = Gate()
    resume = datagram(ExchangeType.IKE_SESSION_RESUME, MINE)
    gate.why = "store_away"
    gate.on_datagram(resume, WAY)
    gate.draining = True
    gate.on_datagram(resume, WAY)
    assert gate.around.tasks == []
    assert gate.figures.dropped.by == {"store_away": 1, "draining": 1}


async def test_nothing_is_said_until_the_lease_was_looked_at() -> None:
    gate = Gate()
    gate.stood_still = True
    for exchange in (ExchangeType.INFORMATIONAL, ExchangeType.IKE_SA_INIT):
        gate.on_datagram(datagram(exchange, MINE), WAY)
    assert gate.figures.dropped.by == {"lease_over": 2}
    assert gate.around.sent == []


async def test_nothing_is_taken_for_a_shard_that_is_being_handed_over() -> None:
    gate = Gate()
    gate.around.leaving[MINE] = None
    wanted = datagram(ExchangeType.INFORMATIONAL, MINE)
    gate.on_datagram(wanted, WAY)
    gate.on_forward("gw2", Forward(wanted, WAY.local, WAY.remote))
    gate.on_datagram(wanted[:12], WAY)  # too short to be anybody's
    assert gate.figures.dropped.by["handing_over"] == 2
    assert gate.around.sent == []
    gate.around.leaving.clear()
    gate.on_datagram(wanted, WAY)
    assert gate.figures.dropped.by["handing_over"] == 2


@pytest.mark.parametrize("exchange", [ExchangeType.INFORMATIONAL, ExchangeType.CREATE_CHILD_SA])
async def test_nor_for_an_sa_of_it_that_the_gateway_has_rekeyed_itself(
    exchange: ExchangeType,
) -> None:
    gate = Gate()
    gate.around.leaving[THEIRS] = None
    ours, peers = CODEC.ike_spi(THEIRS, b"random"), CODEC.ike_spi(MINE, b"chance")
    head = ours + peers + bytes((46, 0x20, exchange, 0))
    gate.on_datagram(head + bytes(8), WAY)
    assert gate.figures.dropped.by == {"handing_over": 1}
    gate.around.leaving = {MINE: None}  # where the peer's SPI happens to point
    gate.on_datagram(head + bytes(8), WAY)
    assert gate.figures.dropped.by["handing_over"] == 1


async def test_b34_nobody_is_told_that_an_sa_is_unknown_while_another_member_may_have_it() -> None:
    gate, mine = Gate(), datagram(ExchangeType.INFORMATIONAL, MINE)
    theirs = datagram(ExchangeType.INFORMATIONAL, THEIRS)
    gate.on_datagram(mine, WAY)
    assert gate.core.hinted == 1
    gate.on_datagram(theirs, WAY)
    gate.on_forward("gw2", Forward(theirs, WAY.local, WAY.remote))
    gate.on_datagram(mine[:27], WAY)
    gate.unread = [MINE]
    gate.on_datagram(mine, WAY)
    gate.unread, gate.why = [], "store_away"
    gate.on_datagram(mine, WAY)
    assert gate.core.hinted == 1


async def test_b34_nor_in_a_shard_that_the_store_names_ours_and_that_is_not_taken_up() -> None:
    gate = Gate()
    gate.around.fences.clear()
    gate.on_datagram(datagram(ExchangeType.INFORMATIONAL, MINE), WAY)
    gate.on_esp(CODEC.esp_spi(MINE, b"ab") + bytes(30), WAY)
    assert gate.core.hinted == 0


async def test_b34_esp_of_an_unknown_spi_is_told_of_by_its_shards_owner_alone() -> None:
    gate = Gate()
    mine, theirs = (CODEC.esp_spi(shard, b"ab") for shard in (MINE, THEIRS))
    gate.on_esp(mine + bytes(30), WAY)
    gate.on_esp(theirs + bytes(30), WAY)
    assert gate.core.hinted == 1
    gate.esp = [mine]
    gate.on_esp(mine + bytes(30), WAY)
    assert gate.core.hinted == 1
    assert gate.figures.dropped.by["esp"] == 3
