"""An established IKE SA made out of its record, under the fence of another owner (ADR 0014).

Rules: adopted or left alone, decided in `refusal` and nowhere else. What the record doesn't tell
(exchanges without effect since it was written) is made good for by a window: an authentic request
ahead of the record's is taken, each message ID once; every request that could have an effect is in
the journal, so none of them is skipped or done twice. An adopter uses no ESP key to send. Our own
requests wait until the predecessor has told its last message ID, for a peer takes no other than the
next; until then silence ends the SA, and its ticket stays good. RFC 7296 2.2, 2.3; RFC 6311.
"""

from functools import lru_cache

from proto.ike import aead
from proto.ike.channel import Channel
from proto.ike.core import Child, Context, SaCore, State, Want, Work, replace
from proto.ike.effects import Now, Outcome, Path, Progress, ignored
from proto.ike.enums import PayloadType
from proto.ike.errors import Misuse, WireError
from proto.ike.events import Adopted
from proto.ike.exchanges import informational
from proto.ike.exchanges.child import install
from proto.ike.kdf import SaKeys
from proto.ike.message import Header
from proto.ike.payloads import IdPayload, Payload, TrafficSelector
from proto.ike.record import ChildRow, Record, decode
from proto.ike.sa import IkeSa
from proto.ike.suite import ChildSuite, Suite, suite_from
from proto.secret import Secret

WINDOW = 1 << 18
"""How far ahead of its record a request may be: a question for life each third of a second, for a
day."""
JUMP = 1 << 10
"""Message IDs of our own that are left out per change of owner: more than an owner can have used
since the record was written, for each of them takes as long as a client's silence."""
MESSAGE_ID_MAX = (1 << 32) - 1
SILENT_S = 90.0
"""After so long without a word an adopted SA that may not ask is ended. Its tickets stay good."""
NOTHING = Secret(b"")


def refusal(record: Record, epoch: int, fence: int, now: Now) -> str:
    """Why an SA isn't adopted, in a word; empty: it is. `epoch` and `fence`: the adopter's."""
    if record.epoch != epoch:
        return "epoch"  # made before a restored store was accepted, or after
    if record.fence >= fence:
        return "fence"  # the shard has an owner after us
    if record.expires_wall_s <= now.wall_s:
        return "expired"
    if not _supported(record.suite, len(record.sk_ei), len(record.sk_ai)):
        return "suite"
    if record.next_id + JUMP * (fence - record.fence) > MESSAGE_ID_MAX:
        return "message_id"
    return ""


def adopted(record: Record, fence: int, ctx: Context) -> "AdoptedSa":
    """The SA, ready for its peer's next request. `ctx` has the path of the record."""
    sa = AdoptedSa(core_of(record), ctx)
    sa.expected_id = record.expected_id
    sa.last_reply = record.last_reply
    sa.requests.next_id = record.next_id + JUMP * (fence - record.fence)
    return sa


def rekeyed_before(record: Record, fence: int, ctx: Context) -> tuple["AdoptedSa", ...]:
    """The SA that was rekeyed into this one by its peer, which may want the answer once more."""
    try:
        former = decode(record.former)
    except WireError:
        return ()  # there is none
    sa = adopted(former, fence, ctx)
    sa.core = replace(sa.core, state=State.REKEYED)
    sa.linger(ctx)
    return (sa,)


def taken_over(core: SaCore, path: Path) -> Outcome:
    """What goes with an adoption: its Child SAs inbound, and the news."""
    kernel = tuple(
        replace(install(child, path, core.encapsulated), inbound_only=True)
        for child in core.children
    )
    event = Adopted(core.spi, core.chain, core.generation)
    return Outcome(core.spi, kernel=kernel, events=(event,))


def core_of(record: Record) -> SaCore:
    """The SA's state. The keys of IKE_AUTH (SK_pi, SK_pr) aren't kept in a record."""
    suite = _suite(record.suite)
    ai, ar = Secret(record.sk_ai), Secret(record.sk_ar)
    ei, er = Secret(record.sk_ei), Secret(record.sk_er)
    return SaCore(
        State.ESTABLISHED,
        record.initiator,
        record.spi_i,
        record.spi_r,
        suite,
        SaKeys(Secret(record.sk_d), ai, ar, ei, er, NOTHING, NOTHING),
        idi=IdPayload(PayloadType.IDi, record.idi_type, record.idi),
        idr=IdPayload(PayloadType.IDr, record.idr_type, record.idr),
        identity=record.identity,
        connection=record.connection,
        auth_method=record.auth_method,
        certificate=record.certificate,
        authenticated_wall_s=record.authenticated_wall_s,
        chain=record.chain,
        generation=record.generation,
        resumed=record.resumed,
        established_wall_s=record.established_wall_s,
        expires_wall_s=record.expires_wall_s,
        auth_deadline_wall_s=record.auth_deadline_wall_s,
        fragmentation=record.fragmentation,
        nat=record.nat,
        mobike=record.mobike,
        peer_addresses=record.peer_addresses,
        children=tuple([_child(row) for row in record.children]),
        leased=record.leased,
        follows=record.follows,
        ppk=record.ppk,
        ticketed=record.ticketed,
        window=record.window,
    )


