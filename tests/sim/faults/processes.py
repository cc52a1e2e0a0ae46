"""What happens to processes and machines: they die, stand still, end, and dates jump."""

import asyncio

from tests.sim.machine import SimGateway
from tests.sim.storm import Storm, boot
from tests.sim.world import World


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


async def pause(storm: Storm) -> None:
    """SIGSTOP, often for longer than a lease."""
    gateway = storm.some()
    if gateway is not None and not gateway.process.paused:
        storm.world.trace.event("pause", gateway.name)
        process = gateway.process
        process.pause()
        await asyncio.sleep(storm.between(0.3, 25))
        process.go_on()
        storm.world.trace.event("goes on", gateway.name)


async def sleep(storm: Storm) -> None:
    """A machine is suspended: CLOCK_BOOTTIME goes on, CLOCK_MONOTONIC and timers stand still."""
    gateway = storm.some()
    if gateway is not None and not gateway.process.paused:
        storm.world.trace.event("sleep", gateway.name)
        process = gateway.process
        process.suspend()
        await asyncio.sleep(storm.between(0.3, 40))
        process.go_on()
        storm.world.trace.event("wakes", gateway.name)


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


def calm(world: World) -> None:
    """Dates are about right, and who stood still goes on."""
    for gateway in world.gateways:
        gateway.clock.wall_offset_s = max(-0.5, min(0.5, gateway.clock.wall_offset_s))
        if gateway.alive:
            gateway.process.go_on()


FAULTS = (kill, kill_in_a_commit, pause, sleep, terminate, step_clock)
