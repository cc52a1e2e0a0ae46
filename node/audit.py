"""Compares the SAs that are held here with the store, a few shards at a time.

Rules: a chain has one live SA, the one that it names (ADR 0004). Whoever resumes a
session tells the former SA's owner so, once; if that is lost, or its sender dies, the owner finds
out here. An SA goes if its chain names another, or if chain and record are both gone in two rounds
after one another: its chain is over. One with a write under way stays: its chain may name its heir
already, the store's answer being lost. A record that is missing for any other reason (it has just
ended, the store was restored and isn't accepted) decides nothing.
"""

import asyncio
import math
from collections.abc import Callable, Iterable

from cluster.errors import ClusterError
from cluster.failsafe.flush import RESUMED
from cluster.layout import Keys
from cluster.store import Store
from proto.ike.core import SaCore

CYCLE_S = 60.0
"""In this time every shard with sessions is looked at once."""
STEP_S = 1.0
SPI_OCTETS = 8
OVER = "its session is over"
"""Why an SA is dropped whose chain is gone."""


class Audit:
    """See the module; `run` never returns."""

    def __init__(
        self,
        store: Store,
        keys: Keys,
        *,
        shard_of: Callable[[bytes], int],
        at_rest: Callable[[], Iterable[SaCore]],
        drop: Callable[[bytes, str], None],
        settled: Callable[[], bool] = lambda: True,
    ) -> None:
        """`at_rest`: the SAs that are established and have no write under way. `drop(spi, why)`:
        the SA isn't its chain's any more. `settled`: whether the store has all that was done; an SA
        made without it isn't there yet.
        """
        self._settled = settled
        self._store = store
        self._keys = keys
        self._shard_of = shard_of
        self._at_rest = at_rest
        self._drop = drop
        self._over: dict[bytes, None] = {}
        """SAs without chain and record in the round before this one."""
        self._seen_over: dict[bytes, None] = {}
        """The same, in this one."""

    async def run(self) -> None:
        """Go round for ever, evenly; a store that is away, or behind, costs a round nothing but its
        results.
        """
        while True:
            held = self._by_shard()
            at_once = max(1, math.ceil(len(held) * STEP_S / CYCLE_S))
            began = 0
            for shard, sessions in held.items():
                await self._look(shard, sessions)
                began += 1
                if began % at_once == 0:
                    await asyncio.sleep(STEP_S)
            self._over, self._seen_over = self._seen_over, {}
            await asyncio.sleep(max(STEP_S, CYCLE_S - began // at_once * STEP_S))

    def _by_shard(self) -> dict[int, dict[bytes, bytes]]:
        """SPI → chain of what was durable before any scan that follows."""
        held: dict[int, dict[bytes, bytes]] = {}
        for core in self._at_rest():
            held.setdefault(self._shard_of(core.spi), {})[core.spi] = core.chain
        return dict(sorted(held.items()))

    async def _look(self, shard: int, sessions: dict[bytes, bytes]) -> None:
        if not self._settled():
            return
        try:
            records = await self._store.scan(self._keys.shard_records(shard))
            stored = {entry.key.rpartition(b"/")[2]: None for entry in records.entries}
            for spi, chain in sessions.items():
                if spi.hex().encode() in stored:
                    continue
                session = await self._store.get(self._keys.session(chain))
                why = RESUMED
                if session is None:
                    self._seen_over[spi] = None
                    if spi not in self._over:
                        continue
                    why = OVER
                elif session.value[:SPI_OCTETS] == spi:
                    continue
                # one that was rekeyed here meanwhile still has its Delete to answer
                if any(core.spi == spi for core in self._at_rest()):
                    self._drop(spi, why)
        except ClusterError:
            return
