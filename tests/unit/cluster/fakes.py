"""The seams as unit tests of this layer fill them in: clocks, seeded octets, a failing store."""

import asyncio
import enum
import random
from collections import deque

from cluster.errors import LeaseLost, Unavailable, Unknown
from cluster.layout import ClusterState
from cluster.store import Entry, Lease, Mark, Scan, Txn, TxnResult
from cluster.store_memory import MemoryStore

T0 = 1_790_000_000.0
"""Wall time at the start of every test; any round number of this decade."""


class HandClock:
    """Both clocks, moved by the test."""

    def __init__(self, wall_s: float = T0) -> None:
        self._wall_s = wall_s
        self._boot_s = 1000.0

    def boot_s(self) -> float:
        return self._boot_s

    def wall_s(self) -> float:
        return self._wall_s

    def advance(self, seconds: float) -> None:
        self._wall_s += seconds
        self._boot_s += seconds


class LoopClock:
    """Both clocks, moved by the (virtual) time of the running loop."""

    def boot_s(self) -> float:
        return asyncio.get_running_loop().time()

    def wall_s(self) -> float:
        return T0 + asyncio.get_running_loop().time()


class SeededRng:
    """Octets that only look unpredictable."""

    def __init__(self, seed: int, name: str = "") -> None:
        self._random = random.Random(f"{seed}/{name}")

    def bytes(self, n: int) -> bytes:
        return self._random.randbytes(n)


class Fault(enum.Enum):
    """What becomes of one commit."""

    UNAVAILABLE = "nothing happens, and the caller is told so"
    UNKNOWN_DONE = "it happens, and the caller isn't told"
    UNKNOWN_LOST = "it doesn't happen, and the caller can't know"
    UNKNOWN_LATE = "it happens when the test says so, long after the caller gave up"
    LEASE_LOST = "a lease is gone"


class FaultyStore(MemoryStore):
    """The store in memory, failing as the test says."""

    def __init__(self, clock: HandClock | LoopClock) -> None:
        super().__init__(clock)
        self.faults: deque[Fault] = deque()
        self.down = False
        self.behind = False
        """What is listed is of the past, as `cluster.guard` finds."""
        self.down_next = False
        """The next commit is the last call that is answered."""
        self.gate: asyncio.Event | None = None
        """While there is one, commits wait for it."""
        self.read_gate: asyncio.Event | None = None
        """While there is one, reads of a key wait for it."""
        self.rival: Txn | None = None
        """Somebody else's transaction, carried out just before each commit."""
        self.sent: list[Txn] = []
        self.granted: list[int] = []
        self.late: list[Txn] = []
        self.in_flight = 0
        self.in_flight_max = 0
        self.reads = 0
        self.marks = 0

    def _answer(self) -> None:
        if self.down:
            raise Unavailable("the store is down")

    async def get(self, key: bytes) -> Entry | None:
        self._answer()
        self.reads += 1
        if self.read_gate is not None:
            await self.read_gate.wait()
        return await super().get(key)

    async def mark(self, key: bytes) -> Mark:
        self._answer()
        self.marks += 1
        return await super().mark(key)

    async def scan(self, prefix: bytes) -> Scan:
        self._answer()
        if self.behind:
            raise Unknown("store-rewound: as the test says")
        return await super().scan(prefix)

    async def lease(self, ttl_s: float, lease_id: int = 0) -> Lease:
        self._answer()
        self.granted.append(lease_id)
        return await super().lease(ttl_s, lease_id)

    async def commit(self, txn: Txn) -> TxnResult:
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)
        try:
            if self.gate is not None:
                await self.gate.wait()
            return await self._commit(txn)
        finally:
            self.in_flight -= 1

    async def _commit(self, txn: Txn) -> TxnResult:
        self._answer()
        if self.rival is not None:
            await super().commit(self.rival)
        self.sent.append(txn)
        fault = self.faults.popleft() if self.faults else None
        if fault is Fault.UNAVAILABLE:
            raise Unavailable("as the test says")
        if fault is Fault.LEASE_LOST:
            raise LeaseLost("as the test says")
        self.down, self.down_next = self.down_next, False
        if fault is Fault.UNKNOWN_DONE:
            await super().commit(txn)
        if fault is Fault.UNKNOWN_LATE:
            self.late.append(txn)
        if fault is not None:
            raise Unknown("as the test says")
        return await super().commit(txn)

    async def deliver_late(self) -> list[bool]:
        """What was held back arrives now; whether each took effect."""
        held, self.late = self.late, []
        return [(await MemoryStore.commit(self, txn)).succeeded for txn in held]


class FixedState:
    """The cluster state as installed at a member; the test moves it."""

    def __init__(self, revision: int = 0) -> None:
        self.state = ClusterState(format=1, mode="normal", epoch=0, shards=64, created_wall_s=T0)
        self.revision = revision
