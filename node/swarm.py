"""Many clients in one process, for drills and benchmarks: each with its own socket and session.

Rules: started by a drill with a JSON file (`SwarmConfig`), ended by SIGTERM. Clients begin at the
gateways in turn, so that each gateway starts with its share; at most `connect_parallel` handshakes
are under way at once while connecting.
"""

import asyncio
import signal
import sys
from functools import partial
from pathlib import Path

import msgspec

from node.client import Client
from node.credentials import PskTable
from node.identity import load_psks, parse_address
from node.observe import EventLog
from node.origins import LocalSocket
from node.peer import peer_with
from node.seams import OsClock, OsRng
from node.sections import ClientSection
from node.session import MemoryTicket, SessionSettings
from node.supervisor import Supervisor
from proto.ike.core import Peer
from proto.ike.effects import Address
from proto.ike.enums import PayloadType
from proto.ike.identity import parse_identity
from proto.ike.payloads import IdPayload

POLL_S = 0.01


class SwarmConfig(msgspec.Struct, frozen=True):
    """What a drill asks of its clients."""

    clients: int
    gateways: tuple[str, ...]
    psk_file: str
    identity_pattern: str
    """Such as `rfc822:c%04d@example.com`, filled in with the client's number."""
    remote_identity: str
    events: str
    """Where the clients' events are recorded."""
    liveness_interval_s: float = 0.2
    retransmit_initial_s: float = 0.3
    retransmit_factor: float = 1.5
    retransmit_tries: int = 3
    connect_parallel: int = 32
    proposal: str = "aes256gcm16-prfsha256-x25519"
    child_proposal: str = "aes256gcm16"


def in_turn(gateways: tuple[Address, ...], number: int) -> tuple[Address, ...]:
    """The gateways as client `number` prefers them: the first in turn, and those that follow it
    one way round for half of the clients, so that a dead gateway's clients spread over the others.
    """
    at = number % len(gateways)
    first, *others = gateways[at:] + gateways[:at]
    if number // len(gateways) % 2:
        others.reverse()
    return (first, *others)


class Swarm:
    """All clients of one file."""

    def __init__(self, config: SwarmConfig) -> None:
        self._config = config
        self._psks = PskTable(load_psks(config.psk_file))
        self._gateways = tuple(parse_address(text) for text in config.gateways)
        self._clock, self._rng = OsClock(), OsRng()
        self._clients: list[Client] = []
        self._sockets: list[LocalSocket] = []
        self._log = EventLog(config.events, "swarm", self._clock)

    def make(self) -> None:
        """Open every socket; nothing is sent yet. Raises OSError, ValueError."""
        for number in range(self._config.clients):
            socket = LocalSocket(self._gateways)
            settings = SessionSettings(
                in_turn(self._gateways, number), self._config.liveness_interval_s
            )
            client = Client(
                self._peer(number),
                settings,
                tickets=MemoryTicket(),
                report=partial(self._log.write, who=f"c{number:04d}"),
                clock=self._clock,
                rng=self._rng,
                open_sockets=socket.open,
            )
            self._sockets.append(socket)
            self._clients.append(client)

    async def connect(self) -> None:
        """Start them all, a few at a time."""
        under_way: list[Client] = []
        for client in self._clients:
            while len(under_way) >= self._config.connect_parallel:
                await asyncio.sleep(POLL_S)
                under_way = [c for c in under_way if not c.session.established]
            client.session.start()
            under_way.append(client)

    async def close(self) -> None:
        """End every session in order."""
        waiting = [client.session.close() for client in self._clients]
        await asyncio.sleep(0.5 if any(waiting) else 0)
        for client in self._clients:
            client.stop()
        for socket in self._sockets:
            socket.close()
        self._log.close()

    def _peer(self, number: int) -> Peer:
        config, identity = self._config, self._config.identity_pattern % number
        local_id = IdPayload(PayloadType.IDi, *parse_identity(identity))
        remote_id = IdPayload(PayloadType.IDr, *parse_identity(config.remote_identity))
        psk = self._psks.psk(local_id) or self._psks.psk(remote_id)
        if psk is None:
            raise ValueError(f"no key for {identity} in {config.psk_file}")
        section = ClientSection(
            identity=identity,
            remote_identity=config.remote_identity,
            psk_file=config.psk_file,
            gateways=config.gateways,
            proposals=(config.proposal,),
            child_proposals=(config.child_proposal,),
            retransmit_initial_s=config.retransmit_initial_s,
            retransmit_factor=config.retransmit_factor,
            retransmit_tries=config.retransmit_tries,
        )
        return peer_with(section, local_id, remote_id, psk)


async def _run(config: SwarmConfig) -> int:
    supervisor = Supervisor()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.end)
    swarm = Swarm(config)
    swarm.make()
    supervisor.spawn(swarm.connect(), "connect")
    crash = await supervisor.ended()
    await supervisor.stop()
    await swarm.close()
    return 0 if crash is None else 1


def main() -> int:
    """`python -m node.swarm --config FILE`; the exit code."""
    octets = Path(sys.argv[-1]).read_bytes()
    return asyncio.run(_run(msgspec.json.decode(octets, type=SwarmConfig)))


if __name__ == "__main__":
    sys.exit(main())
