"""The durable form of an SA: what was written is what was said (promise 6)."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.ike import record
from proto.ike.core import replace
from proto.ike.effects import PersistKind
from proto.ike.enums import ExchangeType, ProtocolId
from proto.ike.errors import WireError
from proto.ike.payloads import DeletePayload
from tests.pair.craft import sealed
from tests.pair.pair import Pair, is_response
from tests.pair.parts import CLIENT, GATEWAY, PEER, SETTINGS


def written(pair: Pair) -> record.Record:
    """The one record that the store holds."""
    (octets,) = pair.chains.records.values()
    return record.decode(octets)


def last_answer(pair: Pair) -> bytes:
    """What the gateway answered last."""
    return next(d.data for d in reversed(pair.gateway.sent) if is_response(d))


@pytest.mark.parametrize("suite", SETTINGS.suites, ids=str)
@pytest.mark.parametrize("resumed", [False, True], ids=["full", "resumed"])
def test_the_record_holds_the_answer_that_left(resumed: bool, suite: object) -> None:
    pair = Pair(peer=replace(PEER, suites=(suite,)))
    spi = pair.connect()
    if resumed:
        spi = pair.resume()
    kept = written(pair)
    assert kept.last_reply == last_answer(pair)
    assert (kept.spi_i, kept.spi_r) == (spi, pair.other_end(spi))
    assert (kept.expected_id, kept.next_id) == (2, 0)
    assert (kept.local, kept.remote) == (GATEWAY, CLIENT)
    assert (kept.epoch, kept.fence) == (0, 1)


def test_the_record_holds_everything_of_the_sa_that_the_gateway_holds() -> None:
    pair = Pair()
    pair.connect()
    pair.resume()
    (core,) = pair.gateway.live()
    kept = written(pair)
    assert core.keys is not None
    assert core.suite is not None
    assert core.idi is not None
    assert core.idr is not None
    keys = core.keys
    assert (kept.sk_d, kept.sk_ai, kept.sk_ar, kept.sk_ei, kept.sk_er) == tuple(
        key.octets for key in (keys.d, keys.ai, keys.ar, keys.ei, keys.er)
    )
    assert kept.suite == core.suite.numbers
    assert (kept.idi_type, kept.idi) == (core.idi.id_type, core.idi.data)
    assert (kept.idr_type, kept.idr) == (core.idr.id_type, core.idr.data)
    for field in (
        "identity", "auth_method", "chain", "generation", "resumed", "established_wall_s",
        "expires_wall_s", "auth_deadline_wall_s", "fragmentation",
    ):  # fmt: skip
        assert getattr(kept, field) == getattr(core, field), field
    (row,), (child,) = kept.children, core.children
    spi_in, spi_out, child_suite, local_ts, remote_ts, keymat, *flags = row
    assert (spi_in, spi_out, keymat) == (child.spi_in, child.spi_out, child.keymat.octets)
    assert flags == [child.initiator, child.rekeyed, child.transport] == [False, False, False]
    assert child_suite == msgspec.structs.astuple(child.suite)
    assert local_ts == tuple(msgspec.structs.astuple(ts) for ts in child.local_ts)
    assert remote_ts == tuple(msgspec.structs.astuple(ts) for ts in child.remote_ts)


def test_a_change_of_children_is_written_with_its_own_answer() -> None:
    pair = Pair()
    spi = pair.connect()
    core = pair.client.core(spi)
    delete = DeletePayload(ProtocolId.ESP, 4, (core.children[0].spi_in,))
    request = sealed(core, ExchangeType.INFORMATIONAL, 2, [delete])
    pair.inject(pair.gateway, request)
    kept = written(pair)
    assert pair.chains.writes[-1].kind is PersistKind.WRITE
    assert kept.children == ()
    assert kept.last_reply == last_answer(pair)
    assert kept.expected_id == 3


def test_the_record_was_complete_before_anything_left() -> None:
    pair = Pair()
    pair.hold_writes = True
    pair.start()
    pair.run(0.1)
    ((_, outcome),) = pair.held
    assert outcome.persist is not None
    assert record.decode(outcome.persist.record).last_reply == outcome.send[0].data
    assert outcome.send[0].data not in pair.gateway.octets()


def test_an_end_has_no_record() -> None:
    pair = Pair()
    spi = pair.connect()
    pair.carry_out(pair.client, pair.client.endpoint.terminate(spi, False, "over", pair.now))
    pair.run()
    assert pair.chains.writes[-1].kind is PersistKind.END
    assert pair.chains.writes[-1].record == b""


def test_fields_that_a_newer_release_adds_are_passed_over() -> None:
    pair = Pair()
    pair.connect()
    (octets,) = pair.chains.records.values()
    fields = msgspec.msgpack.decode(octets)
    longer = msgspec.msgpack.encode([*fields, {"new": [1, 2]}, "and more", None])
    assert record.decode(longer) == record.decode(octets)


def test_a_record_of_another_format_is_refused_by_name() -> None:
    pair = Pair()
    pair.connect()
    (octets,) = pair.chains.records.values()
    fields = msgspec.msgpack.decode(octets)
    with pytest.raises(WireError, match="format 2"):
        record.decode(msgspec.msgpack.encode([record.FORMAT + 1, *fields[1:]]))


@given(octets=st.binary(max_size=200))
def test_what_is_no_record_is_refused(octets: bytes) -> None:
    with pytest.raises(WireError):
        record.decode(octets)


def test_a_truncated_record_is_refused() -> None:
    pair = Pair()
    pair.connect()
    (octets,) = pair.chains.records.values()
    for end in range(0, len(octets), 7):
        with pytest.raises(WireError):
            record.decode(octets[:end])
