"""What can go wrong in a storm: each fault is a function that does it and undoes it in its time.

Rules: a fault chooses by the storm's own source of randomness alone, and leaves the world so that
`calm` finds everything that is to be undone. A name here is what a trace calls it.
"""

import asyncio
from collections.abc import Callable, Coroutine

from cluster.errors import ClusterError, Compacted
from cluster.layout import Keys
from node.view import View
from proto.ike.effects import Address, Path
from tests.sim.machine import CLUSTER, SimClient, SimGateway
from tests.sim.net import Weather
from tests.sim.world import Size, World

PAST_MAX = 512
"""Datagrams kept to be replayed."""
TWINS_MAX = 6
"""Clients that present somebody else's ticket, in one run."""


class Storm:
    """The state of one storm; `world.random` decides."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.random = world.rng("storm").random
        self.past: list[tuple[bytes, Path]] = []
        self.twins: list[SimClient] = []
        self.leavers: list[SimClient] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._numbers = world.size.clients
        world.net.observers.append(self._remember)

    def _remember(self, data: bytes, path: Path) -> None:
        if len(self.past) < PAST_MAX:
            self.past.append((data, path))
        else:
            self.past[self.random.randrange(PAST_MAX)] = (data, path)

    def spawn(self, coro: Coroutine[object, object, None]) -> None:
        """Let a fault go on beside the others."""
        self._tasks.append(self.world.loop.create_task(coro))

    async def stop(self) -> None:
        """No fault goes on; what it would have undone is undone by `calm`."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for task in self._tasks:
            if not task.cancelled() and task.exception() is not None:
                raise RuntimeError("a fault failed") from task.exception()

    def some(self) -> SimGateway | None:
        """A gateway that runs, if one does."""
        live = self.world.live()
        return self.random.choice(live) if live else None

    def between(self, shortest_s: float, longest_s: float) -> float:
        """A time, shorter ones more often."""
        return shortest_s + (longest_s - shortest_s) * self.random.random() ** 2

    def new_client(self, identity: int | None = None) -> SimClient:
        """One more client, at an address of its own."""
        self._numbers += 1
        return self.world.client(self._numbers, identity)

    def address(self) -> Address:
        """Where a gateway listens."""
        gateway = self.random.choice(self.world.gateways)
        return gateway.host, 500


# -- processes ------------------------------------------------------------------------------------


async def kill(storm: Storm) -> None:
    """SIGKILL, and a restart from its own data directory."""
    gateway = storm.some()
    if gateway is not None:
        gateway.cut_down()
        await _restart(storm, gateway)


async def kill_in_a_commit(storm: Storm) -> None:
    """SIGKILL as the next commit reaches the store, before or after it takes effect."""
    gateway = storm.some()
    if gateway is None:
        return
    if storm.random.random() < 0.5:
        gateway.store.before_commit = gateway.cut_down
    else:
        gateway.store.after_commit = gateway.cut_down
    await asyncio.sleep(storm.between(2, 10))
    await _restart(storm, gateway)


async def _restart(storm: Storm, gateway: SimGateway) -> None:
    await asyncio.sleep(storm.between(0, 15))
    if not gateway.alive:
        boot(storm.world, gateway)


def boot(world: World, gateway: SimGateway) -> None:
    """A new life, not waited for."""
    gateway.boot(*world.next_life(gateway))


async def pause(storm: Storm) -> None:
    """SIGSTOP, often for longer than a lease."""
    gateway = storm.some()
    if gateway is not None:
        storm.world.trace.event("pause", gateway.name)
        gateway.process.pause()
        await asyncio.sleep(storm.between(0.3, 25))
        gateway.process.go_on()
        storm.world.trace.event("goes on", gateway.name)


async def terminate(storm: Storm) -> None:
    """SIGTERM, and a start some time after."""
    gateway = storm.some()
    if gateway is not None:
        gateway.end()
        await asyncio.sleep(5)
        await _restart(storm, gateway)


async def step_clock(storm: Storm) -> None:
    """Somebody sets the date of a machine."""
    gateway = storm.random.choice(storm.world.gateways)
    before_s = gateway.clock.wall_offset_s
    gateway.clock.wall_offset_s = storm.random.choice((-20.0, -2.0, 2.0, 20.0))
    storm.world.trace.event("clock", gateway.name, gateway.clock.wall_offset_s)
    await asyncio.sleep(storm.between(1, 30))
    gateway.clock.wall_offset_s = before_s


# -- the store ------------------------------------------------------------------------------------


