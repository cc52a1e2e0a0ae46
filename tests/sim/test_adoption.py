"""What is adopted of a shard that is being read, in a whole node."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from cluster.adoption import Opened
from cluster.link import Counters, HandedOver, Superseded
from cluster.ownership import Owned
from tests.sim.loop import SimLoop, run
from tests.sim.machine import SimGateway
from tests.sim.net import Weather
from tests.sim.world import Size, World


class Reading:
    """A node in the midst of reading a shard with one session's record in it."""

    def __init__(self, world: World, gateway: SimGateway, octets: bytes, spi: bytes) -> None:
        self.world = world
        self.gateway = gateway
        self.node = gateway.node
        self.spi = spi
        self.shard = self.node.codec.shard_of(spi)
        owned = self.node.ownership._owned
        self.fence = owned[self.shard].fence + 1
        owned[self.shard] = Owned(self.fence, owned[self.shard].revision)
        self._record = Opened(spi, octets)
        self.node.gateway.endpoint.drop(spi, "as if it had only now gained the shard")
        self.node.adopter.reading._pending[self.shard] = self.fence

    def hand_on(self) -> bool:
        """The record is read; whether it was adopted."""
        take = self.node.adopter._take
        self.gateway.process.context.run(take, self.shard, self.fence, [self._record])
        return self.spi in self.gateway.established()


def reading(test: Callable[[Reading], Awaitable[None]]) -> Callable[[], None]:
    """Runs `test` on a cluster of two with one session."""

    async def main(loop: SimLoop, folder: Path) -> None:
        size = Size(gateways=2, clients=1, shards=4)
        world = World(loop, 1, folder, size=size, weather=Weather(), keep=False)
        await world.begin()
        await world.connect_all()
        (client,) = world.clients
        gateway = world.gateway(world.holders(client)[0])
        node, spi = gateway.node, client.spi_r
        key = node.keys.record(node.codec.shard_of(spi), spi)
        entry = await world.store.get(key)
        assert entry is not None
        await test(Reading(world, gateway, node.vault.open_record(entry.value, key), spi))
        world.end()

    def wrapper() -> None:
        with tempfile.TemporaryDirectory() as folder:
            run(lambda loop: main(loop, Path(folder)))

    wrapper.__name__ = test.__name__
    return wrapper


@reading
async def test_a_record_that_was_read_is_adopted(it: Reading) -> None:
    assert it.hand_on()
    assert it.node.metrics.sessions == 2, "counted once when it was set up, and once more here"


@reading
async def test_what_was_resumed_here_meanwhile_is_not_adopted(it: Reading) -> None:
    it.node.replaced(b"chain", it.spi)
    assert not it.hand_on()


@reading
async def test_what_was_resumed_elsewhere_meanwhile_is_not_adopted(it: Reading) -> None:
    it.node._superseded(Superseded(b"chain", it.spi))
    assert not it.hand_on()


@reading
async def test_who_was_revoked_meanwhile_is_ended_when_adopted(it: Reading) -> None:
    await it.node.refusals.rules.revoke_identity(it.world.clients[0].name, 3600.0)
    assert it.hand_on()
    assert it.node.gateway.endpoint.is_writing(it.spi), "nothing but its end can be under way"


@reading
async def test_what_stands_here_is_not_looked_at_as_shards_are_read(it: Reading) -> None:
    """It was held against each rule as that came: who has proven himself anew since stays."""
    it.world.clients.append(late := it.world.client(1))
    for gateway in it.world.live():
        await gateway.node.refusals.rules.revoke_identity(late.name, 3600.0)
    late.session.start(1)
    await it.world.until(lambda: bool(it.world.holders(late)), 1, "it wasn't let in")
    (name,) = it.world.holders(late)
    adopter, spi = it.world.gateway(name).node.adopter, late.spi_r
    for shard in range(it.world.size.shards):
        adopter._read(shard, 9)
    await asyncio.sleep(2)
    assert late.spi_r == spi
    assert spi in it.world.gateway(name).established()
    assert it.world.findings == []


@reading
async def test_what_was_replaced_is_forgotten_when_the_reading_ends(it: Reading) -> None:
    it.node.replaced(b"chain", it.spi)
    del it.node.adopter.reading._pending[it.shard]
    it.node.adopter._read(it.shard, it.fence)
    assert it.hand_on()
    it.node.replaced(b"chain", it.spi)
    assert it.node.adopter._gone == {}, "nothing is being read: the SA itself was dropped"


def last_word(it: Reading, fence: int, *, asking: bool = False) -> HandedOver:
    """What the owner before `fence` says: the client was answered to 40, and asked 7 times."""
    local, remote = (it.gateway.host, 500), it.world.clients[0].local
    row = Counters(it.spi, 41, 7, local, remote, 0.0)
    return HandedOver(it.shard, fence, (row,), (it.spi,) if asking else ())


@reading
async def test_the_last_word_may_come_before_the_record_is_read(it: Reading) -> None:
    it.node.adopter._heard_of("gw9", last_word(it, it.fence))
    assert it.hand_on()
    endpoint = it.node.gateway.endpoint
    progress = endpoint.progress(it.spi)
    assert progress is not None
    assert progress.ids == (40, 7)
    assert not endpoint.is_asking(it.spi)


@reading
async def test_the_last_word_may_come_while_the_shard_is_still_being_read(it: Reading) -> None:
    assert it.hand_on()
    endpoint = it.node.gateway.endpoint
    assert endpoint.is_asking(it.spi)
    it.node.adopter._heard_of("gw9", last_word(it, it.fence))
    assert not endpoint.is_asking(it.spi)
    assert it.node.adopter._heard == {}


@reading
async def test_an_older_owners_word_is_not_the_last(it: Reading) -> None:
    it.node.adopter._heard_of("gw9", last_word(it, it.fence - 1))
    assert it.hand_on()
    assert it.node.gateway.endpoint.is_asking(it.spi)


@reading
async def test_with_a_question_under_way_the_heir_only_answers(it: Reading) -> None:
    it.node.adopter._heard_of("gw9", last_word(it, it.fence, asking=True))
    assert it.hand_on()
    endpoint = it.node.gateway.endpoint
    assert endpoint.is_asking(it.spi)
    progress = endpoint.progress(it.spi)
    assert progress is not None
    assert progress.ids[0] == 40, "what was answered is known all the same"
