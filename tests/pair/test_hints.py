"""What belongs to no SA: a hint at most, and not too often (RFC 7296 1.5, 2.21.4)."""

from proto.ike.effects import Outcome, Path
from proto.ike.enums import FLAG_INITIATOR, FLAG_RESPONSE, ExchangeType, NotifyType
from proto.ike.events import Dropped
from proto.ike.hints import A_SECOND, AT_ONCE
from proto.ike.message import decode_clear, encode_clear
from proto.ike.payloads import NotifyPayload
from tests.pair.pair import Pair
from tests.pair.parts import CLIENT

LOST_I, LOST_R = b"initiatr", b"respondr"
WAY = (CLIENT[0], 4321)


def stray(flags: int = FLAG_INITIATOR, exchange: int = ExchangeType.INFORMATIONAL) -> bytes:
    """A message of an SA that nobody has."""
    return encode_clear(LOST_I, LOST_R, exchange, flags, 7, ())


def hinted(pair: Pair, data: bytes) -> Outcome:
    """What is said to it, once it is known that nobody has the SA."""
    path = Path(pair.gateway.address, WAY)
    ignored = pair.gateway.endpoint.receive(data, path, pair.now)
    assert ignored.events == (Dropped(b"", "unknown_spi"),)
    assert ignored.send == ()
    return pair.gateway.endpoint.unknown(data, path, pair.now)


def test_b34_a_request_of_an_unknown_sa_gets_invalid_ike_spi_with_what_it_had() -> None:
    for flags, back in (
        (FLAG_INITIATOR, FLAG_RESPONSE),
        (0, FLAG_RESPONSE | FLAG_INITIATOR),
    ):
        (datagram,) = hinted(Pair(), stray(flags)).send
        message = decode_clear(datagram.data)
        head = message.header
        assert message.payloads == (NotifyPayload(NotifyType.INVALID_IKE_SPI),)
        assert (head.spi_i, head.spi_r, head.message_id) == (LOST_I, LOST_R, 7)
        assert (head.exchange, head.flags) == (ExchangeType.INFORMATIONAL, back)
        assert datagram.path.remote == WAY


def test_b34_a_response_gets_nothing_so_that_two_never_talk_for_ever() -> None:
    pair = Pair()
    assert hinted(pair, stray(FLAG_RESPONSE)).send == ()
    (datagram,) = hinted(pair, stray()).send
    assert pair.inject(pair.client, datagram.data).send == ()


def test_b34_hints_are_few() -> None:
    pair = Pair()
    said = sum(len(hinted(pair, stray()).send) for _ in range(200))
    assert said == AT_ONCE
    pair.boot_s += 1.0
    assert sum(len(hinted(pair, stray()).send) for _ in range(200)) == A_SECOND
    higher = bytearray(stray())
    higher[17] = 0x30
    assert pair.inject(pair.gateway, bytes(higher)).send == ()


def test_b34_nobody_believes_a_hint() -> None:
    pair = Pair()
    spi = pair.connect()
    core = pair.client.core(spi)
    pair.deliver = lambda side, datagram: ()
    pair.carry_out(pair.client, pair.client.endpoint.probe(spi, pair.now))
    told = (NotifyPayload(NotifyType.INVALID_IKE_SPI),)
    forged = encode_clear(
        core.spi_i, core.spi_r, ExchangeType.INFORMATIONAL, FLAG_RESPONSE, 2, told
    )
    pair.inject(pair.client, forged)
    pair.deliver = lambda side, datagram: (0.0,)
    pair.run(3)
    pair.agree(spi)


def test_b34_an_esp_spi_that_is_nobodys_is_told_in_a_message_of_its_own() -> None:
    pair = Pair()
    path = Path(pair.gateway.address, WAY)
    (datagram,) = pair.gateway.endpoint.hints.unknown_esp(b"\x01\x02\x03\x04", path, pair.now).send
    message = decode_clear_of_no_sa(datagram.data)
    assert message == (ExchangeType.INFORMATIONAL, FLAG_INITIATOR, 0)
    assert datagram.data[28:] == bytes((0, 0, 0, 12, 0, 0, 0, 11, 1, 2, 3, 4))
    # nobody answers it: it names no SA
    assert pair.inject(pair.client, datagram.data).send == ()


def decode_clear_of_no_sa(data: bytes) -> tuple[int, int, int]:
    """(exchange, flags, message ID) of a message whose SPIs are zero."""
    assert data[:16] == bytes(16)
    return data[18], data[19], int.from_bytes(data[20:24], "big")
