"""When a client's SA is to go on between other addresses, and between which (RFC 4555 3.5, 3.10).

Rules: looked at with each question for life. Where the route to the gateway leaves from another
address of ours, the SA moves there. Where the gateway hasn't answered twice, its other addresses
are tried in turn: what is under way is repeated there, and the first answer settles it.
"""

from node.origins import Origins
from proto.ike.core import RetransmitPolicy, SaCore
from proto.ike.effects import Address, Now, Outcome, Path
from proto.ike.endpoint import Endpoint


class Mobility:
    """See the module."""

    def __init__(self, endpoint: Endpoint, origins: Origins, policy: RetransmitPolicy) -> None:
        self._endpoint = endpoint
        self._origins = origins
        self.patience_s = policy.initial_s * (1 + policy.factor)
        """So long after a question two of them are unanswered."""
        self._gateways: tuple[str, ...] = ()
        """The gateway's addresses, where it was reached first."""

    def look(self, spi: bytes, now: Now) -> Outcome | None:
        """Move the SA if our own address has changed."""
        found = self._mobile(spi)
        if found is None:
            return None
        core, path = found
        if path.remote[0] not in (*self._gateways, *core.peer_addresses):
            self._gateways = (path.remote[0],)
        return self._go(spi, path, path.remote, now)

    def doubt(self, spi: bytes, now: Now) -> Outcome | None:
        """The gateway doesn't answer: move the SA to the next of its addresses, if there are any,
        or from another one of ours.
        """
        found = self._mobile(spi)
        if found is None:
            return None
        core, path = found
        host, port = path.remote
        others = list(dict.fromkeys((*self._gateways, host, *core.peer_addresses)))
        first = others.index(host) + 1
        for other in (*others[first:], *others[:first]):
            outcome = self._go(spi, path, (other, port), now)
            if outcome is not None:
                return outcome
        return None

    def _mobile(self, spi: bytes) -> tuple[SaCore, Path] | None:
        core, progress = self._endpoint.find(spi), self._endpoint.progress(spi)
        if core is None or progress is None or not core.mobike:
            return None
        return core, progress.path

    def _go(self, spi: bytes, path: Path, remote: Address, now: Now) -> Outcome | None:
        """Move to `remote`, from where the route to it begins; None: that is where we are."""
        try:
            ours = (self._origins.nat(remote), self._origins.ike(remote))
        except OSError:
            return None  # no way there, for the moment
        local = next((o for o in ours if o is not None and o[1] == path.local[1]), None)
        if local is None or (local, remote) == (path.local, path.remote):
            return None
        return self._endpoint.move(spi, Path(local, remote), now)
