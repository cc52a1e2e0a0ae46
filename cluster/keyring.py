"""The key ring: every secret that the members share, with the windows in which each may be used.
Pure.

```
announced ──► sealing ──► opening ──► gone            (revoked, from any of them: gone at once)
```

Rules: a ring is a value; each change makes a new one. An announced key opens already: a member
that installed the next ring a moment earlier seals with it. A key opens for at least the longest
ticket lifetime after anybody's last seal (RFC 5723 6.2): while some member may not have installed
its successor, that is the end of its sealing window. Written forward-compatibly: unknown fields
of the ring are kept when it is written again; a new field *per key* needs a new version.
`KeyRing` satisfies `proto.ike.ticket.TicketKeys` by its shape.
"""

import enum
import math
from functools import cached_property

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC
from msgspec.structs import replace

from cluster.errors import UNREADABLE, ClusterError, Conflict, Incompatible
from cluster.seams import Rng
from proto.secret import Secret

VERSION = 1
SECRET_LEN = 32
KEY_ID_LEN = 8
"""Ticket and record keys have random ids of 8 octets; cookie and QCD secrets a generation of one
octet.
"""
KEYS_MAX = 64
"""Bound of ticket keys, of record keys and of remembered revocations in one ring."""
QCD_MAX = 4
"""A taker of crash tokens checks as many generations (RFC 6290 5.1); bound of the QCD secrets."""
FOR_EVER = math.inf


class KeyState(enum.Enum):
    """See the module's picture; a key that is gone is not in the ring."""

    ANNOUNCED = "announced"
    SEALING = "sealing"
    OPENING = "opening"


class RingPolicy(msgspec.Struct, frozen=True):
    """How long keys are used, seconds. Raises ValueError where a valid ticket or record could be
    left unopened.
    """

    ticket_lifetime_s: float = 3600.0
    """The longest lifetime that any member gives a ticket."""
    sealing_period_s: float = 30 * 86400.0
    """A ticket key that is not replaced stops sealing after this; tickets are then no longer
    issued.
    """
    opening_period_s: float = 2 * 3600.0
    """How long a ticket key opens after its last seal."""
    record_lifetime_s: float = 2 * 86400.0
    """The longest time that a record or an SA of it can live: how long record keys and QCD
    secrets are kept.
    """
    cookie_lifetime_s: float = 120.0
    """How long a cookie made under the former secret is taken."""
    margin_s: float = 300.0
    """For skewed clocks; added to every period in which something opens."""

    def __post_init__(self) -> None:
        for field in self.__struct_fields__:
            value = getattr(self, field)
            if not 0 < value < FOR_EVER:
                raise ValueError(f"{field} is {value}: a number of seconds above 0 is needed")
        if self.opening_period_s < self.ticket_lifetime_s:
            raise ValueError(
                f"opening_period_s is {self.opening_period_s:g}, shorter than ticket_lifetime_s "
                f"({self.ticket_lifetime_s:g}): valid tickets would be refused"
            )


class RevokedKey(msgspec.Struct, frozen=True):
    """A ticket key that was revoked: its secret is gone, its id is remembered for a while."""

    key_id: bytes
    revoked_wall_s: float
    until_wall_s: float
    """When the last ticket under it would have ended: nobody asks for it after that."""


class RingKey(msgspec.Struct, frozen=True, dict=True):
    """One secret and its windows (seconds since 1970; `inf`: no end yet)."""

    key_id: bytes
    secret: Secret
    state: KeyState
    created_wall_s: float
    seals_from_wall_s: float = 0.0
    seals_until_wall_s: float = 0.0
    opens_until_wall_s: float = FOR_EVER
    opening_period_s: float = 0.0
    """Promised when it began to seal: a policy shortened later doesn't shorten the life of what
    is out already.
    """

    @cached_property
    def _keyed(self) -> HMAC:
        return HMAC(self.secret.octets, hashes.SHA512())

    def expand(self, info: bytes) -> bytes:
        """HKDF-Expand-SHA512(secret, info), 64 octets: one block (RFC 5869 2.3).

        Keyed once and kept as long as the ring holds the key: members derive a key per ticket, and
        keying anew would cost more than all the rest of it.
        """
        mac = self._keyed.copy()
        mac.update(info + b"\x01")
        return mac.finalize()


