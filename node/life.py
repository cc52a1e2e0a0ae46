"""What one life of a gateway is begun with: its seams, and who it is.

Rules: values alone; real and simulated gateways are built by `node.wiring` from the same kinds.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from cluster.failsafe.outage import PledgeBook
from cluster.link import PeerLink
from cluster.rewind import Notebook
from cluster.seams import Clock, Rng, Spawn
from cluster.store import Store
from cluster.vault import Keks
from node.errands import Errands
from node.kernel import Kernel
from node.trust.fetch import Fetch
from node.udp import Receiver, Sockets


class Seams(msgspec.Struct, frozen=True):
    """Everything that differs between a real node and a simulated one."""

    clock: Clock
    rng: Rng
    spawn: Spawn
    store: Store
    link: PeerLink
    open_sockets: Callable[[Receiver, Receiver], Sockets]
    """For IKE, and for ESP that came to a port of IKE's."""
    kernel: Kernel
    log: Any
    pledges: PledgeBook
    errands: Errands
    fetch: Fetch


class Identity(msgspec.Struct, frozen=True):
    """What `build` is told beside the configuration file."""

    data_dir_id: str
    keks: Keks
    release: str
    read_keks: Callable[[], Awaitable[Keks]] | None = None
    """Reads the key-encryption keys anew (ConfigError); None: those given are all there are."""
    notebook: Notebook | None = None
    """What this data directory remembers of the store; None: the store doesn't outlive us."""
