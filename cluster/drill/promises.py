"""The eight promises of the design, each judged from what a drill recorded: kept, broken or not
tested.

Rules: *kept* is only said of what the drill put to the test, and each judgement says what that
was. What can't be seen from clients' and gateways' records (such as a repeated IV) is named as
not seen, not claimed.
"""

import enum
from collections.abc import Callable

import msgspec

from cluster.drill.history import Client, History, Session
from cluster.drill.interruptions import TAKES, Interruption, Outcome
from cluster.drill.plan import Action

TITLES = {
    1: "Any survivor accepts a resumed session",
    2: "Losing the store stops nothing that runs",
    3: "A ticket works once, cluster-wide",
    4: "Rotating keys refuses no valid ticket",
    5: "Nobody speaks twice with one voice",
    6: "What was answered survives",
    7: "Unauthenticated input is cheap",
    8: "A failover can be rehearsed",
}


class State(enum.Enum):
    KEPT = "kept"
    BROKEN = "broken"
    NOT_TESTED = "not tested"


class Breach(msgspec.Struct, frozen=True):
    """One piece of evidence."""

    who: str
    """The client, or the SPI or chain concerned."""
    t_s: float
    """Seconds after the first fault."""
    why: str


class Judgement(msgspec.Struct, frozen=True):
    """One promise after a drill."""

    number: int
    title: str
    state: State
    tested: str
    """What was put to the test, or why it wasn't."""
    breaches: tuple[Breach, ...] = ()


def judge_all(history: History, interruptions: list[Interruption]) -> tuple[Judgement, ...]:
    """All eight, in order."""
    judges: list[Callable[[History, list[Interruption]], tuple[str, list[Breach]]]] = [
        _survivors_accept,
        _store_may_go,
        _tickets_once,
        _rotation,
        _one_voice,
        _durable,
        _cheap,
        _rehearsed,
    ]
    return tuple(
        _judgement(number, *judge(history, interruptions))
        for number, judge in enumerate(judges, start=1)
    )


