"""Expiry buckets: one lease each, the same at every member, never too short."""

from hypothesis import given
from hypothesis import strategies as st

from cluster.expiry import BUCKET_S, LEASES_MAX, SLACK_S, ExpiryBuckets
from cluster.store import Put, Txn
from tests.sim.loop import run
from tests.unit.cluster.fakes import T0, FaultyStore, HandClock

ROOT = b"/standfast/sample/"


def buckets(root: bytes = ROOT, clock: HandClock | None = None) -> ExpiryBuckets:
    clock = clock or HandClock()
    return ExpiryBuckets(FaultyStore(clock), root, clock)


@given(st.floats(0, 1e10), st.floats(0, 1e10))
def test_a_bucket_ends_after_what_falls_in_it(one: float, two: float) -> None:
    of = buckets()
    assert one < of.ends_s(one) <= one + BUCKET_S + 1
    same = of.ends_s(one) == of.ends_s(two)
    assert same == (of.lease_id(of.ends_s(one)) == of.lease_id(of.ends_s(two)))


def test_members_of_a_cluster_agree_on_a_lease_and_clusters_do_not_share_one() -> None:
    ends_s = buckets().ends_s(T0)
    assert buckets().lease_id(ends_s) == buckets().lease_id(ends_s)
    assert buckets().lease_id(ends_s) != buckets(b"/standfast/other/").lease_id(ends_s)
    assert 0 < buckets().lease_id(ends_s) < 1 << 63


def test_a_lease_reaches_the_end_of_its_bucket_and_the_slack() -> None:
    async def main(_loop: object) -> None:
        clock = HandClock()
        store = FaultyStore(clock)
        of = ExpiryBuckets(store, ROOT, clock)
        expires = of.ends_s(T0) - 1.0  # the last second of its bucket
        lease_id = await of.grant(expires)
        await store.commit(Txn((), (Put(b"key", b"value", lease_id),)))
        clock.advance(expires - T0 + SLACK_S / 2)
        assert await store.get(b"key") is not None
        clock.advance(SLACK_S)
        assert await store.get(b"key") is None

    run(main)


def test_a_lease_is_granted_once_and_again_after_forgetting() -> None:
    async def main(_loop: object) -> None:
        clock = HandClock()
        store = FaultyStore(clock)
        of = ExpiryBuckets(store, ROOT, clock)
        assert of.granted(T0) == 0
        first = await of.grant(T0)
        assert await of.grant(T0 + 1) == first == of.granted(T0)
        assert len(store.granted) == 1
        of.forget()
        assert await of.grant(T0) == first
        assert len(store.granted) == 2

    run(main)


def test_a_bounded_number_of_leases_is_remembered() -> None:
    async def main(_loop: object) -> None:
        of = buckets()
        for number in range(LEASES_MAX + 5):
            await of.grant(T0 + number * BUCKET_S)
        assert len(of._granted) == LEASES_MAX
        assert of.granted(T0) == 0
        assert of.granted(T0 + (LEASES_MAX + 4) * BUCKET_S) != 0

    run(main)
