"""A second implementation of the resumption exchange and its IKE_AUTH, both roles, from the RFCs'
text.

Rules: nothing of `proto` is imported: hashlib, hmac and ciphers are all it shares with the product.
It is as short as the RFCs allow and checks what it is told as strictly as they do; what deviates is
an AssertionError. RFC 5723 4.3, 5.1, 7; RFC 7296 2.13 to 2.17, 3; RFC 5282.
"""

import hashlib
import hmac
import itertools
import struct
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

IKE_AUTH, INFORMATIONAL, IKE_SESSION_RESUME = 35, 37, 38
SA, IDI, IDR, CERT, AUTH, NONCE, NOTIFY, TSI, TSR, SK = 33, 35, 36, 37, 39, 40, 41, 44, 45, 46
COOKIE = 16390
TICKET_LT_OPAQUE, TICKET_REQUEST, TICKET_ACK, TICKET_NACK, TICKET_OPAQUE = range(16409, 16414)
INITIATOR, RESPONSE = 0x08, 0x20
NO_SPI = bytes(8)
SHARED_KEY_MIC = 2

Payload = tuple[int, bytes]
"""(payload type, body)."""

_ivs = itertools.count(1 << 62)


class Suite(NamedTuple):
    """The algorithms of an IKE SA, by what their keys are like."""

    hash: str
    cipher: str
    encr_octets: int
    """Of SK_e: the key, and with an AEAD its salt."""
    integ_octets: int = 0


SUITES = {
    "aes256gcm16-prfsha256-x25519": Suite("sha256", "gcm", 36),
    "aes128gcm16-prfsha384-ecp256": Suite("sha384", "gcm", 20),
    "chacha20poly1305-prfsha512-ecp384": Suite("sha512", "chacha", 36),
    "aes256-sha256-prfsha256-x25519": Suite("sha256", "cbc", 32, 32),
}


class Keys(NamedTuple):
    """In the order in which they are taken (RFC 7296 2.14)."""

    d: bytes
    ai: bytes
    ar: bytes
    ei: bytes
    er: bytes
    pi: bytes
    pr: bytes


class Parsed(NamedTuple):
    """A message: header fields and payloads; of a sealed one the payloads inside."""

    spi_i: bytes
    spi_r: bytes
    exchange: int
    flags: int
    message_id: int
    payloads: list[Payload]

    def the(self, kind: int) -> bytes:
        """The body of the only payload of this type."""
        (body,) = [body for t, body in self.payloads if t == kind]
        return body

    def notifies(self) -> dict[int, bytes]:
        """Data by Notify Message Type; Protocol ID and SPI Size must be 0 (RFC 5723 7)."""
        found = {}
        for t, body in self.payloads:
            if t == NOTIFY:
                assert body[:2] == b"\0\0"
                found[int.from_bytes(body[2:4], "big")] = body[4:]
        return found


# -- octets ---------------------------------------------------------------------------------------
def notify(kind: int, data: bytes = b"", protocol: int = 0) -> Payload:
    """A Notify payload without SPI (RFC 7296 3.10)."""
    return NOTIFY, struct.pack(">BBH", protocol, 0, kind) + data


def chain(payloads: list[Payload]) -> tuple[int, bytes]:
    """(type of the first, the payloads with their generic headers) (RFC 7296 3.2)."""
    kinds = [kind for kind, _ in payloads] + [0]
    octets = b"".join(
        struct.pack(">BBH", following, 0, 4 + len(body)) + body
        for (_, body), following in zip(payloads, kinds[1:], strict=True)
    )
    return kinds[0], octets


def unchain(kind: int, octets: bytes) -> list[Payload]:
    """The inverse of `chain`."""
    found = []
    while kind:
        following, _, length = struct.unpack_from(">BBH", octets)
        assert 4 <= length <= len(octets)
        found.append((kind, octets[4:length]))
        kind, octets = following, octets[length:]
    assert octets == b""
    return found


def header(ends: bytes, first: int, exchange: int, flags: int, message_id: int, n: int) -> bytes:
    """SPIi ‖ SPIr ‖ next payload, version, exchange, flags, message id, length (RFC 7296 3.1)."""
    return ends + struct.pack(">BBBBII", first, 0x20, exchange, flags, message_id, n)


def clear(ends: bytes, exchange: int, flags: int, payloads: list[Payload]) -> bytes:
    """An unprotected message; its Message ID is 0."""
    first, body = chain(payloads)
    return header(ends, first, exchange, flags, 0, 28 + len(body)) + body


