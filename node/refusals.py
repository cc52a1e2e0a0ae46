"""What the cluster knows against tickets, for the core; what its writes spend, for the cluster.

Rules: the core asks once per resumption, so the way here is short. An SA whose session is revoked
is ended with a Delete, and its chain with it. (Rules: `cluster.revocation`; filters:
`cluster.spent`.)
"""

import asyncio
from typing import TYPE_CHECKING

from cluster.batch import Op
from cluster.errors import Conflict
from cluster.link import Spent, SpentFilter, SpentSince
from cluster.revocation import SKEW_S, Revocations, RuleKind, Session
from cluster.seams import Spawn
from cluster.spent import SpentTickets
from cluster.store import Entry
from node.admin_view import Revoke
from node.identity import one_identity
from node.proving import REVOKED, is_revoked
from proto.ike.core import SaCore, Settings
from proto.ike.effects import Persist, PersistKind
from proto.ike.exchanges.ike_auth import CHAIN_OCTETS
from proto.ike.reference import Reference
from proto.ike.refusals import Used
from proto.ike.ticket import TicketBody
from proto.secret import Secret

if TYPE_CHECKING:
    from node.wiring import Node

WHY = "revoked by an operator"
_ENDS_ALL = (PersistKind.REKEY, PersistKind.REVOKE)
"""What ends a generation without a ticket of it: all of them are void, whenever they expire."""


