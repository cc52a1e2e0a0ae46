"""What each fault did to each session: kept, resumed, re-handshaked or lost, and how long it was
without service.

Rules: everything is read from the client's own record. A session is *affected* by a fault on its
gateway, and every session by a stop of the store. Time without service runs from the last answer
over the old SA (recorded a moment after the fault at most: it left before) to the first answer
after the client was established again; for a session that was kept it is the longest silence from
the fault on.
"""

import enum
import itertools

import msgspec

from cluster.drill.history import Client, FaultSeen, History, Session
from cluster.drill.plan import TAKES_SERVICE, Action

SILENCE_MIN_S = 2.0
SILENCE_INTERVALS = 10
"""A client without an answer for the longer of the two isn't in service."""

TAKES = frozenset(action.value for action in TAKES_SERVICE)
STOP_STORE = Action.STOP_STORE.value


class Outcome(enum.Enum):
    """How a session got through."""

    KEPT = "kept"
    """The same IKE SA went on."""
    RESUMED = "resumed"
    REHANDSHAKED = "re-handshaked"
    LOST = "lost"


class Interruption(msgspec.Struct, frozen=True):
    """One session and one fault (or none: a session that no fault should have touched, and yet
    was disturbed).
    """

    client: str
    fault: str
    """Such as `kill gw2`; empty for a bystander."""
    fault_s: float
    """When, seconds after the first fault; as all times."""
    old_gateway: str
    new_gateway: str
    """Empty when lost."""
    outcome: Outcome
    held_ticket: bool
    without_service_s: float | None
    """None when lost, and for a bystander that was kept."""
    restored_s: float | None
    why: str
    """Why it is lost; empty otherwise."""


def silence_s(liveness_interval_s: float) -> float:
    """How long a client may be without an answer and still count as in service."""
    return max(SILENCE_MIN_S, SILENCE_INTERVALS * liveness_interval_s)


def find(history: History, liveness_interval_s: float) -> list[Interruption]:
    """Every interruption, clients in order of name, each one's faults in order of time."""
    quiet_s = silence_s(liveness_interval_s)
    found: list[Interruption] = []
    for client in history.clients:
        found += _of_client(client, history, quiet_s)
    return found


def _of_client(client: Client, history: History, quiet_s: float) -> list[Interruption]:
    hits: list[tuple[FaultSeen, Session]] = []
    for fault in history.faults:
        session = client.session_at(fault.t_s)
        if session is not None and _touches(fault, session):
            hits.append((fault, session))
    if not hits:
        bystander = _bystander(client, history, quiet_s)
        return [bystander] if bystander else []
    found: list[Interruption] = []
    pending: tuple[FaultSeen, Session] | None = None
    for n, hit in enumerate(hits):
        fault, session = pending or hit
        last = n + 1 == len(hits)
        until = history.end_t if last else hits[n + 1][0].t_s
        interruption = _judge(client, fault, session, until, quiet_s)
        if interruption.outcome is Outcome.LOST and not last:
            pending = (fault, session)  # not back yet when the next fault came: one interruption
            continue
        pending = None
        found.append(interruption)
    return found


def _touches(fault: FaultSeen, session: Session) -> bool:
    if fault.action == STOP_STORE:
        return True
    return fault.action in TAKES and fault.target == session.gateway


def _bystander(client: Client, history: History, quiet_s: float) -> Interruption | None:
    """A session that no fault touched and that was disturbed all the same; None if it went on."""
    if not history.faults:
        return None
    first = history.faults[0]
    session = client.session_at(first.t_s)
    if session is None:
        return None
    found = _judge(client, first, session, history.end_t, quiet_s)
    if found.outcome is Outcome.KEPT:
        return None
    return msgspec.structs.replace(found, fault="")


def _judge(
    client: Client, fault: FaultSeen, session: Session, until: float, quiet_s: float
) -> Interruption:
    """What became of `session` between `fault` and `until`."""
    again = [s for s in client.sessions if fault.t_s < s.t <= until]
    alive = client.serves(until, quiet_s)
    restored_t: float | None = None
    without_s: float | None = None
    outcome, why = Outcome.LOST, ""
    if again:
        restored_t = client.first_answer(again[0].t, until)
        if restored_t is None:
            why = f"established again at {again[0].gateway}, but no liveness was answered since"
        elif not alive:
            why = f"fell silent again at {again[-1].gateway}"
        else:
            full = any(s.how != "resumed" for s in again)
            outcome = Outcome.REHANDSHAKED if full else Outcome.RESUMED
            before = client.last_answer(again[0].t, session.t)
            without_s = restored_t - (session.t if before is None else before)
    elif alive:
        outcome = Outcome.KEPT
        without_s, restored_t = _longest_silence(client, session, fault.t_s, until)
    else:
        why = _last_trouble(client, fault.t_s, until)
    return Interruption(
        client=client.name,
        fault=f"{fault.action} {fault.target}".strip(),
        fault_s=fault.t_s,
        old_gateway=session.gateway,
        new_gateway="" if outcome is Outcome.LOST else (again[-1] if again else session).gateway,
        outcome=outcome,
        held_ticket=client.holds_ticket(fault.t_s),
        without_service_s=without_s,
        restored_s=restored_t if outcome is not Outcome.LOST else None,
        why=why,
    )


def _longest_silence(
    client: Client, session: Session, fault_t: float, until: float
) -> tuple[float, float]:
    """The longest time between two answers from the fault on, and when it ended."""
    before = client.last_answer(fault_t, session.t)
    marks = [session.t if before is None else before]
    marks += [t for t in client.answered if fault_t < t <= until]
    gaps = [(later - earlier, later) for earlier, later in itertools.pairwise(marks)]
    return max(gaps, default=(until - marks[0], until))


def _last_trouble(client: Client, fault_t: float, until: float) -> str:
    troubles = [what for t, what in client.troubles if fault_t < t <= until]
    return troubles[-1] if troubles else "no answer since, and no attempt recorded"
