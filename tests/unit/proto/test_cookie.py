"""Cookies: made by one member, checked by another, bound to what the request says."""

import pytest

from proto.ike import cookie
from proto.secret import Secret

NI, SPI, ADDRESS = b"n" * 32, b"s" * 8, "192.0.2.7"


class Secrets:
    """Two generations: 7 makes cookies, 6 still opens until second 100."""

    def __init__(self, salt: bytes = b"") -> None:
        self.salt = salt

    def sealing(self, wall_s: float) -> tuple[int, Secret]:
        return 7, Secret(b"seven" + self.salt)

    def opening(self, generation: int, wall_s: float) -> Secret | None:
        if generation == 7:
            return Secret(b"seven" + self.salt)
        if generation == 6 and wall_s < 100:
            return Secret(b"six" + self.salt)
        return None


def made(secrets: Secrets) -> bytes:
    """A cookie of the newest generation."""
    generation, secret = secrets.sealing(0)
    return cookie.make(secret, generation, NI, SPI, ADDRESS)


def test_b13_another_member_with_the_same_secrets_takes_it():
    brought = made(Secrets())
    assert 1 <= len(brought) <= 64
    assert brought[0] == 7
    assert cookie.verify(brought, Secrets(), 0, NI, SPI, ADDRESS)
    assert not cookie.verify(brought, Secrets(b"another cluster"), 0, NI, SPI, ADDRESS)


def test_an_older_generation_opens_until_its_end():
    brought = cookie.make(Secret(b"six"), 6, NI, SPI, ADDRESS)
    assert cookie.verify(brought, Secrets(), 99, NI, SPI, ADDRESS)
    assert not cookie.verify(brought, Secrets(), 100, NI, SPI, ADDRESS)
    assert not cookie.verify(b"\x05" + brought[1:], Secrets(), 0, NI, SPI, ADDRESS)


@pytest.mark.parametrize(
    "request_",
    [(NI + b"x", SPI, ADDRESS), (NI, b"t" * 8, ADDRESS), (NI, SPI, "192.0.2.70"), (NI, SPI, "")],
)
def test_b13_it_is_bound_to_nonce_spi_and_address(request_):
    assert not cookie.verify(made(Secrets()), Secrets(), 0, *request_)


def test_octets_can_not_move_between_nonce_and_address():
    brought = cookie.make(Secret(b"seven"), 7, NI + b"1", SPI, "92.0.2.7")
    assert cookie.verify(brought, Secrets(), 0, NI + b"1", SPI, "92.0.2.7")
    assert not cookie.verify(brought, Secrets(), 0, NI, SPI, "192.0.2.7")


def test_no_flipped_bit_and_no_other_length_passes():
    brought = made(Secrets())
    for bit in range(8 * len(brought)):
        flipped = bytearray(brought)
        flipped[bit // 8] ^= 1 << bit % 8
        assert not cookie.verify(bytes(flipped), Secrets(), 0, NI, SPI, ADDRESS)
    for end in range(len(brought)):
        assert not cookie.verify(brought[:end], Secrets(), 0, NI, SPI, ADDRESS)
    assert not cookie.verify(brought + b"\0", Secrets(), 0, NI, SPI, ADDRESS)
