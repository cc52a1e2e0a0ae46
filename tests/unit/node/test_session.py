"""What a client's session does when its gateways, its SA or its disk fail."""

import asyncio
import errno
from itertools import pairwise

import pytest

from cluster.seams import Clock
from node.client import Client
from node.origins import Origins
from node.session import AGAIN_S, MemoryTicket, SessionSettings, Tickets
from node.udp import Receiver, Sockets
from proto.ike.effects import Address, Datagram
from proto.ike.events import Answered, Ended, Established, Failed, TicketReceived, Unanswered
from proto.ike.ticket import ClientTicket
from tests.pair.parts import CLIENT, GATEWAY, PEER, SeededRng
from tests.rfc.talk import SPI_R, foreign_ticket
from tests.sim.loop import SimLoop, run
from tests.sim.seams import SimClock

HOUR_S = 3600.0


class NoRoute:
    """Sockets that swallow what is sent, where there is a way to the gateway at all."""

    def __init__(self, way: Address | None) -> None:
        self._way = way

    def open(self, _receiver: Receiver) -> tuple[Sockets, Origins]:
        """Both of a client's seams."""
        return self, self

    def send(self, _datagram: Datagram) -> None:
        """Nothing arrives."""

    def close(self) -> None:
        """Nothing was opened."""

    def ike(self, _gateway: Address) -> Address:
        """See `node.origins.Origins`."""
        if self._way is None:
            raise OSError(errno.ENETUNREACH, "Network is unreachable")
        return self._way

    def nat(self, _gateway: Address) -> Address | None:
        """See `node.origins.Origins`."""
        return None


class Told:
    """A client whose core the test speaks for, and the times of what it reported."""

    def __init__(self, clock: Clock, tickets: Tickets, way: Address | None) -> None:
        self.reports: list[tuple[str, float]] = []
        self._hows: list[str] = []
        self._clock = clock
        self._begun = asyncio.Event()
        self.client = Client(
            PEER,
            SessionSettings((GATEWAY, ("192.0.2.77", 500)), liveness_interval_s=1e9),
            tickets=tickets,
            report=self._report,
            clock=clock,
            rng=SeededRng("told"),
            open_sockets=NoRoute(way).open,
        )
        self.session = self.client.session

    def _report(self, kind: str, **fields: object) -> None:
        self.reports.append((kind, self._clock.boot_s()))
        self._hows.append(f"{kind} {fields.get('how', '')}".strip())

        if kind == "connecting":
            self._begun.set()

    def kinds(self) -> list[str]:
        """What was reported, with its `how`, if any."""
        return self._hows

    def up(self, resumed: bool = False) -> None:
        """The SA that is being set up stands."""
        spi = self.session.spi
        self.session.observe(Established(spi, spi, SPI_R, b"", 1, resumed, "gateway", b""))

    def times(self, kind: str) -> list[float]:
        """When it was reported."""
        return [at_s for reported, at_s in self.reports if reported == kind]

    def pauses(self, kind: str) -> list[float]:
        """Between two of its kind."""
        times = self.times(kind)
        return [later - sooner for sooner, later in pairwise(times)]

    async def comes_again(self) -> float:
        """The SA stands and is ended by its gateway; how long the client then waits."""
        self.up()
        self._begun.clear()
        self.session.observe(Ended(self.session.spi, b"", "malformed"))
        await self._begun.wait()
        return self.times("connecting")[-1] - self.times("ended")[-1]


def test_gateways_that_stay_away_are_tried_every_few_seconds_for_ever() -> None:
    async def main(loop: SimLoop) -> list[float]:
        told = Told(SimClock(loop), MemoryTicket(), way=None)
        told.session.start()
        await asyncio.sleep(HOUR_S)
        told.client.stop()
        return told.pauses("no_route")

    pauses_s = run(main)
    assert pauses_s[0] == 0.0
    assert max(pauses_s) == pytest.approx(5.0)


def test_a_gateway_that_ends_each_sa_is_asked_ever_later_up_to_a_bound() -> None:
    async def main(loop: SimLoop) -> list[float]:
        told = Told(SimClock(loop), MemoryTicket(), way=CLIENT)
        told.session.start()
        pauses_s = [await told.comes_again() for _ in range(50)]
        told.up()
        told.session.observe(Answered(told.session.spi))
        pauses_s.append(await told.comes_again())
        told.client.stop()
        return pauses_s

    *pauses_s, last_s = run(main)
    assert pauses_s == sorted(pauses_s)
    assert pauses_s[-1] == pytest.approx(5.0)
    assert pauses_s[0] == last_s == pytest.approx(AGAIN_S)


def test_a_ticket_that_comes_as_the_client_ends_is_not_kept() -> None:
    """It was asked for before the Delete that voids it (RFC 5723 6.2)."""

    async def main(loop: SimLoop) -> None:
        kept = MemoryTicket()
        told = Told(SimClock(loop), kept, way=CLIENT)
        told.session.start()
        told.up()
        told.session.close()
        told.session.observe(TicketReceived(told.session.spi, foreign_ticket()))
        assert kept.load() is None
        told.client.stop()

    run(main)


class FullDisk(MemoryTicket):
    """Has the ticket of before, and takes no change."""

    full = True

    def save(self, ticket: ClientTicket) -> None:
        """See `Tickets`."""
        self._write()
        super().save(ticket)

    def drop(self) -> None:
        """See `Tickets`."""
        self._write()
        super().drop()

    def _write(self) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")


def on_a_full_disk(loop: SimLoop) -> tuple[FullDisk, Told]:
    """A client that resumes with what is on it."""
    disk = FullDisk()
    disk.full = False
    disk.save(foreign_ticket())
    disk.full = True
    told = Told(SimClock(loop), disk, way=CLIENT)
    told.session.start()
    return disk, told


def test_a_full_disk_costs_a_client_no_event_and_no_ticket_while_it_runs() -> None:
    async def main(loop: SimLoop) -> None:
        disk, told = on_a_full_disk(loop)
        told.up(resumed=True)
        spi = told.session.spi
        told.session.observe(TicketReceived(spi, foreign_ticket(ticket=b"the next")))
        assert told.kinds() == [
            *("connecting resumed", "ticket_not_kept", "established resumed"),
            *("ticket_not_kept", "ticket"),
        ]
        told.session.observe(Unanswered(spi))
        await asyncio.sleep(AGAIN_S)
        assert told.kinds()[-1] == "connecting resumed"
        disk.full = False
        told.up(resumed=True)
        assert disk.load() is None
        disk.full = True
        assert told.session.close()
        assert told.kinds()[-2:] == ["ticket_not_kept", "closed"]
        told.client.stop()

    run(main)


def test_a_refused_ticket_that_the_disk_does_not_let_go_is_shown_once() -> None:
    async def main(loop: SimLoop) -> None:
        _, told = on_a_full_disk(loop)
        told.session.observe(Failed(told.session.spi, True, "the gateway refused the ticket"))
        assert told.kinds()[-2:] == ["ticket_not_kept", "connecting full"]
        told.client.stop()

    run(main)
