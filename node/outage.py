"""What a gateway does as it loses the store, and what it remembers of it.

Rules: the file `pledges` in the data directory is replaced as a whole, and on the disk before a
pledge is given, or anything is kept that the store doesn't have. A gateway that is alone in the
cluster never gives up its shards: nobody could take them. (Pledges: `cluster.failsafe`.)
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.batch import BEGINS
from cluster.failsafe.flush import Flush, FlushParts
from cluster.failsafe.gate import Gate, Me
from cluster.failsafe.ledger import Live, Row
from cluster.journal_hooks import JournalState
from cluster.layout import NORMAL
from cluster.seams import Spawn
from cluster.standing import State
from cluster.store import Entry
from node.admin_view import StoreConditionInfo
from node.outage_lines import OutageLines

if TYPE_CHECKING:
    from node.wiring import Node


class FileBook:
    """Implements `cluster.failsafe.outage.PledgeBook` with a file."""

    def __init__(self, folder: Path) -> None:
        """`folder`: the data directory, which is there."""
        self._path = folder / "pledges"

    def read(self) -> bytes:
        """See `PledgeBook.read`. Raises OSError."""
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return b""

    def write(self, octets: bytes) -> None:
        """See `PledgeBook.write`. Raises OSError."""
        beside = self._path.with_name("pledges.new")
        with beside.open("wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class Standby:
    """Carries out the policies of a gateway without the store. What `cluster.failsafe` asks about
    this gateway, and tells it, comes here (`Others`, `Told`).
    """

    def __init__(self, node: "Node") -> None:
        """`node`: with its ownership and its outage built."""
        self._node = node
        self._hosts: dict[str, str] = {}
        """Of the frozen roster."""
        self._addresses: dict[str, str] = {}
        seams, outage, me = node.seams, node.outage, node.config.member.name
        refuse = node.config.cluster.failsafe_tickets == "refuse"
        self.gate = Gate(seams.link, seams.clock, Me(me, node.membership.incarnation, refuse), self)
        self.flush = Flush(
            FlushParts(
                seams.store,
                node.keys,
                seams.clock,
                node.membership,
                node.state,
                outage,
                self.gate,
                node.ownership.revision_of,
                node.codec.shard_of,
                self,
                self,
            )
        )
        self._lines = OutageLines(node, self.gate, self.flush)
        node.membership.standing.on_changed.append(self._stands)
        outage.on_failsafe.append(self._failsafe)
        beats, ownership = node.heartbeats, node.ownership
        outage.hears = beats.hears
        outage.in_failsafe, outage.listens = beats.in_failsafe, ownership.listens
        self.gate.bound = lambda name: name in outage.given
        self.gate.on_first = lambda: outage.set_alone(True)
        outage.on_unwritable = self._unwritable
        self.gate.writable = lambda: not outage.unwritable
        ownership.may_claim_from = self._may_claim_from
        beats.also = lambda: {**ownership.absent(), **outage.pledgees(), **self._addresses}
        node.key_parts.rotations.apart = self._apart
        outage.listen(node.dispatch)
        self.gate.listen(node.dispatch)

    def start(self, spawn: Spawn) -> None:
        """Ask, answer, repeat and write back, for ever."""
        spawn(self._node.outage.run(), "outage")
        spawn(self.gate.run(), "failsafe gate")
        spawn(self.flush.run(), "failsafe flush")

    async def write_off(self, name: str, who: str) -> None:
        """An operator says that `name` won't come back. Raises ClusterError."""
        await self.flush.write_off(name)
        self._node.events.write("written_off", member=name, name=who)
        self._node.seams.log.warning("a member is written off", member=name, operator=who)

    def infos(self) -> tuple[StoreConditionInfo, ...]:
        """What is done without the store or waits for somebody, for `status`."""
        return self._lines.infos()

    def lapsed(self) -> bool:
        """Whether my shards may be another's by now and I have yet to find out. A process that
        stood still for longer than its lease finds datagrams waiting before it hears of anything.
        """
        return self._node.membership.standing.lapsed and self._gives_up()

    def closed(self) -> bool:
        """Whether no session may begin: without the store none could be finished. Its ticket would
        be spent later, for a client that has long gone to ask elsewhere with it. With a store that
        is behind, in failsafe too: all of it is void once that store is accepted.
        """
        node, journal = self._node, self._node.journal
        if node.way.guard.rewound:
            return True
        if node.outage.failsafe:
            return not self.gate.can_answer()
        failing = journal.waiting > 0 and journal.state is not JournalState.OK
        return failing or not node.membership.store_ok or node.outage.restrained()

    def settled(self) -> bool:
        """Whether the store has all that was done."""
        node = self._node
        return not node.outage.failsafe and node.state.state.mode == NORMAL

    def kept(self, chain: bytes, generation: int) -> tuple[bool, bytes] | None:
        """For `References`: (used, sealed state) as the ledger has it, until the store has all of
        that; None: ask the store.
        """
        ledger = self.gate.begun_ledger
        found = None if ledger is None else ledger.kept(chain, generation)
        if self.settled() and (found is None or found[0]):
            return None  # who stood still has rows yet that nobody waited for: they may be old
        # in failsafe nobody can read what the store has
        return (False, b"") if found is None and self._node.outage.failsafe else found

    def forgotten(self, issued_wall_s: float) -> bool:
        """Whether a ticket issued then is refused because a use of it may be forgotten here: this
        gateway ended without the store, and another one that knows what was done isn't back. With
        `failsafe_tickets = "accept"` a double use is found when it is.
        """
        node = self._node
        if not node.outage.bereft or node.config.cluster.failsafe_tickets == "accept":
            return False
        return issued_wall_s < node.membership.started_wall_s

    # -- what `cluster.failsafe` asks

    def heard(self, name: str) -> bool:
        """See `Others.heard`."""
        beats, roster = self._node.heartbeats, self._node.outage.pledges.roster
        return beats.hears(name, roster.get(name, "")) and not beats.full(name)

    def elsewhere(self, name: str) -> bool:
        """See `Others.elsewhere`."""
        host = self._hosts.get(name)
        return host is not None and host != self._node.config.member.host

    def live(self) -> dict[bytes, Live]:
        """See `Others.live`."""
        node = self._node
        return {
            core.chain: Live(
                core.generation, core.spi, node.addresses.keys(core.leased) if core.leased else ()
            )
            for core, _path in node.gateway.endpoint.established()
        }

    def may_be_over(self, chain: bytes, generation: int, issued_wall_s: float) -> bool:
        """See `Others.may_be_over`."""
        return self._node.refusals.spent.may_be_over(chain, generation, issued_wall_s)

    # -- what it tells

    def used_twice(self, row: Row) -> None:
        """See `Told.used_twice`."""
        chain = row.claim.chain.hex()
        self._node.events.write("used_twice", chain=chain, generation=row.claim.generation)
        self._node.seams.log.error(
            "a ticket was used twice while etcd was away; the older SA is dropped", chain=chain
        )

    def void(self, chain: bytes, spi: bytes, why: str) -> None:
        """See `Told.void`."""
        self._node.drop(spi, why)
        self._node.replaced(chain, spi)  # who owns the shard now may have it, or find its record

    def buried(self, records: int) -> None:
        """See `Told.buried`."""
        self._node.events.write("buried", sessions=records)
        self._node.seams.log.warning(
            "this gateway ended before etcd had what it had done without it: the sessions that it "
            "had in etcd before are declared dead, their clients resume",
            sessions=records,
        )

    # -- what is revoked

    @property
    def watermark(self) -> int:
        """See `Rules.watermark`."""
        return self._node.journal.watermark

    async def obey(self, watermark: Entry | None) -> None:
        """See `Rules.obey`."""
        await self._node.journal.obey(watermark)

    def revoked(self, row: Row) -> bool:
        """See `Rules.revoked`."""
        refusals, op = self._node.refusals, self.gate.undecided(row)
        if op is not None and op.kind in BEGINS:
            return refusals.forbids(op)
        core = self._node.gateway.endpoint.find(row.claim.spi)
        return core is not None and refusals.ends(core, skew_s=0.0)

    def answers(self, row: Row) -> bool:
        """See `Rules.answers`."""
        if self.gate.undecided(row) is not None:
            return True
        return self._node.gateway.endpoint.find(row.claim.spi) is not None

    # -- what happens

    def _apart(self) -> list[str]:
        """The others that live without the store, or may: a key that they don't have refuses
        tickets there."""
        outage, me = self._node.outage, self._node.config.member.name
        known = {*outage.pledges.roster, *outage.given, *self._node.heartbeats.in_failsafe()}
        return [name for name in known if name != me]

    def _may_claim_from(self, owner: str) -> bool:
        return self.settled() and self._node.outage.may_claim_from(owner)

    def _stands(self, state: State, why: str) -> None:
        node = self._node
        node.events.write("standing", state=state.value, why=why)
        if state is not State.ISOLATED or not self._gives_up():
            return
        given_up = node.ownership.surrender()
        if given_up:
            node.seams.log.error(
                "isolated: no store, and not every other gateway is heard; the shards are given "
                "up so that clients resume elsewhere",
                shards=given_up,
            )

    def _gives_up(self) -> bool:
        """Whether the shards go when the lease does."""
        config, members = self._node.config, self._node.membership.members
        alone = not any(name != config.member.name for name in members)
        return not alone and config.cluster.when_isolated == "stop"

    def _unwritable(self, why: str) -> None:
        self._node.seams.log.error(
            "the file `pledges` can't be written: while etcd is away this gateway pledges nothing "
            "and begins nothing; make room in the data directory",
            why=why,
        )

    def _failsafe(self, begins: bool) -> None:
        node = self._node
        if not begins:
            self._addresses = {}
            node.seams.log.info("failsafe is over: the store has everything again")
            return
        members, roster = node.membership.members, node.outage.pledges.roster
        self._hosts = {name: record.host for name, record in members.items()}
        self._addresses = {
            name: record.rpc_address
            for name, record in members.items()
            if name != node.config.member.name
        }
        self.gate.begin(tuple(roster))
        node.seams.log.warning(
            "failsafe: the store answers nobody, and all gateways have pledged to leave each "
            "other's shards alone; bring the store back",
            roster=" ".join(roster),
        )
