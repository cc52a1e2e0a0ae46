"""What one IKE SA talks with: its state, message IDs, sealed channel, requests under way, timers.

Rules: one of the peer's requests is answered at a time, and we never say that we take more (RFC
7296 2.3, ADR 0026); of ours as many are under way as the peer takes. An authentic repeat of the
last request gets the last answer, octet for octet (RFC 7296 2.1). The peer's address is the one
that its newest authentic message came from; who is behind a NAT doesn't believe that (RFC 7296
2.23), and with MOBIKE the peer has to say so (RFC 4555 3.8). What is done with a message is
`proto.ike.sa`'s business.
"""

from collections.abc import Callable

import msgspec

from proto.ike import fragment
from proto.ike.agenda import NEVER, Agenda
from proto.ike.channel import Channel
from proto.ike.core import Context, SaCore, State, Want
from proto.ike.effects import Datagram, Outcome, Path, UpdateChild, ignored
from proto.ike.errands import Errand, Pending, Result
from proto.ike.errors import Misuse, WireError
from proto.ike.message import Header, Message
from proto.ike.nat import HERE, KEEPALIVE, SHOWN
from proto.ike.payloads import Payload
from proto.ike.requests import Outstanding, Requests

PROBES = 2
"""How often a message is sent in large fragments before smaller ones are tried."""
_ESTABLISHED = State.ESTABLISHED
_HALF_OPEN = (State.INIT_ANSWERED, State.RESUME_ANSWERED)


class Waiting(msgspec.Struct, frozen=True, gc=False):
    """What holds once an answer has left, or a durable write in flight is done."""

    core: SaCore
    reply: bytes
    successor: SaCore | None = None
    wants: tuple[Want, ...] = ()
    ticket: bytes = b""
    """See `Step`; so are the next two."""
    takes: bool = False
    path: Path | None = None


def datagrams(octets: bytes, path: Path) -> tuple[Datagram, ...]:
    """A message of ours on its way; in fragments, where it was sealed so."""
    if len(octets) == int.from_bytes(octets[24:28], "big"):
        return (Datagram(octets, path),)
    return tuple([Datagram(piece, path) for piece in fragment.apart(octets)])


