"""Reads along with the store: who owned what, what was durable when, which keys there ever were.

Rules: it sits between every member's way and the store itself, so that nothing gets past it; it
opens what is sealed with the cluster's own key-encryption key, and checks each commit in the step
in which it takes effect. Findings are sentences.

- A fence of a shard never comes back, and no shard is taken from a member that is there, but by
  its own hand (I1).
- An internal address is one chain's (I6).
- A record is written by its shard's present owner alone, and for the SA that its chain names
  (I1, I6).
- No record of a session that is revoked is written, but its SA's last (I6, `last_words`).
- No record's (key, counter) is used for two records (I4).
- No key seals tickets before every member in service opens it; none goes while tickets under it may
  be valid (I5).
"""

import hashlib
from collections.abc import AsyncIterator, Callable, Iterator

import msgspec

from cluster import keyring
from cluster.errors import Incompatible
from cluster.keyring import KeyRing, KeyState
from cluster.layout import NORMAL, Keys, MemberRecord, ShardRecord
from cluster.records import RecordVault
from cluster.revocation import Rule, RuleKind, decode_rule
from cluster.seams import Clock
from cluster.state import decode_state
from cluster.store import Changes, Delete, Entry, Lease, Mark, Put, Scan, Store, Txn, TxnResult
from cluster.vault import Kek, open_sealed
from proto.ike import record as records
from proto.ike.fragment import apart
from proto.ike.ticket import decode_body
from tests.sim.findings import Findings
from tests.sim.forgotten import Forgotten
from tests.sim.last_words import LastWords
from tests.sim.seams import SeededRng

RECORD_HEADER_OCTETS = 33
"""Version, key, stream salt and counter of a sealed record: what fixes its IV."""

CLOCKS_S = 60.0
"""How far a member's date may be off: who drops a key goes by its own."""

_shard = msgspec.json.Decoder(ShardRecord).decode
_member = msgspec.json.Decoder(MemberRecord).decode


