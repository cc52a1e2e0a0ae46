"""What mirrors must come to once nothing goes wrong any more.

Rules: what is compared with is the store. A copy that calls itself whole is what the store has,
octet for octet; and within `WHOLE_S` every copy calls itself so.
"""

import asyncio

from cluster.layout import Keys
from tests.sim.machine import CLUSTER, SimGateway
from tests.sim.world import World

WHOLE_S = 20.0
"""A shard that has just been gained is listed after 5 s and compared within 5 more; its copies are
read, and found right at the next comparison."""


def copies(gateway: SimGateway, shard: int) -> dict[bytes, bytes]:
    """What a gateway holds of another's shard: sealed records by SPI."""
    return {entry.spi: entry.sealed for entry in gateway.node.mirrors.held(shard).values()}


async def stored(world: World, shard: int) -> dict[bytes, bytes]:
    """What the store has of a shard."""
    prefix = Keys(CLUSTER).shard_records(shard)
    found = (await world.store.scan(prefix)).entries
    return {bytes.fromhex(entry.key[len(prefix) :].decode()): entry.value for entry in found}


def unfinished(world: World) -> list[str]:
    """Copies that should be whole and aren't, in words."""
    live = {gateway.name: gateway for gateway in world.live()}
    found = []
    for owner in live.values():
        node = owner.node
        for shard in sorted(node.ownership.owned):
            for backup in node.mirrors.backups_of(shard):
                if backup not in live or not live[backup].node.mirrors.is_whole(shard):
                    found.append(f"{backup}'s copy of {owner.name}'s shard {shard}")
    return found


async def check_mirrors(world: World) -> None:
    """Wait until all copies are whole, and compare them with the store."""
    for _ in range(3):  # an SA may just be coming or going
        wrong = await _differences(world)
        if not wrong:
            break
        await asyncio.sleep(1)
    else:
        world.findings.append(f"copies that call themselves whole differ: {wrong}")
    end_s = world.loop.time() + WHOLE_S
    while unfinished(world):
        if world.loop.time() > end_s:
            world.findings.append(f"not whole after {WHOLE_S:g} s: {unfinished(world)}")
            return
        await asyncio.sleep(0.5)
    wrong = await _differences(world)
    if wrong:
        world.findings.append(f"copies that have become whole differ: {wrong}")


async def _differences(world: World) -> list[str]:
    """Whole copies that aren't what the store has."""
    found = []
    for gateway in world.live():
        mirrors = gateway.node.mirrors
        for shard in mirrors.copies():
            if mirrors.is_whole(shard) and copies(gateway, shard) != await stored(world, shard):
                found.append(f"{gateway.name}'s of shard {shard}")
    return found


def check_counters(world: World) -> None:
    """What the backups know of how far each SA has come is what its owner knows, or nothing where
    it hasn't moved since its record. To be called when nobody has spoken for a moment.
    """
    live = {gateway.name: gateway for gateway in world.live()}
    for owner in live.values():
        node = owner.node
        for spi in owner.established():
            shard, progress = node.codec.shard_of(spi), node.gateway.endpoint.progress(spi)
            for backup in node.mirrors.backups_of(shard):
                known = live[backup].node.mirrors.counters(shard).get(spi)
                told = None if known is None else (known[1].expected_id, known[1].next_id)
                if progress is not None and told not in (progress.ids, None):
                    world.findings.append(f"{backup} believes {told} of {spi.hex()}: {progress}")
                if told is None and progress is not None and progress.ids != (2, 0):
                    world.findings.append(f"{backup} knows nothing of {spi.hex()}: {progress}")
