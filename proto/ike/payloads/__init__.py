"""Every payload of RFC 7296 as a value, and chains of them as octets.

Rules: decoding fails with WireError alone; a payload type that isn't known keeps its octets and its
critical bit; RESERVED is sent as zero and ignored. The encrypted payloads (SK, SKF) aren't part of
a chain: `proto.ike.message` and `proto.ike.fragment` open them.
"""

import struct
from collections.abc import Callable, Sequence

from proto.ike.enums import PayloadType
from proto.ike.errors import TooLong, WireError
from proto.ike.payloads.basic import (
    NONCE_MAX,
    NONCE_MIN,
    AuthPayload,
    CertPayload,
    CertreqPayload,
    DeletePayload,
    EapPayload,
    IdPayload,
    KePayload,
    NoncePayload,
    NotifyPayload,
    UnknownPayload,
    VendorIdPayload,
)
from proto.ike.payloads.body import CRITICAL
from proto.ike.payloads.lists import CpPayload, TrafficSelector, TsPayload
from proto.ike.payloads.sa import Proposal, SaPayload, Transform

__all__ = [
    "MAX_PAYLOADS",
    "NONCE_MAX",
    "NONCE_MIN",
    "AuthPayload",
    "CertPayload",
    "CertreqPayload",
    "CpPayload",
    "DeletePayload",
    "EapPayload",
    "IdPayload",
    "KePayload",
    "NoncePayload",
    "NotifyPayload",
    "Payload",
    "Proposal",
    "SaPayload",
    "TrafficSelector",
    "Transform",
    "TsPayload",
    "UnknownPayload",
    "VendorIdPayload",
    "decode_chain",
    "encode_chain",
]

Payload = (
    SaPayload
    | KePayload
    | IdPayload
    | CertPayload
    | CertreqPayload
    | AuthPayload
    | NoncePayload
    | NotifyPayload
    | DeletePayload
    | VendorIdPayload
    | TsPayload
    | CpPayload
    | EapPayload
    | UnknownPayload
)

MAX_PAYLOADS = 128
"""More in one message is refused: a datagram of four-octet payloads would otherwise buy much work.
"""

_AT_MOST = range(MAX_PAYLOADS)
_GENERIC = struct.Struct(">BBH")
_read, _write = _GENERIC.unpack_from, _GENERIC.pack

_DECODERS: dict[int, Callable[[bytes], Payload]] = {
    PayloadType.SA: SaPayload.decode,
    PayloadType.KE: KePayload.decode,
    PayloadType.IDi: IdPayload.decode_initiator,
    PayloadType.IDr: IdPayload.decode_responder,
    PayloadType.CERT: CertPayload.decode,
    PayloadType.CERTREQ: CertreqPayload.decode,
    PayloadType.AUTH: AuthPayload.decode,
    PayloadType.NONCE: NoncePayload.decode,
    PayloadType.NOTIFY: NotifyPayload.decode,
    PayloadType.DELETE: DeletePayload.decode,
    PayloadType.VENDOR_ID: VendorIdPayload.decode,
    PayloadType.TSi: TsPayload.decode_initiator,
    PayloadType.TSr: TsPayload.decode_responder,
    PayloadType.CP: CpPayload.decode,
    PayloadType.EAP: EapPayload.decode,
}

_decoder = _DECODERS.get
_ENCRYPTED = (PayloadType.SK, PayloadType.SKF)


def decode_chain(first: int, data: bytes) -> tuple[Payload, ...]:
    """The payloads in `data`, of which the first has type `first` (RFC 7296 3.2).

    ```
    | next payload | C 0:7 | length 2, these four included | body … |
    ```

    Raises WireError: truncated, trailing octets, an encrypted payload, more than MAX_PAYLOADS.
    """
    end = len(data)
    at = 0
    kind = first
    payloads: list[Payload] = []
    for _ in _AT_MOST:
        if not kind:
            break
        try:
            following, flags, length = _read(data, at)
        except struct.error:
            raise WireError("truncated payload header") from None
        if length < 4:
            raise WireError(f"payload length {length} out of bounds")
        body = data[at + 4 : at + length]  # cut short, if the length is too long: see below
        at += length
        decode = _decoder(kind)
        if decode is not None:
            payloads.append(decode(body))
        elif kind in _ENCRYPTED:
            raise WireError("encrypted payload in a chain of clear ones")
        else:
            payloads.append(UnknownPayload(kind, flags & CRITICAL != 0, body))
        kind = following
    if kind:
        raise WireError(f"more than {MAX_PAYLOADS} payloads")
    if at != end:  # offsets only grow, so this finds a length beyond the end wherever it stood
        raise WireError(f"{end} octets in a chain of payloads, which say {at}")
    return tuple(payloads)


def encode_chain(payloads: Sequence[Payload]) -> tuple[int, bytes]:
    """(type of the first payload, octets of all of them); no payloads: (0, b"").

    Raises TooLong for a payload that its 16-bit length can't hold.
    """
    parts: list[bytes] = []
    following = 0
    for payload in reversed(payloads):
        body = payload.encode()
        try:
            parts += (body, _write(following, payload.FLAGS, len(body) + 4))
        except struct.error:
            raise TooLong(f"payload of {len(body) + 4} octets") from None
        following = payload.TYPE
    parts.reverse()
    return following, b"".join(parts)