async def store_away(storm: Storm) -> None:
    """One member's way to the store is cut, or everybody's."""
    gateway = storm.some()
    away = storm.world.live() if storm.random.random() < 0.3 or gateway is None else [gateway]
    for each in away:
        storm.world.trace.event("store cut", each.name)
        each.store.set_reachable(False)
    await asyncio.sleep(storm.between(0.5, 20))
    for each in away:
        each.store.set_reachable(True)


async def store_flaky(storm: Storm) -> None:
    """A member's store answers slowly, not at all, too late, or is carried out too late."""
    gateway = storm.some()
    if gateway is None:
        return
    store = gateway.store
    store.jitter_s = storm.random.choice((0.0, 0.02, 0.2))
    store.doubt = storm.random.choice((0.0, 0.2, 1.0))
    store.late = storm.random.choice((0.0, 0.2, 0.6))
    store.refused = storm.random.choice((0.0, 0.2))
    storm.world.trace.event("store flaky", gateway.name)
    await asyncio.sleep(storm.between(1, 15))
    store.jitter_s = store.doubt = store.late = store.refused = 0.0


async def lease_lost(storm: Storm) -> None:
    """The store forgets a member's lease."""
    gateway = storm.random.choice(storm.world.gateways)
    entry = await storm.world.store.get(Keys(CLUSTER).member(gateway.name))
    if entry is not None:
        storm.world.trace.event("lease lost", gateway.name)
        storm.world.store.revoke(entry.lease_id)


async def compact(storm: Storm) -> None:
    """The store's history goes, also what a watch still wanted."""
    revision = (await storm.world.store.scan(b"\xff")).revision
    storm.world.trace.event("compaction", revision)
    try:
        await storm.world.store.compact(revision)
    except Compacted:
        return


async def watches_break(storm: Storm) -> None:
    """Every watch of a member ends."""
    gateway = storm.some()
    if gateway is not None:
        storm.world.trace.event("watches break", gateway.name)
        gateway.store.break_watches()


# -- the network ----------------------------------------------------------------------------------


async def members_apart(storm: Storm) -> None:
    """Two members don't hear each other, or one doesn't hear the other."""
    one, other = (storm.random.choice(storm.world.gateways) for _ in range(2))
    links, both = storm.world.links, storm.random.random() < 0.5
    storm.world.trace.event("members apart", one.name, other.name, int(both))
    links.cut(one.name, other.name, both=both)
    links.loss = storm.random.choice((0.0, 0.2))
    links.latency_s = storm.random.choice((0.001, 0.1))
    await asyncio.sleep(storm.between(1, 20))
    links.heal()
    links.loss, links.latency_s = 0.0, 0.001


async def client_apart(storm: Storm) -> None:
    """A client and a gateway don't reach each other, or one way only."""
    client = storm.random.choice(storm.world.clients)
    host, both = storm.random.choice(storm.world.gateways).host, storm.random.random() < 0.5
    storm.world.trace.event("client apart", client.name, host, int(both))
    if storm.random.random() < 0.5:
        storm.world.net.cut(client.local[0], host, both=both)
    else:
        storm.world.net.cut(host, client.local[0], both=both)
    await asyncio.sleep(storm.between(1, 25))
    storm.world.net.heal()


async def bad_weather(storm: Storm) -> None:
    """Everything between clients and gateways gets worse for a while."""
    before = storm.world.net.weather
    share = storm.random.choice((0.05, 0.15, 0.3))
    storm.world.net.weather = Weather(0.01, 0.05, share, share, share, 0.5)
    storm.world.trace.event("weather", share)
    await asyncio.sleep(storm.between(1, 20))
    storm.world.net.weather = before


async def replay(storm: Storm) -> None:
    """Old datagrams come again, from where they came or to another gateway, some of them bent."""
    for _ in range(storm.random.randrange(1, 20)):
        if not storm.past:
            return
        data, path = storm.random.choice(storm.past)
        if storm.random.random() < 0.3:
            octets = bytearray(data)
            octets[storm.random.randrange(len(octets))] ^= 1 << storm.random.randrange(8)
            data = bytes(octets[: storm.random.randrange(1, len(octets) + 1)])
        to_gateway = path.remote[0].startswith("10.0.")
        if to_gateway and storm.random.random() < 0.5:
            path = Path(path.local, storm.address())
        storm.world.net.inject(data, path)
        await asyncio.sleep(storm.random.random() * 0.1)