class KeySet(msgspec.Struct, frozen=True, dict=True):
    """The keys of one use, oldest first; at most one is announced and at most one seals (none only
    of the ticket keys, when the sealing one was revoked).
    """

    keys: tuple[RingKey, ...]

    @cached_property
    def index(self) -> dict[bytes, RingKey]:
        """The keys by id."""
        return {key.key_id: key for key in self.keys}

    @cached_property
    def announced(self) -> RingKey | None:
        """The key that will seal next."""
        return self._first(KeyState.ANNOUNCED)

    @cached_property
    def current(self) -> RingKey | None:
        """The key in state sealing, its window not looked at."""
        return self._first(KeyState.SEALING)

    def sealing(self, wall_s: float) -> RingKey | None:
        """The key to seal with; None when its window has ended."""
        key = self.current
        return key if key is not None and wall_s < key.seals_until_wall_s else None

    def opening(self, key_id: bytes, wall_s: float) -> RingKey | None:
        """The key `key_id`, if it opens now; None if it is unknown or past its end."""
        key = self.index.get(key_id)
        return key if key is not None and wall_s < key.opens_until_wall_s else None

    def _first(self, state: KeyState) -> RingKey | None:
        return next((key for key in self.keys if key.state is state), None)


class CookieKeys:
    """The cookie secrets as the core takes them: by a generation of one octet (RFC 7296 2.6)."""

    def __init__(self, keys: KeySet) -> None:
        self._keys = keys

    def sealing(self, wall_s: float) -> tuple[int, Secret]:
        """Generation and secret to make a cookie with; a ring always has one."""
        key = self._keys.current
        if key is None:
            raise Incompatible("the key ring holds no cookie secret: another release made it")
        return key.key_id[0], key.secret

    def opening(self, generation: int, wall_s: float) -> Secret | None:
        """The secret to check a cookie of `generation` with; None if it is unknown or past its
        end.
        """
        key = self._keys.opening(bytes((generation,)), wall_s)
        return None if key is None else key.secret


class KeyRing(msgspec.Struct, frozen=True, dict=True):
    """All keys of the cluster at one revision of the ring."""

    tickets: KeySet
    records: KeySet
    cookie_keys: KeySet
    qcd: KeySet
    revoked: tuple[RevokedKey, ...] = ()
    """Ticket keys revoked not long ago, oldest first."""
    extra: tuple[tuple[str, bytes], ...] = ()
    """Fields that a newer release wrote, as they were: (name, msgpack)."""

    def sealing(self, wall_s: float) -> RingKey | None:
        """The ticket key to seal with; None: issue no ticket."""
        return self.tickets.sealing(wall_s)

    def opening(self, key_id: bytes, wall_s: float) -> RingKey | None:
        """The ticket key `key_id`, if it opens now; None: look at the ring once, then refuse."""
        return self.tickets.opening(key_id, wall_s)

    @cached_property
    def cookies(self) -> CookieKeys:
        """The cookie secrets."""
        return CookieKeys(self.cookie_keys)


def encode(ring: KeyRing) -> bytes:
    """The ring in msgpack, secrets readable: to be sealed at once."""
    form: dict[str, object] = {name: msgspec.Raw(raw) for name, raw in ring.extra}
    form["version"] = VERSION
    for name in _SETS:
        form[name] = _key_set(ring, name).keys
    if ring.revoked:
        form[_REVOKED] = ring.revoked
    return msgspec.msgpack.encode(form, enc_hook=_enc_hook)


def decode(octets: bytes) -> KeyRing:
    """The ring from `encode`'s octets. Raises Incompatible for a newer version and for what is no
    ring.
    """
    try:
        form = msgspec.msgpack.decode(octets, type=dict[str, msgspec.Raw])
        version = msgspec.msgpack.decode(form.pop("version"), type=int)
        if version != VERSION:
            raise Incompatible(
                f"the key ring has format {version}, this release knows {VERSION}: upgrade it"
            )
        sets = {name: KeySet(_KEYS_DECODER.decode(form.pop(name))) for name in _SETS}
        revoked = _REVOKED_DECODER.decode(form.pop(_REVOKED, _NONE))
    except (*UNREADABLE, KeyError) as error:
        raise Incompatible(f"the key ring can't be read: {error}") from None
    for name, keys in sets.items():
        _check(name, keys)
    extra = tuple(sorted((name, bytes(raw)) for name, raw in form.items()))
    return KeyRing(
        sets["tickets"], sets["records"], sets["cookie_keys"], sets["qcd"], revoked, extra
    )


def new_ring(rng: Rng, wall_s: float, policy: RingPolicy) -> KeyRing:
    """A cluster's first ring: nobody can hold an older one, so its keys seal at once."""
    sets = {
        name: KeySet((_seals(_new_key(name, rng, wall_s, 0), name, wall_s, policy),))
        for name in _SETS
    }
    return KeyRing(sets["tickets"], sets["records"], sets["cookie_keys"], sets["qcd"])


