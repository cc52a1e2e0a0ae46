"""What `status` says is done without the store, or waits for somebody: a line for each.

Rules: from what is at hand, without the store. Who has to do something is named first.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cluster.failsafe.flush import Flush
from cluster.failsafe.gate import Gate
from cluster.layout import FLUSHING
from node.admin_view import StoreConditionInfo
from node.since import Since

if TYPE_CHECKING:
    from node.wiring import Node


NOTHING_BEGINS = "no session begins and no ticket is taken"
"""Nothing may be answered that no other host keeps (`cluster.failsafe.gate`)."""


class OutageLines:
    """See the module."""

    def __init__(self, node: "Node", gate: Gate, flush: Flush) -> None:
        """`node`: with its outage built, at whose looks is noted what begins and ends."""
        self._node = node
        self._gate = gate
        self._flush = flush
        self._since = Since(node.seams.clock)
        node.outage.on_look.append(self._note)

    def infos(self) -> tuple[StoreConditionInfo, ...]:
        """The lines that hold now."""
        self._note()
        told = {
            "failsafe": self._failsafe,
            "flushing": self._flushing,
            "pledged": self._pledged,
            "one-host": self._one_host,
        }
        return tuple(
            StoreConditionInfo(name, *told[name](), for_s) for name, for_s in self._since.items()
        )

    def _note(self) -> None:
        self._since.note(self._holding())

    def _holding(self) -> Iterator[str]:
        node = self._node
        flushing = node.state.state.mode == FLUSHING
        if node.outage.failsafe:
            yield "failsafe"
        if flushing:
            yield "flushing"
        if not flushing and node.outage.store_answers() and self._unheard():
            yield "pledged"
        members = node.membership.members
        if len(members) > 1 and len({record.host for record in members.values()}) == 1:
            yield "one-host"

    def _one_host(self) -> tuple[str, str]:
        node = self._node
        detail = f"all gateways are on one host by their settings: {node.config.member.host}; "
        fix = "set member.host at each gateway to the name of its machine"
        return f"{detail}without etcd {NOTHING_BEGINS}", fix

    def _unheard(self) -> list[str]:
        """To whom this member has pledged, and who isn't heard: who is takes it back by itself."""
        outage = self._node.outage
        lives = {name: given.incarnation for name, given in outage.given.items()}
        return sorted(name for name, life in lives.items() if not outage.hears(name, life))

    def _pledged(self) -> tuple[str, str]:
        fix = "start what isn't heard; one that won't come back: member write-off"
        return f"pledged to {', '.join(self._unheard())}, not heard now", fix

    def _failsafe(self) -> tuple[str, str]:
        node = self._node
        detail = f"{self._flush.unwritten} sessions to be written"
        if lost := self._gate.lost():
            detail += f"; not heard, or with a full disk: {', '.join(lost)}"
        why = node.outage.unwritable if self._gate.full else ""
        if why:
            detail += f"; the file `pledges` can't be written ({why}): {NOTHING_BEGINS} here"
        elif self._gate.open and not self._gate.can_answer():
            detail += f"; no gateway on another host (member.host) is heard: {NOTHING_BEGINS}"
        if why:
            fix = "make room in the data directory; then bring etcd back"
        elif node.way.guard.rewound:
            fix = "see what is said of the data in etcd; sessions go on meanwhile"
        elif node.outage.store_answers():
            fix = "nothing: etcd is back, and this ends once every gateway has written (`flushing`)"
        else:
            fix = "bring etcd back; sessions go on meanwhile"
        return detail, fix

    def _flushing(self) -> tuple[str, str]:
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
        return detail, fix