class ClusterRefusals:
    """Implements `proto.ike.refusals.Refusals`."""

    def __init__(self, node: "Node", spi_key: Secret, settings: Settings) -> None:
        """`node`: its gateway needn't have been built yet. `settings`: the core's."""
        seams = node.seams
        self._node = node
        self.rules = Revocations(seams.store, node.keys, seams.clock, seams.rng, spi_key)
        self.rules.on_rules.append(self.end_revoked)
        self.spent = SpentTickets(seams.store, node.keys, seams.clock, seams.link, self._others)
        self.ticket_lifetime_s = settings.ticket_lifetime_s

    def listen(self) -> None:
        """Have the other members' frames, and those who come told."""
        spent, node = self.spent, self._node
        node.dispatch.on(Spent, spent.receive)
        node.dispatch.on(SpentFilter, spent.receive_filter)
        node.dispatch.on(SpentSince, spent.receive_since)
        node.membership.roster.on_joined.append(spent.owe)
        node.heartbeats.on_unsuspected.append(spent.owe)

    def start(self, spawn: Spawn) -> None:
        """Follow the rules and tell what is spent; the rules were read before."""
        spawn(self.rules.run(), "revocations")
        spawn(self.spent.run(), "spent-tickets")

    # -- for the core

    def revoked(self, body: TicketBody) -> bool:
        """See `Refusals.revoked`."""
        if not self.rules.active:
            return False
        return self.rules.covers(
            Session(body.chain, body.identity, body.authenticated_wall_s, body.issued_wall_s)
        )

    def used(self, shown: TicketBody | Reference) -> Used:
        """See `Refusals.used`."""
        spent, chain, generation = self.spent, shown.chain, shown.generation
        if self._node.standby.forgotten(shown.issued_wall_s):
            return Used.YES
        if self._node.outage.failsafe:
            # nothing can be confirmed now
            refused = self._node.standby.gate.refuses(chain, generation, shown.issued_wall_s)
            return Used.YES if refused else Used.NO
        if not spent.used(chain, generation, shown.expires_wall_s):
            return Used.NO
        return Used.YES if spent.surely_used(chain, generation) else Used.MAYBE

    # -- for the journal

    def forbids(self, op: Op) -> bool:
        """For `JournalHooks.revoked`: may this session begin or go on no more?

        An authentication is compared without the slack for clocks: who has just proven himself
        anew, after the revocation, is let in.
        """
        ring = self._node.rings.ring
        if ring.revoked and any(op.ticket_key == key.key_id for key in ring.revoked):
            return True
        if not self.rules.active:
            return False
        skew = {"skew_s": 0.0} if op.issued_wall_s is None else {}
        return self.rules.covers(
            Session(op.chain, op.identity, op.authenticated_wall_s, op.issued_wall_s, **skew)
        )

    async def obey(self, watermark: Entry | None) -> None:
        """For `JournalHooks.obey`: rules and ring are as new as the watermark when this returns.
        Raises ClusterError.
        """
        await self.rules.obey(watermark)
        await self._node.rings.catch_up()

    def written(self, persist: Persist) -> None:
        """A write has ended, the chain's generation with it: its tickets are spent."""
        if persist.redeems is not None:
            ticket = persist.redeems
            self.spent.add(ticket.chain, ticket.generation, ticket.expires_wall_s)
        elif persist.kind in _ENDS_ALL:
            self.spent.add_until(persist.chain, persist.generation, self.ticket_lifetime_s)

    # -- for the operator

    async def revoke(self, what: Revoke) -> str:
        """Make it void everywhere; the rule's id. Raises ClusterError."""
        # a ticket can't outlive its key, so this holds for members with other files too
        keys = self._node.rings.ring.tickets.keys
        lifetime_s = max(self.ticket_lifetime_s, *(key.opening_period_s for key in keys))
        kind = _kind_of(what)
        if kind is RuleKind.SESSION:
            return await self.rules.revoke_session(what.chain, lifetime_s)
        if kind is RuleKind.IDENTITY:
            return await self.rules.revoke_identity(_identity_of(what), lifetime_s)
        return await self.rules.revoke_issued_before(what.before_wall_s, lifetime_s)

    def concerned(self, what: Revoke) -> int:
        """How many SAs that stand here it would end. Raises Conflict: it is no revocation."""
        kind = _kind_of(what)
        if kind is RuleKind.ISSUED_BEFORE:
            return 0
        identity = _identity_of(what) if kind is RuleKind.IDENTITY else ""
        return sum(
            core.identity == identity if identity else core.chain == what.chain
            for core, _path in self._node.gateway.endpoint.established()
        )

    async def stands(self, chain: bytes) -> bool:
        """Whether the store has a session of that chain. Raises ClusterError."""
        key = self._node.keys.session(chain)
        return await self._node.seams.store.get(key) is not None

    def end_revoked(self) -> None:
        """Rules were added: SAs that they are about end, and their peers are told."""
        if not self._node.built or not self.rules.active:
            return
        gateway = self._node.gateway
        established = gateway.endpoint.established()
        revoked = [core.spi for core, _path in established if self.ends(core)]
        for spi in revoked:
            gateway.terminate(spi, WHY)

    def came_up(self, spi: bytes) -> None:
        """An SA has begun: a rule, or word of its certificate, may have come between its commit and
        the store's answer.
        """
        # of nobody else there could be any: each resumption would pay a turn of the loop for it
        core = self._node.gateway.endpoint.find(spi)
        if self.rules.active or (core is not None and core.certificate):
            asyncio.get_running_loop().call_soon(self.end_if_revoked, spi, True)

    def end_if_revoked(self, spi: bytes, begun: bool = False) -> None:
        """End an SA that a rule is about, as `ends` says, or whose certificate is revoked. `begun`:
        it has just begun here, and may have proved itself anew.
        """
        gateway = self._node.gateway
        core = gateway.endpoint.find(spi)
        if core is None:
            return
        if self.ends(core, 0.0 if begun and not core.resumed else SKEW_S):
            gateway.terminate(spi, WHY)
        elif is_revoked(core, self._node.trust.trust):
            gateway.terminate(spi, REVOKED)

    def ends(self, core: SaCore, skew_s: float = SKEW_S) -> bool:
        """Whether a rule is about an SA that stands here. `skew_s`: how long after the rule its
        authentication counts as before it; 0 for one that `forbids` has let in.
        """
        if not self.rules.active:
            return False
        session = Session(core.chain, core.identity, core.authenticated_wall_s, skew_s=skew_s)
        return self.rules.covers(session)

    def _others(self) -> list[str]:
        me = self._node.config.member.name
        return [name for name in self._node.membership.members if name != me]


def _kind_of(what: Revoke) -> RuleKind:
    known = {kind.value: kind for kind in (RuleKind.IDENTITY, RuleKind.ISSUED_BEFORE)}
    if len(what.chain) == CHAIN_OCTETS:
        known[RuleKind.SESSION.value] = RuleKind.SESSION
    if what.kind not in known:
        raise Conflict("revoke what? → a session's chain (16 octets), an identity, or a time")
    return known[what.kind]


def _identity_of(what: Revoke) -> str:
    try:
        return one_identity(what.identity)
    except ValueError as error:
        raise Conflict(f"identity: {what.identity} → {error}") from None
