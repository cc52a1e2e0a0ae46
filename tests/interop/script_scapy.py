"""Reads IKE messages with scapy's IKEv2 layers; run by the Python that has scapy, and without any
other code of ours.

Rules: each line of stdin is a JSON object: `where`, and in hexadecimal a `message`: a whole one in
clear, or the header of a sealed one followed by its inner payloads, with the first one's type in
the header. A message that scapy doesn't take apart to the last octet, or puts together otherwise
than it was, is a line on stdout: where, and why.
"""

import json
import sys

from scapy.contrib.ikev2 import IKEv2
from scapy.packet import Packet, Padding, Raw


def forget(packet: Packet) -> None:
    """Have every layer built from its fields, not from what was read."""
    packet.raw_packet_cache = None
    for field in packet.fields.values():
        for inner in field if isinstance(field, list) else (field,):
            if isinstance(inner, Packet):
                forget(inner)
    if isinstance(packet.payload, Packet) and packet.payload:
        forget(packet.payload)


def wrong(octets: bytes) -> str:
    """What scapy doesn't agree with; empty: nothing."""
    packet = IKEv2(octets)
    for kind in (Raw, Padding):
        if kind in packet:
            return f"left over: {bytes(packet[kind]).hex()} behind {packet.layers()}"
    forget(packet)
    if bytes(packet) != octets:
        return f"built again it is {bytes(packet).hex()} and not {octets.hex()}"
    return ""


def main() -> None:
    """Every line."""
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            why = wrong(bytes.fromhex(asked["message"]))
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            why = f"{type(error).__name__}: {error}"
        if why:
            print(f"{asked['where']}: {why}")


main()