class AdoptedSa(IkeSa):
    """An IKE SA that another owner has set up."""

    __slots__ = ("asks",)

    def __init__(self, core: SaCore, ctx: Context) -> None:
        """Its ciphers are made when they are first needed: ten thousand may be adopted at once."""
        super().__init__(replace(core, keys=None), ctx.path, ctx)
        self.core = core
        self.asks = False
        """May we ask something by ourselves? Only with the message ID that the peer expects."""
        self._schedule(ctx)
        self._keep_nat(ctx)

    def on_request(self, header: Header, ctx: Context) -> Outcome:
        """As every SA; a request ahead of the one expected is taken too, if it is authentic."""
        self._make_channel(ctx)
        floor = self.expected_id
        ahead = header.message_id - floor
        busy = self.waiting is not None or self.pending is not None
        busy = busy or self.core.state is State.DEAD
        if busy or not 0 < ahead <= WINDOW:
            return super().on_request(header, ctx)
        self.expected_id = header.message_id
        outcome = super().on_request(header, ctx)
        taken = self.waiting is not None or self.pending is not None
        if self.expected_id == header.message_id and not taken:
            self.expected_id = floor  # not authentic, or a part of a message
        return outcome

    def on_response(self, header: Header, ctx: Context) -> Outcome:
        """As every SA."""
        self._make_channel(ctx)
        return super().on_response(header, ctx)

    def _ahead(self, header: Header, ctx: Context) -> Outcome:
        """A request that has to wait: the one expected isn't known for sure."""
        return ignored("message_id")

    def catch_up(self, progress: Progress, final: bool, ctx: Context) -> None:
        """How far a former owner had come is known: what is older isn't taken any more. `final`:
        see `Endpoint.catch_up`.

        Its last request is taken: whether the answer has arrived is known to nobody, and answering
        once more what had no effect has none.
        """
        expected_id, next_id = progress.ids
        if expected_id >= self.expected_id:
            self.path = progress.path
        if self.waiting is None and expected_id - 1 > self.expected_id:
            self.expected_id = expected_id - 1
            self.last_reply = b""
        if final and not self.asks:
            self.requests.next_id = next_id
            self.asks = True
            self.agenda.begin(self.core, ctx.settings, ctx.now.boot_s)
            # their Deletes, if they are ours, may have been left undone
            rekeyed = [child.spi_in for child in self.core.children if child.rekeyed]
            self.agenda.add(tuple([Want(Work.DELETE_CHILD, spi) for spi in rekeyed]))
            self._schedule(ctx)

    def ask(self, payloads: tuple[Payload, ...], ctx: Context) -> Outcome | None:
        """As every SA, once we know which message ID the peer expects of us."""
        return super().ask(payloads, ctx) if self.asks else None

    def _next(self, ctx: Context) -> Outcome | None:
        return super()._next(ctx) if self.asks else None

    def on_timer(self, ctx: Context) -> Outcome | None:
        """As every SA; one that may not ask ends when nothing was heard for long."""
        now_s = ctx.now.boot_s
        busy = self.waiting is not None or self.pending is not None
        idle = not busy and not self.requests.under_way() and not self.wants_end
        mute = idle and not self.asks and self.core.state is State.ESTABLISHED
        if mute and now_s >= max(self._due, self.heard_s + SILENT_S):
            silent = informational.end(self.core, False, "silent since it was adopted")
            return self._finish(silent, ctx)
        return super().on_timer(ctx)

    def _schedule(self, ctx: Context) -> None:
        super()._schedule(ctx)
        if not self.asks:
            silent_in_s = self.heard_s + SILENT_S - ctx.now.boot_s
            self._due = min(self._due, ctx.now.boot_s + max(silent_in_s, 1.0))

    def _seal(
        self,
        exchange: int,
        flags: int,
        message_id: int,
        payloads: tuple[Payload, ...],
        ctx: Context,
    ) -> bytes:
        self._make_channel(ctx)
        return super()._seal(exchange, flags, message_id, payloads, ctx)

    def _make_channel(self, ctx: Context) -> None:
        if self._channel is None:
            self._channel = Channel(self.core, ctx.spis.iv_prefix(self.spi))


@lru_cache(maxsize=64)
def _suite(numbers: tuple[int, ...]) -> Suite:
    return suite_from(numbers)


@lru_cache(maxsize=64)
def _child_suite(numbers: tuple[int, int, int, bool]) -> ChildSuite:
    return ChildSuite(*numbers)


@lru_cache(maxsize=64)
def _supported(numbers: tuple[int, ...], encr_octets: int, integ_octets: int) -> bool:
    """Whether this release has these algorithms, and the record keys of their length."""
    try:
        suite = suite_from(numbers)
        if (suite.encr_key_octets, suite.integ_key_octets) != (encr_octets, integ_octets):
            return False
        aead.protection(suite, Secret(bytes(encr_octets)), Secret(bytes(integ_octets)))
    except (Misuse, KeyError, TypeError, ValueError):
        return False
    return True


@lru_cache(maxsize=1024)
def _selectors(rows: tuple[tuple[int | bytes, ...], ...]) -> tuple[TrafficSelector, ...]:
    return tuple(TrafficSelector(*row) for row in rows)  # type: ignore[arg-type]


def _child(row: ChildRow) -> Child:
    spi_in, spi_out, suite, local, remote, keymat, *made = row
    return Child(
        spi_in,
        spi_out,
        _child_suite(suite),
        _selectors(local),
        _selectors(remote),
        Secret(keymat),
        *made,
    )