def parse(data: bytes) -> Parsed:
    """An unprotected message; of a sealed one the payload SK as it is."""
    first, version, exchange, flags, message_id, length = struct.unpack_from(">BBBBII", data, 16)
    assert version == 0x20
    assert length == len(data)
    payloads = [(SK, data[32:])] if first == SK else unchain(first, data[28:])
    return Parsed(data[:8], data[8:16], exchange, flags, message_id, payloads)


# -- keys -----------------------------------------------------------------------------------------
def prf(suite: Suite, key: bytes, data: bytes) -> bytes:
    """HMAC."""
    return hmac.new(key, data, suite.hash).digest()


def prf_plus(suite: Suite, key: bytes, seed: bytes, n: int) -> bytes:
    """T1 = prf(K, S | 1), T2 = prf(K, T1 | S | 2), … (RFC 7296 2.13)."""
    out = block = b""
    for number in range(1, 256):
        block = prf(suite, key, block + seed + bytes((number,)))
        out += block
        if len(out) >= n:
            return out[:n]
    raise AssertionError("more than prf+ gives")


def resumed_keys(
    suite: Suite, sk_d_old: bytes, ni: bytes, nr: bytes, spi_i: bytes, spi_r: bytes
) -> Keys:
    """RFC 5723 5.1."""
    skeyseed = prf(suite, sk_d_old, b"Resumption" + ni + nr)
    p, a, e = hashlib.new(suite.hash).digest_size, suite.integ_octets, suite.encr_octets
    sizes = (p, a, a, e, e, p, p)
    octets = prf_plus(suite, skeyseed, ni + nr + spi_i + spi_r, sum(sizes))
    ends = list(itertools.accumulate(sizes, initial=0))
    return Keys(*(octets[i:j] for i, j in itertools.pairwise(ends)))


def auth(
    suite: Suite, sk_p: bytes, message: bytes, nonce_other: bytes, identity: bytes, form: str
) -> bytes:
    """prf(SK_p, octets): the RFC's (5723 4.3.3, 7296 2.15); "first-message": as libreswan does it;
    "key-pad": a misreading, that the secret is padded as a pre-shared key is.
    """
    octets = message + nonce_other + prf(suite, sk_p, identity)
    if form == "first-message":
        octets = message
    if form == "key-pad":
        sk_p = prf(suite, sk_p, b"Key Pad for IKEv2")
    return prf(suite, sk_p, octets)


# -- sealing --------------------------------------------------------------------------------------
def seal(
    suite: Suite, encr: bytes, integ: bytes, head: tuple[bytes, int, int, int], inner: list[Payload]
) -> bytes:
    """A message with `inner` in SK; `head`: SPIs, exchange, flags, Message ID (RFC 7296 3.14)."""
    first, plain = chain(inner)
    iv = next(_ivs).to_bytes(8, "big")
    if suite.cipher == "cbc":
        iv = hashlib.sha256(iv).digest()[:16]
    pad = (-len(plain) - 1) % 16 if suite.cipher == "cbc" else 0
    plain += bytes(pad) + bytes((pad,))
    n = 4 + len(iv) + len(plain) + 16
    ends, exchange, flags, message_id = head
    aad = header(ends, SK, exchange, flags, message_id, 28 + n) + struct.pack(">BBH", first, 0, n)
    if suite.cipher == "cbc":
        box = Cipher(algorithms.AES(encr), modes.CBC(iv)).encryptor()
        octets = aad + iv + box.update(plain) + box.finalize()
        return octets + hmac.new(integ, octets, "sha256").digest()[:16]
    return aad + iv + _aead(suite, encr).encrypt(encr[-4:] + iv, plain, aad)


def unseal(suite: Suite, encr: bytes, integ: bytes, data: bytes) -> Parsed:
    """The inverse of `seal`; the integrity check comes first."""
    aad = data[:32]
    assert data[16] == SK
    assert struct.unpack_from(">H", data, 30)[0] == len(data) - 28
    if suite.cipher == "cbc":
        assert hmac.compare_digest(hmac.new(integ, data[:-16], "sha256").digest()[:16], data[-16:])
        box = Cipher(algorithms.AES(encr), modes.CBC(data[32:48])).decryptor()
        plain = box.update(data[48:-16]) + box.finalize()
    else:
        plain = _aead(suite, encr).decrypt(encr[-4:] + data[32:40], data[40:], aad)
    plain = plain[: -1 - plain[-1]]
    return parse(data)._replace(payloads=unchain(data[28], plain))


def _aead(suite: Suite, encr: bytes) -> AESGCM | ChaCha20Poly1305:
    return AESGCM(encr[:-4]) if suite.cipher == "gcm" else ChaCha20Poly1305(encr[:-4])


