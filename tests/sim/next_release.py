"""A made-up next release: what a member of it would say and write that this one doesn't know.

It adds a field to every frame and to every readable value of the store, appends members to every
row and to every IKE SA record, and sends frames of a kind that this release has never heard of.
"""

import msgspec

from cluster.records import RecordVault
from cluster.store import Put, Txn
from tests.sim.machine import SimGateway

INVENTED = {"kind": "weather-report", "clouds": [1, 2, 3]}
MORE = {"of": "the next release", "figures": [1, 2]}
ROWS = ("entries", "rows")
"""Fields of frames that hold rows: arrays to which only ever something is appended."""


def widen_frame(octets: bytes) -> list[bytes]:
    """A frame as the next release sends it, and one of a new kind behind it."""
    frame = msgspec.msgpack.decode(octets)
    frame["of_the_next_release"] = MORE
    for name in ROWS:
        if name in frame:
            frame[name] = [[*row, "appended", MORE] for row in frame[name]]
    return [msgspec.msgpack.encode(frame), msgspec.msgpack.encode(INVENTED)]


def widen_value(value: bytes) -> bytes:
    """A readable value of the store as the next release writes it; others stay."""
    try:
        fields = msgspec.json.decode(value, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError:
        return value
    return msgspec.json.encode({**fields, "of_the_next_release": MORE})


def widen_txn(txn: Txn) -> Txn:
    """A transaction with such values; for `FaultyStore.twist`."""

    def widen(op):
        if isinstance(op, Txn):
            return widen_txn(op)
        return Put(op.key, widen_value(op.value), op.lease_id) if isinstance(op, Put) else op

    return Txn(txn.compares, tuple(map(widen, txn.success)), tuple(map(widen, txn.failure)))


class NextVault:
    """Seals records with members appended; opens what everybody sealed."""

    def __init__(self, vault: RecordVault) -> None:
        self._vault = vault
        self.open_record = vault.open_record
        self.widened = 0

    def seal_record(self, record: bytes, key: bytes) -> bytes:
        """See `RecordVault.seal_record`."""
        fields = msgspec.msgpack.decode(record)
        if isinstance(fields, list):
            self.widened += 1
            record = msgspec.msgpack.encode([*fields, b"appended", MORE])
        return self._vault.seal_record(record, key)


def promote(gateway: SimGateway) -> NextVault:
    """From now on `gateway`, which has started, is of the next release."""
    journal = gateway.node.journal
    vault = NextVault(journal._vault)
    journal._vault = vault  # type: ignore[assignment]
    return vault
