"""The verdict of a drill, computed from its recorded events and nothing else.

Rules: a promise seen broken, or an expectation not met, is *broken*, whatever else went wrong. A
drill that could not put to the test what it set out to test is *inconclusive*: it proves nothing,
so it doesn't pass.
"""

import enum
import math
from collections.abc import Iterable

import msgspec

from cluster.drill import history as hist
from cluster.drill import interruptions as inter
from cluster.drill.events import Event
from cluster.drill.history import FaultSeen, History
from cluster.drill.interruptions import TAKES, Interruption, Outcome
from cluster.drill.plan import Action, Drill
from cluster.drill.promises import Judgement, State, judge_all, several


class Result(enum.Enum):
    KEPT = "kept"
    BROKEN = "broken"
    INCONCLUSIVE = "inconclusive"


EXIT_CODES = {Result.KEPT: 0, Result.BROKEN: 1, Result.INCONCLUSIVE: 2}


class Spread(msgspec.Struct, frozen=True):
    """A distribution in three numbers, seconds."""

    sessions: int
    p50_s: float
    p99_s: float
    max_s: float


class Noticed(msgspec.Struct, frozen=True):
    """When one gateway noticed a fault on another, seconds after it; None: never."""

    fault: str
    by: str
    suspected_s: float | None
    declared_dead_s: float | None


class Counts(msgspec.Struct, frozen=True):
    """What became of the affected sessions."""

    affected: int
    kept: int
    resumed: int
    rehandshaked: int
    lost: int
    with_ticket: int
    bystanders_disturbed: int
    """Sessions that no fault touched, and that were lost or had to be established again."""


class Verdict(msgspec.Struct, frozen=True):
    """Everything that the drill ends with."""

    result: Result
    exit_code: int
    reasons: tuple[str, ...]
    """Why it isn't *kept*; one line each."""
    before: dict[str, int]
    """Sessions in service per gateway at the first fault."""
    after: dict[str, int]
    """Sessions in service per gateway at the end."""
    counts: Counts
    without_service: Spread | None
    noticed: tuple[Noticed, ...]
    faults: tuple[FaultSeen, ...]
    promises: tuple[Judgement, ...]
    interruptions: tuple[Interruption, ...]