# -- the Child SA's payloads ----------------------------------------------------------------------
def esp_proposal(spi: bytes) -> Payload:
    """SA: one proposal, ESP with AES-GCM-16 of 256 bits and no ESN (RFC 7296 3.3)."""
    encr = struct.pack(">BBHBBHHH", 3, 0, 12, 1, 0, 20, 0x800E, 256)
    esn = struct.pack(">BBHBBH", 0, 0, 8, 5, 0, 0)
    body = struct.pack(">BBHBBBB", 0, 0, 12 + len(encr) + len(esn), 1, 3, 4, 2) + spi + encr + esn
    return SA, body


def everything(kind: int) -> Payload:
    """A traffic selector payload: all of IPv4 (RFC 7296 3.13)."""
    selector = struct.pack(">BBHHH", 7, 0, 16, 0, 0xFFFF) + bytes(4) + b"\xff" * 4
    return kind, b"\x01\0\0\0" + selector


def keymat(suite: Suite, keys: Keys, ni: bytes, nr: bytes, n: int) -> bytes:
    """Of the first Child SA (RFC 7296 2.17)."""
    return prf_plus(suite, keys.d, ni + nr, n)


# -- the two roles --------------------------------------------------------------------------------
class Old(NamedTuple):
    """What a peer remembers of the SA that it resumes (RFC 5723 5)."""

    ticket: bytes
    sk_d: bytes
    suite: Suite
    idi: bytes
    """RestOfInitIDPayload: ID Type, three zero octets, data."""
    idr: bytes


class Peer:
    """What both roles share: what went over the wire, and the keys made of it."""

    def __init__(self, old: Old, form: str = "rfc") -> None:
        self.old, self.suite, self.form = old, old.suite, form
        self.spi_i = self.spi_r = NO_SPI
        self.ni = self.nr = self.message_1 = self.message_2 = b""
        self.keys = Keys(*[b""] * 7)

    @property
    def ends(self) -> bytes:
        """SPIi ‖ SPIr."""
        return self.spi_i + self.spi_r

    def derive(self) -> None:
        """Keys, before IKE_AUTH (RFC 5723 4.3.2)."""
        self.keys = resumed_keys(
            self.suite, self.old.sk_d, self.ni, self.nr, self.spi_i, self.spi_r
        )

    def auth_i(self, form: str = "") -> bytes:
        """The initiator's AUTH data."""
        return auth(
            self.suite, self.keys.pi, self.message_1, self.nr, self.old.idi, form or self.form
        )

    def auth_r(self, form: str = "") -> bytes:
        """The responder's AUTH data."""
        return auth(
            self.suite, self.keys.pr, self.message_2, self.ni, self.old.idr, form or self.form
        )

    def child_keymat(self, n: int) -> bytes:
        """Of the Child SA made with the IKE SA."""
        return keymat(self.suite, self.keys, self.ni, self.nr, n)


class Initiator(Peer):
    """The client of a resumption."""

    def request(
        self,
        spi_i: bytes,
        ni: bytes,
        cookie: bytes = b"",
        more: tuple[Payload, ...] = (),
    ) -> bytes:
        """HDR, [N(COOKIE),] Ni, N(TICKET_OPAQUE) [,N+] (RFC 5723 4.3.2, figure 4)."""
        self.spi_i, self.spi_r, self.ni = spi_i, NO_SPI, ni
        payloads = [notify(COOKIE, cookie)] if cookie else []
        payloads += [(NONCE, ni), notify(TICKET_OPAQUE, self.old.ticket), *more]
        self.message_1 = clear(self.ends, IKE_SESSION_RESUME, INITIATOR, payloads)
        return self.message_1

    def take(self, data: bytes) -> Parsed:
        """HDR, Nr [,N+]; the keys follow from it."""
        answer = parse(data)
        assert (answer.spi_i, answer.exchange) == (self.spi_i, IKE_SESSION_RESUME)
        assert (answer.flags, answer.message_id) == (RESPONSE, 0)
        assert answer.spi_r not in (NO_SPI, self.spi_i)
        self.spi_r, self.nr, self.message_2 = answer.spi_r, answer.the(NONCE), data
        self.derive()
        return answer

    def auth_payloads(self, esp_spi: bytes = b"\1\2\3\4") -> list[Payload]:
        """IDi, IDr, AUTH, SAi2, TSi, TSr, N(TICKET_REQUEST) (RFC 5723 4.3.3)."""
        return [
            (IDI, self.old.idi),
            (IDR, self.old.idr),
            (AUTH, bytes((SHARED_KEY_MIC, 0, 0, 0)) + self.auth_i()),
            esp_proposal(esp_spi),
            everything(TSI),
            everything(TSR),
            notify(TICKET_REQUEST),
        ]

    def say(self, payloads: list[Payload], exchange: int = IKE_AUTH, message_id: int = 1) -> bytes:
        """A sealed request."""
        head = (self.ends, exchange, INITIATOR, message_id)
        return seal(self.suite, self.keys.ei, self.keys.ai, head, payloads)

    def hear(self, data: bytes) -> Parsed:
        """A sealed answer, opened."""
        answer = unseal(self.suite, self.keys.er, self.keys.ar, data)
        assert (answer.spi_i, answer.spi_r, answer.flags) == (self.spi_i, self.spi_r, RESPONSE)
        return answer

    def accept(self, data: bytes) -> Parsed:
        """The answer of an IKE_AUTH that succeeded: the ticket's IDr, and AUTH in our form."""
        answer = self.hear(data)
        assert (answer.exchange, answer.message_id) == (IKE_AUTH, 1)
        assert answer.the(IDR) == self.old.idr
        assert answer.the(AUTH) == bytes((SHARED_KEY_MIC, 0, 0, 0)) + self.auth_r()
        assert CERT not in [kind for kind, _ in answer.payloads]
        return answer

    def next(self, answer: Parsed) -> Old:
        """What to remember for the next resumption: the new SA's SK_d goes with the new ticket."""
        return self.old._replace(ticket=answer.notifies()[TICKET_LT_OPAQUE][4:], sk_d=self.keys.d)


