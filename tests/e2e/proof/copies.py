"""A copy of what a three-member etcd holds, made while a cluster lives on it, and put back later.

Either way is one that operators take: the members' data directories, copied while they are down, or
a snapshot of one that runs. The former come back as the same etcd cluster, the latter as another
one, with a cluster id of its own, as `snapshot restore` makes it under another token.
"""

import asyncio
import shutil
import sys
from pathlib import Path

from node.etcd_child import LOOPBACK, PROVISIONER
from tests.e2e.cluster import Cluster


async def run(*command: str) -> str:
    """What it prints; it must succeed."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode().strip()


class DataCopied:
    """The data directories."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._folder = cluster.folder / "copied"

    async def make(self) -> None:
        """etcd is down for a moment meanwhile."""
        self._cluster.lose_store()
        shutil.copytree(self._cluster.etcd.folder, self._folder)
        await self._cluster.bring_store_back()

    async def put_back(self) -> None:
        """No etcd runs."""
        for i in range(len(self._cluster.etcd.ports)):
            there = self._cluster.etcd.folder / f"m{i}"
            shutil.rmtree(there)
            shutil.copytree(self._folder / f"m{i}", there)


class SnapshotRestored:
    """`etcdctl snapshot save` and `restore`."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._file = cluster.folder / "snapshot.db"
        self._program = ""

    async def make(self) -> None:
        """Of a member that serves."""
        self._program = await run(sys.executable, str(PROVISIONER), "etcdctl")
        pki, etcd = self._cluster.files / "pki", self._cluster.etcd
        files = {"cacert": "ca.crt", "cert": "operator.crt", "key": "operator.key"}
        await run(
            *self._with_api(), f"--endpoints=https://{etcd.endpoints[0]}",
            *(f"--{option}={pki / file}" for option, file in files.items()),
            "snapshot", "save", str(self._file),
        )  # fmt: skip

    async def put_back(self) -> None:
        """No etcd runs."""
        etcd = self._cluster.etcd
        urls = [f"http://{LOOPBACK}:{ports.peer}" for ports in etcd.ports]
        members = ",".join(f"m{i}={url}" for i, url in enumerate(urls))
        for i, url in enumerate(urls):
            there: Path = etcd.folder / f"m{i}"
            shutil.rmtree(there)
            await run(
                *self._with_api(), "snapshot", "restore", str(self._file),
                f"--name=m{i}", f"--data-dir={there}", f"--initial-cluster={members}",
                f"--initial-advertise-peer-urls={url}", "--initial-cluster-token=restored",
            )  # fmt: skip

    def _with_api(self) -> tuple[str, ...]:
        return ("env", "ETCDCTL_API=3", self._program)
