"""How an IKE SA hands over to the one that a rekey made, and which of two rekeys at once stands.

Rules: of an SA and its heir one at a time is answered and asked. What was wanted goes over, and so
does the wish to end. The SA that is left waits for its Delete. RFC 7296 2.8, 2.8.2.
"""

from typing import TYPE_CHECKING

from proto.ike.agenda import Agenda
from proto.ike.core import Context, SaCore, State, replace
from proto.ike.effects import Path
from proto.ike.exchanges import rekey_ike
from proto.ike.opening import SaOpening
from proto.ike.requests import Requests

if TYPE_CHECKING:
    from proto.ike.sa import IkeSa

REKEYED_LINGER_S = 30.0
"""How long an SA that was rekeyed waits for its Delete."""


class SaSuccession(SaOpening):
    """See the module."""

    __slots__ = ("_deletes", "born", "heir", "released")

    def __init__(self, core: SaCore, path: Path, ctx: Context, half_open_key: bytes = b"") -> None:
        super().__init__(core, path, ctx, half_open_key)
        self.born: IkeSa | None = None
        """What a rekey has made, for the endpoint to take in."""
        self.heir: IkeSa | None = None
        """What the peer's rekey made of us, while our own is unanswered: one of the two loses."""
        self.released: IkeSa | None = None
        """A former heir, settled now: the endpoint is to look at its timer."""
        self._deletes = False
        """Rekeyed, by us: our Delete is the last request."""

    def _make(self, core: SaCore, ctx: Context) -> "IkeSa":
        """An SA beside this one, on the same path."""
        # of the class that is made of all these parts, which no part can name
        raise NotImplementedError

    def _bear(self, core: SaCore, answered: bool, ctx: Context) -> None:
        """A rekey has made `core`; `answered`: it was the peer's. Its counters begin at 0 (RFC 7296
        2.2), its Child SAs, wants and end are its predecessor's.
        """
        sa = self._make(core, ctx)
        sa.expected_id = 0
        sa.requests = Requests(self.requests.policy)
        sa.heard_s = ctx.now.boot_s
        self.linger(ctx)
        if core.state is State.REKEYED:
            sa._deletes, sa._due = True, ctx.now.boot_s  # it has lost: its maker, we, deletes it
            self.born = sa
            return
        before = self.heir or self
        sa.agenda, before.agenda = before.agenda, Agenda()
        sa.wants_end, before.wants_end = before.wants_end, None
        sa.agenda.begin(core, ctx.settings, ctx.now.boot_s)
        sa._schedule(ctx)
        sa._keep_nat(ctx)
        sa._look_at_wants(ctx)
        self.born = sa
        if self.heir is not None:
            # ours has won: what the peer's had taken over goes on here
            loser, self.heir = self.heir, None
            loser.core, loser.contested = rekey_ike.old(loser.core), False
            loser.linger(ctx)
            self.released = loser
        if answered and self.core.asking is not None:
            self.heir, sa.contested = sa, True
        elif not answered:
            self._deletes, self._due = True, ctx.now.boot_s

    @property
    def _holds_back(self) -> bool:
        """Nothing of our own is asked for yet: the peer is about to make something."""
        return self.contested or self.core.series is not None

    def _forget_series(self, ctx: Context) -> None:
        """The peer doesn't go on with what it has begun."""
        series = self.core.series
        if series is not None and ctx.now.boot_s >= series.until_s:
            self.core = replace(self.core, series=None)

    def linger(self, ctx: Context) -> None:
        """A rekeyed SA waits for its Delete."""
        self._due = ctx.now.boot_s + REKEYED_LINGER_S

    def _yield_to(self, heir: "IkeSa", ctx: Context) -> None:
        """Our own rekey is off, or has lost: the one that the peer made stands."""
        self.heir, heir.contested = None, False
        heir._look_at_wants(ctx)
        self.released = heir

    def _contend(self, new: SaCore) -> SaCore:
        """`new`, ours, has won: with what the peer's had taken over."""
        heir = self.heir
        if heir is None or new.state is not State.ESTABLISHED:
            return new
        generation = heir.core.generation
        return replace(
            new, children=heir.core.children, generation=generation + 1 if generation else 0
        )
