"""Turns the core's events into metrics, recorded events and log lines, for a gateway.

Rules: the hot path counts and records; it logs only what an operator would want to read once (a
session that came, a refusal, an end), never a line per datagram, and in a storm a few lines a
second: its logs are `SparseLog`s, and what strangers cause doesn't silence what sessions do. No
event's secret leaves it.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from cluster.mirror_in import Repair
from node.metrics import Metrics
from node.observe import EventLog, SparseLog
from proto.ike.events import (
    Adopted,
    ChildRekeyed,
    Dropped,
    Ended,
    Established,
    Event,
    Failed,
    Moved,
    Redirected,
    Refused,
    Rekeyed,
    TicketRefused,
    Unanswered,
    WithoutPpk,
)

E = TypeVar("E", bound=Event)


class Reporter:
    """Give it every event of a gateway's endpoint."""

    def __init__(
        self,
        metrics: Metrics,
        events: EventLog,
        log: SparseLog,
        replaced: Callable[[bytes, bytes], None],
    ) -> None:
        """`replaced(chain, spi)`: a resumption (RFC 5723 4.3.4) or a rekey has taken over."""
        self._metrics = metrics
        self._events = events
        self._log = log
        self._sessions = log.apart()
        self._replaced = replaced
        self.on_up: Callable[[bytes, bytes], None] = lambda _chain, _spi: None
        """Told (chain, SPI) of each session that is established here under that SPI from now on."""
        self.on_down: Callable[[bytes, bytes], None] = lambda _chain, _spi: None
        """Told likewise of each SA that is gone."""
        self.on_adopted: Callable[[bytes], None] = lambda _spi: None
        self.on_begun: Callable[[bytes], None] = lambda _spi: None
        """Told likewise of each SA that has been set up here, by ticket or without."""
        self._on: dict[type[Event], Callable[[Any], None]] = {
            Established: self._established,
            Adopted: self._adopted,
            Rekeyed: self._rekeyed,
            ChildRekeyed: self._child_rekeyed,
            Ended: self._ended,
            Failed: self._failed,
            Refused: self._denied,
            TicketRefused: self._refused,
            Unanswered: self._unanswered,
            Moved: self._moved,
            Redirected: self._redirected,
            WithoutPpk: self._without_ppk,
            Dropped: self._dropped,
        }

    def __call__(self, event: Event) -> None:
        """Count, record, log."""
        handler = self._on.get(type(event))
        if handler is not None:
            handler(event)

    def on(self, kind: type[E], handler: Callable[[E], None]) -> None:
        """`handler` gets every event of a kind that isn't reported here."""
        self._on[kind] = handler

    def copy_repaired(self, repair: Repair) -> None:
        """A copy held here was put right; that is news where it was believed to be right."""
        if not repair.was_whole:
            return
        count = repair.put + repair.gone
        why = f"shard {repair.shard}"
        self._events.write("mirror_repaired", member=repair.owner, count=count, why=why)
        self._log.info(
            "a copy differed", shard=repair.shard, owner=repair.owner, put=repair.put,
            gone=repair.gone,
        )  # fmt: skip

    def _established(self, event: Established) -> None:
        how = "resumed" if event.resumed else "full"
        (self._metrics.resumptions if event.resumed else self._metrics.handshakes).add("accepted")
        self._metrics.sessions += 1
        self._events.write(
            "sa_established",
            spi=event.spi,
            chain=event.chain,
            generation=event.generation,
            how=how,
            identity=event.identity,
        )
        self._sessions.info(
            "session up",
            how=how,
            identity=event.identity,
            spi=event.spi.hex(),
            generation=event.generation,
        )
        self.on_up(event.chain, event.spi)
        self.on_begun(event.spi)
        if event.replaced:
            self._replaced(event.chain, event.replaced)

    def _adopted(self, event: Adopted) -> None:
        self._metrics.sessions += 1  # recorded by the shard: they come by the thousand
        self.on_up(event.chain, event.spi)
        self.on_adopted(event.spi)

    def _rekeyed(self, event: Rekeyed) -> None:
        self._metrics.rekeys.add("ike")
        self.on_up(event.chain, event.spi)
        self._events.write(
            "sa_rekeyed",
            spi=event.spi,
            former=event.former,
            chain=event.chain,
            generation=event.generation,
        )
        self._sessions.info(
            "session rekeyed",
            spi=event.spi.hex(),
            former=event.former.hex(),
            generation=event.generation,
        )
        self._replaced(event.chain, event.former)

    def _child_rekeyed(self, event: ChildRekeyed) -> None:
        self._metrics.rekeys.add("child")

    def _ended(self, event: Ended) -> None:
        self._metrics.sessions -= 1
        self.on_down(event.chain, event.spi)
        self._events.write("sa_ended", spi=event.spi, chain=event.chain, why=event.why)
        self._sessions.info("session ended", spi=event.spi.hex(), why=event.why)

    def _failed(self, event: Failed) -> None:
        kind = self._metrics.resumptions if event.resumed else self._metrics.handshakes
        kind.add("failed")
        self._log.info("no IKE SA", why=event.why, resumed=event.resumed, remote=event.remote)

    def _denied(self, event: Refused) -> None:
        self._sessions.info(
            "peer refused", what=event.what, why=event.why, identity=event.identity,
            spi=event.spi.hex(),
        )  # fmt: skip

    def _refused(self, event: TicketRefused) -> None:
        self._metrics.resumptions.add(event.reason)
        self._events.write("ticket_refused", reason=event.reason)
        self._log.info("ticket refused", reason=event.reason)

    def _moved(self, event: Moved) -> None:
        self._metrics.moves += 1
        self._sessions.info("session moved", spi=event.spi.hex())

    def _without_ppk(self, event: WithoutPpk) -> None:
        self._metrics.without_ppk += 1
        self._sessions.info("session without a PPK", identity=event.identity, spi=event.spi.hex())

    def _redirected(self, event: Redirected) -> None:
        self._metrics.redirects += 1
        if event.spi:
            self._events.write("sa_redirected", spi=event.spi, target=event.target)
            self._sessions.info("client redirected", to=event.target, spi=event.spi.hex())

    def _unanswered(self, event: Unanswered) -> None:
        self._sessions.info("peer does not answer", spi=event.spi.hex())

    def _dropped(self, event: Dropped) -> None:
        self._metrics.dropped.add(event.reason)
