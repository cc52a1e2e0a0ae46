"""NAT detection: is somebody on the way changing addresses, and at whose end (RFC 7296 2.23).

Rules: what is found in the first exchange, which nothing protects, holds for the IKE SA and its
successors; a resumption finds it anew (RFC 5723 5). A peer that shows nothing gets nothing shown.
The hashes are compared as they are: they hold no secret. Datagrams of one octet 0xFF keep the
mapping of a NAT (RFC 3948 2.3); whoever is behind it sends them.
"""

import hashlib
import ipaddress
from functools import lru_cache

from proto.ike.effects import Address, Path
from proto.ike.enums import NotifyType
from proto.ike.message import Message
from proto.ike.payloads import NotifyPayload

_SOURCE = NotifyType.NAT_DETECTION_SOURCE_IP
_DESTINATION = NotifyType.NAT_DETECTION_DESTINATION_IP

SHOWN = 1
"""Both sides have shown NAT_DETECTION notifies: NAT traversal is supported."""
HERE = 2
"""We are behind a NAT."""
THERE = 4
"""The peer is."""
PRETENDED = 8
"""We have the peer believe that we are, so that ESP is encapsulated in any case."""
BETWEEN = HERE | THERE | PRETENDED
"""Any of them: ESP is encapsulated in UDP."""

KEEPALIVE = b"\xff"
"""The whole of a NAT-keepalive datagram."""
_NOWHERE: Address = ("0.0.0.0", 0)  # noqa: S104  an address that no datagram comes from
SOURCES_MAX = 8
"""NAT_DETECTION_SOURCE_IP notifies that are looked at: one per network that a peer is in."""


@lru_cache(maxsize=4096)
def _packed(address: Address) -> bytes:
    return ipaddress.ip_address(address[0]).packed + address[1].to_bytes(2, "big")


def digest(spi_i: bytes, spi_r: bytes, address: Address) -> bytes:
    """SHA-1 over `SPIi 8 | SPIr 8 | IP address 4 or 16 | port 2`."""
    octets = spi_i + spi_r + _packed(address)
    return hashlib.sha1(octets, usedforsecurity=False).digest()


def shown(spi_i: bytes, spi_r: bytes, path: Path, pretend: bool) -> tuple[NotifyPayload, ...]:
    """The two notifies of a message that leaves on `path`. `pretend`: with a source that can't be
    right (PRETENDED).
    """
    source = _NOWHERE if pretend else path.local
    return (
        NotifyPayload(_SOURCE, digest(spi_i, spi_r, source)),
        NotifyPayload(_DESTINATION, digest(spi_i, spi_r, path.remote)),
    )


def found(message: Message, path: Path, pretend: bool) -> int:
    """What the notifies of a message that came on `path` tell, as a sum of the flags above; 0
    without them. `pretend`: see `shown`.
    """
    sources, destination = [], None
    for payload in message.payloads:
        if payload.__class__ is NotifyPayload:
            if payload.type == _SOURCE:
                sources.append(payload.data)
            elif payload.type == _DESTINATION:
                destination = payload.data
    if destination is None or not sources:
        return 0
    spi_i, spi_r = message.header.spi_i, message.header.spi_r
    between = SHOWN | PRETENDED if pretend else SHOWN
    if destination != digest(spi_i, spi_r, path.local):
        between |= HERE
    if digest(spi_i, spi_r, path.remote) not in sources[:SOURCES_MAX]:
        between |= THERE
    return between
