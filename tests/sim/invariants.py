"""What must hold at every instant, looked at as each datagram leaves a gateway.

Rules: a gateway's voice is heard where it leaves the process: at its own socket, or as a Return
through another member. What was said is compared with what the ledger has seen in the store, never
with what the gateway believes, but for the state of its own SA. Findings are sentences.

- I1 an IV's fence (CBC's have none) is one under which this very process owned the SA's shard, and
  one process speaks for an SA under a fence; an answer that a record holds may be said by whoever
  adopts the SA
- I2 no response that sets up or ends an SA leaves before the record that holds it, or its deletion,
  is in the store
- I4 no salt of a ticket twice under a key
- I5 no ticket under a key that isn't sealing, no key sealing before all in service open it, no
  valid ticket refused by a member whose ring is the newest
- I6 a generation of a chain belongs to one SA
- I8 the bounded tables keep their bounds
"""

import contextlib
import hashlib
from collections.abc import Callable

from cluster.journal import QUEUE_MAX
from cluster.keyring import KeyRing, KeyState, RingKey
from cluster.link import Frame, Return
from cluster.revocation import SKEW_S
from proto.ike import ticket
from proto.ike.core import State
from proto.ike.effects import Path
from proto.ike.enums import FLAG_INITIATOR, FLAG_RESPONSE, ExchangeType, NotifyType, PayloadType
from proto.ike.errors import TicketRejected, WireError
from proto.ike.message import decode_clear
from proto.ike.reference import Reference, is_reference, open_reference, resolve
from proto.ike.ticket import ClientTicket, TicketBody
from tests.sim.checkers import PROTECTED, SKF_IV
from tests.sim.findings import Findings
from tests.sim.ledger import Ledger, sealing_id
from tests.sim.link import LinkNet
from tests.sim.machine import SimGateway
from tests.sim.seams import WALL_START_S

HEADER_OCTETS = 28
IV = slice(HEADER_OCTETS + 4, HEADER_OCTETS + 12)
TICKET_SKEW_S = 5.0
"""How far a gateway's date may be off before it may refuse a ticket for its dates."""
ASKED_MAX = 4096
KNOCKING_MAX = 48
"""Handshakes of clients who have shown a cookie."""


class AllKeys:
    """Opens with every ticket key that ever was, whatever its window."""

    def __init__(self, rings: list[KeyRing]) -> None:
        self._rings = rings

    def sealing(self, wall_s: float) -> RingKey | None:
        """Nothing is sealed here."""
        return None

    def opening(self, key_id: bytes, wall_s: float) -> RingKey | None:
        """The key, if there ever was one with that id."""
        for ring in reversed(self._rings):
            if key_id in ring.tickets.index:
                return ring.tickets.index[key_id]
        return None


