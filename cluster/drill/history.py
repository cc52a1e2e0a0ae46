"""Recorded events put in order and sorted by whom they concern: what the verdict and the charts
are read from.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

import msgspec

from cluster.drill.events import OBSERVED, Event

CLIENT_KINDS = frozenset(
    {"connecting", "established", "ticket", "answered", "unanswered", "failed", "ended", "closed"}
)


class Session(msgspec.Struct, frozen=True):
    """One IKE SA as its client saw it established."""

    t: float
    gateway: str
    how: str
    spi_r: str
    since: float
    """When the attempt began that led here: its ticket can't be older."""


class Client(msgspec.Struct, frozen=True):
    """Everything one client recorded, each list in order of time."""

    name: str
    sessions: tuple[Session, ...]
    answered: tuple[float, ...]
    tickets: tuple[tuple[float, float], ...]
    """(received, lifetime in seconds)."""
    refused: tuple[tuple[float, str], ...]
    """(when, by which gateway): tickets."""
    troubles: tuple[tuple[float, str], ...]
    """(when, what): exchanges given up, attempts failed, the client's own end."""
    closed_t: float | None

    def session_at(self, t: float) -> Session | None:
        """The newest session established at or before `t`."""
        index = bisect_right(self.sessions, t, key=lambda session: session.t)
        return self.sessions[index - 1] if index else None

    def holds_ticket(self, t: float) -> bool:
        """Whether the client had a ticket of its session at `t` that was still valid."""
        session = self.session_at(t)
        if session is None:
            return False
        mine = [ticket for ticket in self.tickets if session.since <= ticket[0] <= t]
        return bool(mine) and mine[-1][0] + mine[-1][1] > t

    def last_answer(self, t: float, floor: float = float("-inf")) -> float | None:
        """The last answer in [floor, t]."""
        index = bisect_right(self.answered, t)
        if not index or self.answered[index - 1] < floor:
            return None
        return self.answered[index - 1]

    def first_answer(self, t: float, ceiling: float) -> float | None:
        """The first answer in [t, ceiling]."""
        index = bisect_left(self.answered, t)
        if index == len(self.answered) or self.answered[index] > ceiling:
            return None
        return self.answered[index]

    def serves(self, t: float, silence_s: float) -> bool:
        """Whether an answer came in the `silence_s` before `t`."""
        return self.closed_t is None and self.last_answer(t, t - silence_s) is not None


class FaultSeen(msgspec.Struct, frozen=True):
    """A fault as it was carried out."""

    t_s: float
    action: str
    target: str


class History(msgspec.Struct, frozen=True):
    """A drill as it was recorded, up to the end of observation.

    Every time in it is in seconds after the first fault (after the first event, if there is none).
    """

    clients: tuple[Client, ...]
    gateways: tuple[str, ...]
    faults: tuple[FaultSeen, ...]
    members: tuple[Event, ...]
    """What gateways recorded, in order of time."""
    readbacks: tuple[Event, ...]
    begin_t: float
    end_t: float
    complete: bool
    """The drill said itself that observation had ended."""


def build(events: Iterable[Event]) -> History:
    """Sort `events` (in any order) by time and by whom they concern."""
    ordered = _from_origin(sorted(events, key=lambda event: event.t))
    names = {e.address: e.member for e in ordered if e.kind == "topology"}
    gateways = {e.member for e in ordered if e.kind == "topology"}
    gateways |= {e.who for e in ordered if e.kind == "started"}
    ends = [e.t for e in ordered if e.kind == "phase" and e.name == OBSERVED]
    end_t = ends[0] if ends else (ordered[-1].t if ordered else 0.0)
    seen = [e for e in ordered if e.t <= end_t]
    by_client: dict[str, list[Event]] = {}
    for event in seen:
        if event.who not in gateways and event.who != "drill":
            by_client.setdefault(event.who, []).append(event)
    return History(
        clients=tuple(
            _client(name, by_client[name], names)
            for name in sorted(by_client)
            if any(e.kind in CLIENT_KINDS for e in by_client[name])
        ),
        gateways=tuple(sorted(gateways)),
        faults=tuple(FaultSeen(e.t, e.action, e.target) for e in seen if e.kind == "fault"),
        members=tuple(e for e in seen if e.who in gateways),
        readbacks=tuple(e for e in ordered if e.kind == "readback"),
        begin_t=seen[0].t if seen else 0.0,
        end_t=end_t,
        complete=bool(ends),
    )


def _from_origin(ordered: list[Event]) -> list[Event]:
    faults = (event.t for event in ordered if event.kind == "fault")
    origin = next(faults, ordered[0].t if ordered else 0.0)
    return [msgspec.structs.replace(e, t=round(e.t - origin, 6)) for e in ordered]


def _client(name: str, events: list[Event], names: dict[str, str]) -> Client:
    sessions: list[Session] = []
    troubles: list[tuple[float, str]] = []
    since = float("-inf")
    closed_t = None
    for event in events:
        gateway = names.get(event.gateway, event.gateway)
        if event.kind == "connecting":
            since = event.t
        elif event.kind == "established":
            sessions.append(Session(event.t, gateway, event.how, event.spi_r, since))
            since = event.t
        elif event.kind == "unanswered":
            troubles.append((event.t, f"{gateway} stopped answering"))
        elif event.kind == "failed":
            troubles.append((event.t, f"{event.how} attempt at {gateway} failed: {event.why}"))
        elif event.kind == "ended":
            troubles.append((event.t, f"its SA at {gateway} ended: {event.why}"))
        elif event.kind == "closed":
            closed_t = event.t
            troubles.append((event.t, "the client ended"))
    return Client(
        name=name,
        sessions=tuple(sessions),
        answered=tuple(e.t for e in events if e.kind == "answered"),
        tickets=tuple((e.t, e.lifetime_s) for e in events if e.kind == "ticket"),
        refused=tuple(
            (e.t, names.get(e.gateway, e.gateway)) for e in events if e.kind == "ticket_refused"
        ),
        troubles=tuple(troubles),
        closed_t=closed_t,
    )
