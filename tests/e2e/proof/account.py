"""What a proof's record says: who was struck by what, what became of him, and what is forbidden.

Rules: read from the recorded events of gateways and clients and nothing else.
"""

import itertools

import msgspec

from cluster.drill import history as hist
from cluster.drill.events import Event, decode_lines
from cluster.drill.history import Client, History
from cluster.drill.interruptions import silence_s
from node.observe import EventLog
from proto.ike.errors import TicketReason
from tests.e2e.cluster import Cluster
from tests.e2e.proof.load import LIVENESS_S


class Faults:
    """The record of what was done to whom."""

    def __init__(self, cluster: Cluster) -> None:
        self._log = EventLog(str(cluster.events / "faults.jsonl"), "drill", cluster.clock)
        for name, address in cluster.addresses.items():
            self._log.write("topology", member=name, address=address)

    def note(self, action: str, target: str) -> None:
        """It is about to be done."""
        self._log.write("fault", action=action, target=target)


class Row(msgspec.Struct, frozen=True):
    """What became of the clients that stay, from one fault to the next."""

    fault: str
    affected: int
    """Those with a new SA, or with a silence longer than `LONG_S`."""
    resumed: int
    rehandshaked: int
    lost: int
    longest_gap_s: float
    came_back: int
    """Resumptions of all clients meanwhile."""


LONG_S = 1.0
SHOWN_MAX = 8


def read(cluster: Cluster) -> History:
    """The whole record."""
    events: list[Event] = []
    for file in sorted(cluster.events.iterdir()):
        found, unreadable = decode_lines(file.read_bytes().split(b"\n"))
        assert unreadable == 0, file
        events += found
    return hist.build(events)


def rows(history: History) -> list[Row]:
    """One for each fault, in order."""
    steady = [client for client in history.clients if client.name.startswith("s")]
    ends = [fault.t_s for fault in history.faults[1:]] + [history.end_t]
    return [
        _row(f"{fault.action} {fault.target}", history, steady, fault.t_s, end)
        for fault, end in zip(history.faults, ends, strict=True)
    ]


def _row(fault: str, history: History, steady: list[Client], since: float, end: float) -> Row:
    gaps = {client.name: _gap(client, since, end) for client in steady}
    again = {
        client.name: [s.how for s in client.sessions if since < s.t <= end] for client in steady
    }
    return Row(
        fault=fault,
        affected=sum(bool(again[name]) or gap > LONG_S for name, gap in gaps.items()),
        resumed=sum(bool(hows) and "full" not in hows for hows in again.values()),
        rehandshaked=sum("full" in hows for hows in again.values()),
        lost=sum(not client.serves(end, silence_s(LIVENESS_S)) for client in steady),
        longest_gap_s=max(gaps.values(), default=0.0),
        came_back=sum(
            s.how == "resumed" and since < s.t <= end for c in history.clients for s in c.sessions
        ),
    )


def _gap(client: Client, since: float, end: float) -> float:
    before = client.last_answer(since)
    marks = [since if before is None else before]
    marks += [t for t in client.answered if since < t <= end] + [end]
    return max(later - earlier for earlier, later in itertools.pairwise(marks))


def table(title: str, history: History) -> str:
    """For people."""
    head = f"{'fault':24} affected resumed re-handsh. lost  longest gap  came back"
    lines = [
        f"{row.fault:24} {row.affected:8} {row.resumed:7} {row.rehandshaked:10} {row.lost:4}"
        f"  {row.longest_gap_s:9.2f} s  {row.came_back:9}"
        for row in rows(history)
    ]
    refused = f"refused: {refusals(history) or 'none'}"
    full = full_again(history)
    shown = ", ".join(full[:SHOWN_MAX]) + (
        f" and {len(full) - SHOWN_MAX} more" * (len(full) > SHOWN_MAX)
    )
    again = f"full handshakes of known clients: {shown or 'none'}"
    return "\n".join(("", title, head, *lines, refused, again))


def used_twice(history: History) -> list[str]:
    """(chain, generation) that more than one SA was established for."""
    seen: dict[tuple[str, int], str] = {}
    found: list[str] = []
    for event in history.members:
        if event.kind == "sa_established":
            key, where = (event.chain, event.generation), f"{event.who} at {event.t:.2f} s"
            if key in seen:
                found.append(f"{event.chain} generation {key[1]}: {seen[key]} and {where}")
            seen.setdefault(key, where)
    return found


def refusals(history: History) -> dict[str, int]:
    """Why gateways refused tickets, and how often."""
    counts: dict[str, int] = {}
    for event in history.members:
        if event.kind == "ticket_refused":
            counts[event.reason] = counts.get(event.reason, 0) + 1
    return counts


def full_again(history: History) -> list[str]:
    """Full handshakes of clients that had been established before."""
    return [
        f"{client.name} at {session.gateway}, {session.t:.2f} s"
        for client in history.clients
        for session in client.sessions[1:]
        if session.how != "resumed"
    ]


def check(history: History, *, full_max: int = 0) -> None:
    """What holds after whatever happened. `full_max`: clients whose gateway died after it had
    committed and before it answered hold a spent ticket; that many full handshakes are right."""
    assert not used_twice(history)
    refused = refusals(history)
    assert set(refused) <= {TicketReason.REUSED.value}, refused
    full = full_again(history)
    assert len(full) <= full_max, full
    assert rows(history)[-1].lost == 0
