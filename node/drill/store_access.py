"""What a drill does with the store itself: read sessions back, and overwrite the key ring.

Rules: it uses the cluster's own certificates and key-encryption key, as a member would.
"""

from collections.abc import Iterable
from pathlib import Path

from cluster import keyring, vault
from cluster.errors import ClusterError
from cluster.layout import Keys
from cluster.seams import Clock, Rng
from cluster.store import Put, Txn
from cluster.store_etcd import EtcdOptions, EtcdStore, EtcdTls
from node.drill.child import CouldNotRun
from node.identity import load_kek
from node.toml_strict import ConfigError
from proto.secret import Secret

SPI_LEN = 8
TOTAL_TIMEOUT_S = 5.0


class StoreAccess:
    """A connection to the drill's etcd. Make it where a loop runs."""

    def __init__(
        self, cluster: str, folder: Path, endpoints: tuple[str, ...], clock: Clock, rng: Rng
    ) -> None:
        """`folder`: of the sample's files. Raises OSError, CouldNotRun."""
        self._clock = clock
        self._rng = rng
        self._keys = Keys(cluster)
        try:
            self._kek = vault.Kek(load_kek(str(folder / "kek")))
        except ConfigError as error:
            raise CouldNotRun(str(error)) from None
        pki = folder / "pki"
        tls = EtcdTls(
            ca=(pki / "ca.crt").read_bytes(),
            cert=(pki / "operator.crt").read_bytes(),
            key=Secret((pki / "operator.key").read_bytes()),
        )
        options = EtcdOptions(endpoints=endpoints, total_timeout_s=TOTAL_TIMEOUT_S)
        self._store = EtcdStore(options, clock, tls)

    async def version(self) -> str:
        """etcd's version. Raises CouldNotRun."""
        try:
            return await self._store.server_version()
        except ClusterError as error:
            raise CouldNotRun(f"the store does not answer: {error}") from None

    async def find_sessions(self, spis: Iterable[str]) -> dict[str, bool]:
        """Responder SPI (hex) → whether the store holds it: named by its chain, with its record.

        Raises CouldNotRun.
        """
        try:
            chains = await self._store.scan(self._keys.sessions)
            records = await self._store.scan(self._keys.records)
        except ClusterError as error:
            raise CouldNotRun(f"the sessions could not be read back: {error}") from None
        named = {entry.value[:SPI_LEN].hex() for entry in chains.entries}
        held = {entry.key.rpartition(b"/")[2].decode() for entry in records.entries}
        return {spi: spi in named and spi in held for spi in spis}

    async def replace_ring(self) -> None:
        """Overwrite the key ring with a fresh one that opens nothing made before.

        Raises CouldNotRun.
        """
        ring = keyring.new_ring(self._rng, self._clock.wall_s(), keyring.RingPolicy())
        sealed = vault.seal(self._kek, keyring.encode(ring), self._keys.ring, self._rng)
        try:
            await self._store.commit(Txn(success=(Put(self._keys.ring, sealed),)))
        except ClusterError as error:
            raise CouldNotRun(f"the key ring could not be overwritten: {error}") from None

    async def close(self) -> None:
        """Give the connection back."""
        await self._store.close()
