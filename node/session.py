"""One client's session: connected to one of several gateways, and back at another when that dies.

Rules: a gateway counts as dead when it answers none of our retransmissions, and for no other reason
(RFC 7296 2.4, RFC 5723 9.4). A ticket is kept until an SA was set up with it or a gateway refused
it. No ticket, one that isn't usable any more or a refused one: a full handshake. An SA that ends
otherwise than by its gateway's silence takes its ticket with it: a Delete of either end's does
(RFC 5723 6.2), and after an error that ends it without one (RFC 7296 2.21.2, 2.21.3) there is no
state left that both ends agree on, nor an authentication that is believed, to resume with. Driven
by callbacks and the event loop's timers.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

import msgspec

from node.detour import Detour, Follow
from node.mobility import Mobility
from node.origins import Origins
from node.renewal import Renewal
from node.shell import Shell
from proto.ike.core import Peer, State
from proto.ike.effects import Address, Outcome, Path
from proto.ike.events import (
    AddressesReceived,
    Answered,
    ChildRefused,
    Ended,
    Established,
    Event,
    Failed,
    Moved,
    MoveRefused,
    Reauthenticate,
    Redirected,
    Rekeyed,
    TicketReceived,
    TicketRefused,
    Unanswered,
    WithoutPpk,
)
from proto.ike.exchanges.ike_session_resume import is_usable
from proto.ike.ticket import ClientTicket

AGAIN_S = 0.2
"""The pause before a gateway is tried after all have failed once, or one has ended the SA: longer
by as much each time that it comes to that again, up to AGAIN_MAX_S.
"""
AGAIN_MAX_S = 5.0


Report = Callable[..., None]
"""`report(kind, **fields)`: the client's recorded events."""


class Tickets(Protocol):
    """Where the newest ticket is kept. Implementers: `node.tickets.TicketFile`, `MemoryTicket`."""

    def load(self) -> ClientTicket | None:
        """The stored ticket, or None."""
        ...

    def save(self, ticket: ClientTicket) -> None:
        """Keep it, replacing the former one. Raises OSError when it can't."""
        ...

    def drop(self) -> None:
        """Forget it for good. Raises OSError when it can't."""
        ...


class MemoryTicket:
    """Keeps the ticket as long as the process lives."""

    def __init__(self) -> None:
        self._ticket: ClientTicket | None = None

    def load(self) -> ClientTicket | None:
        """The ticket, or None."""
        return self._ticket

    def save(self, ticket: ClientTicket) -> None:
        """Keep it."""
        self._ticket = ticket

    def drop(self) -> None:
        """Forget it."""
        self._ticket = None


class KeptTicket:
    """The ticket where `tickets` has it. What that doesn't take, a full disk's or one that is only
    read, is reported, and holds in memory until it takes one again: a ticket that was refused is
    not shown twice because it couldn't be removed.
    """

    def __init__(self, tickets: Tickets, report: Report) -> None:
        self._tickets = tickets
        self._report = report
        self._instead: MemoryTicket | None = None

    def load(self) -> ClientTicket | None:
        """The ticket, or None."""
        return (self._instead or self._tickets).load()

    def save(self, ticket: ClientTicket) -> None:
        """Keep it, replacing the former one."""
        self._change(lambda tickets: tickets.save(ticket))

    def drop(self) -> None:
        """Forget it."""
        self._change(lambda tickets: tickets.drop())

    def _change(self, change: Callable[[Tickets], None]) -> None:
        try:
            change(self._tickets)
            self._instead = None
        except OSError as error:
            self._instead = MemoryTicket()
            change(self._instead)
            self._report("ticket_not_kept", why=str(error))


