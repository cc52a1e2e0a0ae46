"""A rekey of the IKE SA and tickets by reference: the old one is void, the new one kept in time."""

import pytest

from proto.ike.core import replace
from proto.ike.effects import PersistKind
from proto.ike.errors import TicketReason
from proto.ike.reference import is_reference
from proto.ike.ticket import TicketForm
from tests.pair.craft import assert_nacked, show
from tests.pair.parts import SECOND_GATEWAY
from tests.pair.rekeys import agree, up
from tests.pair.states import QUIET

BY_REFERENCE = replace(QUIET, ticket_form=TicketForm.BY_REFERENCE)


@pytest.mark.parametrize("by_client", [True, False], ids=["client", "gateway"])
def test_after_a_rekey_the_new_reference_works_and_the_old_one_is_refused(by_client: bool) -> None:
    at = up(by_client, BY_REFERENCE)  # R56
    pair, old = at.pair, at.pair.ticket()
    at.rekey_ike()
    pair.run(60)
    agree(at)
    assert PersistKind.REKEY in [write.kind for write in pair.chains.writes]
    assert_nacked(pair, show(pair, old.ticket), TicketReason.REUSED)
    new = pair.ticket()
    assert is_reference(new.ticket)
    assert new != old
    second = pair.add_gateway("second", SECOND_GATEWAY)
    pair.agree(pair.resume(SECOND_GATEWAY), second)


@pytest.mark.parametrize("rekey_first", [True, False])
def test_of_a_rekey_and_a_resumption_by_reference_one_wins_and_its_ticket_works(
    rekey_first: bool,
) -> None:
    at = up(True, BY_REFERENCE)  # promise 3
    pair = at.pair
    second, ticket = pair.add_gateway("second", SECOND_GATEWAY), pair.ticket()
    pair.hold_writes = True
    at.rekey_ike()
    pair.start_resume(SECOND_GATEWAY, ticket=ticket)
    pair.run()
    assert [side.name for side, _ in pair.held] == ["gateway", "second"]
    if not rekey_first:
        pair.held.reverse()
    pair.release()
    pair.run(5)
    assert len(pair.chains.records) == 1
    (chain,) = pair.chains.version
    assert pair.chains.version[chain] == 2
    winner = pair.gateway if rekey_first else second
    assert [core.generation for core in winner.live()] == [2]
    pair.agree(pair.resume(SECOND_GATEWAY), second)
    assert len(pair.chains.records) == 1
