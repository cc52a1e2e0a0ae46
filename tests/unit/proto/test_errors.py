"""An error is one line that a person can act on."""

import pytest

from proto.ike.enums import NotifyType
from proto.ike.errors import PeerError, TicketReason, TicketRejected


def test_a_peer_error_names_its_notify_and_data():
    error = PeerError(NotifyType.INVALID_KE_PAYLOAD, b"\x00\x1f", "group 14")
    assert (error.notify, error.data) == (NotifyType.INVALID_KE_PAYLOAD, b"\x00\x1f")
    assert str(error) == "INVALID_KE_PAYLOAD: group 14"
    assert str(PeerError(NotifyType.NO_ADDITIONAL_SAS)) == "NO_ADDITIONAL_SAS"


@pytest.mark.parametrize("reason", TicketReason)
def test_a_refused_ticket_names_its_reason(reason):
    assert str(TicketRejected(reason)) == f"ticket rejected: {reason.value}"