class SaTransport:
    """See the module. `core` is replaced as a whole."""

    __slots__ = (
        "_channel", "_due", "_keepalive_s", "agenda", "asked_s", "contested", "core",
        "expected_id", "half_open_key", "heard_s", "last_reply", "path", "pending", "requests",
        "spi", "waiting", "wants_end",
    )  # fmt: skip

    def __init__(self, core: SaCore, path: Path, ctx: Context, half_open_key: bytes = b"") -> None:
        self.core = core
        self.spi = core.spi
        """Our own SPI, which never changes."""
        self.path = path
        self.half_open_key = half_open_key
        policy = ctx.settings.retransmit
        if core.handshake is not None and core.handshake.peer is not None:
            policy = core.handshake.peer.retransmit
        self.requests = Requests(policy)
        self.expected_id = 0 if core.initiator else 1
        self.last_reply = b""
        self.heard_s = ctx.now.boot_s
        self.waiting: Waiting | None = None
        self.asked_s = 0.0
        """When the request whose answer waits came last; repeats aren't looked into."""
        self.pending: Pending | None = None
        """An errand is out: what arrives is ignored, as while a write is under way."""
        self.contested = False
        """We are the heir of one of two rekeys that crossed: nothing is answered or asked until it
        is settled which of them stands (`SaSuccession`)."""
        self.wants_end: tuple[bool, str] | None = None
        self.agenda = Agenda()
        self._due = NEVER if core.initiator else ctx.now.boot_s + ctx.settings.half_open_timeout_s
        self._keepalive_s = NEVER
        self._channel: Channel | None = None
        if core.keys is not None:
            self._channel = Channel(core, ctx.spis.iv_prefix(self.spi))

    @property
    def half_open(self) -> bool:
        """Answered once, not authenticated yet."""
        return self.core.state in _HALF_OPEN

    @property
    def _window(self) -> int:
        """How many requests of ours may be under way. With additional key exchanges a change takes
        several, one after the other: nothing goes beside them, so that they never wait for room.
        """
        suite = self.core.suite
        return 1 if suite is not None and suite.addkes else self.core.window

    def has_child(self, spi_in: bytes) -> bool:
        """Is that our inbound SPI of a Child SA, or of one that is being made? An errand that is
        out is no use of one: what it is for begins again, and draws another.
        """
        cores = (self.core,) if self.waiting is None else (self.core, self.waiting.core)
        return any(spi_in in _inbound(core) for core in cores)

    @property
    def _revoking(self) -> bool:
        """Is an end wanted that takes the tickets with it, and not written yet?"""
        return self.wants_end is not None and self.wants_end[0]

    @property
    def is_over(self) -> bool:
        """Is its end being written? It can't end otherwise any more."""
        return self.waiting is not None and self.waiting.core.state is State.DEAD

    @property
    def _stands_still(self) -> bool:
        """Does nothing of our own begin now: a write is under way, or an errand is out, or which of
        two rekeys stands isn't settled?
        """
        out = self.pending is not None and not self.half_open
        return self.waiting is not None or self.contested or out

    def deadline_s(self) -> float:
        """When `on_timer` is to be called next."""
        asked, due = self.requests.outstanding, self._due
        # `_stands_still` without the call: this is asked several times for each datagram
        out = self.pending is not None and not self.half_open
        if self.waiting is not None or self.contested or out:
            due = NEVER
        if self._keepalive_s < due and self.core.state is _ESTABLISHED:
            due = self._keepalive_s
        if asked is not None and asked.deadline_s < due:
            due = asked.deadline_s
        for asked in self.requests.beside:
            due = min(due, asked.deadline_s)
        return due

    def _repeat(self, header: Header, ctx: Context) -> Outcome:
        """The last answer once more, for an authentic repeat of its request; of one in fragments
        for the first of them alone (RFC 7383 2.6.1).
        """
        if header.message_id + 1 != self.expected_id or not self.last_reply or not self._channel:
            return ignored("message_id")
        try:
            if not self._channel.begins_again(header, ctx.raw):
                return ignored("fragment")
        except WireError:
            return ignored("integrity")
        return Outcome(self.spi, send=datagrams(self.last_reply, ctx.path))

    def set_out(self, errand: Errand, again: Callable[[Context], Outcome], ctx: Context) -> Outcome:
        """Have `errand` carried out; `again` is called with the result, and may need more."""
        self.pending = Pending(errand, again, ctx.raw, ctx.path, ctx.came, ctx.moved, ctx.given)
        return Outcome(self.spi, errand=errand)

    def done(self, result: Result, ctx: Context) -> Outcome:
        """The errand that is out came to `result`."""
        pending, self.pending = self.pending, None
        if pending is None:
            raise Misuse("done, and no errand was out")
        ctx.raw, ctx.path = pending.raw, pending.path
        ctx.came, ctx.moved = pending.came, pending.moved
        ctx.given = ctx.left = (*pending.results, result)
        return pending.again(ctx)

    def _request(
        self, exchange: int, payloads: tuple[Payload, ...], ctx: Context, *, beside: bool = False
    ) -> Outcome:
        message_id = self.requests.next_id
        data = self._seal(exchange, 0, message_id, payloads, ctx)
        self.requests.next_id += 1
        asked = self.requests.sent(data, exchange, message_id, ctx.now.boot_s, beside=beside)
        send = datagrams(data, self.path)
        if len(send) > 1:
            asked.payloads = payloads
        return Outcome(self.spi, send=send)

    def _again(self, asked: Outstanding, ctx: Context) -> Outcome:
        """The same request once more: the same octets, but for a message in fragments that nobody
        has answered, which is tried in smaller ones (RFC 7383 2.5.2).
        """
        if asked.payloads and asked.sent > PROBES:
            smaller, asked.payloads = self._smaller(asked, ctx), ()
            if len(fragment.apart(smaller)) > len(fragment.apart(asked.data)):
                self.requests.anew(asked, smaller, ctx.now.boot_s)
        return Outcome(self.spi, send=datagrams(asked.data, self.path))

    def _schedule(self, ctx: Context) -> None:
        """When an established SA is to be looked at again."""
        wanted_s, now_s = self.agenda.due_s(), ctx.now.boot_s
        if self.core.client:
            self._due = max(wanted_s, now_s + 1.0)
            return
        left_s = self.core.expires_wall_s - ctx.now.wall_s
        silent_s = ctx.settings.liveness_interval_s
        wait_s = left_s
        if silent_s:
            ask_in_s = self.heard_s + silent_s - now_s
            wait_s = min(left_s, ask_in_s if ask_in_s > 0 else silent_s)
        self._due = now_s + max(min(wait_s, wanted_s - now_s), 1.0)

    # -- addresses ------------------------------------------------------------------------------

    def _float(self, ctx: Context) -> None:
        """Initiator: a NAT was found, or may come in between one day (RFC 4555 3.3): what follows
        takes the ports that it lets pass.
        """
        handshake = self.core.handshake
        if handshake is None or handshake.nat_path is None:
            return
        if self.core.encapsulated or (self.core.nat & SHOWN and ctx.settings.mobike):
            self.path = ctx.path = handshake.nat_path

    def _follow(self, ctx: Context) -> None:
        """A message that is authentic and new has come: its way is the SA's, where that may be.
        `ctx.path` is the SA's from here on.
        """
        came, path = ctx.path, self.path
        ctx.came = came
        if came == path:
            return
        same = (came.local, came.remote) == (path.local, path.remote)  # through another member
        stays = self.core.mobike or self.core.nat & HERE
        if not same and stays and not self.half_open:
            ctx.path = path
            return
        self.path = came
        if not same and self.core.encapsulated:
            ctx.moved = tuple(
                [UpdateChild(child.spi_in, came, True) for child in self.core.children]
            )

    def _keep_nat(self, ctx: Context) -> None:
        """From now on the mapping of a NAT in front of us is kept."""
        wait_s = ctx.settings.nat_keepalive_s
        here = self.core.nat & HERE and wait_s
        self._keepalive_s = ctx.now.boot_s + wait_s if here else NEVER

    def _keepalive(self, ctx: Context) -> Outcome | None:
        """A NAT-keepalive, if nothing else has passed for so long (RFC 3948 2.3)."""
        now_s, wait_s = ctx.now.boot_s, ctx.settings.nat_keepalive_s
        if now_s < self.heard_s + wait_s:
            self._keepalive_s = self.heard_s + wait_s
            return None
        self._keepalive_s = now_s + wait_s
        return Outcome(self.spi, send=(Datagram(KEEPALIVE, self.path),))

    def _look_at_wants(self, ctx: Context) -> None:
        """An end that had to wait is due now, unless a request of ours is in its way still."""
        if self.core.state is not _ESTABLISHED:
            return
        due_s = self.agenda.due_s()
        if self.core.series is not None:
            due_s = self.core.series.until_s  # what is wanted waits for that
        ends = self.wants_end is not None
        if ends and not self._revoking:
            ends = self.requests.is_free(self._window)
        if ends or due_s <= ctx.now.boot_s:
            self._due = ctx.now.boot_s
        elif due_s < self._due:
            self._due = due_s

    # -- protection -----------------------------------------------------------------------------

    def _seal(
        self,
        exchange: int,
        flags: int,
        message_id: int,
        payloads: tuple[Payload, ...],
        ctx: Context,
    ) -> bytes:
        if self._channel is None:
            raise Misuse("sealing before keys")
        most = fragment.message_octets(ctx.settings.fragment_octets, ctx.path.remote[0])
        return self._channel.seal(self.core, exchange, flags, message_id, payloads, ctx.rng, most)

    def _smaller(self, asked: Outstanding, ctx: Context) -> bytes:
        if self._channel is None:
            raise Misuse("sealing before keys")
        most = fragment.smallest(self.path.remote[0])
        return self._channel.seal(
            self.core, asked.exchange, 0, asked.message_id, asked.payloads, ctx.rng, most
        )

    def _open(self, header: Header, ctx: Context) -> Message | None:
        """See `Channel.open`."""
        if self._channel is None:
            raise WireError("sealed message before keys")
        limit = fragment.HALF_OPEN_MAX if self.half_open else fragment.REASSEMBLY_MAX
        return self._channel.open(self.core, header, ctx.raw, limit, ctx.now.boot_s)


def _inbound(core: SaCore) -> list[bytes]:
    """Our inbound SPIs of all Child SAs, those that are being made too."""
    spis = [child.spi_in for child in core.children]
    if core.handshake is not None:
        spis.append(core.handshake.child_spi)
    if core.asking is not None:
        spis.append(core.asking.spi)
    if core.series is not None and core.series.child is not None:
        spis.append(core.series.child.spi_in)
    return spis
