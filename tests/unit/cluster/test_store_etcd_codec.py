"""Transactions written by hand are what etcd's own messages would be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import Unavailable
from cluster.store import Compare, Delete, Entry, Get, Put, Target, Txn, TxnResult
from cluster.store_etcd import version_warning
from cluster.store_etcd.codec import decode_txn, encode_txn, range_end, varint
from proto.rpc.etcd import kv_pb2, rpc_pb2

NUMBERS = st.integers(0, 2**63 - 1) | st.integers(0, 300)
OCTETS = st.binary(max_size=300)
OF_VALUES = (Target.VALUE_ABOVE, Target.VALUE_BELOW)
OF_NUMBERS = (Target.VERSION, Target.VERSION_ABOVE, Target.MOD_REVISION)
COMPARES = st.lists(
    st.builds(Compare, OCTETS, st.sampled_from(OF_NUMBERS), NUMBERS)
    | st.builds(Compare, OCTETS, st.sampled_from(OF_VALUES), OCTETS)
    | st.builds(Compare, OCTETS, st.just(Target.NONE_AFTER), st.integers(0, 2**63 - 2)),
    max_size=3,
)
PLAIN = st.builds(Put, OCTETS, OCTETS, NUMBERS) | st.builds(Delete, OCTETS) | st.builds(Get, OCTETS)


def txns(ops: st.SearchStrategy) -> st.SearchStrategy:
    branch = st.lists(ops, max_size=4).map(tuple)
    return st.builds(Txn, COMPARES.map(tuple), branch, branch)


def message(txn: Txn) -> rpc_pb2.TxnRequest:
    """The same through the generated code."""
    fields = {
        Target.VERSION: ("version", rpc_pb2.Compare.VERSION),
        Target.VERSION_ABOVE: ("version", rpc_pb2.Compare.VERSION),
        Target.MOD_REVISION: ("mod_revision", rpc_pb2.Compare.MOD),
        Target.NONE_AFTER: ("mod_revision", rpc_pb2.Compare.MOD),
        Target.VALUE_ABOVE: ("value", rpc_pb2.Compare.VALUE),
        Target.VALUE_BELOW: ("value", rpc_pb2.Compare.VALUE),
    }
    results = {
        Target.VERSION_ABOVE: rpc_pb2.Compare.GREATER,
        Target.VALUE_ABOVE: rpc_pb2.Compare.GREATER,
        Target.VALUE_BELOW: rpc_pb2.Compare.LESS,
        Target.NONE_AFTER: rpc_pb2.Compare.LESS,
    }
    compares = []
    for compare in txn.compares:
        name, target = fields[compare.target]
        result = results.get(compare.target, rpc_pb2.Compare.EQUAL)
        value = {name: compare.value}
        if compare.target is Target.NONE_AFTER:
            value = {name: compare.value + 1, "range_end": range_end(compare.key)}
        compares.append(rpc_pb2.Compare(result=result, target=target, key=compare.key, **value))
    return rpc_pb2.TxnRequest(
        compare=compares,
        success=[operation(op) for op in txn.success],
        failure=[operation(op) for op in txn.failure],
    )


def operation(op: Put | Delete | Get | Txn) -> rpc_pb2.RequestOp:
    if isinstance(op, Put):
        put = rpc_pb2.PutRequest(key=op.key, value=op.value, lease=op.lease_id)
        return rpc_pb2.RequestOp(request_put=put)
    if isinstance(op, Delete):
        return rpc_pb2.RequestOp(request_delete_range=rpc_pb2.DeleteRangeRequest(key=op.key))
    if isinstance(op, Get):
        return rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest(key=op.key))
    return rpc_pb2.RequestOp(request_txn=message(op))


@given(txns(PLAIN | txns(PLAIN)))
def test_what_is_sent_reads_as_the_generated_message(txn: Txn) -> None:
    assert rpc_pb2.TxnRequest.FromString(encode_txn(txn)) == message(txn)


@pytest.mark.parametrize("n", [0, 1, 127, 128, 16383, 16384, 2**21, 2**63 - 1])
def test_numbers_are_as_short_as_they_can_be(n: int) -> None:
    put = rpc_pb2.PutRequest(lease=n).SerializeToString()
    assert put == (b"" if n == 0 else b"\x18" + varint(n))


def test_a_negative_number_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        encode_txn(Txn((Compare(b"k", Target.VERSION, -1),)))


def test_an_answer_is_read_along_the_branch_taken() -> None:
    kv = kv_pb2.KeyValue(
        key=b"k", value=b"v", create_revision=3, mod_revision=5, version=2, lease=9
    )
    txn = Txn(success=(Put(b"a", b"1"), Txn(failure=(Get(b"k"), Get(b"l"), Delete(b"m")))))
    nested = rpc_pb2.TxnResponse(
        succeeded=False,
        responses=[
            rpc_pb2.ResponseOp(response_range=rpc_pb2.RangeResponse(kvs=[kv])),
            rpc_pb2.ResponseOp(response_range=rpc_pb2.RangeResponse()),
            rpc_pb2.ResponseOp(response_delete_range=rpc_pb2.DeleteRangeResponse()),
        ],
    )
    answer = rpc_pb2.TxnResponse(
        succeeded=True,
        responses=[
            rpc_pb2.ResponseOp(response_put=rpc_pb2.PutResponse()),
            rpc_pb2.ResponseOp(response_txn=nested),
        ],
    )
    entry = Entry(b"k", b"v", 3, 5, 2, 9)
    assert decode_txn(txn, answer, 7) == TxnResult(
        True, 7, (None, TxnResult(False, 7, (entry, None, None)))
    )


def test_an_answer_to_something_else_is_not_taken() -> None:
    with pytest.raises(Unavailable, match="0 of 1 operations"):
        decode_txn(Txn(success=(Get(b"k"),)), rpc_pb2.TxnResponse(succeeded=True), 7)


@given(st.binary(max_size=6), st.binary(max_size=6))
def test_a_range_holds_exactly_the_prefix(prefix: bytes, key: bytes) -> None:
    end = range_end(prefix)
    inside = prefix <= key and (end == b"\0" or key < end)
    assert inside == key.startswith(prefix)


@pytest.mark.parametrize(
    ("version", "unsound"),
    [("3.4.23", False), ("3.5.0", True), ("3.5.1", True), ("3.5.2", True), ("3.5.3", False)],
)
def test_an_unsound_etcd_is_named(version: str, unsound: bool) -> None:
    warning = version_warning(version)
    assert (warning is not None) == unsound
    assert warning is None or version in warning