def percentile(ordered: list[float], share: float) -> float:
    """The smallest value that at least `share` of the (sorted, not empty) values don't exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def judge(drill: Drill, events: Iterable[Event]) -> Verdict:
    """The verdict on a run of `drill` that recorded `events` (in any order)."""
    return judge_history(drill, hist.build(events))


def judge_history(drill: Drill, history: History) -> Verdict:
    """The same for a history that was built already."""
    found = inter.find(history, drill.load.liveness_interval_s)
    promises = judge_all(history, found)
    counts = _counts(found)
    spread = _spread([i for i in found if i.fault])
    before = _in_service(drill, history, 0.0)
    broken = _broken(drill, counts, spread, promises)
    unproven = _unproven(drill, history, counts, before, promises)
    result = Result.BROKEN if broken else Result.INCONCLUSIVE if unproven else Result.KEPT
    return Verdict(
        result=result,
        exit_code=EXIT_CODES[result],
        reasons=(*broken, *unproven),
        before=before,
        after=_in_service(drill, history, history.end_t),
        counts=counts,
        without_service=spread,
        noticed=_noticed(history),
        faults=history.faults,
        promises=promises,
        interruptions=tuple(found),
    )


def _counts(found: list[Interruption]) -> Counts:
    affected = [i for i in found if i.fault]

    def those(outcome: Outcome) -> int:
        return sum(i.outcome is outcome for i in affected)

    return Counts(
        affected=len(affected),
        kept=those(Outcome.KEPT),
        resumed=those(Outcome.RESUMED),
        rehandshaked=those(Outcome.REHANDSHAKED),
        lost=those(Outcome.LOST),
        with_ticket=sum(i.held_ticket for i in affected),
        bystanders_disturbed=len(found) - len(affected),
    )


def _spread(found: list[Interruption]) -> Spread | None:
    times = sorted(i.without_service_s for i in found if i.without_service_s is not None)
    if not times:
        return None
    return Spread(len(times), percentile(times, 0.5), percentile(times, 0.99), times[-1])


def _in_service(drill: Drill, history: History, t: float) -> dict[str, int]:
    quiet_s = inter.silence_s(drill.load.liveness_interval_s)
    count = dict.fromkeys(history.gateways, 0)
    for client in history.clients:
        session = client.session_at(t)
        if session is not None and client.last_answer(t, t - quiet_s) is not None:
            count[session.gateway] = count.get(session.gateway, 0) + 1
    return count


def _noticed(history: History) -> tuple[Noticed, ...]:
    """Per fault on a gateway and per other gateway: suspected and declared dead, up to the next
    such fault.
    """
    rows: list[Noticed] = []
    taken = [fault for fault in history.faults if fault.action in TAKES]
    for n, fault in enumerate(taken):
        later = [f.t_s for f in taken[n + 1 :] if f.target == fault.target]
        until = min(later, default=history.end_t)
        for gateway in history.gateways:
            about = {
                kind: [
                    round(e.t - fault.t_s, 6)
                    for e in history.members
                    if e.who == gateway
                    and e.kind == kind
                    and e.member == fault.target
                    and fault.t_s <= e.t <= until
                ]
                for kind in ("suspected", "declared_dead")
            }
            if gateway != fault.target:
                rows.append(
                    Noticed(
                        f"{fault.action} {fault.target}",
                        gateway,
                        next(iter(about["suspected"]), None),
                        next(iter(about["declared_dead"]), None),
                    )
                )
    return tuple(rows)


def _broken(
    drill: Drill, counts: Counts, spread: Spread | None, promises: tuple[Judgement, ...]
) -> list[str]:
    expect = drill.expect
    reasons = [
        f"promise {p.number} is broken: {p.title} ({several(len(p.breaches), 'time')})"
        for p in promises
        if p.state is State.BROKEN
    ]
    if counts.lost > expect.lost_max:
        reasons.append(f"{several(counts.lost, 'session')} lost, {expect.lost_max} allowed")
    if counts.rehandshaked > expect.rehandshaked_max:
        allowed = expect.rehandshaked_max
        reasons.append(f"{several(counts.rehandshaked, 'full handshake')}, {allowed} allowed")
    if counts.bystanders_disturbed:
        disturbed = several(counts.bystanders_disturbed, "session")
        reasons.append(f"{disturbed} disturbed that no fault touched")
    limit_s = expect.without_service_max_s
    if limit_s is not None and spread is not None and spread.max_s > limit_s:
        reasons.append(f"a session was {spread.max_s:.2f} s without service, {limit_s:g} allowed")
    return reasons


def _unproven(
    drill: Drill,
    history: History,
    counts: Counts,
    before: dict[str, int],
    promises: tuple[Judgement, ...],
) -> list[str]:
    reasons: list[str] = []
    if not history.complete:
        reasons.append("the record ends before the drill did")
    if len(history.faults) < len(drill.fault):
        done, planned = len(history.faults), len(drill.fault)
        reasons.append(f"{done} of {planned} faults were carried out")
    served = sum(before.values())
    if served < drill.load.clients:
        reasons.append(f"{served} of {drill.load.clients} clients were in service at the fault")
    harmful = [f for f in drill.fault if f.action.value in TAKES or f.action is Action.STOP_STORE]
    if harmful and not counts.affected:
        reasons.append("no session was affected: nothing was put to the test")
    reasons += [
        f"promise {p.number} was to be tested and wasn't: {p.tested}"
        for p in promises
        if p.state is State.NOT_TESTED and p.number in drill.expect.promises
    ]
    return reasons
