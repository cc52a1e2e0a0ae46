"""Stateless cookies: proof that the initiator receives at the address it sends from.

Rules: no state before a cookie comes back; any member of the cluster checks what another one made.
RFC 7296 2.6.
"""

import hashlib
import hmac
from typing import Protocol

from proto.secret import Secret

_TAG_LEN = 16
COOKIE_LEN = 1 + _TAG_LEN
_GENERATIONS = 256


class CookieSecrets(Protocol):
    """The cluster's cookie secrets, by generation 0 to 255."""

    def sealing(self, wall_s: float) -> tuple[int, Secret]:
        """The generation and the secret that new cookies are made with."""
        ...

    def opening(self, generation: int, wall_s: float) -> Secret | None:
        """The secret of a generation that is still good, else None."""
        ...


def make(secret: Secret, generation: int, ni: bytes, spi_i: bytes, address: str) -> bytes:
    """`generation 1 | HMAC-SHA-256 over SPIi 8, Ni with its length 2, address; first 16 octets`.

    `address` is the initiator's IP address in text form, without the port: a NAT may change that
    between two tries.
    """
    covered = spi_i + len(ni).to_bytes(2, "big") + ni + address.encode()
    mac = hmac.new(secret.octets, covered, hashlib.sha256)
    return bytes((generation % _GENERATIONS,)) + mac.digest()[:_TAG_LEN]


def verify(
    cookie: bytes, secrets: CookieSecrets, wall_s: float, ni: bytes, spi_i: bytes, address: str
) -> bool:
    """Whether `cookie` was made by this cluster, for this request, under a generation that is still
    good.
    """
    if len(cookie) != COOKIE_LEN:
        return False
    secret = secrets.opening(cookie[0], wall_s)
    if secret is None:
        return False
    return hmac.compare_digest(cookie, make(secret, cookie[0], ni, spi_i, address))