class Invariants:
    """See the module."""

    def __init__(self, ledger: Ledger, cluster: str, findings: Findings | None = None) -> None:
        self.findings = Findings() if findings is None else findings
        self.calm = False
        """No faults any more: nothing excuses a valid ticket's refusal."""
        self.refusals = 0
        """Valid tickets that were refused for want of a key while the store was away from there."""
        self._ledger = ledger
        self._realm = cluster.encode()
        self._gateways: list[SimGateway] = []
        self._joined: Callable[[str, str], bool] = lambda a, b: True
        self.heard: dict[bytes, None] = {}
        """Digests of everything that gateways said."""
        self._speakers: dict[tuple[bytes, int, int], str] = {}
        self._holders: dict[tuple[bytes, int], bytes] = {}
        self._salts: dict[bytes, bytes] = {}
        self._asked: dict[bytes, tuple[bytes, ...]] = {}
        """SPIi of an IKE_SESSION_RESUME → what it showed: one ticket, unless somebody bent it."""
        ledger.on_ring.append(self._ring)

    def watch(self, gateways: list[SimGateway], links: LinkNet) -> None:
        """Listen to these from now on."""
        self._gateways, self._joined = gateways, links.joined
        for gateway in gateways:
            gateway.spoke = self.spoke
        links.observers.append(self._frame)

    # -- what clients say and get

    def asked(self, data: bytes, path: Path) -> None:
        """Any datagram that a client or a gateway sends: presented tickets are remembered."""
        resume = len(data) > HEADER_OCTETS and data[18] == ExchangeType.IKE_SESSION_RESUME
        if not resume or data[19] & FLAG_RESPONSE:
            return
        shown = decode_clear(data).notify(NotifyType.TICKET_OPAQUE)
        if shown is not None:
            if len(self._asked) >= ASKED_MAX:
                del self._asked[next(iter(self._asked))]
            before = self._asked.get(data[:8], ())
            self._asked[data[:8]] = (*(each for each in before if each != shown.data), shown.data)

    def injected(self, data: bytes, path: Path) -> None:
        """What somebody puts on the net: a client's request, with its ticket bent perhaps."""
        if data[:8] in self._asked:
            with contextlib.suppress(WireError):  # then it is refused without a word
                self.asked(data, path)

    def ticket_saved(self, got: ClientTicket) -> None:
        """A client was given a ticket."""
        octets = got.ticket
        digest = hashlib.sha256(octets).digest()
        if self._salts.setdefault(octets[:25], digest) != digest:
            self.findings.broken("I4", f"two tickets under one key and salt: {octets[:25].hex()}")
        ring = self._ledger.rings[-1]
        if any(key.key_id == octets[1:9] for key in ring.revoked):
            return  # by one that hasn't heard: it opens nowhere else
        key = ring.tickets.index.get(octets[1:9])
        if key is None or key.state is KeyState.ANNOUNCED:
            state = "gone" if key is None else "only announced"
            self.findings.broken(
                "I5", f"a ticket was sealed under key {octets[1:9].hex()}, which is {state}"
            )

    # -- what gateways say

    def _frame(self, sender: str, frame: Frame) -> None:
        if isinstance(frame, Return):
            self.spoke(next(g for g in self._gateways if g.name == sender), frame.data)

    def spoke(self, gateway: SimGateway, data: bytes) -> None:
        """`data` leaves `gateway`; the first to say something is whose voice it is."""
        digest = hashlib.sha256(data).digest()
        if digest in self.heard or len(data) < HEADER_OCTETS:
            return
        self.heard[digest] = None
        self._bounds(gateway)
        if data[16] in PROTECTED:
            if digest not in self._ledger.durable_replies:
                self._voice(gateway, data)
            if data[19] & FLAG_RESPONSE:
                self._durable(gateway, data, digest)
        elif data[18] == ExchangeType.IKE_SESSION_RESUME and data[19] & FLAG_RESPONSE:
            self._resume(gateway, data)

    def _voice(self, gateway: SimGateway, data: bytes) -> None:
        spi, iv = own_spi(data), data[IV if data[16] == PayloadType.SK else SKF_IV]
        core = gateway.node.gateway.endpoint.find(spi)
        if core is not None and core.suite is not None and core.suite.integ:
            return  # a bent first request chose CBC, whose IVs are random
        epoch, fence = iv[0], int.from_bytes(iv[1:3], "big")
        shard = gateway.node.codec.shard_of(spi)
        me = (gateway.name, gateway.incarnation)
        if self._ledger.owners.get((epoch, shard, fence)) != me:
            self.findings.broken(
                "I1",
                f"{gateway.name} spoke for {spi.hex()} under fence {fence} of shard {shard}, "
                f"which is not its own",
            )
        before = self._speakers.setdefault((spi, epoch, fence), me[1])
        if before != me[1]:
            self.findings.broken("I1", f"two processes spoke for {spi.hex()} under fence {fence}")

    def _durable(self, gateway: SimGateway, data: bytes, digest: bytes) -> None:
        spi = own_spi(data)
        core = gateway.node.gateway.endpoint.find(spi)
        if core is None:
            # dropped while the store's answer was under way: to a record, or to its end
            if digest not in self._ledger.durable_replies and spi not in self._ledger.ended:
                self.findings.broken(
                    "I2", f"{gateway.name} answered for {spi.hex()}, which it doesn't hold"
                )
        elif data[18] == ExchangeType.IKE_AUTH:
            if core.state is not State.DEAD and digest not in self._ledger.durable_replies:
                self.findings.broken(
                    "I2", f"{gateway.name} answered IKE_AUTH of {spi.hex()} before it was durable"
                )
            if core.state is State.ESTABLISHED:
                before = self._holders.setdefault((core.chain, core.generation), spi)
                if before != spi and self._ledger.forgotten.holds(before, self._lives()):
                    self._ledger.forgotten.replaced[before] = None
                    self._holders[core.chain, core.generation] = spi
                elif before != spi and gateway.node.outage.bereft and _accepts(gateway):
                    self._ledger.loose[core.chain] = None  # found when who knows of it is back
                elif before != spi and core.chain not in self._ledger.loose:
                    self.findings.broken(
                        "I6",
                        f"generation {core.generation} of chain {core.chain.hex()} went to "
                        f"{before.hex()} and {spi.hex()}",
                    )
        elif (
            core.state in (State.DEAD, State.REKEYED)
            and spi not in self._ledger.ended
            and not self._never_recorded(gateway, spi, core.chain)
        ):
            what = "end" if core.state is State.DEAD else "rekey"
            self.findings.broken(
                "I2", f"{gateway.name} answered the {what} of {spi.hex()} before it was durable"
            )

    def _bounds(self, gateway: SimGateway) -> None:
        node = gateway.node
        endpoint = node.gateway.endpoint
        for what, held, bound in (
            # as many resumptions have room beside as many handshakes
            ("half-open SAs", endpoint.half_open, 2 * endpoint.settings.half_open_max),
            ("operations in the journal", node.journal.pending, QUEUE_MAX),
            # nobody answers cookies for the addresses that a flood pretends to come from
            (
                "half-open handshakes",
                endpoint._half_open.handshakes,
                endpoint.settings.cookie_threshold + KNOCKING_MAX,
            ),
        ):
            if held > bound:
                self.findings.broken(
                    "I8", f"{gateway.name} holds {held} {what}, at most {bound} are allowed"
                )

    # -- keys

    def _resume(self, gateway: SimGateway, data: bytes) -> None:
        """Was a ticket refused that is valid?"""
        message = decode_clear(data)
        asked = self._asked.get(data[:8], ())
        if len(asked) != 1 or message.notify(NotifyType.TICKET_NACK) is None:
            return  # of several shown it isn't said which one was refused
        (shown,) = asked
        body = self._genuine(shown)
        if body is None or abs(gateway.clock.wall_offset_s) > TICKET_SKEW_S / 2:
            return
        now_s = WALL_START_S + gateway.clock.true_s()
        ends_s = body.expires_wall_s
        if isinstance(body, TicketBody):
            ends_s = min(ends_s, body.auth_deadline_wall_s)
        if not body.issued_wall_s - TICKET_SKEW_S / 4 <= now_s < ends_s - TICKET_SKEW_S:
            return
        ledger = self._ledger
        if body.epoch != ledger.epoch:
            return  # void, by an operator's word
        # what is flushed of a session whose shard is lost moves the chain on, and has no record
        newest = max(known.get(body.chain, 0) for known in (ledger.generations, ledger.stored))
        if newest != body.generation or body.chain in ledger.void_chains:
            return  # refused early, by its chain
        if ledger.is_revoked(body.chain, body.issued_wall_s):
            return
        if body.chain not in ledger.sessions:
            return  # begun without the store, and whoever held it was lost before it came back
        if self._lost_with_its_keepers(body.chain, body.generation):
            return
        if gateway.node.outage.failsafe:
            return  # by policy, or by a filter that nobody can confirm now
        if gateway.node.standby.forgotten(body.issued_wall_s) and not self.calm:
            return  # by policy, too
        if isinstance(body, Reference):
            pointer = body
            try:
                body = resolve(pointer, ledger.kept.get(body.chain, b""))
            except TicketRejected:
                of = pointer.chain, pointer.generation
                if not ledger.forgotten_states.holds(of, self._asked_by(gateway)):
                    self.findings.broken("I5", f"nothing is kept for chain {body.chain.hex()}")
                return  # else it was issued without the store, and is lost, or not there yet
        if ledger.stands.get(body.chain, body.spi_r) != body.spi_r:
            return  # its generation is another SA's: who issued it was forgotten, or lost its chain
        # whose it is says the ticket itself: of a session that was begun without the store, and
        # flushed for its lost owner, the store has a chain and never a record
        until_s = ledger.revoked_identities.get(body.identity, float("-inf"))
        if body.authenticated_wall_s <= until_s + 2 * SKEW_S:
            return  # the rule's own margin, and its maker's idea of the date
        key_id = shown[1:9]
        if any(key.key_id == key_id for key in ledger.rings[-1].revoked):
            return
        gone = key_id not in ledger.rings[-1].tickets.index
        if self.calm or gone or key_id in gateway.node.rings.ring.tickets.index:
            self.findings.broken(
                "I5", f"{gateway.name} refused a valid ticket of chain {body.chain.hex()}"
            )
        else:
            self.refusals += 1

    def _lost_with_its_keepers(self, chain: bytes, generation: int) -> bool:
        """Whether the store never had that generation, and every process that did is no more:
        store and members were lost together, and an operator decides (promise 2).
        """
        keepers = self._ledger.keepers.get((chain, generation))
        if not keepers or self._ledger.stored.get(chain, 0) >= generation:
            return False
        return self._lives().isdisjoint(keepers)

    def _lives(self) -> set[tuple[str, str]]:
        return {(each.name, each.incarnation) for each in self._gateways if each.alive}

    def _asked_by(self, gateway: SimGateway) -> set[tuple[str, str]]:
        """Who lives and could tell `gateway` now what it has: who stands still can't, nor who is
        cut off. Waiting for them would keep the client without a session.
        """
        return {
            (each.name, each.incarnation)
            for each in self._gateways
            if each.alive and not each.process.paused and self._joined(gateway.name, each.name)
        }

    def _never_recorded(self, gateway: SimGateway, spi: bytes, chain: bytes) -> bool:
        """Whether an SA is of a time without the store and ended before that was over: nobody has
        a record of it that could come back. On the way back the flush has looked: the store has
        nothing of its chain, and nobody writes more than the chain of who is lost.
        """
        if spi in self._ledger.recorded:
            return False
        done = gateway.node.standby.gate.begun_ledger
        row = None if done is None else done.rows.get(chain)
        if done is not None and row is not None and row.claim.void:
            return chain not in done.unwritten
        return self._ledger.normal and not gateway.node.outage.failsafe

    def _genuine(self, octets: bytes) -> TicketBody | Reference | None:
        """What a ticket holds, however old it is."""
        opens = open_reference if is_reference(octets) else ticket.open_ticket
        try:
            return opens(octets, AllKeys(self._ledger.rings), self._realm, 0.0, float("inf"))
        except (TicketRejected, WireError):
            return None

    def _ring(self, before: KeyRing, ring: KeyRing, members: dict[str, str]) -> None:
        """A ring takes effect: a key that begins to seal is one that all in service open."""
        sealing = sealing_id(ring)
        if not sealing or sealing == sealing_id(before):
            return
        for gateway in self._gateways:
            here = gateway.ready and members.get(gateway.name) == gateway.incarnation
            if here and sealing not in gateway.node.rings.ring.tickets.index:
                self.findings.broken(
                    "I5", f"key {sealing.hex()} began to seal before {gateway.name} had it"
                )


def own_spi(data: bytes) -> bytes:
    """The SPI of whoever sent `data`: of the original initiator or of the other one."""
    return data[:8] if data[19] & FLAG_INITIATOR else data[8:16]


def _accepts(gateway: SimGateway) -> bool:
    return gateway.config.cluster.failsafe_tickets == "accept"
