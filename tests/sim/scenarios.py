"""What is played in the simulated world: each scenario is a name, a size, a weather and a play.

Rules: a play drives the world and adds findings; it is ended by the checks that hold for every run.
"""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from node.audit import CYCLE_S
from tests.sim.loop import SimLoop, Stuck, run
from tests.sim.net import Weather
from tests.sim.storm import storm, storm_size
from tests.sim.trace import START_S
from tests.sim.world import ROUGH, Size, World

RECOVER_S = 60.0
"""From a kill until every client is served again: dead peer detection takes 15 s of it."""


class Result(msgspec.Struct, frozen=True):
    """How one run ended."""

    findings: tuple[str, ...]
    digest: str
    events: int
    virtual_s: float
    lines: tuple[str, ...]


class Scenario(msgspec.Struct, frozen=True):
    """See the module."""

    play: Callable[[World], Awaitable[None]]
    size: Size | Callable[[int], Size] = Size()
    """Or what the seed makes of it."""
    weather: Weather = ROUGH


async def kill_one(world: World) -> None:
    """Three gateways, lossy network; one is killed. Every client of it resumes at a survivor."""
    await world.begin()
    await world.connect_all()
    await asyncio.sleep(2)
    victim = world.random.choice(world.gateways)
    affected = [client for client in world.clients if victim.name in world.holders(client)]
    if not affected:
        world.findings.append(f"{victim.name} held no session: nothing was tried")
    await victim.kill()
    await world.until(world.all_served, RECOVER_S, "not every client was served again")
    await asyncio.sleep(2)
    world.check_one_sa_each()
    await world.check_records()
    for client in world.clients:
        ways = [up["how"] for up in client.all("established")]
        wanted = ["full", "resumed"] if client in affected else ["full"]
        if ways != wanted:
            world.findings.append(f"{client.name}: {ways} instead of {wanted}")


async def one_ticket_twice(world: World) -> None:
    """The same ticket at two gateways in the same instant: one resumption, one full handshake."""
    await world.begin()
    await world.connect_all()
    await asyncio.sleep(2)
    original = world.clients[0]
    ticket = original.tickets.load()
    if ticket is None:
        world.findings.append("no ticket was issued")
        return
    original.stop()
    original.session.close()
    world.net.cut(original.local[0], "10.0.0.1")
    pair = [world.client(len(world.clients) + n, identity=0) for n in range(2)]
    for at, client in enumerate(pair):
        client.tickets.save(ticket)
        client.session.start(at)
    world.clients[0:1] = pair
    await world.until(world.all_served, RECOVER_S, "not every client was served")
    ways = sorted(str(client.all("established")[0]["how"]) for client in pair)
    if ways != ["full", "resumed"]:
        world.findings.append(f"one ticket gave {ways}")
    await asyncio.sleep(1)
    world.check_one_sa_each()


async def winner_dies(world: World) -> None:
    """A ticket was copied, and the gateway that takes the copy dies between its commit and its
    answer: nobody tells the first SA's owner, who finds out by itself that the chain left it.
    """
    await world.begin()
    await world.connect_all()
    await asyncio.sleep(1)
    original = world.clients[0]
    ticket = original.tickets.load()
    if ticket is None:
        world.findings.append("no ticket was issued")
        return
    former = original.spi_r
    at = (world.gateways.index(world.gateway(world.holders(original)[0])) + 1) % len(world.gateways)
    winner = world.gateways[at]
    winner.store.after_commit = winner.cut_down
    thief = world.client(len(world.clients), identity=0)
    thief.tickets.save_copy(ticket)
    thief.session.start(at)
    await world.until(lambda: not winner.alive, 10, "the copy was not taken")
    thief.vanish()
    await world.until(
        lambda: all(former not in gateway.established() for gateway in world.live()),
        2 * CYCLE_S,
        "an SA that its chain doesn't name is held",
    )
    await world.until(world.all_served, RECOVER_S, "not every client was served again")
    await asyncio.sleep(1)
    world.check_one_sa_each()
    await world.check_records()


async def store_away(world: World) -> None:
    """No member reaches the store for two lease times: no session ends; then all is as before."""
    await world.begin()
    await world.connect_all()
    late = world.clients.pop()
    await asyncio.sleep(2)
    for gateway in world.gateways:
        gateway.store.set_reachable(False)
    answered = [len(client.all("answered")) for client in world.clients]
    await asyncio.sleep(10)
    for client, before in zip(world.clients, answered, strict=True):
        if len(client.all("answered")) < before + 5 or client.all("unanswered"):
            world.findings.append(f"{client.name} was not answered while the store was away")
    for gateway in world.gateways:
        gateway.store.set_reachable(True)
    await asyncio.sleep(10)
    world.clients.append(late)
    await world.until(world.all_served, RECOVER_S, "not every client was served afterwards")
    if any(len(client.all("established")) != 1 for client in world.clients):
        world.findings.append("a client had to connect again")
    world.check_one_sa_each()
    newcomer = world.client(len(world.clients) + 1)
    world.clients.append(newcomer)
    newcomer.session.start(0)
    await world.until(world.all_served, RECOVER_S, "nobody can connect afterwards")


