"""What an administrator may see and do, as plain values, and who answers for it.

Rules: no secret has a field here. Times are seconds since 1970 unless the name says otherwise.
"""

import enum
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from cluster.keyring import KeyRing, shown
from cluster.rewrap import HeldBy


class MemberInfo(msgspec.Struct, frozen=True):
    """One member as another sees it."""

    name: str
    host: str = ""
    incarnation: str = ""
    state: str = ""
    """Its named state as it says itself (`normal`, `isolated`); of another member also `unheard`
    (no heartbeat yet) and `suspected` (none for too long).
    """
    ike_addresses: tuple[str, ...] = ()
    rpc_address: str = ""
    shards: int = 0
    sessions: int = 0
    ring_revision: int = 0
    heartbeat_age_s: float | None = None
    """Since its last heartbeat arrived; None for the member that answers."""
    release: str = ""


class StoreConditionInfo(msgspec.Struct, frozen=True):
    """One thing that is wrong with the store (`cluster.conditions`)."""

    name: str
    detail: str
    fix: str
    since_s: float


class ClusterStatus(msgspec.Struct, frozen=True):
    """The cluster as one member sees it."""

    cluster: str
    member: str
    """The one that answers."""
    state: str
    """Its named state: `normal`, `isolated`, …"""
    mode: str
    """The cluster's: `normal`, …"""
    epoch: int
    store_kind: str
    store_state: str
    ring_revision: int
    shards: int
    shards_owned: int
    """By anybody alive; the rest has no owner now."""
    members: tuple[MemberInfo, ...] = ()
    """In the order of their names."""
    state_why: str = ""
    store_conditions: tuple[StoreConditionInfo, ...] = ()
    """By name."""


class SessionInfo(msgspec.Struct, frozen=True):
    """One IKE SA."""

    spi_i: bytes
    spi_r: bytes
    chain: bytes
    generation: int
    identity: str
    """The peer's, `kind:text` (`node.identity.format_identity`)."""
    peer_address: str
    how: str
    """`full` or `resumed`."""
    suite: str
    established_wall_s: float
    expires_wall_s: float
    member: str
    """Its owner."""


class ShardInfo(msgspec.Struct, frozen=True):
    """One shard, as the member that answers knows it."""

    shard: int
    owner: str
    """Empty: nobody."""
    fence: int
    home: str = ""
    """Where an operator wants it; empty: by rank."""
    sessions_here: int | None = None
    """Established IKE SAs, if the member that answers owns it; None: another does."""


class PoolInfo(msgspec.Struct, frozen=True):
    """One pool of internal addresses, as the member that answers knows it."""

    name: str
    first: str
    last: str
    size: int
    used: int
    """By sessions, those included whose client may come back with a ticket."""
    free_here: int
    """Of the free ones: those that this member gives out while the store answers nobody."""


class KeyInfo(msgspec.Struct, frozen=True):
    """One key of the ring."""

    id: str
    """The first octets of its id, hex."""
    purpose: str
    state: str
    created_wall_s: float
    seal_until_wall_s: float
    """0: no end yet."""
    open_until_wall_s: float


class RotationStep(msgspec.Struct, frozen=True):
    """How far a rotation of the ticket keys is."""

    line: str
    """What was done or is waited for, for people."""


class RevocationInfo(msgspec.Struct, frozen=True):
    """One revocation in force."""

    id: str
    kind: str
    """`session`, `identity` or `issued-before`."""
    about: str
    """A session's chain or an identity's keyed hash, hex; nobody can say whose that is."""
    before_wall_s: float
    created_wall_s: float
    expires_wall_s: float
    """When it has become unnecessary."""


class Revoke(msgspec.Struct, frozen=True):
    """What is to be revoked."""

    kind: str
    """`session`, `identity` or `issued-before`; only its field below counts."""
    chain: bytes = b""
    identity: str = ""
    before_wall_s: float = 0.0


class Revoked(msgspec.Struct, frozen=True):
    """What a revocation hit."""

    id: str
    sessions: int
    """IKE SAs that it ends."""
    found: bool | None
    """Of a session: whether there is one of that chain, live or in the store."""
    unreachable: tuple[str, ...] = ()
    """Members that did not say how many it ends there; it holds there all the same."""


class Redirect(msgspec.Struct, frozen=True):
    """Which clients are to be sent where."""

    to: str
    """An address, or a name."""
    identity: str
    """A pattern; `*` stands for any text."""
    member: str = ""
    """Only those that it owns; empty: all members'."""


class Redirected(msgspec.Struct, frozen=True):
    """How many clients were sent away."""

    told: int = 0
    there: int = 0
    """They talk to that address already."""
    unable: int = 0
    """They follow no redirect."""
    busy: int = 0
    """Another request to them was not answered all the while."""
    unreachable: tuple[str, ...] = ()
    """Members that did not answer: their sessions stay where they are."""


class Command(enum.Enum):
    """What an operator may have changed, as the command line names it."""

    TERMINATE = "sessions terminate"
    MOVE = "shards move"
    ROTATE = "keys rotate"
    CANCEL = "keys cancel"
    REVOKE_KEY = "keys revoke"
    REWRAP = "keys rewrap"
    REVOKE = "revoke"
    WRITE_OFF = "member write-off"
    ACCEPT_RESTORE = "store accept-restore"


