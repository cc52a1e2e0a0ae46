"""Reads along with what members do without the store: what is held where, and so is durable.

Rules: durable is what a member on another host has said it keeps. An operation of a member that had
lost another of the roster is `loose`: by policy its ticket may be used twice, which must be found
afterwards.
"""

from cluster.errors import Incompatible
from cluster.failsafe.frames import Claim, Held, Hold
from cluster.layout import Keys
from cluster.link import Frame
from proto.ike import record as records
from tests.sim.ledger import Ledger
from tests.sim.machine import SimGateway


class WithoutStore:
    """Told of every frame that a member sends."""

    def __init__(self, ledger: Ledger, gateways: list[SimGateway], cluster: str) -> None:
        self._ledger = ledger
        self._keys = Keys(cluster)
        self._gateways = {gateway.name: gateway for gateway in gateways}
        self._claims: dict[bytes, Claim] = {}
        self.held = 0
        """Operations that somebody on another host has kept."""

    def frame(self, sender: str, frame: Frame) -> None:
        """A frame is on its way."""
        if isinstance(frame, Hold):
            self._claims[frame.claim.op_id] = frame.claim
            if self._gateways[sender].node.standby.gate.lost():
                self._ledger.loose[frame.claim.chain] = None
        elif isinstance(frame, Held) and frame.kept:
            claim = self._claims[frame.op_id]
            ledger, of = self._ledger, (claim.chain, claim.generation)
            for kept in (
                ledger.keepers.setdefault(of, {}),
                ledger.forgotten.knowers.setdefault(claim.spi, {}),
                *((ledger.forgotten_states.knowers.setdefault(of, {}),) if claim.ticket else ()),
            ):
                kept[claim.owner, claim.incarnation] = None
                kept[sender, self._gateways[sender].incarnation] = None
            if self._host(sender) != self._host(claim.owner):
                self._note(claim)

    def _host(self, name: str) -> str:
        return self._gateways[name].config.member.host

    def _note(self, claim: Claim) -> None:
        ledger = self._ledger
        self.held += 1
        if claim.void:
            ledger.void_chains[claim.chain] = None
        for _shard, spi in claim.gone:
            ledger.ended[spi] = None
        if not claim.record:
            ledger.ended[claim.spi] = None
            return
        before = ledger.generations.get(claim.chain, 0)
        ledger.generations[claim.chain] = max(before, claim.generation)
        key = self._keys.record(claim.shard, claim.spi)
        try:
            record = records.decode(ledger.vault.open_record(claim.record, key))
        except Incompatible as error:
            ledger.findings.append(f"a record that nobody can read is held: {error}")
            return
        ledger.durable(record.last_reply)
        if record.former:
            answer = records.decode(record.former).last_reply
            ledger.durable(answer)
