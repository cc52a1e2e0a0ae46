"""What happens between members, and between clients and gateways."""

import asyncio

from proto.ike.effects import Path
from tests.sim.net import Weather
from tests.sim.storm import Storm
from tests.sim.world import World


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


def calm(world: World) -> None:
    """Everybody reaches everybody."""
    world.net.heal()
    world.net.weather = Weather()
    world.links.heal()
    world.links.loss, world.links.latency_s = 0.0, 0.001


FAULTS = (members_apart, client_apart, bad_weather, replay, flood)
