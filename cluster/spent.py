"""Which tickets were used, as filters that forget: the cheap first look before any work.

Rules: a ticket is (chain, generation). A filter per window of ticket *expiry* holds what was spent;
a window is forgotten once its last ticket has expired everywhere. A hit may be wrong and is
confirmed by one read of the session chain, which alone decides; without the store the hit does. A
miss may be late by as much as members lag. Without the store it says nothing of a ticket that is
older than what is heard of here (`since_wall_s`): it counts as spent. Members tell each other what
they spend, and whole filters to whoever comes; merging is OR, so any order will do. All members
make filters alike: `FORM` names how, and frames of another form are left alone. A full window takes
no more: its errors stay rare. RFC 5723 9.8.
"""

import asyncio
import operator
from collections.abc import Callable, Sequence

from rbloom import Bloom

from cluster.errors import ClusterError
from cluster.layout import Keys
from cluster.link import PeerLink, Spent, SpentFilter, SpentSince
from cluster.seams import Clock
from cluster.store import Store

FORM = 1
"""Names the three figures below and `number`."""
WINDOW_S = 900
"""Width of a window of expiry."""
TICKETS_MAX = 262_144
"""Tickets per window; a filter has 460 KiB, and fits a frame."""
FALSE_POSITIVES = 1e-3
"""Of a full window."""
LIFETIME_S_MAX = 86_400
"""The longest that a ticket may be valid: its use is remembered until it has expired."""
SKEW_S = 300.0
"""How long after its end a window is kept, for clocks that disagree."""
WINDOWS_MAX = int((LIFETIME_S_MAX + 2 * SKEW_S) // WINDOW_S) + 2
"""Filters held: so many that every valid ticket has one, by a clock that is ahead too. What nobody
spends costs nothing: shorter lifetimes need fewer."""
TELL_S = 0.05
"""What is spent meanwhile shares a frame."""
RETRY_S = 0.5
"""When a filter that couldn't leave is sent again."""
TELL_MAX = 4096
"""Tickets in one frame."""
UNTOLD_MAX = 65_536
"""Tickets that wait to be told; beyond it others learn of them by whole filters."""
CONFIRMED_MAX = 4096
"""Spent tickets remembered for sure: one that is shown again and again costs no more reads."""
_NUMBER_LEN = 16
_ODD = 0x5851_F42D_4C95_7F2D_1405_7B7E_F767_814F
_HALF = 1 << 127
_LOW = _HALF - 1
_HEADER_LEN = 8
"""Of a filter's octets: what precedes the bits, the same in all of one form."""


def number(chain: bytes, generation: int) -> int:
    """What stands for a ticket in a filter, 128 bits signed. `chain` is 16 random octets of ours,
    which are hash enough.
    """
    return (int.from_bytes(chain, "big") ^ (generation * _ODD & _LOW)) - _HALF


class SpentTickets:
    """One member's filters."""

    def __init__(
        self, store: Store, keys: Keys, clock: Clock, link: PeerLink,
        peers: Callable[[], Sequence[str]],
    ) -> None:  # fmt: skip
        """`peers`: the other members, to be told."""
        self._store = store
        self._keys = keys
        self._clock = clock
        self._link = link
        self._peers = peers
        self._filters: dict[int, Bloom] = {}
        self._counts: dict[int, int] = {}
        self._untold: dict[int, list[int]] = {}
        self._untold_count = 0
        self._confirmed: dict[int, None] = {}
        self.since_wall_s = clock.wall_s()
        """What was spent is heard of since then: since this process began, or since another one
        did that told it all that it knew. A ticket that was issued before may have been spent."""
        self._owed: dict[str, list[int]] = {}
        """Member → windows whose filters it hasn't been sent yet."""
        self._wake = asyncio.Event()
        self._retry: asyncio.TimerHandle | None = None

    # -- what is asked

    def used(self, chain: bytes, generation: int, expires_wall_s: float) -> bool:
        """May this ticket have been spent? False: nothing is known."""
        spent = self._filters.get(int(expires_wall_s // WINDOW_S))
        return spent is not None and number(chain, generation) in spent

    def may_be_over(self, chain: bytes, generation: int, issued_wall_s: float) -> bool:
        """May that generation be over, of which a ticket was issued then? Whenever that expires:
        another one may have been spent. For whoever can't ask the chain.
        """
        if issued_wall_s < self.since_wall_s:
            return True
        ticket = number(chain, generation)
        return any(ticket in spent for spent in self._filters.values())

    def surely_used(self, chain: bytes, generation: int) -> bool:
        """Was it seen to be spent? Once true it stays true: a chain never goes back."""
        return number(chain, generation) in self._confirmed

    async def confirm(self, chain: bytes, generation: int) -> bool:
        """Ask the session chain; False where the store doesn't answer: IKE_AUTH will ask again."""
        try:
            entry = await self._store.get(self._keys.session(chain))
        except ClusterError:
            return False
        if entry is not None and entry.version == generation:
            return False
        if len(self._confirmed) >= CONFIRMED_MAX:
            del self._confirmed[next(iter(self._confirmed))]
        self._confirmed[number(chain, generation)] = None
        return True

    @property
    def windows(self) -> tuple[int, ...]:
        """The windows that have a filter, oldest first."""
        return tuple(sorted(self._filters))

    # -- what is spent

    def add(self, chain: bytes, generation: int, expires_wall_s: float) -> None:
        """A ticket was redeemed, here."""
        window, ticket = int(expires_wall_s // WINDOW_S), number(chain, generation)
        spent, untold = self._filters.get(window), self._untold.get(window)
        if spent is None or untold is None or self._untold_count >= UNTOLD_MAX:
            self._spend(window, ticket)
        elif self._counts[window] < TICKETS_MAX:  # the hot path, without a call
            spent.add(ticket)
            self._counts[window] += 1
            untold.append(ticket)
            self._untold_count += 1

    def add_until(self, chain: bytes, generation: int, lifetime_s: float) -> None:
        """All tickets of a chain's generation are void: whenever they expire, within `lifetime_s`
        from now at the latest.
        """
        now_s = self._clock.wall_s()
        ticket = number(chain, generation)
        for window in range(int(now_s // WINDOW_S), int((now_s + lifetime_s) // WINDOW_S) + 1):
            self._spend(window, ticket)

    def _spend(self, window: int, ticket: int) -> None:
        if not self._put(window, ticket) or self._untold_count >= UNTOLD_MAX:
            return
        self._untold.setdefault(window, []).append(ticket)
        self._untold_count += 1
        self._wake.set()

    def _put(self, window: int, ticket: int) -> bool:
        spent = self._filter(window)
        if spent is None or self._counts[window] >= TICKETS_MAX:
            return False
        spent.add(ticket)
        self._counts[window] += 1
        return True

    def _filter(self, window: int) -> Bloom | None:
        """The filter of `window`, made if it matters now."""
        found = self._filters.get(window)
        if found is not None:
            return found
        first = int((self._clock.wall_s() - SKEW_S) // WINDOW_S)
        self.forget()
        if not first <= window < first + WINDOWS_MAX:
            return None
        made = self._filters[window] = _new()
        self._counts[window] = 0
        return made

    def forget(self) -> None:
        """Let go of the windows whose tickets have all expired."""
        first = int((self._clock.wall_s() - SKEW_S) // WINDOW_S)
        for window in [w for w in self._filters if w < first]:
            del self._filters[window], self._counts[window]

    # -- between members

    def owe(self, member: str) -> None:
        """Have `member` told all of it: it has come, or come back."""
        self._owed[member] = list(self._filters)
        self._wake.set()

    def receive(self, _sender: str, frame: Spent) -> None:
        """What another member spent."""
        if frame.form == FORM:
            for ticket in frame.tickets:
                self._put(frame.window, int.from_bytes(ticket[:_NUMBER_LEN], "big", signed=True))

    def receive_filter(self, _sender: str, frame: SpentFilter) -> None:
        """A whole window of another member's."""
        octets = frame.octets
        if frame.form != FORM or len(octets) != len(_EMPTY) or octets[:_HEADER_LEN] != _HEADER:
            return
        spent = self._filter(frame.window)
        if spent is not None:
            spent.update(Bloom.load_bytes(octets, operator.index))
            # a filter with every bit set holds infinitely many, by that estimate
            self._counts[frame.window] = int(min(spent.approx_items, TICKETS_MAX))

    def receive_since(self, _sender: str, frame: SpentSince) -> None:
        """Another member has told all that it knows."""
        if frame.form == FORM:
            self.since_wall_s = min(self.since_wall_s, frame.wall_s)

    async def run(self) -> None:
        """Tell the others, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(TELL_S)
            self.forget()
            self._tell()
            self._pay()

    def _tell(self) -> None:
        untold, self._untold, self._untold_count = self._untold, {}, 0
        peers = self._peers()
        for window, tickets in untold.items():
            for start in range(0, len(tickets), TELL_MAX):
                told = tuple(
                    ticket.to_bytes(_NUMBER_LEN, "big", signed=True)
                    for ticket in tickets[start : start + TELL_MAX]
                )
                for member in peers:
                    if not self._link.send(member, Spent(FORM, window, told)):
                        self.owe(member)

    def _pay(self) -> None:
        """One filter to each member that is owed any: they are large, and heartbeats pass too."""
        if not self._owed or self._retry is not None:
            return
        peers, failed = self._peers(), False
        for member in list(self._owed):
            windows = self._owed[member]
            while windows and windows[-1] not in self._filters:
                windows.pop()
            if member not in peers:
                del self._owed[member]
            elif not windows:
                if self._link.send(member, SpentSince(FORM, self.since_wall_s)):
                    del self._owed[member]
                else:
                    failed = True
            elif self._link.send(member, self._whole(windows[-1])):
                windows.pop()
            else:
                failed = True
        if failed:  # who can't be reached now isn't tried twenty times a second
            self._retry = asyncio.get_running_loop().call_later(RETRY_S, self._retry_now)
        elif self._owed:
            self._wake.set()

    def _whole(self, window: int) -> SpentFilter:
        return SpentFilter(FORM, window, self._filters[window].save_bytes())

    def _retry_now(self) -> None:
        self._retry = None
        self._wake.set()


def _new() -> Bloom:
    return Bloom(TICKETS_MAX, FALSE_POSITIVES, operator.index)


_EMPTY = _new().save_bytes()
_HEADER = _EMPTY[:_HEADER_LEN]
