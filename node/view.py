"""What this member shows of itself and the cluster: implements `node.admin_view.NodeView`.

Rules: answered from what is at hand, without the store, so that `status` works when it is away.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from cluster.errors import Unavailable
from cluster.keyring import shown
from cluster.moves import move
from cluster.rewrap import HeldBy
from node.admin_view import (
    ClusterStatus,
    Command,
    KeyInfo,
    MemberInfo,
    PoolInfo,
    Redirect,
    Redirected,
    RevocationInfo,
    Revoke,
    SessionInfo,
    ShardInfo,
    key_infos,
)
from node.redirects import redirect

if TYPE_CHECKING:
    from node.wiring import Node

MOVE_TIMEOUT_S = 10.0
"""How long a shard may take to be settled enough to be moved."""
ROTATION_TIMEOUT_S = 30.0
"""How long a rotation waits for the slowest member before it says by whom it hangs."""


class View:
    """See the module; everything comes from the parts of a `Node`."""

    def __init__(self, node: "Node", store_kind: str) -> None:
        self._node = node
        self._store_kind = store_kind

    def check_ready(self) -> None:
        """Raises Unavailable while the member starts: the rest isn't to be asked yet."""
        if not self._node.ready:
            wrong = [present.line for present in self._node.way.conditions.present()]
            waits = "; ".join(wrong) or "it waits for the store, or for its name"
            raise Unavailable(f"this member is starting: {waits}")

    def note(
        self, command: Command, who: str, about: Mapping[str, object], failed: str = ""
    ) -> None:
        """One line of the log: by whose word something was changed, or was to be."""
        log, fields = self._node.seams.log, {"command": command.value, "asked_by": who, **about}
        if failed:
            log.warning("an operator's command failed", **fields, why=failed)
        else:
            log.info("an operator's command was carried out", **fields)

    def status(self) -> ClusterStatus:
        """The cluster as this member sees it."""
        node = self._node
        counts = node.ownership.counts()
        return ClusterStatus(
            cluster=node.config.cluster.name,
            member=node.config.member.name,
            state=node.membership.state,
            mode=node.state.state.mode,
            epoch=node.state.state.epoch,
            store_kind=self._store_kind,
            store_state=node.store_state(),
            ring_revision=node.rings.revision,
            shards=node.codec.shards,
            shards_owned=sum(counts.get(name, 0) for name in node.membership.members),
            members=tuple(self._member(name, counts) for name in node.membership.members),
            state_why=node.membership.standing.why,
            store_conditions=(
                *node.way.condition_infos(),
                *node.standby.infos(),
                *node.clocks.infos(),
            ),
        )

    def sessions(self) -> Sequence[SessionInfo]:
        """The established IKE SAs of this member."""
        me = self._node.config.member.name
        return [
            SessionInfo(
                spi_i=core.peer_spi,
                spi_r=core.spi,
                chain=core.chain,
                generation=core.generation,
                identity=core.identity,
                peer_address=f"{path.remote[0]}:{path.remote[1]}",
                how="resumed" if core.resumed else "full",
                suite=str(core.suite),
                established_wall_s=core.established_wall_s,
                expires_wall_s=core.expires_wall_s,
                member=me,
            )
            for core, path in self._node.gateway.endpoint.established()
        ]

    async def terminate(self, spi_r: bytes) -> bool:
        """Delete the IKE SA, tell its peer, and void its tickets."""
        return self._node.gateway.terminate(spi_r)

    async def redirect(self, what: Redirect, who: str) -> Redirected:
        """Send clients elsewhere, and say by whose word. Raises ValueError."""
        log = self._node.seams.log
        fields = {"to": what.to, "identity": what.identity, "asked_by": who}
        log.info("sessions are redirected", **fields)
        done = await redirect(self._node.gateway, what)
        log.info("sessions redirected", **fields, told=done.told, busy=done.busy)
        return done

    def shards(self) -> Sequence[ShardInfo]:
        """Every shard, with the sessions of those that are this member's."""
        node = self._node
        held = dict.fromkeys(node.ownership.owned, 0)
        for core, _ in node.gateway.endpoint.established():
            shard = node.codec.shard_of(core.spi)
            held[shard] = held.get(shard, 0) + 1
        return [
            ShardInfo(shard, record.owner, record.fence, record.home, held.get(shard))
            for shard, record in enumerate(node.ownership.records())
        ]

    async def move_shard(self, shard: int, member: str) -> None:
        """Hand it over. Raises ClusterError."""
        node = self._node
        await move(node.ownership, node.membership.members, shard, member, MOVE_TIMEOUT_S)

    def pools(self) -> Sequence[PoolInfo]:
        """The pools of internal addresses."""
        return [
            PoolInfo(
                use.pool.name,
                str(use.pool.first),
                str(use.pool.address(use.pool.size - 1)),
                use.pool.size,
                use.used,
                use.reserved,
            )
            for use in self._node.addresses.usage()
        ]

    def keys(self) -> Sequence[KeyInfo]:
        """The keys of the installed ring."""
        return key_infos(self._node.rings.ring)

    async def rotate(self, progress: Callable[[str], None], *, force: bool) -> None:
        """Announce a ticket key, wait for every live member, seal with it. Raises ClusterError."""
        rotation = await self._node.key_parts.rotations.rotate(
            ROTATION_TIMEOUT_S, progress, force=force
        )
        if rotation.waiting_for:
            progress(f"sealing; not reported yet by {', '.join(rotation.waiting_for)}")

    async def cancel_rotation(self) -> str:
        """Take back what is announced; the id of that key. Raises ClusterError."""
        return shown(await self._node.key_parts.rotations.cancel())

    async def revoke_key(self, key: str, progress: Callable[[str], None]) -> None:
        """Make a ticket key useless, and replace it if it sealed. Raises ClusterError."""
        await self._node.key_parts.rotations.revoke(key, ROTATION_TIMEOUT_S, progress)

    async def read_keks(self) -> Sequence[bytes]:
        """Look for key-encryption keys, and for a ring that one of them opens. Raises
        ClusterError.
        """
        return await self._node.read_keks()

    async def rewrap(self, kek_id: bytes, held_by: HeldBy, progress: Callable[[str], None]) -> None:
        """Change the key-encryption key. Raises ClusterError."""
        await self._node.key_parts.rewrap.run(kek_id, held_by, ROTATION_TIMEOUT_S, progress)

    def concerned(self, what: Revoke) -> int:
        """How many IKE SAs of this member a revocation would end. Raises Conflict: it is none."""
        return self._node.refusals.concerned(what)

    async def stands(self, chain: bytes) -> bool:
        """Whether the store has a session of that chain. Raises ClusterError."""
        return await self._node.refusals.stands(chain)

    async def revoke(self, what: Revoke) -> str:
        """Make sessions and tickets void at every live member. Raises ClusterError."""
        return await self._node.refusals.revoke(what)

    def revocations(self) -> Sequence[RevocationInfo]:
        """The revocations in force, oldest first."""
        return [
            RevocationInfo(
                rule_id,
                rule.kind,
                rule.about,
                rule.before_wall_s,
                rule.created_wall_s,
                rule.expires_wall_s,
            )
            for rule_id, rule in self._node.refusals.rules.rules()
        ]

    async def write_off(self, name: str, who: str, progress: Callable[[str], None]) -> None:
        """Member `name` won't come back: nobody waits for it. Raises ClusterError."""
        await self._node.standby.write_off(name, who)
        progress(f"{name} is written off: its shards are claimed, its sessions resume elsewhere")

    async def accept_restore(self, who: str, progress: Callable[[str], None]) -> None:
        """Make the store, which is behind, the one that counts. Raises ClusterError."""
        node = self._node
        await node.way.accept_restore(node.config.cluster.shards, who, progress)

    def peers(self) -> Mapping[str, str]:
        """The other live members: name → rpc address."""
        me = self._node.config.member.name
        members = self._node.membership.members
        return {name: m.rpc_address for name, m in members.items() if name != me}

    def _member(self, name: str, counts: dict[str, int]) -> MemberInfo:
        node = self._node
        record = node.membership.members[name]
        mine = name == node.config.member.name
        seen = None if mine else node.heartbeats.seen(name)
        sessions = node.sessions() if mine else (0 if seen is None else seen.beat.sessions)
        state = "unheard" if seen is None else seen.beat.state
        if name in node.heartbeats.suspected:
            state = "suspected"
        return MemberInfo(
            name=name,
            host=record.host,
            incarnation=record.incarnation,
            state=node.membership.state if mine else state,
            ike_addresses=record.ike_addresses,
            rpc_address=record.rpc_address,
            shards=counts.get(name, 0),
            sessions=sessions,
            ring_revision=node.rings.revision if mine else record.ring_revision,
            heartbeat_age_s=None if mine else node.heartbeats.age_s(name),
            release=record.release,
        )
