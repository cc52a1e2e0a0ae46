"""A resuming client with next to nothing around its cryptography, for the load generator.

Rules: what it sends is what any client would send, and the gateway can't tell the difference; what
it does not do is check the gateway (its AUTH, its choice of algorithms), for that costs the CPU
that the gateway is to be measured with. One suite: AES-256-GCM, HMAC-SHA-256. It takes the ticket
from the answer, and with it the next resumption. RFC 5723 4.3, RFC 7296 2.14, 2.15, 3.
"""

import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from proto.ike.core import Peer
from proto.ike.enums import (
    FLAG_INITIATOR,
    VERSION,
    AuthMethod,
    ExchangeType,
    NotifyType,
    PayloadType,
)
from proto.ike.negotiation import child_proposal
from proto.ike.payloads import AuthPayload, NoncePayload, NotifyPayload, TsPayload, encode_chain
from proto.ike.seams import Rng
from proto.ike.ticket import ClientTicket

_HEADER = struct.Struct(">8s8sBBBBII")
_HEADER_LEN = 28
_GENERIC = struct.Struct(">BBH")
_NOTIFY = struct.Struct(">BBH")
_NONCE_LEN = 32
_PRF_LEN = 32
_KEY_LEN, _SALT_LEN, _ICV_LEN, _IV_LEN = 32, 4, 16, 8
_KEYMAT_LEN = 3 * _PRF_LEN + 2 * (_KEY_LEN + _SALT_LEN)
_SK, _NONCE, _N = int(PayloadType.SK), int(PayloadType.NONCE), int(PayloadType.NOTIFY)
_TICKET = int(NotifyType.TICKET_LT_OPAQUE)
_RESUME, _AUTH = int(ExchangeType.IKE_SESSION_RESUME), int(ExchangeType.IKE_AUTH)
_IV = (1).to_bytes(_IV_LEN, "big")
"""Each SA sends one message here."""
_NO_AUTH = b"\xff" * _PRF_LEN
"""Stands where each AUTH is to go; like nothing else in a request."""


class Refused(Exception):
    """The gateway's answer isn't what a resumption needs."""


def _prf(key: bytes, data: bytes) -> bytes:
    mac = HMAC(key, SHA256())
    mac.update(data)
    return mac.finalize()


class LeanSession:
    """One session: its newest ticket, and where its resumption stands.

    `begin` gives the first datagram, `answer` the second for the gateway's first answer, and none
    for its second: then it may begin again.
    """

    def __init__(self, peer: Peer, ticket: ClientTicket, rng: Rng) -> None:
        self._rng = rng
        self._ticket = ticket.ticket
        self._sk_d = ticket.sk_d.octets
        self._id_body = peer.local_id.body
        self._first, plain = encode_chain(
            (
                peer.local_id,
                peer.remote_id,
                AuthPayload(AuthMethod.SHARED_KEY_MIC, _NO_AUTH),
                NotifyPayload(NotifyType.TICKET_REQUEST),
                child_proposal(peer.child_suites, rng.bytes(4)),
                TsPayload(PayloadType.TSi, peer.local_ts),
                TsPayload(PayloadType.TSr, peer.remote_ts),
            )
        )
        head, _, tail = plain.partition(_NO_AUTH)
        self._head, self._tail = head, tail + b"\0"  # no padding
        self.spi = b""
        self._nonce = b""
        self._er = b""
        self.sent = b""
        """The last datagram, to be repeated."""

    def begin(self) -> bytes:
        """IKE_SESSION_RESUME with the newest ticket, under a new SPI."""
        octets = self._rng.bytes(_IV_LEN + _NONCE_LEN)
        self.spi, self._nonce, self._er = octets[:8], octets[8:], b""
        first, body = encode_chain(
            (
                NoncePayload(self._nonce),
                NotifyPayload(NotifyType.TICKET_OPAQUE, self._ticket),
                NotifyPayload(NotifyType.IKEV2_FRAGMENTATION_SUPPORTED),
            )
        )
        self.sent = _header(self.spi, bytes(8), first, _RESUME, 0, len(body)) + body
        return self.sent

    def answer(self, data: bytes) -> bytes | None:
        """What follows on the gateway's answer; None: resumed. Raises Refused."""
        if not self._er:
            return self._prove(data)
        if data[18] == _AUTH:  # an answer to a repeat of the first request is none to this one
            self._take_ticket(data)
            return None
        return b""

    def _prove(self, data: bytes) -> bytes:
        spi_r, nonce_r = data[8:16], data[32 : 32 + _NONCE_LEN]
        if data[16] == _N:
            kind = _NOTIFY.unpack_from(data, _HEADER_LEN + _GENERIC.size)[2]
            raise Refused(f"notify {kind} in the answer to IKE_SESSION_RESUME")
        if data[16] != _NONCE:
            raise Refused("no nonce in the answer to IKE_SESSION_RESUME")
        nonces = self._nonce + nonce_r
        seed = _prf(self._sk_d, b"Resumption" + nonces)
        keymat = HKDFExpand(SHA256(), _KEYMAT_LEN, nonces + self.spi + spi_r).derive(seed)
        self._sk_d, ei, self._er, pi = keymat[:32], keymat[32:68], keymat[68:104], keymat[104:136]
        proof = _prf(pi, self.sent + nonce_r + _prf(pi, self._id_body))
        plain = self._head + proof + self._tail
        sk_len = 4 + _IV_LEN + len(plain) + _ICV_LEN
        aad = _header(self.spi, spi_r, _SK, _AUTH, 1, sk_len) + _GENERIC.pack(
            self._first, 0, sk_len
        )
        sealed = AESGCM(ei[:_KEY_LEN]).encrypt(ei[_KEY_LEN:] + _IV, plain, aad)
        self.sent = aad + _IV + sealed
        return self.sent

    def _take_ticket(self, data: bytes) -> None:
        er = self._er
        iv_end = _HEADER_LEN + 4 + _IV_LEN
        nonce = er[_KEY_LEN:] + data[iv_end - _IV_LEN : iv_end]
        try:
            plain = AESGCM(er[:_KEY_LEN]).decrypt(nonce, data[iv_end:], data[: iv_end - _IV_LEN])
        except InvalidTag:
            raise Refused("an answer that doesn't open") from None
        kind, offset = data[_HEADER_LEN], 0
        notifies: list[int] = []
        while kind:
            following, _, length = _GENERIC.unpack_from(plain, offset)
            if kind == _N:
                notifies.append(_NOTIFY.unpack_from(plain, offset + 4)[2])
                if notifies[-1] == _TICKET:
                    self._ticket = plain[offset + 12 : offset + length]  # 4 + 4 + lifetime 4
                    return
            offset += length
            kind = following
        raise Refused(f"no ticket but notifies {notifies} in the answer to IKE_AUTH")


def _header(spi_i: bytes, spi_r: bytes, first: int, exchange: int, number: int, rest: int) -> bytes:
    length = _HEADER_LEN + rest
    return _HEADER.pack(spi_i, spi_r, first, VERSION, exchange, FLAG_INITIATOR, number, length)
