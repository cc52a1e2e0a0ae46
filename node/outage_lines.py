"""What `status` says is done without the store, or waits for somebody: a line for each.

Rules: from what is at hand, without the store. Who has to do something is named first.
"""

from typing import TYPE_CHECKING

from cluster.failsafe.flush import Flush
from cluster.failsafe.gate import Gate
from cluster.layout import FLUSHING
from node.admin_view import StoreConditionInfo

if TYPE_CHECKING:
    from node.wiring import Node


class OutageLines:
    """See the module."""

    def __init__(self, node: "Node", gate: Gate, flush: Flush) -> None:
        """`node`: with its outage built."""
        self._node = node
        self._gate = gate
        self._flush = flush

    def infos(self) -> tuple[StoreConditionInfo, ...]:
        """The lines that hold now."""
        node, found = self._node, []
        now_s, state, given = node.seams.clock.boot_s(), node.state.state, node.outage.given
        since_s = now_s - node.membership.standing.since_boot_s
        if node.outage.failsafe:
            found.append(self._failsafe(since_s))
        if state.mode == FLUSHING:
            found.append(self._flushing(since_s))
        elif given and node.outage.store_answers():
            fix = "start them; one that won't come back: member write-off"
            detail = f"pledged to {', '.join(sorted(given))}, which is not heard"
            found.append(StoreConditionInfo("pledged", detail, fix, since_s))
        return tuple(found)

    def _failsafe(self, since_s: float) -> StoreConditionInfo:
        node = self._node
        detail = f"{self._flush.unwritten} sessions to be written"
        if lost := self._gate.lost():
            detail += f"; not heard: {', '.join(lost)}"
        if node.way.guard.rewound:
            fix = "see what is said of the data in etcd; sessions go on meanwhile"
        elif node.outage.store_answers():
            fix = "nothing: etcd is back, and this ends once every gateway has written (`flushing`)"
        else:
            fix = "bring etcd back; sessions go on meanwhile"
        return StoreConditionInfo("failsafe", detail, fix, since_s)

    def _flushing(self, since_s: float) -> StoreConditionInfo:
        node = self._node
        waited_for = self._flush.waited_for(node.state.state)
        missing = [name for name in waited_for if name not in node.membership.members]
        there = ", ".join(name for name in waited_for if name not in missing)
        if missing:
            detail = f"waits for {', '.join(missing)}, not in the cluster now"
            detail += f"; {there}: will write then" if there else ""
            fix = "start what is waited for; one that won't come back: member write-off"
        else:
            detail = f"{there or 'nobody'} has yet to write what was done without etcd"
            fix = "nothing, it takes a moment; if it stays, see the logs of those"
        return StoreConditionInfo("flushing", detail, fix, since_s)