class Ledger:
    """A `Store` that hands everything on to another one."""

    def __init__(
        self,
        inner: Store,
        cluster: str,
        kek: Kek,
        clock: Clock,
        findings: Findings | None = None,
    ) -> None:
        self._inner = inner
        self._keys = Keys(cluster)
        self._kek = kek
        self._clock = clock
        self.vault = RecordVault(lambda: self.rings[-1], clock, SeededRng(0, "nobody seals here"))
        self._ivs: dict[bytes, bytes] = {}
        self.findings = Findings() if findings is None else findings
        self.last_words = LastWords(self._keys, clock, self.findings)
        self.on_ring: list[Callable[[KeyRing, KeyRing, dict[str, str]], None]] = []
        """Told (former, new, members with their incarnations) as a ring takes effect."""
        self.epoch = 0
        """Of the cluster's state; a fence, a ring and a ticket belong to one."""
        self.rewound = False
        """The store was put back, and nobody has accepted that: nothing may be written."""
        self.owners: dict[tuple[int, int, int], tuple[str, str]] = {}
        """(epoch, shard, fence) → member and incarnation."""
        self.fences: dict[int, ShardRecord] = {}
        self.rings: list[KeyRing] = []
        self._rings_before = 0  # rings of former epochs
        self.durable_replies: dict[bytes, None] = {}
        """Digests of the responses that a record held."""
        self.ended: dict[bytes, None] = {}
        """The gateway's SPIs whose record was deleted."""
        self.generations: dict[bytes, int] = {}
        """Chain → its newest generation."""
        self.stored: dict[bytes, int] = {}
        """Chain → the highest generation that the store ever had."""
        self.keepers: dict[tuple[bytes, int], dict[tuple[str, str], None]] = {}
        """(Chain, generation) → (member, incarnation) of who made or kept it without the store."""
        self.recorded: dict[bytes, None] = {}
        """The gateway's SPIs whose record the store has, or had until it expired."""
        self.normal = False
        """The cluster's mode: what the store has is all there is, but for members in failsafe."""
        self.void_chains: dict[bytes, None] = {}
        """Chains that were deleted: none of their tickets is good."""
        self.sessions: dict[bytes, None] = {}
        """Every chain that the store ever had."""
        self.stands: dict[bytes, bytes] = {}  # chain → SPI of the SA that it names in the store
        self.rules: dict[bytes, Rule] = {}
        """What is revoked: key → rule."""
        self.addresses: dict[bytes, bytes] = {}  # the internal ones, and their chains
        self.kept: dict[bytes, bytes] = {}
        """Chain → what its tickets by reference point to."""
        self.revoked_identities: dict[str, float] = {}
        """Identity → authentications until then; told by who revoked it, the store has a hash."""
        self.loose: dict[bytes, None] = {}
        """Chains moved on without the store, with a member lost: tickets may be used twice."""
        self.forgotten = Forgotten()
        self.forgotten_states = Forgotten()
        self.values: list[bytes] = []
        """Everything that was ever written, once."""
        self.commits = 0

    # -- the five verbs

    async def get(self, key: bytes) -> Entry | None:
        """See `Store.get`."""
        return await self._inner.get(key)

    async def scan(self, prefix: bytes) -> Scan:
        """See `Store.scan`."""
        return await self._inner.scan(prefix)

    async def commit(self, txn: Txn) -> TxnResult:
        """See `Store.commit`."""
        result = await self._inner.commit(txn)
        self.commits += 1
        # the store in memory answers without waiting: nothing comes between these lines
        ops = list(applied(txn, result))
        for op in ops:
            await self._note(op, txn, ops)
        self.last_words.went_on(txn, ops, self._fence)
        return result

    def watch(self, prefix: bytes, from_revision: int) -> AsyncIterator[Changes]:
        """See `Store.watch`."""
        return self._inner.watch(prefix, from_revision)

    async def lease(self, ttl_s: float, lease_id: int = 0) -> Lease:
        """See `Store.lease`."""
        return await self._inner.lease(ttl_s, lease_id)

    def held(self, lease_id: int, ttl_s: float) -> Lease:
        """See `Store.held`."""
        return self._inner.held(lease_id, ttl_s)

    async def mark(self, key: bytes) -> Mark:
        """See `Store.mark`."""
        return await self._inner.mark(key)

    async def close(self) -> None:
        """See `Store.close`."""
        await self._inner.close()

    async def put_back(self) -> None:
        """The store has become what it was at some time before."""
        self.rewound = True
        found = (await self._inner.scan(self._keys.shards)).entries
        self.fences = {int(e.key[len(self._keys.shards) :], 16): _shard(e.value) for e in found}

    # -- what is written

    def _while_rewound(self, op: Put | Delete) -> None:
        keys = self._keys
        void = (keys.sessions, keys.records, keys.tickets, keys.addresses, keys.lanes)
        if isinstance(op, Put) and op.key == keys.state and decode_state(op.value).behind:
            return  # that it is behind is all that may be said there
        if isinstance(op, Put) or not op.key.startswith((*void, keys.ring, keys.spi_key)):
            self.findings.broken("I1", f"{op.key.decode()} was written in a store that went back")

    def _writer(self, txn: Txn) -> str:
        """The member whose own key a transaction compares: who claims and hands over."""
        head = self._keys.members
        keys = (c.key for c in txn.compares if c.key.startswith(head))
        return next(keys, head)[len(head) :].decode()

    async def _note(self, op: Put | Delete, txn: Txn, ops: list[Put | Delete]) -> None:
        keys = self._keys
        if op.key == keys.state and isinstance(op, Put):
            state = decode_state(op.value)
            self.normal, epoch = state.mode == NORMAL, state.epoch
            if epoch != self.epoch:
                self.epoch, self.rewound, self._rings_before = epoch, False, len(self.rings)
        if self.rewound:
            self._while_rewound(op)
        if op.key.startswith(keys.records):
            await self._record(op, txn, ops)
        elif op.key.startswith(keys.addresses):
            await self._address(op)
        elif op.key.startswith(keys.tickets):
            if isinstance(op, Put):
                self._pointed(op)
        elif isinstance(op, Delete):
            self.rules.pop(op.key, None)
            if op.key.startswith(keys.sessions):
                self.void_chains[bytes.fromhex(op.key[len(keys.sessions) :].decode())] = None
            return
        elif op.key.startswith(keys.shards):
            await self._claim(
                int(op.key[len(keys.shards) :], 16), _shard(op.value), self._writer(txn)
            )
        elif op.key == keys.ring:
            await self._ring(op.value)
        elif op.key.startswith(keys.revocations):
            self.rules[op.key] = decode_rule(op.value)
        elif op.key.startswith(keys.sessions):
            await self._session(bytes.fromhex(op.key[len(keys.sessions) :].decode()))
        if isinstance(op, Put):
            self.values.append(op.value)

    def _pointed(self, op: Put) -> None:
        """What a chain's tickets by reference point to from now on."""
        chain, octets = bytes.fromhex(op.key[len(self._keys.tickets) :].decode()), self._opened(op)
        self.kept[chain] = octets
        if octets:
            self.forgotten_states.named[chain, decode_body(octets[1:]).generation] = None

    async def _address(self, op: Put | Delete) -> None:
        """One that is there is its chain's until it is deleted, or has expired."""
        if isinstance(op, Delete):
            self.addresses.pop(op.key, None)
            return
        entry = await self._inner.get(op.key)
        before = self.addresses.get(op.key, op.value)
        if before != op.value and entry is not None and entry.version > 1:
            self.findings.broken(
                "I6",
                f"internal address {op.key.decode()} went from chain {before.hex()} to "
                f"{op.value.hex()}",
            )
        self.addresses[op.key] = op.value

    async def _session(self, chain: bytes) -> None:
        self.sessions[chain] = None
        entry = await self._inner.get(self._keys.session(chain))
        version = 0 if entry is None else entry.version
        self.stands.pop(chain, None)
        if entry is not None:
            self.stands[chain] = entry.value[:8]
            self.forgotten.named[entry.value[:8]] = None
        self.stored[chain] = max(self.stored.get(chain, 0), version)

    async def _claim(self, shard: int, record: ShardRecord, writer: str) -> None:
        before = self.fences.get(shard, ShardRecord("", "", 0))
        self.fences[shard] = record
        if not record.owner:
            if record.fence != before.fence:
                self.findings.broken("I1", f"shard {shard} was given up under another fence")
            return
        if record.fence <= before.fence:
            self.findings.broken("I1", f"shard {shard}: fence {record.fence} after {before.fence}")
        self.owners.setdefault(
            (self.epoch, shard, record.fence), (record.owner, record.incarnation)
        )
        entry = await self._inner.get(self._keys.member(before.owner))
        there = "" if entry is None else _member(entry.value).incarnation
        if before.owner and there == before.incarnation and writer != before.owner:
            self.findings.broken(
                "I1", f"{record.owner} took shard {shard} from {before.owner}, which is there"
            )

    def durable(self, answer: bytes) -> None:
        """A record holds this answer, perhaps in fragments."""
        for message in apart(answer):
            self.durable_replies[hashlib.sha256(message).digest()] = None

    async def _record(self, op: Put | Delete, txn: Txn, ops: list[Put | Delete]) -> None:
        shard, spi = (part.decode() for part in op.key.split(b"/")[-2:])
        if isinstance(op, Delete):
            self.last_words.ended(op.key)
            self.ended[bytes.fromhex(spi)] = None
            self.recorded.pop(bytes.fromhex(spi), None)
            return
        stood = bytes.fromhex(spi) in self.recorded
        self.recorded[bytes.fromhex(spi)] = None
        octets = self._opened(op)
        if not octets:
            return
        record = records.decode(octets)
        self.durable(record.last_reply)
        fence = self._fence(int(shard, 16))
        if record.fence != fence:
            self.findings.broken(
                "I1", f"record {spi} was written under fence {record.fence} of {fence}"
            )
        session = await self._inner.get(self._keys.session(record.chain))
        if record.former:
            answer = records.decode(record.former).last_reply
            self.durable(answer)
        if session is None or session.value[:8] != record.spi:
            self.findings.broken("I6", f"record {spi} was written for a chain that names another")
        elif session.version != record.generation:
            self.findings.broken(
                "I6",
                f"record {spi} is of generation {record.generation}, "
                f"its chain of {session.version}",
            )
        key = self._keys.session(record.chain)
        if self.is_revoked(record.chain) and not (
            stood and self.last_words.may_put(op, key, txn, ops, fence)
        ):
            self.findings.broken("I6", f"record {spi} was written, and its session is revoked")
        self.generations[record.chain] = record.generation

    def _fence(self, shard: int) -> int:
        return self.fences.get(shard, ShardRecord("", "", 0)).fence

    def is_revoked(self, chain: bytes, issued_wall_s: float = float("inf")) -> bool:
        """Whether a rule that stands in the store is about that session, or about a ticket of it
        that was issued then.
        """
        return any(
            rule.about == chain.hex()
            if rule.kind == RuleKind.SESSION.value
            else rule.kind == RuleKind.ISSUED_BEFORE.value and issued_wall_s < rule.before_wall_s
            for rule in self.rules.values()
        )

    def _opened(self, op: Put) -> bytes:
        """A sealed record, or what tickets by reference point to; empty if it can't be opened."""
        head, digest = op.value[:RECORD_HEADER_OCTETS], hashlib.sha256(op.key + op.value).digest()
        if self._ivs.setdefault(head, digest) != digest:
            self.findings.broken("I4", f"two records under one key and counter: {op.key!r}")
        try:
            return self.vault.open_record(op.value, op.key)
        except Incompatible as error:
            self.findings.broken("I2", f"a record that nobody can read: {error}")
            return b""

    async def _ring(self, value: bytes) -> None:
        ring = keyring.decode(open_sealed(self._kek, value, self._keys.ring))
        before = self.rings[-1] if len(self.rings) > self._rings_before else ring
        self.rings.append(ring)
        wall_s = self._clock.wall_s()
        revoked = [key.key_id for key in ring.revoked]
        for key_id, key in before.tickets.index.items():
            if (
                key_id not in revoked
                and key_id not in ring.tickets.index
                and key.opens_until_wall_s > wall_s + CLOCKS_S
            ):
                self.findings.broken("I5", f"ticket key {key_id.hex()} went before its time")
        found = [_member(e.value) for e in (await self.scan(self._keys.members)).entries]
        members = {member.name: member.incarnation for member in found}
        for listener in self.on_ring:
            listener(before, ring, members)


def applied(txn: Txn, result: TxnResult) -> Iterator[Put | Delete]:
    """The writes that a commit carried out, in order."""
    branch = txn.success if result.succeeded else txn.failure
    for op, response in zip(branch, result.responses, strict=True):
        if isinstance(op, Txn) and isinstance(response, TxnResult):
            yield from applied(op, response)
        elif isinstance(op, Put | Delete):
            yield op


def sealing_id(ring: KeyRing) -> bytes:
    """The ticket key that seals by `ring`."""
    keys = (key.key_id for key in ring.tickets.keys if key.state is KeyState.SEALING)
    return next(keys, b"")