def several(number: int, noun: str) -> str:
    """`number` and `noun`, in the plural where it takes one."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


NOT = "not tested: "
"""How a judge says that it had nothing to look at."""


def _judgement(number: int, tested: str, breaches: list[Breach]) -> Judgement:
    state = State.NOT_TESTED if tested.startswith(NOT) else State.KEPT
    if breaches:
        state = State.BROKEN
    ordered = sorted(breaches, key=lambda breach: (breach.t_s, breach.who))
    return Judgement(number, TITLES[number], state, tested.removeprefix(NOT), tuple(ordered))


def refusals(client: Client, since: float, until: float) -> list[Breach]:
    """The first time between the two that the client's valid ticket bought it nothing (none or
    one).
    """
    found = [
        Breach(client.name, t, f"{gateway} refused a valid ticket")
        for t, gateway in client.refused
        if since < t <= until and client.holds_ticket(t)
    ]
    found += [
        Breach(client.name, session.t, f"full handshake at {session.gateway} with a valid ticket")
        for session in client.sessions
        if since < session.t <= until and session.how != "resumed" and _had_one(client, session)
    ]
    return sorted(found, key=lambda breach: breach.t_s)[:1]


def _had_one(client: Client, session: Session) -> bool:
    """Whether a ticket was at hand when the attempt began that led to `session`."""
    return client.holds_ticket(min(session.since, session.t - 1e-6))


def _survivors_accept(
    history: History, interruptions: list[Interruption]
) -> tuple[str, list[Breach]]:
    affected = [i for i in interruptions if i.fault.split(" ")[0] in TAKES]
    with_ticket = [i for i in affected if i.held_ticket]
    breaches = [
        breach
        for client in history.clients
        for breach in refusals(client, history.begin_t, history.end_t)
    ]
    told = {breach.who for breach in breaches}
    breaches += [
        Breach(i.client, i.fault_s, f"lost with a valid ticket: {i.why}")
        for i in interruptions
        if i.outcome is Outcome.LOST and i.held_ticket and i.client not in told
    ]
    if not with_ticket:
        return NOT + "no client with a valid ticket lost its gateway", breaches
    resumed = sum(i.outcome is Outcome.RESUMED for i in with_ticket)
    return (
        f"{several(len(with_ticket), 'client')} with a valid ticket struck, {resumed} resumed",
        (breaches),
    )


def _store_may_go(history: History, interruptions: list[Interruption]) -> tuple[str, list[Breach]]:
    windows = _store_windows(history)
    if not windows:
        return NOT + "the store was there all the time", []
    struck = {i.client for i in interruptions if i.fault.split(" ")[0] in TAKES}
    breaches: list[Breach] = []
    answers = watched = 0
    for since, until in windows:
        for client in history.clients:
            if client.name in struck or client.session_at(since) is None:
                continue
            watched += 1
            during = [t for t in client.answered if since < t <= until]
            answers += len(during)
            breaches += _store_breach(client, since, until, during)
    away_s = sum(until - since for since, until in windows)
    who = several(watched, "session")
    tested = f"{who} answered {answers} times in {away_s:.1f} s without the store"
    return (tested, breaches) if watched else (NOT + "no session outlived its gateway", [])


def _store_breach(client: Client, since: float, until: float, during: list[float]) -> list[Breach]:
    troubles = [(t, what) for t, what in client.troubles if since < t <= until]
    if troubles:
        return [Breach(client.name, *troubles[0])]
    if not during:
        return [Breach(client.name, since, "not one answer while the store was away")]
    return refusals(client, since, until)


def _store_windows(history: History) -> list[tuple[float, float]]:
    """When the store was away: (from, to)."""
    windows: list[tuple[float, float]] = []
    stopped: float | None = None
    for fault in history.faults:
        if fault.action == Action.STOP_STORE.value:
            stopped = fault.t_s
        elif fault.action == Action.START_STORE.value and stopped is not None:
            windows.append((stopped, fault.t_s))
            stopped = None
    return windows if stopped is None else [*windows, (stopped, history.end_t)]


def _tickets_once(history: History, _: list[Interruption]) -> tuple[str, list[Breach]]:
    redeemed: dict[tuple[str, int], str] = {}
    breaches: list[Breach] = []
    for event in history.members:
        if event.kind != "sa_established" or event.how != "resumed":
            continue
        ticket = (event.chain, event.generation - 1)
        if ticket in redeemed:
            why = f"ticket of generation {ticket[1]} redeemed at {redeemed[ticket]} and {event.who}"
            breaches.append(Breach(f"chain {event.chain}", event.t, why))
        redeemed.setdefault(ticket, event.who)
    if not redeemed:
        return NOT + "no ticket was redeemed", []
    return (
        f"{several(len(redeemed), 'ticket')} redeemed; none was offered twice on purpose",
        breaches,
    )


def _rotation(history: History, _: list[Interruption]) -> tuple[str, list[Breach]]:
    """A ring that was overwritten by force is no rotation: what comes after it is promise 1's."""
    connected = [client.sessions[0].t for client in history.clients if client.sessions]
    since = min(connected, default=history.end_t)
    forced = [f.t_s for f in history.faults if f.action == Action.REPLACE_RING.value]
    until = min(forced, default=history.end_t)
    rings = [e for e in history.members if e.kind == "ring_installed" and e.t <= until]
    known = max((e.revision for e in rings if e.t <= since), default=0)
    installed = [e for e in rings if e.revision > known]  # a restart installs what was known
    if not installed:
        return NOT + "no keys were rotated while clients held tickets", []
    breaches = [b for client in history.clients for b in refusals(client, since, until)]
    revisions = len({event.revision for event in installed})
    return f"{several(revisions, 'ring revision')} installed while clients held tickets", breaches


def _one_voice(history: History, _: list[Interruption]) -> tuple[str, list[Breach]]:
    made: dict[str, str] = {}
    breaches: list[Breach] = []
    for event in history.members:
        if event.kind != "sa_established":
            continue
        if event.spi in made:
            why = f"responder SPI given out twice, by {made[event.spi]} and {event.who}"
            breaches.append(Breach(f"SPI {event.spi}", event.t, why))
        made.setdefault(event.spi, event.who)
    if not made:
        return NOT + "no gateway recorded an IKE SA", []
    return f"{several(len(made), 'responder SPI')} looked at; IVs can't be seen from here", breaches


def _durable(history: History, _: list[Interruption]) -> tuple[str, list[Breach]]:
    if not history.readbacks:
        return NOT + "the store was not read back", []
    breaches = [
        Breach(f"SPI {event.spi_r}", event.t, "established, but not in the store")
        for event in history.readbacks
        if not event.found
    ]
    return f"{several(len(history.readbacks), 'live session')} looked up in the store", breaches


def _cheap(history: History, _: list[Interruption]) -> tuple[str, list[Breach]]:
    return NOT + "this drill sends no forged datagrams", []


def _rehearsed(history: History, _: list[Interruption]) -> tuple[str, list[Breach]]:
    if not history.faults:
        return NOT + "no fault was carried out", []
    return f"{several(len(history.faults), 'fault')} carried out and measured by the clients", []
