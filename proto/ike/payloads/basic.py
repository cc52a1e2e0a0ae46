"""Payloads with one fixed head and a tail: key exchange, identity, proof, nonce, notify, delete and
their like.

Rules: `decode(body)` and `encode()` stand side by side and know nothing of the generic header;
RESERVED octets are sent as zero and ignored. RFC 7296 3.4 to 3.12, 3.16.
"""

import struct
from typing import ClassVar

from proto.ike.enums import PayloadType
from proto.ike.errors import WireError
from proto.ike.payloads.body import CRITICAL, Body

_IDI = PayloadType.IDi
_IDR = PayloadType.IDr

_KE = struct.Struct(">Hxx")
_NOTIFY = struct.Struct(">BBH")
_DELETE = struct.Struct(">BBH")
_EAP = struct.Struct(">BBH")
_NOTIFY_DATA = 4

NONCE_MIN = 16
NONCE_MAX = 256


class KePayload(Body, frozen=True, gc=False):
    """One public value (RFC 7296 3.4): `| group 2 | 0 0 | data … |`."""

    TYPE: ClassVar[PayloadType] = PayloadType.KE
    group: int
    data: bytes

    @classmethod
    def decode(cls, body: bytes) -> "KePayload":
        """Raises WireError when truncated."""
        if len(body) < 4:
            raise WireError("truncated KE payload")
        return cls((body[0] << 8) | body[1], body[4:])

    def encode(self) -> bytes:
        """The payload's body."""
        return _KE.pack(self.group) + self.data


class IdPayload(Body, frozen=True, gc=False):
    """Who somebody claims to be (RFC 7296 3.5): `| ID type | 0 0 0 | data … |`."""

    kind: PayloadType
    """IDi or IDr."""
    id_type: int
    data: bytes

    @property
    def TYPE(self) -> PayloadType:  # noqa: N802 - one name for all payloads
        """The payload type: `kind`."""
        return self.kind

    @property
    def body(self) -> bytes:
        """RestOfInitIDPayload or RestOfRespIDPayload (RFC 7296 2.15)."""
        return bytes((self.id_type, 0, 0, 0)) + self.data

    @classmethod
    def decode_initiator(cls, body: bytes) -> "IdPayload":
        """IDi. Raises WireError when truncated."""
        if len(body) < 4:
            raise WireError("truncated IDi payload")
        return cls(_IDI, body[0], body[4:])

    @classmethod
    def decode_responder(cls, body: bytes) -> "IdPayload":
        """IDr. Raises WireError when truncated."""
        if len(body) < 4:
            raise WireError("truncated IDr payload")
        return cls(_IDR, body[0], body[4:])

    def encode(self) -> bytes:
        """The payload's body."""
        return self.body


class CertPayload(Body, frozen=True, gc=False):
    """A certificate or the like (RFC 7296 3.6): `| encoding | data … |`."""

    TYPE: ClassVar[PayloadType] = PayloadType.CERT
    encoding: int
    data: bytes

    @classmethod
    def decode(cls, body: bytes) -> "CertPayload":
        """Raises WireError when empty."""
        if not body:
            raise WireError("empty CERT payload")
        return cls(body[0], body[1:])

    def encode(self) -> bytes:
        """The payload's body."""
        return bytes((self.encoding,)) + self.data


class CertreqPayload(Body, frozen=True, gc=False):
    """Trust anchors (RFC 7296 3.7): `| encoding | SHA-1 hashes of public keys … |`."""

    TYPE: ClassVar[PayloadType] = PayloadType.CERTREQ
    encoding: int
    data: bytes

    @classmethod
    def decode(cls, body: bytes) -> "CertreqPayload":
        """Raises WireError when empty."""
        if not body:
            raise WireError("empty CERTREQ payload")
        return cls(body[0], body[1:])

    def encode(self) -> bytes:
        """The payload's body."""
        return bytes((self.encoding,)) + self.data


class AuthPayload(Body, frozen=True, gc=False):
    """The proof of identity (RFC 7296 3.8): `| method | 0 0 0 | data … |`."""

    TYPE: ClassVar[PayloadType] = PayloadType.AUTH
    method: int
    data: bytes

    @classmethod
    def decode(cls, body: bytes) -> "AuthPayload":
        """Raises WireError when truncated."""
        if len(body) < 4:
            raise WireError("truncated AUTH payload")
        return cls(body[0], body[4:])

    def encode(self) -> bytes:
        """The payload's body."""
        return bytes((self.method, 0, 0, 0)) + self.data