class Responder(Peer):
    """The gateway of a resumption; its ticket is as opaque to it as to anybody."""

    def see(self, data: bytes, cookie: bytes = b"") -> Parsed:
        """Check a request's form (RFC 5723 4.3.2, figure 4)."""
        asked = parse(data)
        assert (asked.exchange, asked.flags, asked.message_id) == (IKE_SESSION_RESUME, INITIATOR, 0)
        assert asked.spi_r == NO_SPI
        expected = [notify(COOKIE, cookie)] if cookie else []
        expected += [(NONCE, asked.the(NONCE)), notify(TICKET_OPAQUE, self.old.ticket)]
        assert asked.payloads[: len(expected)] == expected
        self.spi_i, self.ni, self.message_1 = asked.spi_i, asked.the(NONCE), data
        return asked

    def refuse(self, payload: Payload, spi_r: bytes = NO_SPI) -> bytes:
        """An unprotected answer with one notify."""
        return clear(self.spi_i + spi_r, IKE_SESSION_RESUME, RESPONSE, [payload])

    def answer(self, spi_r: bytes, nr: bytes, more: tuple[Payload, ...] = ()) -> bytes:
        """HDR, Nr [,N+] (figure 5)."""
        self.spi_r, self.nr = spi_r, nr
        payloads = [(NONCE, nr), *more]
        self.message_2 = clear(self.ends, IKE_SESSION_RESUME, RESPONSE, payloads)
        self.derive()
        return self.message_2

    def check(self, data: bytes) -> Parsed:
        """An IKE_AUTH request: IDs are the ticket's, AUTH is right in our form, no CERT."""
        asked = unseal(self.suite, self.keys.ei, self.keys.ai, data)
        assert (asked.spi_i, asked.spi_r) == (self.spi_i, self.spi_r)
        assert (asked.exchange, asked.flags, asked.message_id) == (IKE_AUTH, INITIATOR, 1)
        kinds = [kind for kind, _ in asked.payloads]
        assert asked.the(IDI) == self.old.idi
        assert IDR not in kinds or asked.the(IDR) == self.old.idr
        assert asked.the(AUTH) == bytes((SHARED_KEY_MIC, 0, 0, 0)) + self.auth_i()
        assert CERT not in kinds
        return asked

    def auth_payloads(self, esp_spi: bytes = b"\5\6\7\x08") -> list[Payload]:
        """IDr, AUTH, SAr2, TSi, TSr."""
        return [
            (IDR, self.old.idr),
            (AUTH, bytes((SHARED_KEY_MIC, 0, 0, 0)) + self.auth_r()),
            esp_proposal(esp_spi),
            everything(TSI),
            everything(TSR),
        ]

    def say(self, payloads: list[Payload], exchange: int = IKE_AUTH, message_id: int = 1) -> bytes:
        """A sealed answer."""
        head = (self.ends, exchange, RESPONSE, message_id)
        return seal(self.suite, self.keys.er, self.keys.ar, head, payloads)

    def hear(self, data: bytes) -> Parsed:
        """A sealed request, opened."""
        return unseal(self.suite, self.keys.ei, self.keys.ai, data)