class SessionSettings(msgspec.Struct, frozen=True):
    """Where the gateways are, in the order of preference, and when we ask for what."""

    gateways: tuple[Address, ...]
    liveness_interval_s: float = 1.0
    ike_rekey_s: float = 0.0
    """See `proto.ike.core.Settings`, of this and the next two."""
    child_rekey_s: float = 0.0
    child_pfs: bool = True
    encapsulate_always: bool = False
    nat_keepalive_s: float = 20.0
    fragment_octets: int = 1280
    mobike: bool = True
    initial_contact: bool = False
    no_nats: bool = False
    nat_gateways: tuple[Address | None, ...] = ()
    """The same gateways where NATs let pass; empty: nowhere."""
    follow: Follow = Follow.NEVER


class Session:
    """See the module. `observe` is to be given every event of the shell's endpoint."""

    def __init__(
        self,
        shell: Shell,
        peer: Peer,
        origins: Origins,
        settings: SessionSettings,
        tickets: Tickets,
        report: Report,
    ) -> None:
        self._shell = shell
        self._peer = peer
        self._origins = origins
        self._mobility = Mobility(shell.endpoint, origins, peer.retransmit)
        self._settings = settings
        self._tickets = KeptTicket(tickets, report)
        self._report = report
        self._at = 0
        self._detour = Detour(settings.gateways, settings.nat_gateways, settings.follow)
        self._left = b""
        """The SA that was redirected: it goes once the one that follows is there."""
        self._failures = 0
        self._ends = 0
        """SAs that ended one after the other, since one brought an answer."""
        self._timer: asyncio.TimerHandle | None = None
        self._refused = False
        self._closing = False
        self._renewal = Renewal(self._renew)
        self._was_up = False
        self.spi = b""
        """Our SPI of the SA that is up or being set up."""
        self.established = False

    @property
    def gateway(self) -> str:
        """The address we are at, or trying."""
        host, port = self._where()[0]
        return f"{host}:{port}"

    def start(self, first: int = 0) -> None:
        """Connect to gateway number `first`: by resumption if a ticket is stored."""
        self._at = first % len(self._settings.gateways)
        self._connect()

    def close(self) -> bool:
        """Delete the SA in order; the ticket goes with it (RFC 5723 6.2). True: a Delete left."""
        self._closing = True
        self._cancel()
        self._renewal.cancel()
        if self.established:
            now = self._shell.now()
            self._carry_out(self._shell.endpoint.terminate(self.spi, False, "closed", now))
            self._tickets.drop()
        self._report("closed")
        return self.established

    def stop(self) -> None:
        """No more timers: nothing is asked or tried any more."""
        self._closing = True
        self._cancel()
        self._renewal.cancel()

    def observe(self, event: Event) -> None:
        """One event of the core."""
        if isinstance(event, Rekeyed) and event.former == self.spi:
            self._moved(event)
        if event.spi and event.spi == self._renewal.spi:
            self._of_renewal(event)
        if event.spi != self.spi:
            return
        match event:
            case Answered():
                self._ends = 0
                self._report("answered")
                self._schedule(self._settings.liveness_interval_s, self._probe)
            case Established():
                self._up(event)
            case Unanswered():
                self._report("unanswered", gateway=self.gateway)
                self._next()
            case TicketRefused():
                self._refused = True
                self._report("ticket_refused", gateway=self.gateway)
            case Redirected():
                self._redirected(event)
            case Failed():
                self._failed(event)
            case Ended() if self.established and not self._closing:
                self._ended(event)
            case _:
                self._note(event)

    def _note(self, event: Event) -> None:
        """What came with an SA that stands."""
        match event:
            case WithoutPpk():
                self._report("without_ppk", identity=event.identity)
            case AddressesReceived():
                given = event.configured
                self._report(
                    "configured",
                    addresses=[str(address) for address in given.addresses],
                    dns=[str(server) for server in given.dns],
                    subnets=[str(subnet) for subnet in given.subnets],
                    domains=list(given.domains),
                )
            case TicketReceived() if not self._closing:
                self._tickets.save(event.ticket)
                left_s = event.ticket.expires_wall_s - self._shell.now().wall_s
                self._report("ticket", lifetime_s=round(left_s))
            case ChildRefused():
                self._report("child_refused", gateway=self.gateway, why=event.why)
            case Reauthenticate():
                self._renewal.due_in(event.lifetime_s)
            case _:
                self._about_addresses(event)

    def _about_addresses(self, event: Event) -> None:
        """The SA goes on at other addresses, or doesn't: then another one may."""
        progress = self._shell.endpoint.progress(self.spi)
        if isinstance(event, Moved) and progress is not None:
            self._report("moved", address=progress.path.local[0], to=progress.path.remote[0])
        elif isinstance(event, MoveRefused):
            self._report("move_refused", gateway=self.gateway, why=event.why)
            self._next()

    def _connect(self) -> None:
        now = self._shell.now()
        try:
            path, nat_path = self._paths()
        except OSError as error:
            self._report("no_route", gateway=self.gateway, why=str(error))
            self._next()
            return
        ticket = self._tickets.load()
        if ticket is not None and not is_usable(ticket, self._peer, now.wall_s):
            self._tickets.drop()
            ticket = None
        how = "full" if ticket is None else "resumed"
        self._report("connecting", gateway=self.gateway, how=how)
        endpoint = self._shell.endpoint
        begins = self._settings.initial_contact and ticket is None and not self._was_up
        peer = msgspec.structs.replace(
            self._peer, redirected_from=self._detour.came_from, initial_contact=begins
        )
        if ticket is None:
            outcome = endpoint.connect(peer, path, now, nat_path)
        else:
            outcome = endpoint.resume(ticket, peer, path, now, nat_path)
        self.spi = outcome.spi
        self._refused = False
        self._carry_out(outcome)

    def _paths(self) -> tuple[Path, Path | None]:
        """The way to the gateway, and the one that NATs let pass, if any. Raises OSError."""
        gateway, nat_gateway = self._where()
        path = Path(self._origins.ike(gateway), gateway)
        if nat_gateway is None:
            return path, None
        nat_local = self._origins.nat(nat_gateway)
        return path, None if nat_local is None else Path(nat_local, nat_gateway)

    def _where(self) -> tuple[Address, Address | None]:
        """The gateway, and where NATs let pass to it."""
        if self._detour.at is not None:
            return self._detour.at
        nat_gateways = self._settings.nat_gateways
        return self._settings.gateways[self._at], nat_gateways[self._at] if nat_gateways else None

    def _redirected(self, event: Redirected) -> None:
        """Go where the gateway wants us, if we may (RFC 5685 3, 7). A session that is up goes on at
        the old one until the new one has it: a Delete would cost the ticket (RFC 5723 6.2).
        """
        why = self._detour.turn(event.target, self._where()[0], self._shell.now().boot_s)
        if why:
            self._report("redirect_refused", gateway=self.gateway, to=event.target, why=why)
            if not self.established:
                self._next()
            return
        self._report("redirected", gateway=self.gateway, how=event.target)
        if self.established:
            self._left = self.spi
        self._down()
        self._connect()

    def _leave(self, event: Established) -> None:
        """The SA that was redirected ends: silently if it was resumed, for its gateway has let go
        of it as silently (RFC 5723 4.3.4).
        """
        former, self._left = self._left, b""
        endpoint = self._shell.endpoint
        if former and event.resumed:
            self._carry_out(endpoint.drop(former, "redirected"))
        elif former:
            now = self._shell.now()
            self._carry_out(endpoint.terminate(former, False, "redirected", now))

    def _renew(self) -> bytes:
        """Authenticate anew, at the same gateway, beside the SA that stands."""
        if not self.established:
            return b""
        try:
            path, nat_path = self._paths()
        except OSError:
            return b""
        self._report("connecting", gateway=self.gateway, how="renewed")
        shell = self._shell
        outcome = shell.endpoint.connect(self._peer, path, shell.now(), nat_path)
        self._carry_out(outcome)
        begun = shell.endpoint.find(outcome.spi)
        return b"" if begun is None or begun.state is State.DEAD else outcome.spi

    def _of_renewal(self, event: Event) -> None:
        """The new SA takes over, and the old one goes; or it fails, and is tried again."""
        if isinstance(event, Failed | Redirected):
            why = event.why if isinstance(event, Failed) else "redirected"
            self._report("failed", gateway=self.gateway, how="renewed", why=why)
            self._renewal.again()
        if not isinstance(event, Established):
            return
        old, self.spi = self.spi, self._renewal.cancel()
        now = self._shell.now()
        self._carry_out(self._shell.endpoint.terminate(old, False, "authenticated anew", now))

    def _up(self, event: Established) -> None:
        self._leave(event)
        if event.resumed:
            self._tickets.drop()  # used: the new one follows in the same answer, if any
        self.established = self._was_up = True
        self._failures = 0
        how = "resumed" if event.resumed else "full"
        self._report(
            "established", gateway=self.gateway, how=how, spi_i=event.spi_i, spi_r=event.spi_r
        )
        self._schedule(self._settings.liveness_interval_s, self._probe)

    def _moved(self, event: Rekeyed) -> None:
        """The IKE SA was rekeyed, by either end. The old ticket is void now, as far as we know; it
        stays until the core has got another, for a gateway that died before it wrote the rekey
        down would still take it.
        """
        self.spi = event.spi
        self._report("rekeyed", gateway=self.gateway, spi_i=event.spi, spi_r=event.peer_spi)
        self._schedule(self._settings.liveness_interval_s, self._probe)

    def _failed(self, event: Failed) -> None:
        how = "resumed" if event.resumed else "full"
        self._report("failed", gateway=self.gateway, how=how, why=event.why)
        if event.resumed and event.why != "no answer":
            self._tickets.drop()  # refused by someone: a full handshake here and now
            self._down()
            self._connect()
        else:
            self._next()

    def _ended(self, event: Ended) -> None:
        """The SA is over, and its gateway lives: a new one, of a full handshake."""
        self._report("ended", gateway=self.gateway, why=event.why)
        self._tickets.drop()
        self._down()
        self._ends += 1
        self._again(self._ends)

    def _next(self) -> None:
        """The gateway is dead to us: go on at the next one, slower once all have failed."""
        self._down()
        if not self._detour.give_up():
            self._at = (self._at + 1) % len(self._settings.gateways)
        self._failures += 1
        rounds = self._failures // len(self._settings.gateways)
        self._again(rounds)

    def _again(self, failed: int) -> None:
        """Connect, after so many times in a row that came to nothing."""
        self._schedule(min(AGAIN_S * failed, AGAIN_MAX_S), self._connect)

    def _down(self) -> None:
        self._cancel()
        self.established = False
        under_way = self._renewal.cancel()
        if under_way:
            self._carry_out(self._shell.endpoint.drop(under_way, "not needed any more"))

    def _probe(self) -> None:
        now = self._shell.now()
        self._carry_out(self._mobility.look(self.spi, now))
        self._carry_out(self._shell.endpoint.probe(self.spi, now))
        self._schedule(self._mobility.patience_s, self._doubt)

    def _doubt(self) -> None:
        """No answer yet."""
        self._carry_out(self._mobility.doubt(self.spi, self._shell.now()))
        self._schedule(self._mobility.patience_s, self._doubt)

    def _carry_out(self, outcome: Outcome | None) -> None:
        if outcome is not None:
            self._shell.lane.carry_out(outcome)
        self._shell.rearm()

    def _schedule(self, delay_s: float, call: Callable[[], None]) -> None:
        self._cancel()
        if not self._closing:
            self._timer = asyncio.get_running_loop().call_later(delay_s, call)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
