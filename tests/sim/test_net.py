"""The simulated network does what its weather says, and no more."""

import asyncio

import pytest

from proto.ike.effects import Datagram, Path
from tests.sim.loop import SimLoop, run
from tests.sim.net import PacketNet, SimSockets, Weather
from tests.sim.seams import SeededRng
from tests.sim.trace import Trace

A, B = ("192.0.2.1", 500), ("192.0.2.2", 4500)


def _arrivals(weather: Weather, sizes: list[int], *, cut: tuple[str, str] | None = None):
    """What arrives at B of datagrams sent by A, 10 ms apart: [(number, ms under way)]."""

    async def main(loop: SimLoop) -> list[tuple[int, float]]:
        net = PacketNet(loop, SeededRng(1, "net"), Trace(loop), weather)
        arrived: list[tuple[int, float]] = []
        sent_s: list[float] = []

        def note(data: bytes, path: Path) -> None:
            assert path == Path(local=B, remote=A)
            i = int.from_bytes(data[:4], "big")
            arrived.append((i, (loop.time() - sent_s[i]) * 1000))

        SimSockets(net, (B,)).on_datagram(note)
        sockets = SimSockets(net, (A,))
        if cut:
            net.cut(*cut, both=False)
        for i, size in enumerate(sizes):
            sent_s.append(loop.time())
            sockets.send(Datagram(i.to_bytes(4, "big") + bytes(size - 4), Path(A, B)))
            await asyncio.sleep(0.01)
        await asyncio.sleep(10)
        return arrived

    return run(main)


def test_calm_weather_delivers_everything_in_order_and_in_time():
    arrived = _arrivals(Weather(latency_s=0.02, jitter_s=0.001), [100] * 50)
    assert [i for i, _ in arrived] == list(range(50))
    assert all(20 <= ms <= 21.001 for _, ms in arrived)


def test_loss_takes_its_share():
    arrived = _arrivals(Weather(loss=0.3), [100] * 1000)
    assert 600 < len(arrived) < 800
    assert len({i for i, _ in arrived}) == len(arrived)


def test_duplication_delivers_some_twice_and_loses_none():
    arrived = [i for i, _ in _arrivals(Weather(duplicate=0.3), [100] * 1000)]
    assert set(arrived) == set(range(1000))
    assert 1200 < len(arrived) < 1400


def test_reordering_lets_later_datagrams_overtake():
    arrived = [i for i, _ in _arrivals(Weather(reorder=0.2), [100] * 200)]
    assert sorted(arrived) == list(range(200))
    assert arrived != sorted(arrived)


def test_longer_than_the_mtu_is_dropped():
    arrived = _arrivals(Weather(mtu=1000), [999, 1000, 1001])
    assert [i for i, _ in arrived] == [0, 1]


def test_a_cut_stops_one_direction_only_unless_both_are_cut():
    assert _arrivals(Weather(), [100], cut=(A[0], B[0])) == []
    assert len(_arrivals(Weather(), [100], cut=(B[0], A[0]))) == 1


def test_what_is_under_way_when_the_cut_comes_is_lost_and_healing_restores():
    async def main(loop: SimLoop) -> list[bytes]:
        net = PacketNet(loop, SeededRng(1, "net"), Trace(loop), Weather(latency_s=1))
        arrived: list[bytes] = []
        net.bind(B, lambda data, path: arrived.append(data))
        net.send(b"under way", Path(A, B))
        await asyncio.sleep(0.5)
        net.cut(A[0], B[0])
        await asyncio.sleep(1)
        net.heal()
        net.send(b"after", Path(A, B))
        await asyncio.sleep(2)
        return arrived

    assert run(main) == [b"after"]


def test_one_link_can_have_weather_of_its_own():
    async def main(loop: SimLoop) -> list[bytes]:
        net = PacketNet(loop, SeededRng(1, "net"), Trace(loop), Weather())
        net.set_weather(A[0], B[0], Weather(loss=1.0))
        arrived: list[bytes] = []
        net.bind(A, lambda data, path: arrived.append(data))
        net.bind(B, lambda data, path: arrived.append(data))
        net.send(b"to b", Path(A, B))
        net.send(b"to a", Path(B, A))
        await asyncio.sleep(1)
        return arrived

    assert run(main) == [b"to a"]


def test_closed_sockets_hear_nothing_and_their_address_is_free_again():
    async def main(loop: SimLoop) -> list[bytes]:
        net = PacketNet(loop, SeededRng(1, "net"), Trace(loop), Weather())
        arrived: list[bytes] = []
        first = SimSockets(net, (B,))
        first.on_datagram(lambda data, path: arrived.append(b"first: " + data))
        with pytest.raises(OSError, match="in use"):
            SimSockets(net, (B,)).on_datagram(lambda data, path: None)
        first.close()
        net.send(b"lost", Path(A, B))
        await asyncio.sleep(1)
        SimSockets(net, (B,)).on_datagram(lambda data, path: arrived.append(b"second: " + data))
        net.send(b"heard", Path(A, B))
        await asyncio.sleep(1)
        return arrived

    assert run(main) == [b"second: heard"]
