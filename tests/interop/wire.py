"""Captured datagrams: read from a pcap file, and made readable for tshark where it lacks a cipher.

Rules: tshark 4.4 opens no ChaCha20-Poly1305, and it has one set of keys for an IKE SA. So messages
under that cipher, or under keys that an SA had for a while only (RFC 9370), are opened here and
sealed again with AES-GCM-256, whose keys, IVs and checks are of the same lengths; what they say
stays as it was. Nothing here knows our own codecs.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

PCAP_HEADER, RECORD_HEADER = 24, 16
ETHERNET, IPV4, IPV6, UDP = 14, 0x0800, 0x86DD, 17
NON_ESP_MARKER = bytes(4)
IKE_PORTS = (500, 4500)
IKE_HEADER, SK, SKF = 28, 46, 53
INITIATOR_FLAG = 0x08
CHACHA = "ENCR_CHACHA20_POLY1305"
GCM_256 = "AES-GCM-256 with 16 octet ICV [RFC5282]"
IV_OCTETS, TAG_OCTETS, SALT_OCTETS = 8, 16, 4


class IkeKeys(NamedTuple):
    """A row of our key log's `ikev2_decryption_table`."""

    spi_i: str
    spi_r: str
    ei: bytes
    er: bytes
    cipher: str
    ai: str
    ar: str
    integ: str

    def row(self) -> str:
        """As Wireshark reads it."""
        first = f"{self.spi_i},{self.spi_r},{self.ei.hex()},{self.er.hex()}"
        return f'{first},"{self.cipher}",{self.ai},{self.ar},"{self.integ}"\n'


def read_keys(files: list[Path]) -> dict[tuple[str, str], list[IkeKeys]]:
    """Every IKE SA's keys in the order in which it had them, by its SPIs."""
    found: dict[tuple[str, str], list[IkeKeys]] = {}
    for file in files:
        for line in file.read_text().splitlines() if file.exists() else ():
            cells = [cell.strip('"') for cell in line.removeprefix("# ").split(",")]
            spi_i, spi_r, ei, er, cipher, ai, ar, integ = cells
            keys = IkeKeys(
                spi_i, spi_r, bytes.fromhex(ei), bytes.fromhex(er), cipher, ai, ar, integ
            )
            known = found.setdefault((spi_i, spi_r), [])
            if keys not in known:
                known.append(keys)
    return found


def readable(capture: Path, keys: dict[tuple[str, str], list[IkeKeys]], target: Path) -> None:
    """Write `capture` to `target`, and the table that goes with it beside it."""
    octets = bytearray(capture.read_bytes())
    swapped = {
        spis: rows for spis, rows in keys.items() if len(rows) > 1 or rows[0].cipher == CHACHA
    }
    if swapped:
        for begin, end in ike_messages(bytes(octets)):
            message = bytes(octets[begin:end])
            rows = swapped.get((message[:8].hex(), message[8:16].hex()))
            if rows is not None and message[16] in (SK, SKF):
                octets[begin:end] = sealed_again(message, rows)
    target.write_bytes(octets)
    lines = [
        rows[0]._replace(cipher=GCM_256).row() if spis in swapped else rows[0].row()
        for spis, rows in keys.items()
    ]
    target.with_name("ikev2_decryption_table").write_text("".join(lines))


def sealed_again(message: bytes, rows: list[IkeKeys]) -> bytes:
    """The message under the first row's keys and AES-GCM; as it was if no row opens it."""
    head = IKE_HEADER + (4 if message[16] == SK else 8)
    iv, body = message[head : head + IV_OCTETS], message[head + IV_OCTETS :]
    from_initiator = bool(message[19] & INITIATOR_FLAG)
    first = rows[0].ei if from_initiator else rows[0].er
    for row in rows:
        key = row.ei if from_initiator else row.er
        cipher = ChaCha20Poly1305 if row.cipher == CHACHA else AESGCM
        try:
            plain = cipher(key[:-SALT_OCTETS]).decrypt(
                key[-SALT_OCTETS:] + iv, body, message[:head]
            )
        except InvalidTag:
            continue
        again = AESGCM(first[:-SALT_OCTETS])
        return message[: head + IV_OCTETS] + again.encrypt(
            first[-SALT_OCTETS:] + iv, plain, message[:head]
        )
    return message


def ike_messages(pcap: bytes) -> Iterator[tuple[int, int]]:
    """Where each IKE message in a capture begins and ends."""
    at = PCAP_HEADER
    while at + RECORD_HEADER <= len(pcap):
        (length,) = struct.unpack_from("=I", pcap, at + 8)
        at += RECORD_HEADER
        found = _ike_in(pcap, at)
        if found is not None:
            yield (
                found,
                min(at + length, found + int.from_bytes(pcap[found + 24 : found + 28], "big")),
            )
        at += length


def _ike_in(pcap: bytes, at: int) -> int | None:
    """Where the IKE message of the frame at `at` begins; None: it holds none."""
    kind = int.from_bytes(pcap[at + 12 : at + 14], "big")
    ip = at + ETHERNET
    if kind == IPV4 and pcap[ip + 9] == UDP:
        udp = ip + 4 * (pcap[ip] & 0x0F)
    elif kind == IPV6 and pcap[ip + 6] == UDP:
        udp = ip + 40
    else:
        return None
    source, target = struct.unpack_from(">HH", pcap, udp)
    inside = udp + 8
    if 4500 in (source, target) and pcap[inside : inside + 4] == NON_ESP_MARKER:
        return inside + 4
    return inside if 500 in (source, target) else None
