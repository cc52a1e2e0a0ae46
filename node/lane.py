"""From an Outcome of the core to durable, kernel, send, events: the order the product stands on.

Rules: what has a `persist` waits for the journal, and nothing of it is done before. How the write
ended goes back to the core, which says what is to be done instead. This is the only place that
carries an Outcome out.
"""

from collections.abc import Callable
from typing import Protocol

from cluster.addresses import Addresses
from cluster.batch import Op, OpKind
from cluster.batch import Outcome as Ended
from cluster.journal import Journal
from cluster.seams import Clock
from cluster.shards import SpiCodec
from node.errands import NoErrands
from node.kernel import Kernel
from node.refusals import ClusterRefusals
from node.udp import Sockets
from proto.ike.effects import Datagram, Now, Outcome, Persist, PersistKind, Settlement
from proto.ike.endpoint import Endpoint
from proto.ike.errands import Errand, Result
from proto.ike.errors import Misuse
from proto.ike.events import Event

_DURABLE = Settlement.DURABLE

KINDS = {
    PersistKind.CREATE: OpKind.CREATE,
    PersistKind.REDEEM: OpKind.REDEEM,
    PersistKind.REKEY: OpKind.REDEEM,
    PersistKind.WRITE: OpKind.WRITE,
    PersistKind.END: OpKind.END,
    PersistKind.REVOKE: OpKind.REVOKE,
}
SETTLEMENTS = {
    Ended.COMMITTED: Settlement.DURABLE,
    Ended.SUPERSEDED: Settlement.REFUSED,
    Ended.FENCED: Settlement.FENCED,
}


class Commits(Protocol):
    """Makes a write durable. Implementers: `JournalCommits`; a client has none to make."""

    def submit(self, persist: Persist, done: Callable[[Settlement], None]) -> None:
        """`done` is called exactly once, later."""
        ...


class Carrier(Protocol):
    """Carries errands out. Implementers: `node.errands.Errands`, `NoErrands`."""

    def begin(self, errand: Errand, done: Callable[[Result], None]) -> None:
        """`done` is called exactly once, perhaps at once."""
        ...


class JournalCommits:
    """The cluster's journal as the core's durable store: SPIs become shards, kinds become kinds."""

    def __init__(
        self,
        journal: Journal,
        codec: SpiCodec,
        refusals: ClusterRefusals | None = None,
        addresses: Addresses | None = None,
    ) -> None:
        """`refusals` is told what the writes spend, `addresses` which of them are leased."""
        self._journal = journal
        self._codec = codec
        self._refusals = refusals
        self._addresses = addresses

    def submit(self, persist: Persist, done: Callable[[Settlement], None]) -> None:
        """Queue it; a full queue fences the SA at once: its peer will come again."""
        replaces = None
        if persist.replaces:
            replaces = (self._codec.shard_of(persist.replaces), persist.replaces)
        ticket, refusals = persist.redeems, self._refusals
        op = Op(
            kind=KINDS[persist.kind],
            chain=persist.chain,
            generation=persist.generation,
            shard=self._codec.shard_of(persist.spi),
            spi=persist.spi,
            record=persist.record,
            replaces=replaces,
            expires_wall_s=persist.expires_wall_s,
            identity=persist.identity,
            authenticated_wall_s=persist.authenticated_wall_s,
            issued_wall_s=None if ticket is None else ticket.issued_wall_s,
            ticket_key=persist.ticket_key,
            ticket=persist.ticket,
            addresses=self._keys_of(persist) if persist.leased else (),
            takes=persist.takes,
        )

        def ended(outcome: Ended) -> None:
            if refusals is not None and outcome is not Ended.FENCED:
                refusals.written(persist)
            if persist.takes:
                self._taken(persist, outcome is Ended.COMMITTED)
            done(SETTLEMENTS[outcome])

        if not self._journal.submit(op, ended):
            ended(Ended.FENCED)

    def _keys_of(self, persist: Persist) -> tuple[bytes, ...]:
        if self._addresses is None:
            raise Misuse("internal addresses without pools")
        return self._addresses.keys(persist.leased)

    def _taken(self, persist: Persist, durable: bool) -> None:
        if self._addresses is not None:
            self._addresses.settle(persist.chain, persist.leased, durable)


