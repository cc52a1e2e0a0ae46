"""What a gateway does as it loses the store, and what it remembers of it.

Rules: the file `pledges` in the data directory is replaced as a whole, and on the disk before a
pledge is given. A gateway that is alone in the cluster never gives up its shards: nobody could take
them. (Pledges: `cluster.failsafe`.)
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.standing import State

if TYPE_CHECKING:
    from node.wiring import Node


class FileBook:
    """Implements `cluster.failsafe.outage.PledgeBook` with a file."""

    def __init__(self, folder: Path) -> None:
        """`folder`: the data directory, which is there."""
        self._path = folder / "pledges"

    def read(self) -> bytes:
        """See `PledgeBook.read`. Raises OSError."""
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return b""

    def write(self, octets: bytes) -> None:
        """See `PledgeBook.write`. Raises OSError."""
        beside = self._path.with_name("pledges.new")
        with beside.open("wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class Standby:
    """Carries out the policies of a gateway without the store."""

    def __init__(self, node: "Node") -> None:
        """`node`: with its ownership and its outage built."""
        self._node = node
        node.membership.standing.on_changed.append(self._stands)
        node.outage.on_failsafe.append(self._failsafe)
        node.ownership.may_claim_from = node.outage.may_claim_from
        node.heartbeats.also = node.outage.pledgees
        node.outage.listen(node.dispatch)

    def _stands(self, state: State, why: str) -> None:
        node = self._node
        node.events.write("standing", state=state.value, why=why)
        alone = not any(name != node.config.member.name for name in node.membership.members)
        if state is not State.ISOLATED or alone or node.config.cluster.when_isolated != "stop":
            return
        given_up = node.ownership.surrender()
        if given_up:
            node.seams.log.error(
                "isolated: no store, and not every other gateway is heard; the shards are given "
                "up so that clients resume elsewhere",
                shards=given_up,
            )

    def _failsafe(self, begins: bool) -> None:
        log = self._node.seams.log
        if begins:
            log.warning(
                "failsafe: the store answers nobody, and all gateways have pledged to leave each "
                "other's shards alone; bring the store back",
                roster=self._node.outage.pledges.roster,
            )
        else:
            log.info("failsafe is over")
