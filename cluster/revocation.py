"""Revocation rules: what an operator declared void, known at every live member within a second.

Rules: a rule stands in the store until the last ticket that it could concern has expired. It is put
together with the `watermark` key, which every batch of the journal compares: a member that doesn't
know the rule yet can't commit, and reads the rules before it tries again (`obey`). At rest a rule
names no person: an identity stands there as a keyed hash (docs/adr/0011). A rule that this release
can't read refuses every ticket: dear, and not wrong. RFC 5723 9.8.
"""

import contextlib
import enum
import hashlib
import math
from collections.abc import Callable, Sequence

import msgspec

from cluster.attempts import attempts
from cluster.errors import UNREADABLE, Conflict, LeaseLost, Unavailable, Unknown
from cluster.expiry import ExpiryBuckets
from cluster.follow import follow
from cluster.layout import Keys
from cluster.seams import Clock, Rng
from cluster.store import Compare, Entry, Put, Store, Target, Txn
from proto.secret import Secret

RULES_MAX = 4096
"""Rules in force; beyond it none is added until others have expired."""
ATTEMPTS_MAX = 4
"""How often a rule whose fate is unknown is looked at before the operator is told so."""
SKEW_S = 5.0
"""How far the clocks of members may differ: what was authenticated so soon after a rule was made
counts as before it. It costs those clients a full handshake."""
HASHES_MAX = 4096
"""Hashes of identities that are remembered."""
_HASH_LEN = 16
_ID_LEN = 8
_USE = b"sf revocation"


class RuleKind(enum.Enum):
    """What a rule goes by."""

    SESSION = "session"
    """One session chain: its SA ends, none of its tickets works."""
    IDENTITY = "identity"
    """All sessions of an identity that were authenticated before the rule was made."""
    ISSUED_BEFORE = "issued-before"
    """All tickets issued before a time; SAs live on."""
    UNREADABLE = "unreadable"
    """Made by a later release: refuses every ticket here."""


class Rule(msgspec.Struct, frozen=True):
    """One rule as it stands in the store (JSON)."""

    kind: str
    """The value of a `RuleKind`."""
    about: str
    """SESSION: the chain, hex. IDENTITY: its keyed hash, hex. Else empty."""
    before_wall_s: float
    """IDENTITY: authentications until then; ISSUED_BEFORE: tickets issued before."""
    created_wall_s: float
    expires_wall_s: float
    """When no ticket that it concerns can be valid any more."""


class Session(msgspec.Struct, frozen=True, gc=False):
    """What a rule may be about: an SA, a ticket, or a write."""

    chain: bytes
    identity: str
    """`kind:text`."""
    authenticated_wall_s: float
    """When the original authentication was; resumptions carry it on."""
    issued_wall_s: float | None = None
    """When the ticket in question was issued; None: no ticket is."""
    skew_s: float = SKEW_S