def announce(ring: KeyRing, rng: Rng, wall_s: float, policy: RingPolicy) -> KeyRing:
    """`ring` with a next key of each use; unchanged if a ticket key is announced already (a
    rotation that stopped half-way is taken up again). Raises ClusterError when as many ticket
    keys as fit still have tickets to open.
    """
    if ring.tickets.announced is not None:
        return ring
    ring = expire(ring, wall_s)
    if len(ring.tickets.keys) >= KEYS_MAX:
        ends_s = min(key.opens_until_wall_s for key in ring.tickets.keys) - wall_s
        raise ClusterError(
            f"the ring holds {KEYS_MAX} ticket keys whose tickets may still be valid: "
            f"rotate again in {ends_s:.0f} s"
        )
    for name in _SETS:
        keys = _key_set(ring, name).keys
        # only tickets must get a new key: another use, full of keys still needed, keeps its own
        if len(keys) < _BOUNDS[name]:
            last = keys[-1].key_id[0] if keys else -1
            key = _new_key(name, rng, wall_s, last + 1)
            ring = _with(ring, name, (*keys, key))
    return ring


def activate(ring: KeyRing, key_id: bytes, wall_s: float, policy: RingPolicy) -> KeyRing:
    """`ring` with the announced ticket key `key_id`, and whatever was announced with it, sealing;
    what sealed opens.

    The former keys keep the opening window they have until `retire`: a member that hasn't
    installed this ring goes on sealing with them. Raises Conflict if no such ticket key is
    announced.
    """
    announced = ring.tickets.announced
    if announced is None or announced.key_id != key_id:
        raise Conflict(f"no ticket key {shown(key_id)} is announced: somebody else rotated")
    for name in _SETS:
        keys = _key_set(ring, name)
        if keys.announced is not None:
            changed = (_step(key, name, wall_s, policy) for key in keys.keys)
            ring = _with(ring, name, tuple(changed))
    return ring


def cancel(ring: KeyRing) -> KeyRing:
    """`ring` without what was announced: as it was before the rotation, for nothing was sealed
    with it yet.
    """
    for name in _SETS:
        keys = _key_set(ring, name).keys
        kept = tuple(key for key in keys if key.state is not KeyState.ANNOUNCED)
        ring = _with(ring, name, kept)
    return ring


def shown(key_id: bytes) -> str:
    """A key's id as people are shown it, everywhere: 8 hex digits are enough to name one."""
    return key_id[:_SHOWN_LEN].hex()


def find_ticket_key(ring: KeyRing, prefix: str) -> bytes:
    """The id of the one ticket key, revoked ones included, whose id in hex begins with `prefix`.

    Raises Conflict.
    """
    ids = [key.key_id for key in ring.tickets.keys] + [key.key_id for key in ring.revoked]
    found = [key_id for key_id in ids if prefix and key_id.hex().startswith(prefix)]
    if len(found) == 1:
        return found[0]
    if found:
        raise Conflict(f"{len(found)} ticket keys begin with {prefix!r}: give more of its id")
    others = (ring.records, ring.cookie_keys, ring.qcd)
    if prefix and any(k.key_id.hex().startswith(prefix) for one in others for k in one.keys):
        raise Conflict(f"{prefix!r} is no ticket key: rotating replaces the other kinds")
    raise Conflict(f"there is no ticket key {prefix!r}: see the list of keys")


def revoke(ring: KeyRing, key_id: bytes, wall_s: float, policy: RingPolicy) -> KeyRing:
    """`ring` without the ticket key `key_id`: wherever it is installed, no ticket under that key
    opens any more. Unchanged if that was done before; Conflict if there was never such a key.

    Revoking what is only announced cancels the rotation. Whoever revokes the sealing key announces
    another in the same step; until that is activated, nothing seals tickets.
    """
    key = ring.tickets.index.get(key_id)
    if key is None:
        if any(one.key_id == key_id for one in ring.revoked):
            return ring
        raise Conflict(f"there is no ticket key {shown(key_id)} (any more)")
    if key.state is KeyState.ANNOUNCED:
        ring = cancel(ring)
    kept = tuple(one for one in ring.tickets.keys if one.key_id != key_id)
    opens_s = max(key.opening_period_s, policy.opening_period_s) + policy.margin_s
    until_s = min(key.opens_until_wall_s, wall_s + opens_s)
    revoked = (*ring.revoked, RevokedKey(key_id, wall_s, until_s))[-KEYS_MAX:]
    return replace(_with(ring, "tickets", kept), revoked=revoked)


