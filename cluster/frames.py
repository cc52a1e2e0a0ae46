"""The one codec of frames between members: what `cluster.link` names, as octets and back.

Rules: msgpack, tagged by `kind`; unknown fields are ignored, unknown kinds are None. Addresses of a
datagram are addresses: whoever gets it computes with them, and a socket looks no name up.
"""

import ipaddress
from functools import lru_cache

import msgspec

from cluster.errors import UNREADABLE
from cluster.link import Forward, Frame, Return

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Frame)


def encode_frame(frame: Frame) -> bytes:
    """The octets of `frame`."""
    return _ENCODER.encode(frame)


def decode_frame(octets: bytes) -> Frame | None:
    """The frame in `octets`; None where it is none, or of a kind that a later release added."""
    try:
        frame: Frame = _DECODER.decode(octets)
    except UNREADABLE:
        return None
    if isinstance(frame, Forward | Return):
        return frame if _is_host(frame.local[0]) and _is_host(frame.remote[0]) else None
    return frame


@lru_cache(maxsize=4096)
def _is_host(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
