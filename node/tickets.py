"""The client's ticket on disk: one file of mode 0600, replaced whole (RFC 5723 6.2, 9.7).

Rules: a ticket that can't be read is no ticket: the client then makes a full handshake. The file is
written beside, flushed, and renamed over, so that a crash leaves the old one or the new one.
"""

import os
from pathlib import Path

from proto.ike.errors import TicketRejected
from proto.ike.ticket import ClientTicket


class TicketFile:
    """Implements `node.session.Tickets`."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def load(self) -> ClientTicket | None:
        """The stored ticket, or None."""
        try:
            return ClientTicket.decode(self._path.read_bytes())
        except (OSError, TicketRejected):
            return None

    def save(self, ticket: ClientTicket) -> None:
        """Replace the stored ticket. Raises OSError when the disk doesn't take it."""
        beside = self._path.with_name(self._path.name + ".new")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(ticket.encode())
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)

    def drop(self) -> None:
        """Remove it; gone already is no error. Raises OSError when the disk doesn't let it go."""
        self._path.unlink(missing_ok=True)