def retire(ring: KeyRing, wall_s: float, policy: RingPolicy) -> KeyRing:
    """`ring` with an end set to every key that only opens; for when every live member has
    installed it, so that nobody seals with them any more. Idempotent: an end once set is never
    put off.
    """
    for name in _SETS:
        changed = []
        for key in _key_set(ring, name).keys:
            opens_s = max(key.opening_period_s, _opening_period_s(name, policy)) + policy.margin_s
            ends_s = min(key.opens_until_wall_s, wall_s + opens_s)
            opening = key.state is KeyState.OPENING
            changed.append(replace(key, opens_until_wall_s=ends_s) if opening else key)
        ring = _with(ring, name, tuple(changed))
    return ring


def expire(ring: KeyRing, wall_s: float) -> KeyRing:
    """`ring` without the keys that only opened and are past their end, and without the revoked
    ones that nobody can ask for any more.
    """
    for name in _SETS:
        kept = (
            key
            for key in _key_set(ring, name).keys
            if key.state is not KeyState.OPENING or wall_s < key.opens_until_wall_s
        )
        ring = _with(ring, name, tuple(kept))
    return replace(ring, revoked=tuple(key for key in ring.revoked if wall_s < key.until_wall_s))


_SHOWN_LEN = 4
_SETS = ("tickets", "records", "cookie_keys", "qcd")
_BOUNDS = {"tickets": KEYS_MAX, "records": KEYS_MAX, "cookie_keys": KEYS_MAX, "qcd": QCD_MAX}
_REVOKED = "revoked"
_GENERATIONS = ("cookie_keys", "qcd")


def _opening_period_s(name: str, policy: RingPolicy) -> float:
    if name == "tickets":
        return policy.opening_period_s
    return policy.cookie_lifetime_s if name == "cookie_keys" else policy.record_lifetime_s


def _new_key(name: str, rng: Rng, wall_s: float, generation: int) -> RingKey:
    by_generation = name in _GENERATIONS
    key_id = bytes((generation % 256,)) if by_generation else rng.bytes(KEY_ID_LEN)
    return RingKey(key_id, Secret(rng.bytes(SECRET_LEN)), KeyState.ANNOUNCED, wall_s)


def _step(key: RingKey, name: str, wall_s: float, policy: RingPolicy) -> RingKey:
    if key.state is KeyState.SEALING:
        return replace(key, state=KeyState.OPENING)
    return key if key.state is KeyState.OPENING else _seals(key, name, wall_s, policy)


def _seals(key: RingKey, name: str, wall_s: float, policy: RingPolicy) -> RingKey:
    """`key` sealing from now on. Only tickets can be done without, so only their key has a last
    day.
    """
    period_s = _opening_period_s(name, policy)
    until_s = wall_s + policy.sealing_period_s if name == "tickets" else FOR_EVER
    return replace(
        key,
        state=KeyState.SEALING,
        seals_from_wall_s=wall_s,
        seals_until_wall_s=until_s,
        opens_until_wall_s=until_s + period_s + policy.margin_s,
        opening_period_s=period_s,
    )


def _key_set(ring: KeyRing, name: str) -> KeySet:
    keys: KeySet = getattr(ring, name)
    return keys


def _with(ring: KeyRing, name: str, keys: tuple[RingKey, ...]) -> KeyRing:
    return replace(ring, **{name: KeySet(keys)})


def _check(name: str, keys: KeySet) -> None:
    """What the lookups rely on. The ring is sealed, so this finds other releases and our own
    faults.
    """
    id_len = 1 if name in _GENERATIONS else KEY_ID_LEN
    sealing = sum(key.state is KeyState.SEALING for key in keys.keys)
    announced = sum(key.state is KeyState.ANNOUNCED for key in keys.keys)
    lengths = all(len(key.key_id) == id_len and len(key.secret) > 0 for key in keys.keys)
    unique = len(keys.index) == len(keys.keys)
    # without a sealing ticket key, one is announced: see `revoke`
    least = 1 - announced if name == "tickets" else 1
    if (
        not least <= sealing <= 1
        or announced > 1
        or not lengths
        or not unique
        or len(keys.keys) > KEYS_MAX
    ):
        raise Incompatible(f"the key ring's {name} make no sense to this release: upgrade it")


def _enc_hook(value: object) -> bytes:
    if isinstance(value, Secret):
        return value.octets
    raise NotImplementedError(type(value).__name__)  # as msgspec wants it of its hooks


def _dec_hook(kind: type, value: object) -> object:
    if kind is Secret and isinstance(value, bytes):
        return Secret(value)
    raise TypeError("a secret is octets")  # which msgspec makes one of its own errors


_KEYS_DECODER = msgspec.msgpack.Decoder(tuple[RingKey, ...], dec_hook=_dec_hook)
_REVOKED_DECODER = msgspec.msgpack.Decoder(tuple[RevokedKey, ...])
_NONE = msgspec.Raw(msgspec.msgpack.encode(()))