async def flood(storm: Storm) -> None:
    """First requests from addresses that nobody has."""
    first = [data for data, _ in storm.past if len(data) > 28 and data[18] in (34, 38)]
    asked = [data for data in first if not data[19] & 0x20]
    for number in range(storm.random.randrange(10, 200)):
        if not asked:
            return
        data = storm.random.randbytes(7) + b"\x01" + storm.random.choice(asked)[8:]
        source = (f"10.9.{number // 250}.{number % 250}", 500)
        storm.world.net.inject(data, Path(source, storm.address()))
        if not number % 10:
            await asyncio.sleep(0.01)


# -- what people do -------------------------------------------------------------------------------


async def rotate(storm: Storm) -> None:
    """An operator has a gateway rotate the keys."""
    gateway = storm.some()
    if gateway is None or not gateway.ready:
        return
    world, node = storm.world, gateway.node
    world.trace.event("rotate", gateway.name)

    async def carry_out() -> None:
        try:
            await View(node, "memory").rotate(
                lambda line: world.trace.event("rotation", line), force=False
            )
        except ClusterError as error:
            world.trace.event("rotation", str(error))

    def begin() -> None:
        gateway.supervisor.spawn(carry_out(), "rotate keys")

    gateway.process.context.run(begin)
    for _ in range(30):  # tickets are sealed all the while
        storm.random.choice(world.clients).ask_for_a_ticket()
        await asyncio.sleep(storm.random.random() * 0.05)


async def end_a_session(storm: Storm) -> None:
    """An operator ends somebody's session."""
    gateway = storm.some()
    if gateway is None or not gateway.established() or gateway.process.paused:
        return
    spi = storm.random.choice(gateway.established())
    storm.world.trace.event("terminate", gateway.name, spi)
    gateway.process.context.run(gateway.node.gateway.terminate, spi)


async def ticket_twice(storm: Storm) -> None:
    """A ticket that was copied is presented at two gateways at once, and the owner lives on."""
    client = storm.random.choice(storm.world.clients)
    ticket = client.tickets.load()
    if ticket is None or len(storm.twins) >= TWINS_MAX:
        return
    number = int(client.name.removeprefix("rfc822:c").partition("@")[0])
    storm.world.trace.event("ticket twice", client.name)
    for at in range(2):
        twin = storm.new_client(number)
        storm.twins.append(twin)
        twin.tickets.save_copy(ticket)
        twin.session.start(at)
    await asyncio.sleep(0)


async def come_and_go(storm: Storm) -> None:
    """A client closes its session, and another comes in its place."""
    clients = storm.world.clients
    at = storm.random.randrange(len(clients))
    leaver, clients[at] = clients[at], storm.new_client()
    storm.world.trace.event("leaves", leaver.name)
    storm.leavers.append(leaver)
    leaver.session.close()
    clients[at].session.start(storm.random.randrange(len(storm.world.gateways)))


Fault = Callable[[Storm], Coroutine[object, object, None]]

FAULTS: tuple[Fault, ...] = (
    kill, kill_in_a_commit, pause, terminate, step_clock,
    store_away, store_flaky, lease_lost, compact, watches_break,
    members_apart, client_apart, bad_weather, replay, flood,
    rotate, end_a_session, ticket_twice, come_and_go,
)  # fmt: skip


def calm(world: World) -> None:
    """Undo whatever a fault has left."""
    world.net.heal()
    world.net.weather = Weather()
    world.links.heal()
    world.links.loss, world.links.latency_s = 0.0, 0.001
    for gateway in world.gateways:
        gateway.clock.wall_offset_s = max(-0.5, min(0.5, gateway.clock.wall_offset_s))
        if not gateway.alive:
            continue
        gateway.process.go_on()
        store = gateway.store
        store.jitter_s = store.doubt = store.late = store.refused = 0.0
        store.before_commit = store.after_commit = None
        store.set_reachable(True)


def sizes(world_random_choice: Callable[[tuple[int, ...]], int]) -> Size:
    """A topology and its policies, by the seed."""
    choose = world_random_choice
    return Size(
        gateways=choose((1, 2, 3, 3, 4, 5)),
        clients=choose((3, 6, 10)),
        shards=choose((1, 4, 16, 64)),
        mirrors=choose((0, 1, 2)),
        ticket_lifetime_s=choose((30, 300, 3600)),
        half_open_max=choose((8, 64, 4096)),
        cookie_threshold=choose((2, 16, 1024)),
        liveness_interval_s=choose((1, 2, 5)),
        drift_max=choose((0, 1, 5)) / 1000,
    )
