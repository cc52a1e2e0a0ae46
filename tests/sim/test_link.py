"""The simulated peer link keeps its contract: ordered or lost, never blocking, really encoded."""

import asyncio

from cluster.link import (
    Alone,
    Forward,
    Frame,
    Heartbeat,
    Hello,
    Mirror,
    MirrorAck,
    MirrorEntry,
    Return,
    Seat,
    SeatLost,
    SeatsAsk,
    SeatsTold,
    Superseded,
)
from tests.sim.link import IN_FLIGHT_MAX, LinkNet
from tests.sim.loop import SimLoop, run
from tests.sim.seams import SeededRng
from tests.sim.trace import Trace

PEERS = {"gw1": "127.0.0.1:1", "gw2": "127.0.0.1:2"}


def _ack(sequence: int) -> MirrorAck:
    return MirrorAck(shard=1, fence=2, stream=3, sequence=sequence)


async def _pair(loop: SimLoop):
    net = LinkNet(loop, SeededRng(1, "link"), Trace(loop), latency_s=0.01)
    one, two = net.join("gw1"), net.join("gw2")
    one.set_peers(PEERS)
    two.set_peers(PEERS)
    heard: list[tuple[str, Frame]] = []
    two.on_frame(lambda sender, frame: heard.append((sender, frame)))
    return net, one, two, heard


def test_every_kind_of_frame_arrives_as_it_was_sent():
    entry = MirrorEntry(spi=b"8 octets", sealed=b"\x00\xff", revision=77)
    frames: list[Frame] = [
        Heartbeat(incarnation="aa", sequence=1, sessions=2, ring_revision=3, state="normal"),
        Hello("gw1:7400"),
        Mirror(shard=1, fence=2, stream=1, sequence=3, entries=(entry,)),
        _ack(9),
        Forward(data=b"\x01", local=("192.0.2.1", 500), remote=("192.0.2.9", 4500)),
        Return(data=b"\x02", local=("192.0.2.1", 500), remote=("192.0.2.9", 4500)),
        Superseded(chain=bytes(16), spi=bytes(8)),
        Alone("fqdn:a", b"gw", bytes(16), 1.0),
        SeatsAsk(1, "fqdn:a", b"gw", bytes(8)),
        SeatsTold(1, (Seat(bytes(16), bytes(8), 1.0),), (bytes(8),)),
        SeatLost(bytes(16)),
    ]

    async def main(loop: SimLoop):
        _, one, _, heard = await _pair(loop)
        assert all(one.send("gw2", frame) for frame in frames)
        await asyncio.sleep(1)
        return heard

    assert run(main) == [("gw1", frame) for frame in frames]


def test_frames_of_one_instant_arrive_in_the_order_sent():
    async def main(loop: SimLoop):
        _, one, _, heard = await _pair(loop)
        for i in range(500):
            one.send("gw2", _ack(i))
        await asyncio.sleep(1)
        return [frame.sequence for _, frame in heard]

    assert run(main) == list(range(500))


def test_a_full_queue_drops_and_says_so():
    async def main(loop: SimLoop):
        _, one, _, heard = await _pair(loop)
        taken = [one.send("gw2", _ack(i)) for i in range(IN_FLIGHT_MAX + 10)]
        await asyncio.sleep(1)
        assert one.send("gw2", _ack(0))
        return taken, len(heard)

    taken, heard = run(main)
    assert taken == [True] * IN_FLIGHT_MAX + [False] * 10
    assert heard == IN_FLIGHT_MAX


def test_only_members_of_the_roster_are_sent_to():
    async def main(loop: SimLoop):
        _, one, _, heard = await _pair(loop)
        one.set_peers({})
        assert not one.send("gw2", _ack(1))
        assert not one.send("nobody", _ack(1))
        await asyncio.sleep(1)
        return heard

    assert run(main) == []


def test_a_cut_loses_frames_silently_until_it_is_healed():
    async def main(loop: SimLoop):
        net, one, _, heard = await _pair(loop)
        net.cut("gw1", "gw2")
        assert one.send("gw2", _ack(1))
        await asyncio.sleep(1)
        net.heal()
        assert one.send("gw2", _ack(2))
        await asyncio.sleep(1)
        return [frame.sequence for _, frame in heard]

    assert run(main) == [2]


def test_a_closed_link_neither_sends_nor_hears_and_a_later_life_takes_its_name():
    async def main(loop: SimLoop):
        net, one, two, heard = await _pair(loop)
        await two.close()
        assert not one.send("gw2", _ack(1))
        assert not two.send("gw1", _ack(1))
        again: list[Frame] = []
        net.join("gw2").on_frame(lambda sender, frame: again.append(frame))
        assert one.send("gw2", _ack(2))
        await asyncio.sleep(1)
        return heard, [frame.sequence for frame in again]

    assert run(main) == ([], [2])
