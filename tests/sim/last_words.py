"""What an SA whose session is revoked may still write: what was under way, and then its end.

Rules: one write waits for the store at a time, and the SA's end goes behind it. So a journal that
compared the watermark may put the record of such an SA once more, with its answer, where a record
stood already and no generation begins. The next that it writes there is the deletion, and it comes:
a journal that goes on for `END_S` without it, the shard still its own, is found. The same octets
again are the same write, whose outcome was unknown: who sends them, carried out or not, has yet to
hear how it ended, and doesn't go on. Anything else is a finding (I6).
"""

from collections.abc import Callable, Iterator

import msgspec

from cluster.layout import Keys
from cluster.seams import Clock
from cluster.store import Delete, Put, Txn
from tests.sim.findings import Findings

END_S = 1.0
"""A revocation is effective on every live member within a second."""


class _Word(msgspec.Struct):
    """A record that is to be deleted next."""

    lane: bytes
    value: bytes
    shard: int
    fence: int
    went_on_s: float | None = None
    """When its journal first committed something else."""


class LastWords:
    """The records of revoked SAs that wait for their end."""

    def __init__(self, keys: Keys, clock: Clock, findings: Findings) -> None:
        self._keys = keys
        self._clock = clock
        self._findings = findings
        self._words: dict[bytes, _Word] = {}

    def may_put(
        self, op: Put, session: bytes, txn: Txn, ops: list[Put | Delete], fence: int
    ) -> bool:
        """May the record `op` be put, its session being revoked? It stood there before. `ops`: all
        that `txn` wrote; `session`: the chain's key; `fence`: of the record's shard.
        """
        lane = self._lane(txn)
        if not lane or any(isinstance(other, Put) and other.key == session for other in ops):
            return False
        word = self._words.get(op.key)
        if word is not None and word.lane == lane and word.value != op.value:
            return False
        shard = int(op.key.split(b"/")[-2], 16)
        self._words[op.key] = _Word(lane, op.value, shard, fence)
        return True

    def ended(self, key: bytes) -> None:
        """The record is deleted."""
        self._words.pop(key, None)

    def went_on(self, txn: Txn, ops: list[Put | Delete], fence: Callable[[int], int]) -> None:
        """`txn` took effect and was noted: whose end is due? `fence`: a shard's now."""
        if not self._words:
            return
        lane, now_s = self._lane(txn), self._clock.boot_s()
        wrote = [op.key for op in ops]
        sent = {op.key: op.value for op in _puts(txn)}
        for key, word in list(self._words.items()):
            if word.lane != lane or key in wrote or sent.get(key) == word.value:
                continue
            if fence(word.shard) != word.fence:
                del self._words[key]  # its adopter's to end
            elif word.went_on_s is None:
                word.went_on_s = now_s
            elif now_s - word.went_on_s >= END_S:
                del self._words[key]
                spi = key.split(b"/")[-1].decode()
                self._findings.broken("I6", f"record {spi} stands, and its session is revoked")

    def _lane(self, txn: Txn) -> bytes:
        """The journal's, if it compared the watermark; else empty."""
        compared = [compare.key for compare in txn.compares]
        if self._keys.watermark not in compared:
            return b""
        return next((key for key in compared if key.startswith(self._keys.lanes)), b"")


def _puts(txn: Txn) -> Iterator[Put]:
    """Those of the transaction, whether they were carried out or not."""
    for op in txn.success:
        if isinstance(op, Txn):
            yield from _puts(op)
        elif isinstance(op, Put):
            yield op