class Revocations:
    """The rules as this member knows them."""

    def __init__(self, store: Store, keys: Keys, clock: Clock, rng: Rng, spi_key: Secret) -> None:
        """`spi_key`: never changes, and every member has it."""
        self._store = store
        self._keys = keys
        self._clock = clock
        self._rng = rng
        self._buckets = ExpiryBuckets(store, keys.root, clock)
        self._hash_key = spi_key.octets
        self._rules: dict[str, Rule] = {}
        self._known: dict[bytes, Entry] = {}
        """What `refresh` and `run` have read of the store."""
        self._as_of = self._told = 0
        """The revision of the store as of which the rules are complete; the newest one told of."""
        self._chains: frozenset[bytes] = frozenset()
        self._identities: dict[str, float] = {}
        """Hash → authentications until then."""
        self._issued_before_wall_s = float("-inf")
        self._all_tickets = False
        self._hashes: dict[str, str] = {}
        self.active = False
        """Is there any rule? The hot path asks this first."""
        self.on_rules: list[Callable[[], None]] = []
        """Called once rules were added; who holds SAs looks at them with `covers`."""

    def identity_hash(self, identity: str) -> str:
        """Keyed BLAKE2b of `kind:text`, 16 octets as hex: the same at every member, and nothing
        to whoever reads the store without the key.
        """
        known = self._hashes.get(identity)
        if known is not None:
            return known
        if len(self._hashes) >= HASHES_MAX:
            self._hashes.clear()
        digest = hashlib.blake2b(
            identity.encode(), digest_size=_HASH_LEN, key=self._hash_key, person=_USE
        ).hexdigest()
        self._hashes[identity] = digest
        return digest

    # -- what is asked

    def rules(self) -> Sequence[tuple[str, Rule]]:
        """(id, rule), oldest first."""
        return sorted(self._rules.items(), key=lambda item: (item[1].created_wall_s, item[0]))

    def covers(self, session: Session) -> bool:
        """Is it revoked?"""
        if not self.active:
            return False
        if session.chain in self._chains:
            return True
        if session.issued_wall_s is not None and (
            self._all_tickets or session.issued_wall_s < self._issued_before_wall_s
        ):
            return True
        if not self._identities:
            return False
        until_s = self._identities.get(self.identity_hash(session.identity))
        return until_s is not None and session.authenticated_wall_s <= until_s + session.skew_s

    # -- an operator's word

    async def revoke_session(self, chain: bytes, lifetime_s: float) -> str:
        """Revoke a session by its chain, 16 octets; the rule's id. `lifetime_s`: the longest a
        ticket may be valid. Raises Conflict, Unavailable, Unknown.
        """
        return await self._add(RuleKind.SESSION, chain.hex(), self._clock.wall_s(), lifetime_s)

    async def revoke_identity(self, identity: str, lifetime_s: float) -> str:
        """Revoke every session of `identity` (`kind:text`) authenticated until now; the rule's id.
        Raises as `revoke_session`.
        """
        about = self.identity_hash(identity)
        return await self._add(RuleKind.IDENTITY, about, self._clock.wall_s(), lifetime_s)

    async def revoke_issued_before(self, before_wall_s: float, lifetime_s: float) -> str:
        """Revoke every ticket issued before then, which isn't in the future; the rule's id. Raises
        as `revoke_session`, and Conflict for what is no time.
        """
        if not math.isfinite(before_wall_s):  # JSON has no word for it: members couldn't read it
            raise Conflict(f"tickets issued before {before_wall_s}: give a time")
        if before_wall_s > self._clock.wall_s():
            raise Conflict("tickets issued before a time to come: give a time that has passed")
        return await self._add(RuleKind.ISSUED_BEFORE, "", before_wall_s, lifetime_s)

    async def _add(
        self, kind: RuleKind, about: str, before_wall_s: float, lifetime_s: float
    ) -> str:
        if len(self._rules) >= RULES_MAX:
            raise Conflict(f"{RULES_MAX} revocations are in force: rotate or revoke keys instead")
        now_s = self._clock.wall_s()
        rule = Rule(kind.value, about, before_wall_s, now_s, now_s + lifetime_s + SKEW_S)
        rule_id = self._rng.bytes(_ID_LEN).hex()
        await self._put(rule_id, rule)
        # it stands; if the store can't be read now, `run` has it later, and who commits anything
        # earlier reads it first
        with contextlib.suppress(Unavailable):
            await self.refresh()
        return rule_id

    async def _put(self, rule_id: str, rule: Rule) -> None:
        key, value = self._keys.revocation(rule_id), msgspec.json.encode(rule)
        absent = Compare(key, Target.VERSION, 0)
        watermark = Put(self._keys.watermark, rule_id.encode())
        for attempt in attempts(ATTEMPTS_MAX):
            with attempt:  # done already, or done now: the compare tells them apart
                try:
                    lease_id = await self._buckets.grant(rule.expires_wall_s)
                    await self._store.commit(Txn((absent,), (Put(key, value, lease_id), watermark)))
                    return
                except LeaseLost:
                    self._buckets.forget()
        raise Unknown("the revocation may have been made, or not")

    # -- what the store says

    async def run(self) -> None:
        """Follow the rules for ever."""
        await follow(self._store, self._keys.revocations, self._changed, self._applied, self._known)

    async def refresh(self) -> None:
        """The rules are those that stand now. Raises Unavailable."""
        scan = await self._store.scan(self._keys.revocations)
        if scan.revision <= self._as_of:
            return  # the watch was quicker, and may have told of the end of what was found
        self._as_of = scan.revision
        self._known.clear()
        self._known.update((entry.key, entry) for entry in scan.entries)
        self._rules = {self._id(entry.key): decode_rule(entry.value) for entry in scan.entries}
        self._index()

    async def obey(self, _watermark: Entry | None) -> None:
        """For `JournalHooks.obey`: the rules are known when this returns. Raises Unavailable."""
        await self.refresh()

    def _changed(self, key: bytes, entry: Entry | None, revision: int) -> None:
        if revision < self._as_of:
            return  # `refresh` was quicker
        self._told = max(self._told, revision)
        if entry is not None:
            self._rules[self._id(key)] = decode_rule(entry.value)
        else:
            self._rules.pop(self._id(key), None)

    def _applied(self) -> None:
        self._as_of = max(self._as_of, self._told)
        self._index()

    def _id(self, key: bytes) -> str:
        return key[len(self._keys.revocations) :].decode("utf-8", "replace")

    def _index(self) -> None:
        chains: set[bytes] = set()
        identities: dict[str, float] = {}
        issued_before_wall_s, unreadable = float("-inf"), False
        for rule in self._rules.values():
            if rule.kind == RuleKind.SESSION.value:
                chains.add(bytes.fromhex(rule.about))
            elif rule.kind == RuleKind.IDENTITY.value:
                known_s = identities.get(rule.about, float("-inf"))
                identities[rule.about] = max(known_s, rule.before_wall_s)
            elif rule.kind == RuleKind.ISSUED_BEFORE.value:
                issued_before_wall_s = max(issued_before_wall_s, rule.before_wall_s)
            else:
                unreadable = True
        more = not (chains <= self._chains and identities.items() <= self._identities.items())
        self._chains, self._identities = frozenset(chains), identities
        self._issued_before_wall_s, self._all_tickets = issued_before_wall_s, unreadable
        self.active = bool(self._rules)
        if more:
            for told in self.on_rules:
                told()


def decode_rule(value: bytes) -> Rule:
    """The rule in `value`; an UNREADABLE one if a later release or a foreign hand wrote it."""
    try:
        rule = _decode(value)
        RuleKind(rule.kind)
        if rule.kind == RuleKind.SESSION.value:
            bytes.fromhex(rule.about)
    except (*UNREADABLE, ValueError):
        return Rule(RuleKind.UNREADABLE.value, "", 0.0, 0.0, 0.0)
    return rule


_decode = msgspec.json.Decoder(Rule).decode
