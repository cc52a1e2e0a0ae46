"""Computations in other processes: their results, and what becomes of them when one dies."""

import asyncio
import sys

import pytest

from node.computing import ANSWER_OCTETS_MAX, COMMAND, Workers, framed
from proto.ike import dh
from proto.ike.agreement import Agree, Agreed, Answer, Answered, KeyMade, MakeKey, compute
from proto.ike.enums import KeMethod
from proto.ike.errands import Computation, Result, Undone
from proto.ike.errors import WireError
from proto.secret import Secret
from tests.unit.proto.test_dh import CountingRng

GROUP = KeMethod.MODP_2048
PRIVATE = dh.draw(GROUP, CountingRng())
PEER = dh.KeyExchange.generate(GROUP, CountingRng(9))
MAKE = MakeKey(GROUP, PRIVATE)
ANSWER = Answer(GROUP, PRIVATE, PEER.public)


def script(*lines: str) -> tuple[str, ...]:
    """A process in the place of ours."""
    return (sys.executable, "-c", "\n".join(("import os, sys", *lines)))


async def test_all_three_kinds_come_to_what_they_come_to_here() -> None:
    workers = Workers(1)
    made = await workers.compute(MAKE)
    assert isinstance(made, KeyMade)
    own = dh.KeyExchange.from_private(GROUP, PRIVATE)
    assert made.exchange.public == own.public
    shared = PEER.shared(own.public)
    assert await workers.compute(ANSWER) == Answered(own.public, shared)
    assert await workers.compute(Agree(made.exchange, PEER.public)) == Agreed(shared)
    await workers.close()


async def test_a_value_of_another_length_is_told_so() -> None:
    workers = Workers(1)
    refused = await workers.compute(Answer(GROUP, PRIVATE, b"short"))
    assert isinstance(refused, Answered)
    assert refused.shared is None
    assert "5 octets" in refused.why
    await workers.close()


async def test_many_at_once_are_shared_among_a_bounded_number_of_processes() -> None:
    workers = Workers(2)
    results = await asyncio.gather(*[workers.compute(ANSWER) for _ in range(12)])
    assert results == [ANSWER.run()] * 12
    assert len(workers._children) == 2
    await workers.close()


async def test_a_process_that_dies_costs_what_it_had_and_another_one_is_started() -> None:
    workers = Workers(1, script("sys.stdin.buffer.read(4)", "os.kill(os.getpid(), 9)"))
    told = await asyncio.gather(workers.compute(MAKE), workers.compute(ANSWER))
    assert told == [Undone("not computed: the computing process has ended")] * 2
    workers._command = COMMAND
    assert isinstance(await workers.compute(MAKE), KeyMade)
    await workers.close()


async def test_who_answers_nonsense_is_ended() -> None:
    long = (ANSWER_OCTETS_MAX + 1).to_bytes(4, "big")
    for said in (long, framed(b"\xc1"), framed(b"")):
        workers = Workers(1, script("sys.stdin.buffer.read(4)", f"os.write(1, {said!r})"))
        assert isinstance(await workers.compute(MAKE), Undone)
        await workers.close()


async def test_a_program_that_is_not_there_computes_nothing() -> None:
    workers = Workers(1, ("/nowhere/at/all",))
    assert isinstance(await workers.compute(MAKE), Undone)
    await workers.close()


async def test_closed_it_computes_nothing_and_what_waits_is_undone() -> None:
    workers = Workers(1)
    assert isinstance(await workers.compute(MAKE), KeyMade)
    waiting = asyncio.ensure_future(workers.compute(MAKE))
    await asyncio.sleep(0)
    await workers.close()
    assert isinstance(await waiting, Undone)
    assert await workers.compute(MAKE) == Undone("not computed: closed")


async def test_it_ends_with_us() -> None:
    """Whoever is killed leaves nobody behind: the end of the pipe is the end of the process."""
    child = await asyncio.create_subprocess_exec(
        *COMMAND, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(framed(MAKE.request()))
    size = int.from_bytes(await child.stdout.readexactly(4), "big")
    assert MAKE.result(await child.stdout.readexactly(size))
    child.stdin.close()
    assert await child.wait() == 0


@pytest.mark.parametrize("octets", [b"", b"\xc1", b"\x93\x01\x02\x03"])
def test_what_is_no_request_and_no_answer_is_a_wire_error(octets: bytes) -> None:
    with pytest.raises(WireError):
        compute(octets)
    with pytest.raises(WireError):
        MAKE.result(octets)


def test_a_base_kind_says_nothing() -> None:
    nothing = Computation()
    for do in (nothing.run, nothing.request, lambda: nothing.result(b"")):
        with pytest.raises(NotImplementedError):
            do()


def test_no_secret_prints() -> None:
    assert isinstance(ANSWER.run(), Result)
    for value in (MAKE, ANSWER, ANSWER.run(), Secret(b"x")):
        assert PRIVATE.octets.hex() not in repr(value)
