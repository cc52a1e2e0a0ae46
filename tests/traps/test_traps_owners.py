"""What goes wrong between members, in the simulator. The numbers are those of docs/traps.md."""

import asyncio

import msgspec

from cluster.batch import Op, OpKind
from node.audit import CYCLE_S
from proto.ike.effects import Path
from proto.ike.enums import FLAG_RESPONSE, ExchangeType
from tests.sim.net import Weather
from tests.sim.scenario import RECOVER_S, Scenario, run_scenario
from tests.sim.scenarios import run_seed
from tests.sim.world import Size, World
from tests.unit.cluster.journal_world import (
    COMMITTED,
    KEYS,
    SUPERSEDED,
    chain,
    create,
    play,
    redeem,
)
from tests.unit.cluster.journal_world import World as JournalWorld
from tests.unit.cluster.journal_world import other as other_op

CALM = Weather()


def findings(play: object, size: Size) -> tuple[str, ...]:
    """Of one run of `play`."""
    return run_scenario(Scenario(play, size=size, weather=CALM), 1).findings  # type: ignore[arg-type]


def test_trap_04_an_ike_auth_that_arrives_at_another_member_is_answered() -> None:
    """The first exchange went to one member; what follows, of either kind, arrives at the next."""

    async def astray(world: World) -> None:
        await world.begin()
        client = world.clients[0]
        rerouted: list[int] = []

        def watch(data: bytes, path: Path) -> None:
            exchange, response = data[18], data[19] & FLAG_RESPONSE
            first = exchange in (ExchangeType.IKE_SA_INIT, ExchangeType.IKE_SESSION_RESUME)
            if response and first and path.remote[0] == client.local[0]:
                world.net.cut(client.local[0], path.local[0], both=False)
            elif path.local[0] == client.local[0] and exchange == ExchangeType.IKE_AUTH:
                hosts = [gateway.host for gateway in world.gateways]
                at = hosts[(hosts.index(path.remote[0]) + 1) % len(hosts)]
                if at != path.local[0] and not response:
                    rerouted.append(exchange)
                    world.net.inject(data, Path(path.local, (at, path.remote[1])))

        world.net.observers.append(watch)
        client.session.start(0)
        await world.until(lambda: bool(client.all("established")), 20, "no IKE_AUTH was answered")
        world.net.heal()
        world.net.observers.remove(watch)
        if not rerouted:
            world.findings.append("nothing went astray")
        forwarded = sum(g.node.metrics.dropped.by.get("forwarded", 0) for g in world.gateways)
        if not forwarded:
            world.findings.append("nothing was forwarded")
        if len(client.all("established")) != 1:
            world.findings.append("the client had to try twice")

    assert findings(astray, Size(clients=1)) == ()


def test_trap_07_an_old_sa_at_a_member_that_lives_is_dropped_there_without_a_word() -> None:
    """The client resumes elsewhere; its former gateway hears it from nobody, and looks itself."""

    async def parted(world: World) -> None:
        await world.begin()
        await world.connect_all()
        await asyncio.sleep(1)
        client = world.clients[0]
        former, old = world.gateway(world.holders(client)[0]), client.spi_r
        for other in world.gateways:
            if other is not former:
                world.links.cut(former.name, other.name)
        world.net.cut(client.local[0], former.host)
        said: list[bytes] = []

        def watch(data: bytes, path: Path) -> None:
            if path.local[0] == former.host and data[8:16] == old:
                said.append(data)

        await world.until(
            lambda: len(client.all("established")) > 1, RECOVER_S, "the client did not resume"
        )
        if [up["how"] for up in client.all("established")] != ["full", "resumed"]:
            world.findings.append(f"{client.all('established')} instead of a resumption")
        world.net.heal()  # the former gateway reaches the client again, and believes in its SA
        world.net.observers.append(watch)
        if old not in former.established():
            world.findings.append("the former SA went before anybody could know")
        await world.until(
            lambda: old not in former.established(), 2 * CYCLE_S, "the former SA is still held"
        )
        if said:
            world.findings.append(f"{former.name} said {len(said)} datagrams for the former SA")
        world.links.heal()
        await asyncio.sleep(1)
        world.check_one_sa_each()
        if client.all("ended") or len(client.all("established")) != 2:
            world.findings.append("the client was told of an end")

    assert findings(parted, Size(clients=3)) == ()


def test_trap_22_what_a_peer_has_lost_ends_at_every_member() -> None:
    """The peer begins anew elsewhere and says so; with the member that had it alive, or dead."""
    assert run_seed("initial-contact", 3).findings == ()
    assert run_seed("initial-contact-adopted", 3).findings == ()


def test_trap_25_nothing_leaves_a_gateway_that_dies_in_its_commit() -> None:
    """It dies with its write undone: no answer was out, and the client begins anew elsewhere."""

    async def dies(world: World) -> None:
        await world.begin()
        client = world.clients[0]
        victim = world.gateways[0]
        victim.store.before_commit = victim.cut_down
        answers: list[bytes] = []

        def watch(data: bytes, path: Path) -> None:
            response = data[19] & FLAG_RESPONSE
            if path.local[0] == victim.host and response and data[18] == ExchangeType.IKE_AUTH:
                answers.append(data)

        world.net.observers.append(watch)
        client.session.start(0)
        await world.until(lambda: not victim.alive, 20, "the gateway never got to its commit")
        await world.until(world.all_served, RECOVER_S, "the client was not served")
        if answers:
            world.findings.append("an answer left before its state was durable")
        world.check_one_sa_each()
        await world.check_records()

    assert findings(dies, Size(clients=1)) == ()


def test_trap_09_whose_clock_is_off_issues_no_ticket() -> None:
    """It finds out by what the others' heartbeats say; of two nobody can tell which is right."""
    for seed in (1, 2):
        assert run_seed("clock-off", seed).findings == ()


def test_trap_21_a_restored_store_is_not_believed_and_once_accepted_voids_what_was_before() -> None:
    assert run_seed("store-rewound", 1).findings == ()


def test_trap_08_the_end_of_a_former_sa_leaves_the_address_to_the_one_that_followed() -> None:
    address = KEYS.address("office", bytes((10, 9, 0, 1)))

    def leased(op: Op, **also: object) -> Op:
        return msgspec.structs.replace(op, addresses=(address,), **also)

    async def story(world: JournalWorld) -> None:
        at, elsewhere = world.member(), world.member("gw2")
        assert await at.do(leased(create(1), takes=True)) is COMMITTED
        assert await elsewhere.do(leased(redeem(1, 1, new=11, old=1))) is COMMITTED
        for end in (OpKind.END, OpKind.REVOKE):
            assert await at.do(leased(other_op(end, 1, 1))) is SUPERSEDED
        found = await world.store.get(address)
        assert found is not None
        assert found.value == chain(1)

    play(story)
