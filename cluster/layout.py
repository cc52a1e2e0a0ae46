"""Every key and every readable value of the store, in one place (ADR 0002).

```
/standfast/<cluster>/...
  state                  ClusterState                    JSON
  spi-key                sealed under the KEK            octets; never changes
  ring                   KeyRing sealed under the KEK    octets
  ring-mark              key that the ring got last      text; moves in the ring's transactions
  watermark              id of the newest revocation     text
  revocation/<id>        Rule (`cluster.revocation`)     JSON, under an expiry bucket's lease
  member/<name>          MemberRecord                    JSON, under the member's lease
  shard/<hhhh>           ShardRecord                     JSON, under no lease
  session/<chain>        SPI(8) ‖ operation id(16)       octets, under an expiry bucket's lease
  record/<hhhh>/<spi>    sealed IKE SA record            octets, under an expiry bucket's lease
  ticket/<chain>         sealed state of tickets by      octets, under an expiry bucket's lease
                         reference (ADR 0013)
  address/<pool>/<hex>   chain that has it               octets, under an expiry bucket's lease
  lane/<journal>         number of its last batch        octets, under an expiry bucket's lease
  tally/<data dir's id>  a number that only it raises    text, under no lease
```

Rules: what an operator may want to read with etcdctl is JSON and holds no secret; everything else
is sealed. Readers ignore fields they don't know, so that members one release apart run together.
etcd's own per-key version of `session/<chain>` *is* the chain's generation.
"""

import contextlib
from collections.abc import Iterable

import msgspec

from cluster.store import Entry

NORMAL, FLUSHING = "normal", "flushing"
"""The modes of the cluster's state."""

FORMAT = 1
"""The layout's version; a member refuses to join a cluster that has a higher one."""

FENCE_MAX = (1 << 16) - 1
"""Fences are 16 bits wide: they are part of every IV."""


class Behind(msgspec.Struct, frozen=True):
    """This store was put back, says a member that has seen more of it: an older copy, as it is."""

    by: str
    why: str
    cluster_id: int
    """What it remembers of the store as it was: this and the next two."""
    revision: int
    epoch: int


class ClusterState(msgspec.Struct, frozen=True):
    """What all members must agree on; every batch of the journal compares this key's revision."""

    format: int
    mode: str
    """`normal`; `flushing`: what was done without the store is being written, nothing else is."""
    epoch: int
    """Raised by accepting a restored store; part of every IV (8 bits)."""
    shards: int
    """Number of shards, fixed when the cluster is made."""
    created_wall_s: float
    roster: dict[str, str] = {}
    """While flushing: the members that may have something to write, and their incarnations."""
    through: dict[str, int] = {}
    """Those of the roster that have written all, and carry nothing more out without the store: name
    → the round of pledges up to which that is so. A later round may have begun without the store.
    """
    lost: dict[str, str] = {}
    """Those that won't: restarted since, or written off by an operator; what they had answered for
    is void but for their chains. A name that comes here makes all others look again."""
    behind: Behind | None = None
    """Nobody believes this store until an operator accepts it."""


class MemberRecord(msgspec.Struct, frozen=True):
    """One live member; vanishes with its lease."""

    name: str
    incarnation: str
    """Hex, 16 octets, new at every start of the process."""
    data_dir_id: str
    """Hex, 16 octets, made once in the member's data directory: whose name this is."""
    host: str
    """Failure domain: mirrors are kept on another one where there is one."""
    rpc_address: str
    ike_addresses: tuple[str, ...]
    ring_revision: int
    """The store's revision of the ring that this member has installed."""
    started_wall_s: float
    release: str


class ShardRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who owns a shard, and under which fence. `owner` empty: given up in order."""

    owner: str
    incarnation: str
    fence: int
    home: str = ""
    """The member that an operator wants it at, while that lives; empty: whoever is first by rank.
    """
    at: str = ""
    """The owner's rpc address: a member that starts anew must find it, be it gone from the store or
    not. Empty: it was written by a release that didn't say."""


class Keys:
    """The key names of one cluster."""

    def __init__(self, cluster: str) -> None:
        self.root = f"/standfast/{cluster}/".encode()
        self.state = self.root + b"state"
        self.spi_key = self.root + b"spi-key"
        self.ring = self.root + b"ring"
        self.ring_mark = self.root + b"ring-mark"
        self.watermark = self.root + b"watermark"
        self.revocations = self.root + b"revocation/"
        self.members = self.root + b"member/"
        self.shards = self.root + b"shard/"
        self.sessions = self.root + b"session/"
        self.records = self.root + b"record/"
        self.tickets = self.root + b"ticket/"
        self.lanes = self.root + b"lane/"
        self.addresses = self.root + b"address/"
        self.tallies = self.root + b"tally/"

    def member(self, name: str) -> bytes:
        """The key of member `name`."""
        return self.members + name.encode()

    def member_names(self, entries: Iterable[Entry]) -> list[str]:
        """Whose entries under `members` these are, without those whose key holds no name."""
        names = []
        for entry in entries:
            with contextlib.suppress(UnicodeDecodeError):
                names.append(entry.key[len(self.members) :].decode())
        return names

    def revocation(self, rule_id: str) -> bytes:
        """The key of one revocation rule."""
        return self.revocations + rule_id.encode()

    def shard(self, shard: int) -> bytes:
        """The key of a shard's owner and fence."""
        return self.shards + b"%04x" % shard

    def session(self, chain: bytes) -> bytes:
        """The key of a session chain; `chain` is 16 octets."""
        return self.sessions + chain.hex().encode()

    def ticket(self, chain: bytes) -> bytes:
        """The key of what a chain's tickets by reference point to; `chain` is 16 octets."""
        return self.tickets + chain.hex().encode()

    def address(self, pool: str, packed: bytes) -> bytes:
        """The key of one internal address, 4 or 16 octets, of the pool of that name."""
        return self.addresses + f"{pool}/{packed.hex()}".encode()

    def shard_records(self, shard: int) -> bytes:
        """The prefix of all records of a shard."""
        return self.records + b"%04x/" % shard

    def record(self, shard: int, spi: bytes) -> bytes:
        """The key of one IKE SA's record; `spi` is the gateway's, 8 octets."""
        return self.records + b"%04x/" % shard + spi.hex().encode()

    def lane(self, journal: str) -> bytes:
        """The key that every batch of one journal's lane moves on, so that none can take effect
        late."""
        return self.lanes + journal.encode()

    def tally(self, data_dir_id: str) -> bytes:
        """The key of the number that one data directory raises."""
        return self.tallies + data_dir_id.encode()