def asked_s(endpoint: Endpoint, op: Op) -> float | None:
    """See `cluster.patience.Asked`. A rekey is asked for at the SA that it replaces."""
    replaces = op.replaces if op.is_rekey else None
    return endpoint.asked_s(op.spi if replaces is None else replaces[1])


class NoCommits:
    """For an endpoint whose Outcomes never hold a write: a client's."""

    def submit(self, persist: Persist, done: Callable[[Settlement], None]) -> None:
        """Settle at once: there is nobody to tell."""
        done(_DURABLE)


class Lane:
    """Carries Outcomes out, each in the order durable, kernel, send, events."""

    def __init__(
        self,
        endpoint: Endpoint,
        commits: Commits,
        kernel: Kernel,
        sockets: Sockets,
        clock: Clock,
        observe: Callable[[Event], None],
        send_back: Callable[[Datagram], None] | None = None,
        errands: Carrier | None = None,
    ) -> None:
        """`send_back`: for replies to datagrams that came through another member. `errands`: None
        where the core is to need none.
        """
        self._endpoint = endpoint
        self._commits = commits
        self._kernel = kernel
        self._sockets = sockets
        self._clock = clock
        self._observe = observe
        self._send_back = send_back
        self._errands = errands or NoErrands()
        self.sent = 0
        self.on_moved: Callable[[bytes], None] = lambda _spi: None
        """Told of each SA to which something happened without a write."""
        self.on_settled: Callable[[], None] = lambda: None
        """Called after each write that ended: the core may want to be called earlier now."""

    def carry_out(self, outcome: Outcome) -> None:
        """Do what the core wants done; returns at once, the rest follows when it is durable."""
        if outcome.persist is None:
            if outcome.errand is not None:
                self._set_out(outcome.spi, outcome.errand)
                return
            if outcome.spi:
                self.on_moved(outcome.spi)
            self._effects(outcome)
            return

        asked_by = self._endpoint.holder(outcome.spi)

        def done(settlement: Settlement) -> None:
            now = Now(self._clock.boot_s(), self._clock.wall_s())
            # a shard lost and gained again meanwhile: the SA adopted since has writes of its own
            held = asked_by is not None and self._endpoint.holder(outcome.spi) is asked_by
            more = self._endpoint.settle(outcome.spi, settlement, now) if held else None
            if settlement is _DURABLE:
                # an SA dropped meanwhile has had its end; its peer still needs the answer: the
                # ticket in it is the only one that is good now
                self._effects(outcome if held else Outcome(send=outcome.send))
            if more is not None:
                self.carry_out(more)
            self.on_settled()

        self._commits.submit(outcome.persist, done)

    def _set_out(self, spi: bytes, errand: Errand) -> None:
        asked_by = self._endpoint.holder(spi)

        def done(result: Result) -> None:
            # as with a write: what has become of the SA meanwhile, another one may stand for
            if asked_by is not None and self._endpoint.holder(spi) is asked_by:
                now = Now(self._clock.boot_s(), self._clock.wall_s())
                more = self._endpoint.done(spi, result, now)
                if more is not None:
                    self.carry_out(more)
            self.on_settled()

        self._errands.begin(errand, done)

    def _effects(self, outcome: Outcome) -> None:
        for operation in outcome.kernel:
            self._kernel.apply(operation)
        for datagram in outcome.send:
            self.sent += 1
            if datagram.path.via and self._send_back is not None:
                self._send_back(datagram)
            else:
                self._sockets.send(datagram)
        for event in outcome.events:
            self._observe(event)