class NodeView(Protocol):
    """What the administration asks of the process. Implementer: `node.view.View`."""

    def check_ready(self) -> None:
        """Asked before anything else. Raises Unavailable while the member starts."""
        ...

    def note(
        self, command: Command, who: str, about: Mapping[str, object], failed: str = ""
    ) -> None:
        """Write down by whose word something was changed, or was to be and why it wasn't."""
        ...

    def status(self) -> ClusterStatus:
        """The cluster as this member sees it; answered without the store."""
        ...

    def sessions(self) -> Sequence[SessionInfo]:
        """The IKE SAs that this member owns, established ones only; a copy."""
        ...

    async def terminate(self, spi_r: bytes) -> bool:
        """Delete the IKE SA here, with a Delete to the peer; False if it isn't ours.

        Raises ClusterError.
        """
        ...

    async def redirect(self, what: Redirect, who: str) -> Redirected:
        """Send clients of this member's sessions elsewhere; `who` asks for it. Raises ValueError,
        see `node.redirects.checked`.
        """
        ...

    def shards(self) -> Sequence[ShardInfo]:
        """Every shard, in order."""
        ...

    async def move_shard(self, shard: int, member: str) -> None:
        """Hand a shard of ours to a live member. Raises ClusterError."""
        ...

    def pools(self) -> Sequence[PoolInfo]:
        """The pools of internal addresses, in the order of this member's file."""
        ...

    def keys(self) -> Sequence[KeyInfo]:
        """The keys of the installed ring (`key_infos`)."""
        ...

    async def rotate(self, progress: Callable[[str], None], *, force: bool) -> None:
        """Announce a ticket key, wait for every live member (unless `force`), seal with it; a line
        per step.

        Raises ClusterError.
        """
        ...

    async def cancel_rotation(self) -> str:
        """Take back an announced key; its id, hex. Raises ClusterError."""
        ...

    async def revoke_key(self, key: str, progress: Callable[[str], None]) -> None:
        """Make the ticket key whose id (hex) begins with `key` useless everywhere, and replace it
        if it sealed; a line per step.

        Raises ClusterError.
        """
        ...

    async def read_keks(self) -> Sequence[bytes]:
        """Look anew for key-encryption keys; the ids of those that this member holds.

        Raises ClusterError.
        """
        ...

    async def rewrap(self, kek_id: bytes, held_by: HeldBy, progress: Callable[[str], None]) -> None:
        """Seal the cluster's secrets under the key-encryption key `kek_id`; a line per step.

        `held_by`: asks every member which it holds. Raises ClusterError.
        """
        ...

    def concerned(self, what: Revoke) -> int:
        """How many IKE SAs of this member a revocation would end. Raises Conflict: it is none."""
        ...

    async def stands(self, chain: bytes) -> bool:
        """Whether the store has a session of that chain: one that lives or that a ticket may
        resume. Raises ClusterError.
        """
        ...

    async def revoke(self, what: Revoke) -> str:
        """Make sessions and tickets void at every live member; the revocation's id.

        Raises ClusterError.
        """
        ...

    def revocations(self) -> Sequence[RevocationInfo]:
        """The revocations in force, oldest first."""
        ...

    async def write_off(self, name: str, who: str, progress: Callable[[str], None]) -> None:
        """Member `name` won't come back; a line per step. `who`: the operator, for the record.

        Raises ClusterError.
        """
        ...

    async def accept_restore(self, who: str, progress: Callable[[str], None]) -> None:
        """Make the store, which is behind, the one that counts; a line per step. `who`: the
        operator, for the record. Also asked of a member that isn't ready.

        Raises ClusterError.
        """
        ...

    def peers(self) -> Mapping[str, str]:
        """The other live members: name → rpc address."""
        ...


class Purpose(enum.Enum):
    """What a key of the ring is for; the value is the field of KeyRing."""

    TICKET = "tickets"
    RECORD = "records"
    COOKIE = "cookie_keys"
    QCD = "qcd"


def key_infos(ring: KeyRing) -> tuple[KeyInfo, ...]:
    """What may be shown of a ring: ids, windows, states; what was revoked lately comes last."""
    held = tuple(
        KeyInfo(
            id=shown(key.key_id),
            purpose=purpose.name.lower(),
            state=key.state.value,
            created_wall_s=key.created_wall_s,
            seal_until_wall_s=_end(key.seals_until_wall_s),
            open_until_wall_s=_end(key.opens_until_wall_s),
        )
        for purpose in Purpose
        for key in getattr(ring, purpose.value).keys
    )
    revoked = tuple(
        KeyInfo(
            id=shown(key.key_id),
            purpose=Purpose.TICKET.name.lower(),
            state="revoked",
            created_wall_s=0.0,
            seal_until_wall_s=key.revoked_wall_s,
            open_until_wall_s=key.revoked_wall_s,
        )
        for key in ring.revoked
    )
    return held + revoked


def _end(wall_s: float) -> float:
    return 0.0 if math.isinf(wall_s) else wall_s
