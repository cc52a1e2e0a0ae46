"""Clients of a proof: some stay and ask liveness, some come back again and again by their tickets.

Rules: each is the production client with a socket that is watched; what it reports is recorded as
a drill's clients record it. A client that comes back vanishes without a word once it was served,
and shows its ticket at the next gateway.
"""

import asyncio
from functools import partial

from node.client import Client
from node.config import load_client
from node.credentials import PskTable
from node.identity import load_psks, parse_address
from node.observe import EventLog
from node.peer import peer_of
from node.seams import OsRng
from node.session import MemoryTicket, SessionSettings
from node.swarm import in_turn
from tests.e2e.cluster import Cluster, until
from tests.e2e.local import Watched

PATIENCE = {"retransmit_initial_s": 0.3, "retransmit_factor": 1.5, "retransmit_tries": 3}
LIVENESS_S = 0.2
BETWEEN_S = 0.3
"""From being served to coming back."""
SPI_R = slice(8, 16)


class One:
    """A client with its ticket."""

    def __init__(self, cluster: Cluster, name: str, number: int, log: EventLog) -> None:
        config = load_client(cluster.client_file(name, **PATIENCE)).client
        self.name = name
        self.tickets = MemoryTicket()
        self.answers = 0
        self.comings = 0
        """Times that it was established and served."""
        self.made: list[tuple[str, str]] = []
        """(gateway's address, SPIr) of each SA that it had."""
        self.wire = Watched()
        self._cluster = cluster
        self._log = log
        self._peer = peer_of(config, PskTable(load_psks(config.psk_file)))
        gateways = tuple(parse_address(text) for text in config.gateways)
        self._settings = SessionSettings(in_turn(gateways, number), LIVENESS_S)
        self._client: Client | None = None

    def start(self, first: int = 0) -> None:
        """Connect, by the ticket if there is one, at gateway number `first` of its order."""
        self.wire = Watched()
        self._client = Client(
            self._peer,
            self._settings,
            tickets=self.tickets,
            report=self._report,
            clock=self._cluster.clock,
            rng=OsRng(),
            open_sockets=self.wire.open,
        )
        self._client.session.start(first)

    def vanish(self) -> None:
        """Without a word."""
        if self._client is not None:
            self._client.stop()
            self.wire.close()
            self._client = None

    async def come_and_go(self) -> None:
        """Be served, vanish, come back elsewhere; until it is cancelled."""
        while True:
            answers = self.answers
            self.start(self.comings)
            while self.answers == answers or self.tickets.load() is None:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            self.comings += 1
            self.vanish()
            await asyncio.sleep(BETWEEN_S)

    def _report(self, kind: str, **fields: object) -> None:
        self.answers += kind == "answered"
        if kind == "established":
            spi_r = fields["spi_r"]
            assert isinstance(spi_r, bytes)
            self.made.append((str(fields["gateway"]), spi_r.hex()))
        self._log.write(kind, who=self.name, **fields)


class Load:
    """Made where a loop runs; to be stopped."""

    def __init__(self, cluster: Cluster, steady: int, walking: int) -> None:
        log = EventLog(str(cluster.events / "load.jsonl"), "load", cluster.clock)
        make = partial(One, cluster, log=log)
        self.steady = [make(f"s{n:03d}", number=n) for n in range(steady)]
        self.walking = [make(f"w{n:03d}", number=n) for n in range(walking)]
        self._walks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start all, and wait until each was served."""
        for one in self.steady:
            one.start()
        self._walks = [asyncio.create_task(one.come_and_go()) for one in self.walking]
        await self.served("every client at the beginning")

    async def served(self, what: str) -> None:
        """Wait until each that stays was answered twice more, and each other came back once."""
        steady = {one.name: one.answers + 2 for one in self.steady}
        walking = {one.name: one.comings + 1 for one in self.walking}

        def late() -> list[str]:
            found = [one.name for one in self.steady if one.answers < steady[one.name]]
            return found + [one.name for one in self.walking if one.comings < walking[one.name]]

        for walk in self._walks:
            assert not walk.done(), walk
        await until(lambda: not late(), f"served: {what}")

    async def stop(self) -> None:
        """Everybody vanishes."""
        for walk in self._walks:
            walk.cancel()
        await asyncio.gather(*self._walks, return_exceptions=True)
        for one in (*self.steady, *self.walking):
            one.vanish()

    def heard(self) -> dict[str, int]:
        """How many datagrams each client that stays has received."""
        return {one.name: len(one.wire.received) for one in self.steady}

    def old_voices(self, address: str, spis: frozenset[str], since: dict[str, int]) -> list[str]:
        """Clients that were spoken to over one of `spis` from `address` after `since`."""
        host, port = address.rsplit(":", 1)
        return [
            one.name
            for one in self.steady
            for data, source in zip(
                one.wire.received[since[one.name] :],
                one.wire.came_from[since[one.name] :],
                strict=True,
            )
            if source[:2] == (host, int(port)) and data[SPI_R].hex() in spis
        ]

    def held_at(self, address: str) -> frozenset[str]:
        """SPIr of the SAs that staying clients have at that gateway now."""
        return frozenset(one.made[-1][1] for one in self.steady if one.made[-1][0] == address)
