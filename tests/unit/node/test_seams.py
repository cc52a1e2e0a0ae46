"""node.seams: the real clock and randomness."""

import os
import time

import pytest

from node.seams import POOL_OCTETS, OsClock, OsRng


def test_the_clocks_are_the_ones_named() -> None:
    clock = OsClock()
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= clock.boot_s() <= time.clock_gettime(time.CLOCK_BOOTTIME)
    before = time.time()
    assert before <= clock.wall_s() <= time.time()


def test_octets_are_as_many_as_asked_for_and_never_come_again() -> None:
    rng = OsRng()
    sizes = [0, 1, 16, 32, POOL_OCTETS - 1, POOL_OCTETS, POOL_OCTETS + 1, 7]
    assert [len(rng.bytes(n)) for n in sizes] == sizes
    drawn = [rng.bytes(16) for _ in range(3 * POOL_OCTETS // 16)]
    assert len(set(drawn)) == len(drawn)


def test_a_negative_number_is_refused() -> None:
    with pytest.raises(ValueError, match="-1 octets"):
        OsRng().bytes(-1)


def test_a_forked_child_does_not_repeat_its_parents_octets() -> None:
    rng = OsRng()
    rng.bytes(16)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, rng.bytes(16))
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reader, 16)
    os.close(reader)
    os.close(writer)
    assert len(theirs) == 16
    assert rng.bytes(16) != theirs
