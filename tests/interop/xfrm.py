"""The ESP SAs that a daemon asked the kernel for, as the preload (fake_xfrm.c) wrote them down.

Rules: the octets are netlink's on this machine: struct nlmsghdr, xfrm_usersa_info, then attributes
of four-octet alignment (linux/xfrm.h).
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

NEWSA, UPDSA = 16, 26
HEADER_OCTETS, INFO_OCTETS = 16, 224
DESTINATION_AT, SPI_AT = 56, 72
"""Of xfrm_usersa_info: the selector's 56 octets come first."""
ALG_AUTH, ALG_CRYPT, ALG_AEAD, ALG_AUTH_TRUNC = 1, 2, 18, 20
NAME_OCTETS = 64


class EspKeys(NamedTuple):
    """One direction of a Child SA: the receiver's SPI and its keys, all in hexadecimal."""

    spi: str
    encr: str
    integ: str


def esp_keys(log: Path) -> dict[str, EspKeys]:
    """Every ESP SA with keys in the log, by SPI in hexadecimal."""
    found: dict[str, EspKeys] = {}
    for line in log.read_text().splitlines() if log.exists() else ():
        kind, octets = line.split()
        if int(kind) in (NEWSA, UPDSA):
            message = bytes.fromhex(octets)
            # pluto tries at its start what the kernel can, with SAs to nowhere
            if any(message[HEADER_OCTETS + DESTINATION_AT :][:16]):
                keys = _keys(message)
                found |= {keys.spi: keys} if keys.encr or keys.integ else {}
    return found


def _keys(message: bytes) -> EspKeys:
    info = message[HEADER_OCTETS : HEADER_OCTETS + INFO_OCTETS]
    encr = integ = ""
    for kind, value in _attributes(message[HEADER_OCTETS + INFO_OCTETS :]):
        (bits,) = struct.unpack_from("=I", value, NAME_OCTETS) if kind in KEY_AT else (0,)
        if kind in KEY_AT:
            at = KEY_AT[kind]
            key = value[at : at + bits // 8].hex()
            encr, integ = (key, integ) if kind in (ALG_CRYPT, ALG_AEAD) else (encr, key)
    return EspKeys(info[SPI_AT : SPI_AT + 4].hex(), encr, integ)


KEY_AT = {
    ALG_CRYPT: NAME_OCTETS + 4,
    ALG_AUTH: NAME_OCTETS + 4,
    ALG_AEAD: NAME_OCTETS + 8,
    ALG_AUTH_TRUNC: NAME_OCTETS + 8,
}


def _attributes(octets: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(octets):
        length, kind = struct.unpack_from("=HH", octets, at)
        if length < 4:
            return
        yield kind, octets[at + 4 : at + length]
        at += (length + 3) & ~3
