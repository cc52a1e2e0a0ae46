"""What tickets by reference point to, read from the store: once per presentation.

Rules: chain and state are read in one transaction, so a state is never taken with a generation that
it wasn't kept for; what can't be opened is as good as gone. Until the store has all that was done
without it, the ledger of that comes first; in failsafe, what only the store has is as good as gone.
The octets are opaque here: the core wrote them, by way of `cluster.journal`, and reads them. RFC
5723 9.3.
"""

from collections.abc import Callable

import msgspec

from cluster.batch import entry
from cluster.errors import ClusterError, Incompatible
from cluster.layout import Keys
from cluster.records import RecordVault
from cluster.store import Get, Store, Txn


class Kept(msgspec.Struct, frozen=True):
    """What the store says of one ticket."""

    used: bool
    """Has the chain moved on, or gone?"""
    state: bytes
    """What was kept, in clear; empty: nothing, or nothing that opens."""


WithoutStore = Callable[[bytes, int], tuple[bool, bytes] | None]
"""(used, sealed state) of a chain's generation, done without the store; None: ask the store."""


class References:
    """See the module."""

    def __init__(
        self,
        store: Store,
        keys: Keys,
        vault: RecordVault,
        without_store: WithoutStore = lambda _chain, _generation: None,
    ) -> None:
        self._store = store
        self._without_store = without_store
        self._keys = keys
        self._vault = vault

    async def fetch(self, chain: bytes, generation: int) -> Kept | None:
        """What is kept for the ticket of a chain's generation; None: the store doesn't answer."""
        key = self._keys.ticket(chain)
        held = self._without_store(chain, generation)
        if held is not None:
            used, sealed = held
            return Kept(True, b"") if used else Kept(False, self._open(sealed, key))
        try:
            result = await self._store.commit(
                Txn((), (Get(self._keys.session(chain)), Get(key)), ())
            )
        except ClusterError:
            return None
        session, kept = entry(result, 0), entry(result, 1)
        if session is None or session.version != generation:
            return Kept(True, b"")
        return Kept(False, b"" if kept is None else self._open(kept.value, key))

    def _open(self, sealed: bytes, key: bytes) -> bytes:
        try:
            return self._vault.open_record(sealed, key) if sealed else b""
        except Incompatible:
            return b""