class NoncePayload(Body, frozen=True, gc=False):
    """A nonce of 16 to 256 octets (RFC 7296 3.9): `| data … |`."""

    TYPE: ClassVar[PayloadType] = PayloadType.NONCE
    data: bytes

    @classmethod
    def decode(cls, body: bytes) -> "NoncePayload":
        """Raises WireError for any other length."""
        if not NONCE_MIN <= len(body) <= NONCE_MAX:
            raise WireError(f"nonce of {len(body)} octets")
        return cls(body)

    def encode(self) -> bytes:
        """The payload's body."""
        return self.data


class NotifyPayload(Body, frozen=True, gc=False):
    """An error or a status (RFC 7296 3.10).

    ```
    | protocol | SPI size | notify type 2 | SPI … | data … |
    ```
    """

    TYPE: ClassVar[PayloadType] = PayloadType.NOTIFY
    type: int
    data: bytes = b""
    protocol: int = 0
    spi: bytes = b""

    @classmethod
    def decode(cls, body: bytes) -> "NotifyPayload":
        """Raises WireError when truncated."""
        try:
            protocol, spi_size, kind = _NOTIFY.unpack_from(body)
        except struct.error:
            raise WireError("truncated notify payload") from None
        if not spi_size:
            return cls(kind, body[4:], protocol)
        stop = _NOTIFY_DATA + spi_size
        if len(body) < stop:
            raise WireError("notify payload shorter than its SPI")
        return cls(kind, body[stop:], protocol, body[4:stop])

    def encode(self) -> bytes:
        """The payload's body."""
        return _NOTIFY.pack(self.protocol, len(self.spi), self.type) + self.spi + self.data


class DeletePayload(Body, frozen=True, gc=False):
    """SAs that the sender has removed (RFC 7296 3.11).

    ```
    | protocol | SPI size | number of SPIs 2 | SPIs … |
    ```
    """

    TYPE: ClassVar[PayloadType] = PayloadType.DELETE
    protocol: int
    spi_size: int
    spis: tuple[bytes, ...]

    @classmethod
    def decode(cls, body: bytes) -> "DeletePayload":
        """Raises WireError unless the SPIs fill the payload exactly."""
        if len(body) < 4:
            raise WireError("truncated delete payload")
        protocol, size, count = _DELETE.unpack_from(body)
        if len(body) != 4 + size * count or (count and not size):
            raise WireError("delete payload and its SPIs disagree in length")
        spis = [body[i : i + size] for i in range(4, len(body), size)] if size else []
        return cls(protocol, size, tuple(spis))

    def encode(self) -> bytes:
        """The payload's body."""
        return _DELETE.pack(self.protocol, self.spi_size, len(self.spis)) + b"".join(self.spis)


class VendorIdPayload(Body, frozen=True, gc=False):
    """Some implementation's mark (RFC 7296 3.12): `| data … |`."""

    TYPE: ClassVar[PayloadType] = PayloadType.VENDOR_ID
    data: bytes

    @classmethod
    def decode(cls, body: bytes) -> "VendorIdPayload":
        """Takes any octets."""
        return cls(body)

    def encode(self) -> bytes:
        """The payload's body."""
        return self.data


class EapPayload(Body, frozen=True, gc=False):
    """One whole EAP message (RFC 7296 3.16): `| code | identifier | length 2 | … |`."""

    TYPE: ClassVar[PayloadType] = PayloadType.EAP
    data: bytes

    @classmethod
    def decode(cls, body: bytes) -> "EapPayload":
        """Raises WireError unless the EAP length is the payload's."""
        if len(body) < 4 or _EAP.unpack_from(body)[2] != len(body):
            raise WireError("EAP message and payload disagree in length")
        return cls(body)

    def encode(self) -> bytes:
        """The payload's body."""
        return self.data


class UnknownPayload(Body, frozen=True, gc=False):
    """A payload this release doesn't know, octet for octet (RFC 7296 2.5)."""

    type: int
    critical: bool
    """The sender wants a refusal rather than to be ignored."""
    data: bytes

    @property
    def TYPE(self) -> int:  # noqa: N802 - one name for all payloads
        """The payload type: `type`."""
        return self.type

    @property
    def FLAGS(self) -> int:  # type: ignore[override]  # noqa: N802
        """The critical flag, or nothing."""
        return CRITICAL if self.critical else 0

    def encode(self) -> bytes:
        """The payload's body."""
        return self.data
