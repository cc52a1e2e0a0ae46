"""The one codec of frames between members: what `cluster.link` names, as octets and back.

Rules: msgpack, tagged by `kind`; unknown fields are ignored, unknown kinds are None.
"""

import msgspec

from cluster.errors import UNREADABLE
from cluster.link import Frame

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
    return frame
