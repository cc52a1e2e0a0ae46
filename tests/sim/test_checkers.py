"""Each checker finds what it is there to find, and nothing in what is allowed."""

import hashlib

import pytest

from proto.ike.effects import Path
from proto.ike.enums import FLAG_INITIATOR, FLAG_RESPONSE, ExchangeType, PayloadType
from tests.sim.checkers import TicketChecker, WireChecker

GW1 = Path(("192.0.2.1", 500), ("198.51.100.1", 500))
GW2 = Path(("192.0.2.2", 500), ("198.51.100.1", 500))


def _message(
    iv: int,
    body: bytes = b"",
    *,
    exchange: int = ExchangeType.INFORMATIONAL,
    flags: int = FLAG_RESPONSE,
    message_id: int = 2,
) -> bytes:
    """A message with an SK payload: header, generic header, IV, body."""
    rest = bytes([0, 0]) + (12 + len(body)).to_bytes(2, "big") + iv.to_bytes(8, "big") + body
    head = b"initiatr" + b"respondr" + bytes([PayloadType.SK, 0x20, exchange, flags])
    return head + message_id.to_bytes(4, "big") + (28 + len(rest)).to_bytes(4, "big") + rest


def _findings(*sent: tuple[bytes, Path]) -> list[str]:
    checker = WireChecker()
    for data, path in sent:
        checker.see(data, path)
    return checker.findings


def test_a_repetition_of_the_same_octets_is_fine():
    assert _findings((_message(1), GW1), (_message(1), GW1)) == []


def test_two_answers_under_one_message_id_are_found():
    (finding,) = _findings((_message(1, b"yes"), GW1), (_message(2, b"no"), GW2))
    assert finding.startswith("I3, promise 5: two messages under one message ID")
    assert "message ID 2, from 192.0.2.2" in finding


@pytest.mark.parametrize(
    ("body", "exchange", "fence", "found"),
    [
        (b"no!", ExchangeType.INFORMATIONAL, 2, 0),
        (b"no!", ExchangeType.INFORMATIONAL, 1, 1),
        (b"longer", ExchangeType.INFORMATIONAL, 2, 0),
        (b"no!", ExchangeType.CREATE_CHILD_SA, 2, 1),
    ],
    ids=["an adopter", "the same owner", "another length", "an exchange with effects"],
)
def test_who_may_answer_an_informational_request_twice(
    body: bytes, exchange: int, fence: int, found: int
):
    first = _message((1 << 40) | 7, b"yes", exchange=exchange)
    second = _message((fence << 40) | 8, body, exchange=exchange)
    assert len(_findings((first, GW1), (second, GW2))) == found


def _adopted(iv: int) -> bytes:
    """The same answer as `_message(iv)`, longer, under the next fence."""
    return _message((1 << 40) + iv, b"yes, and more")


def test_an_adopter_may_answer_once_more_what_had_no_effect():
    first, again = (_message(1, b"yes"), GW1), (_adopted(1), GW2)
    assert _findings(first, again, again) == []
    (finding,) = _findings(first, again, (_adopted(2), GW2))
    assert finding.startswith("I3, promise 5: two")


def test_an_adopter_that_answers_otherwise_what_a_record_held_is_found():
    held = hashlib.sha256(_message(1, b"yes")).digest()
    checker = WireChecker(durable=lambda digest: digest == held)
    checker.see(_message(1, b"yes"), GW1)
    checker.see(_adopted(1), GW2)
    (finding,) = checker.findings
    assert finding.startswith("I3, promise 5: two")


def test_who_was_replaced_may_answer_late_what_has_no_effect():
    held = hashlib.sha256(_adopted(1)).digest()
    checker = WireChecker(durable=lambda digest: digest == held)
    checker.see(_adopted(1), GW2)
    checker.see(_message(1, b"yes"), GW1)
    checker.see(_adopted(1), GW2)
    assert checker.findings == []
    checker.see(_message(2, b"no"), GW1)
    assert len(checker.findings) == 1


def test_one_iv_for_two_messages_is_found_across_gateways():
    (finding,) = _findings(
        (_message(1, b"yes", message_id=2), GW1), (_message(1, b"no", message_id=3), GW2)
    )
    assert finding.startswith("I4, promise 5: one IV for two messages")


@pytest.mark.parametrize("other", [FLAG_INITIATOR, FLAG_INITIATOR | FLAG_RESPONSE])
def test_the_two_directions_have_keys_and_numbers_of_their_own(other: int):
    assert _findings((_message(1, b"a"), GW1), (_message(1, b"b", flags=other), GW1)) == []


@pytest.mark.parametrize("exchange", [ExchangeType.IKE_SA_INIT, ExchangeType.IKE_SESSION_RESUME])
def test_exchanges_without_state_may_be_answered_twice(exchange: int):
    first = _message(1, b"a", exchange=exchange, message_id=0)
    second = _message(2, b"b", exchange=exchange, message_id=0)
    assert _findings((first, GW1), (second, GW2)) == []


def test_an_unprotected_refusal_is_no_sas_word():
    clear = bytearray(_message(2, b"no"))
    clear[16] = PayloadType.NOTIFY
    assert _findings((_message(1, b"yes"), GW1), (bytes(clear), GW2)) == []


def test_one_ticket_that_gave_two_sas_is_found():
    checker = TicketChecker()
    checker.established("gw1", bytes(16), 2, b"spi one!")
    checker.established("gw1", bytes(16), 2, b"spi one!")
    checker.established("gw2", bytes(16), 3, b"spi two!")
    assert checker.findings == []
    checker.established("gw3", bytes(16), 3, b"spi six!")
    assert len(checker.findings) == 1
