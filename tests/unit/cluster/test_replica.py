"""Replicas: whatever reaches them by link and by scan, in the end they are what the store has."""

from hypothesis import given
from hypothesis import strategies as st

from cluster.link import MirrorEntry
from cluster.replica import Digest, Replica

Write = tuple[int, bytes]
"""(SPI, octets; empty: deleted)."""

WRITES = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from((b"", b"a" * 12, b"b" * 12, b"c" * 12))),
    max_size=12,
)


def entry(number: int, sealed: bytes, revision: int) -> MirrorEntry:
    return MirrorEntry(number.to_bytes(8, "big"), sealed, revision)


class Store:
    """The store of a shard, one write per revision."""

    def __init__(self) -> None:
        self.revision = 100
        self.now: dict[int, MirrorEntry] = {}

    def write(self, number: int, sealed: bytes) -> MirrorEntry:
        self.revision += 1
        made = entry(number, sealed, self.revision)
        if sealed:
            self.now[number] = made
        else:
            self.now.pop(number, None)
        return made

    def scan(self) -> tuple[MirrorEntry, ...]:
        return tuple(self.now.values())

    def octets(self) -> dict[bytes, bytes]:
        return {made.spi: made.sealed for made in self.now.values()}


def octets(replica: Replica) -> dict[bytes, bytes]:
    return {made.spi: made.sealed for made in replica}


@given(before=WRITES, unheard=WRITES, early=WRITES, late=WRITES, behind=st.integers(0, 12))
def test_a_scan_and_what_comes_meanwhile_make_what_the_store_has(
    before: list[Write],
    unheard: list[Write],
    early: list[Write],
    late: list[Write],
    behind: int,
) -> None:
    """Some writes are heard of, some never; then a scan begins. Of the writes before and after the
    moment that it shows, the last `behind` are heard of only when it is merged."""
    store, replica, ledger = Store(), Replica(octets=True), Replica(octets=False)
    for write in before:
        made = store.write(*write)
        replica.put(made)
        ledger.put(made)
    for write in unheard:
        store.write(*write)
    replica.begin()
    ledger.begin()
    heard = [store.write(*write) for write in early]
    scanned, seen_at = store.scan(), store.revision
    heard += [store.write(*write) for write in late]
    cut = max(0, len(heard) - behind)
    for each in (replica, ledger):
        for made in heard[:cut]:
            each.put(made)
        each.merge(scanned, seen_at)
        for made in heard[cut:]:
            each.put(made)
    assert octets(replica) == store.octets()
    assert replica.digest() == ledger.digest()
    assert len(replica) == len(ledger) == len(store.now)


@given(writes=WRITES)
def test_what_has_grown_is_what_is_counted(writes: list[Write]) -> None:
    store, replica = Store(), Replica(octets=True)
    grown = sum(replica.put(store.write(*write)) for write in writes)
    assert grown == len(replica) == len(store.now)


def test_a_digest_tells_every_kind_of_difference() -> None:
    replica = Replica(octets=True)
    assert replica.digest() == Digest(0, 0)
    replica.put(entry(1, b"sealed-1-tagtag-1", 5))
    replica.put(entry(2, b"sealed-2-tagtag-2", 6))
    seen = {replica.digest()}
    for put in (
        entry(2, b"", 7),
        entry(2, b"sealed-2-tagtag-3", 8),
        entry(3, b"sealed-3-tagtag-2", 9),
        entry(1, b"sealed-1-tagtag-3", 10),
        entry(2, b"sealed-2-tagtag-1", 11),  # the octets of the two, exchanged
    ):
        replica.put(put)
        assert replica.digest() not in seen
        seen.add(replica.digest())


def test_a_scan_that_comes_to_nothing_leaves_everything() -> None:
    replica = Replica(octets=True)
    replica.put(entry(1, b"a" * 12, 5))
    replica.begin()
    replica.put(entry(2, b"b" * 12, 6))
    replica.abandon()
    assert len(replica) == 2
    replica.begin()
    merged = replica.merge((), 6)
    assert len(merged.gone) == 2
    assert len(replica) == 0


def test_what_came_and_went_before_the_scan_was_answered_is_gone() -> None:
    for octets_too in (True, False):
        replica = Replica(octets=octets_too)
        replica.begin()
        replica.put(entry(1, b"a" * 12, 5))
        replica.put(entry(2, b"b" * 12, 8))
        merged = replica.merge((), 7)
        assert [each.spi for each in merged.gone] == [entry(1, b"", 0).spi]
        assert [each.spi for each in replica] == [entry(2, b"", 0).spi]
