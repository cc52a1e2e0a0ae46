"""Goes on with the sessions of shards that were gained, and tells heirs how far this one came.

Rules:
- Adopted, or left to resume: `proto.ike.adopt.refusal` decides per SA; a record that isn't adopted
  stays until its expiry, or until its session is resumed.
- An SA that was replaced while its shard was being read is not adopted.
- When a shard is lost to a live member, that is told the message IDs this one came to. As the last
  word of the owner just before, they let the heir ask by itself; where that isn't possible (its
  address is reached through nobody) the heir only answers.
- What the mirrors know of an owner that died makes the window smaller, and no more (ADR 0014).
"""

from typing import TYPE_CHECKING

import msgspec

from cluster.adoption import Adoption, Opened
from cluster.link import Counters, HandedOver
from node.identity import format_address
from proto.ike import record
from proto.ike.effects import Path, Progress
from proto.ike.errors import WireError

if TYPE_CHECKING:
    from node.wiring import Node

ROWS_PER_FRAME = 512
HEARD_MAX = 65_536
"""SAs whose last owner's word is kept until they are adopted."""
GONE_MAX = 65_536
"""SAs that were replaced while shards were being read, kept until the reading ends."""


class Takeover(msgspec.Struct):
    """What came of reading a shard."""

    adopted: int = 0
    refused: int = 0


class Adopter:
    """See the module."""

    def __init__(self, node: "Node") -> None:
        """`node`: with its cluster parts; its gateway is built after."""
        self._node = node
        self.reading = Adoption(
            node.seams.store,
            node.keys,
            spawn=node.seams.spawn,
            vault=node.vault,
            ownership=node.ownership,
            take=self._take,
        )
        self.reading.on_read.append(self._read)
        self.reading.on_unreadable.append(self._unreadable)
        node.dispatch.on(HandedOver, self._heard_of)
        node.ownership.on_gained.append(self._gained)
        self._takeovers: dict[int, Takeover] = {}
        self._fences: dict[int, int] = {}
        """The newest fence under which each shard was ours."""
        self._heard: dict[bytes, tuple[str, int, Counters, bool]] = {}
        """SPI → (who told, its fence, how far it had come, whether it may have asked more)."""
        self._gone: dict[bytes, None] = {}

    def _gained(self, shard: int, fence: int) -> None:
        self._fences[shard] = fence

    def is_pending(self, shard: int) -> bool:
        """Whether sessions of the shard may still turn up."""
        return self.reading.is_pending(shard)

    # -- what was there -------------------------------------------------------------------------

    def _take(self, shard: int, fence: int, records: list[Opened]) -> None:
        """Adopt what may be adopted of these."""
        node = self._node
        endpoint, lane, now = node.gateway.endpoint, node.gateway.lane, node.gateway.now()
        hot = node.mirrors.counters(shard)
        done = self._takeovers.setdefault(shard, Takeover())
        unreadable, why = 0, ""
        node.spis.changed()
        for opened in records:
            if opened.spi in self._gone:
                continue
            try:
                found = record.decode(opened.octets)
            except WireError as error:
                unreadable, why = unreadable + 1, why or str(error)
                continue
            outcome = endpoint.adopt(found, now)
            if isinstance(outcome, str):
                done.refused += 1
                node.metrics.adoptions.add(outcome)
                continue
            done.adopted += 1
            lane.carry_out(outcome)
            known = hot.get(opened.spi)
            if known is not None and known[0] < fence:
                endpoint.catch_up(opened.spi, self._progress(known[1], ""), False, now)
            self._use_word(opened.spi, fence)
            # a rule, or word of its certificate, may have come since its record was read
            node.refusals.end_if_revoked(opened.spi)
        if unreadable:
            self.reading.left_alone(shard, unreadable, why)
        node.gateway.rearm()

    def _read(self, shard: int, fence: int) -> None:
        node, done = self._node, self._takeovers.pop(shard, Takeover())
        if not self.reading.pending:
            self._gone.clear()
        if done.adopted or done.refused:
            node.metrics.adoptions.add("adopted", done.adopted)
            node.events.write(
                "shard_adopted", shard=shard, fence=fence, sessions=done.adopted, left=done.refused
            )

    def _unreadable(self, shard: int, count: int, why: str) -> None:
        self._node.metrics.adoptions.add("unreadable", count)
        self._node.seams.log.warning("records left alone", shard=shard, count=count, why=why)

    def replaced(self, spi: bytes) -> None:
        """An SA's session lives under another SPI now: if its shard is being read, it isn't to be
        adopted.
        """
        if self.is_pending(self._node.codec.shard_of(spi)) and len(self._gone) < GONE_MAX:
            self._gone[spi] = None

    # -- from owner to owner --------------------------------------------------------------------

    def tell_heir(self, shard: int, spis: list[bytes]) -> None:
        """`shard` was lost, with these SAs, which aren't dropped yet."""
        node = self._node
        heir, fence = node.ownership.owner_of(shard), node.ownership.known_fence(shard)
        if heir is None or heir == node.config.member.name or heir not in node.membership.members:
            return
        just_before = self._fences.get(shard) == fence - 1
        rows, asking = [], []
        for spi in spis:
            row = node.counters.row(spi)
            if row is not None:
                rows.append(row)
            if not just_before or node.gateway.endpoint.is_asking(spi):
                asking.append(spi)
        for at in range(0, len(rows), ROWS_PER_FRAME):
            step = tuple(rows[at : at + ROWS_PER_FRAME])
            of_these = {row.spi: None for row in step}
            mute = tuple(spi for spi in asking if spi in of_these)
            node.seams.link.send(heir, HandedOver(shard, fence, step, mute))

    def _heard_of(self, sender: str, frame: HandedOver) -> None:
        """A former owner tells how far it came; perhaps before the store has told us that we are
        the heir, perhaps after the shard was read.
        """
        for row in frame.rows:
            if len(self._heard) >= HEARD_MAX:
                del self._heard[next(iter(self._heard))]
            self._heard[row.spi] = (sender, frame.fence, row, row.spi in frame.asking)
        fence, endpoint = self._node.ownership.fence_of(frame.shard), self._node.gateway.endpoint
        for row in frame.rows:
            if fence is not None and endpoint.find(row.spi) is not None:
                self._use_word(row.spi, fence)

    def _use_word(self, spi: bytes, fence: int) -> None:
        """What the last owner said of an SA that was adopted under `fence`, if anything."""
        heard = self._heard.get(spi)
        if heard is None or heard[1] > fence:
            return
        del self._heard[spi]
        sender, said_of, row, asking = heard
        if said_of != fence:
            return  # about another change of owner
        progress = self._progress(row, sender)
        gateway = self._node.gateway
        reached = self._is_mine(row) or progress.path.via in self._node.membership.members
        final = not asking and reached
        gateway.endpoint.catch_up(spi, progress, final, gateway.now())
        gateway.rearm()

    def _is_mine(self, row: Counters) -> bool:
        return self._node.sockets.has(row.local)

    def _progress(self, row: Counters, sender: str) -> Progress:
        """As the core wants it: with the member whose address the peer talks to."""
        via = ""
        if sender and not self._is_mine(row):
            address = format_address(row.local)
            members = self._node.membership.members
            at = [name for name, member in members.items() if address in member.ike_addresses]
            via = at[0] if at else sender
        path = Path(row.local, row.remote, via)
        return Progress((row.expected_id, row.next_id), path, 0.0)
