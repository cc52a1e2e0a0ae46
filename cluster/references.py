"""What tickets by reference point to, read from the store: once per presentation.

Rules: chain and state are read in one transaction, so a state is never taken with a generation that
it wasn't kept for; what can't be opened is as good as gone. The octets are opaque here: who wrote
them (`cluster.journal`, with the record) and who reads them is the core. RFC 5723 9.3.
"""

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


class References:
    """See the module."""

    def __init__(self, store: Store, keys: Keys, vault: RecordVault) -> None:
        self._store = store
        self._keys = keys
        self._vault = vault
        self.reads = 0
        """How often the store was asked."""

    async def fetch(self, chain: bytes, generation: int) -> Kept | None:
        """What is kept for the ticket of a chain's generation; None: the store doesn't answer."""
        self.reads += 1
        key = self._keys.ticket(chain)
        try:
            result = await self._store.commit(
                Txn((), (Get(self._keys.session(chain)), Get(key)), ())
            )
        except ClusterError:
            return None
        session, kept = entry(result, 0), entry(result, 1)
        if session is None or session.version != generation:
            return Kept(True, b"")
        try:
            state = b"" if kept is None else self._vault.open_record(kept.value, key)
        except Incompatible:
            state = b""
        return Kept(False, state)
