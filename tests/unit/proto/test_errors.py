"""What of a failure is told to the peer."""

import pytest

from proto.ike.enums import NotifyType
from proto.ike.errors import (
    Misuse,
    PeerError,
    TicketReason,
    TicketRejected,
    WireError,
    notify_for,
)


def test_a_peer_error_names_its_notify_and_data():
    error = PeerError(NotifyType.INVALID_KE_PAYLOAD, b"\x00\x1f", "group 14")
    assert notify_for(error) == (NotifyType.INVALID_KE_PAYLOAD, b"\x00\x1f")
    assert str(error) == "INVALID_KE_PAYLOAD: group 14"


@pytest.mark.parametrize("reason", TicketReason)
def test_every_ticket_refusal_looks_the_same_to_the_peer(reason):
    assert notify_for(TicketRejected(reason)) == (NotifyType.TICKET_NACK, b"")


@pytest.mark.parametrize("error", [WireError("x"), Misuse("x")])
def test_nothing_is_said_about_garbage_or_about_our_own_bugs(error):
    assert notify_for(error) is None