async def restart_one(world: World) -> None:
    """A gateway is killed and comes back from its own data directory at once, twice."""
    await world.begin()
    await world.connect_all()
    gateway = world.random.choice(world.gateways)
    for _ in range(2):
        await gateway.kill()
        await asyncio.sleep(world.random.random() * 2)
        await world.start(gateway)
        await world.until(world.all_served, RECOVER_S, "not every client was served again")
    await asyncio.sleep(2)
    world.check_one_sa_each()
    await world.check_records()


async def owner_cut_off(world: World) -> None:
    """A gateway loses store and peers for longer than its lease, but not its clients. It is
    replaced while it lives; once it learns so, its clients resume, and nothing was said twice."""
    await world.begin()
    await world.connect_all()
    await asyncio.sleep(2)
    victim = world.random.choice(world.gateways)
    others = [gateway for gateway in world.gateways if gateway is not victim]
    affected = [client for client in world.clients if victim.name in world.holders(client)]
    victim.store.set_reachable(False)
    for other in others:
        world.links.cut(victim.name, other.name)
    await asyncio.sleep(5)
    await world.until(
        lambda: sum(len(g.node.ownership.owned) for g in others) == world.size.shards,
        30,
        "the others did not claim the shards of a member that is gone from the store",
    )
    if any(client.all("unanswered") for client in affected):
        world.findings.append("a gateway without the store stopped answering its clients")
    victim.store.set_reachable(True)
    world.links.heal()
    await asyncio.sleep(2)
    await world.until(world.all_served, RECOVER_S, "not every client was served again")
    await asyncio.sleep(2)
    world.check_one_sa_each()
    await world.check_records()
    for client in affected:
        if [up["how"] for up in client.all("established")] != ["full", "resumed"]:
            world.findings.append(f"{client.name} did not resume: {client.all('established')}")


async def answers_lost(world: World) -> None:
    """Every fifth answer of the store is lost after the deed. Nothing is done twice, nothing is
    believed undone; one gateway is killed on top."""
    await world.begin()
    for gateway in world.gateways:
        gateway.store.doubt = 0.2
    await world.connect_all()
    await world.random.choice(world.gateways).kill()
    await world.until(world.all_served, RECOVER_S, "not every client was served again")
    await asyncio.sleep(5)
    world.check_one_sa_each()
    await world.check_records()
    for client in world.clients:
        if client.all("ticket_refused"):
            world.findings.append(f"{client.name}: a valid ticket was refused")
        if any(failed["why"] != "no answer" for failed in client.all("failed")):
            world.findings.append(f"{client.name}: {client.all('failed')}")


SCENARIOS = {
    "kill-one": Scenario(kill_one),
    "one-ticket-twice": Scenario(one_ticket_twice, size=Size(clients=4)),
    "winner-dies": Scenario(winner_dies, size=Size(clients=4), weather=Weather()),
    "store-away": Scenario(store_away, size=Size(clients=8)),
    "restart-one": Scenario(restart_one, size=Size(clients=10)),
    "owner-cut-off": Scenario(owner_cut_off, size=Size(clients=10)),
    "answers-lost": Scenario(answers_lost, size=Size(clients=10)),
    "storm": Scenario(storm, size=storm_size, weather=Weather()),
}


def run_seed(name: str, seed: int, *, keep: bool = False) -> Result:
    """Play scenario `name` with `seed`; `keep`: with every event of the trace as text."""
    return run_scenario(SCENARIOS[name], seed, keep=keep)


def run_scenario(scenario: Scenario, seed: int, *, keep: bool = False) -> Result:
    """Play any scenario."""
    with tempfile.TemporaryDirectory() as folder:
        worlds: list[World] = []

        async def main(loop: SimLoop) -> None:
            size = scenario.size if isinstance(scenario.size, Size) else scenario.size(seed)
            world = World(loop, seed, Path(folder), size=size, weather=scenario.weather, keep=keep)
            worlds.append(world)
            await scenario.play(world)
            world.check_end()
            world.end()

        ended = ""
        try:
            run(main)
        except Stuck as error:
            ended = f"stuck: {error}"
        world = worlds[0]
        findings = [*world.findings, *([ended] if ended else [])]
        trace = world.trace
        return Result(
            tuple(findings), trace.digest(), trace.count, world.loop.time() - START_S,
            tuple(trace.lines or ()),
        )  # fmt: skip
