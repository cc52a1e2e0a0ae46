"""Tickets by value: everything a member needs to resume a session it has never seen, sealed for the
cluster. (Tickets by reference, sealed the same way: `proto.ike.reference`.)

Rules: what is readable in a ticket says nothing about the client; each ticket has a key of its own,
since all members share the ring's; a refusal tells no reason to the peer; fields that a newer
release added are ignored. RFC 5723 4.3, 5, 6.1; RFC 5869 (HKDF expand).
"""

import enum
from typing import Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from proto.ike.connection import DEFAULT
from proto.ike.errors import TicketReason, TicketRejected
from proto.ike.identity import Identity, parse_identity
from proto.ike.pools import Leased
from proto.ike.seams import Rng
from proto.ike.wire import UNREADABLE
from proto.secret import Secret

FORMAT = 1
REFERENCE_FORMAT = 2
KEY_ID_LEN = 8
_SALT_LEN = 16
_TAG_LEN = 16
_KEY_LEN = 32
_NONCE_LEN = 12
_CLEAR_LEN = 1 + KEY_ID_LEN + _SALT_LEN
KEY_ID = slice(1, 1 + KEY_ID_LEN)
"""Where a ticket names its key."""
SuiteNumbers = tuple[int, int, int, int, int]
"""The fields of a `proto.ike.suite.Suite`, in order, but for the last."""

_PSK = "psk"
_INFO = {FORMAT: b"standfast ticket v1", REFERENCE_FORMAT: b"standfast ticket reference v1"}
"""What a ticket's key is for, by its format: one form never opens as the other."""

TICKET_MIN = _CLEAR_LEN + _TAG_LEN + 1
TICKET_MAX = 2048
"""Octets; a by-value ticket has 150 to 400, and an IKE_SESSION_RESUME can't be fragmented."""
BY_REFERENCE = 1
"""Flag of a body that is kept in the store, under its chain."""
BEHIND_NAT = 2
"""Flag of a session whose client was behind a NAT."""


PPK_USED = 4
"""Flag of a session whose keys have a PPK in them (RFC 8784)."""


class TicketForm(enum.Enum):
    """Which tickets are issued."""

    AUTO = "auto"
    """By value, and by reference where that would be too long for a datagram."""
    BY_VALUE = "by-value"
    BY_REFERENCE = "by-reference"


class TicketKey(Protocol):
    """One key of the ring."""

    @property
    def key_id(self) -> bytes:
        """8 random octets."""
        ...

    def expand(self, info: bytes) -> bytes:
        """HKDF-Expand-SHA512 of the key's secret, 64 octets (RFC 5869 2.3)."""
        ...


class TicketKeys(Protocol):
    """The ring as tickets see it. Implementer: `cluster.keyring.KeyRing`."""

    def sealing(self, wall_s: float) -> TicketKey | None:
        """The key that new tickets are sealed under; None: issue none."""
        ...

    def opening(self, key_id: bytes, wall_s: float) -> TicketKey | None:
        """The key with that id, if tickets under it may still be opened."""
        ...


class TicketBody(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What a ticket holds (RFC 5723 section 5, items "from the ticket"). New fields go to the end,
    with defaults.
    """

    id: bytes
    """16 random octets."""
    chain: bytes
    """Session chain, 16 octets."""
    generation: int
    """The chain's generation that this ticket redeems."""
    epoch: int
    issued_wall_s: float
    expires_wall_s: float
    auth_deadline_wall_s: float
    """When the original authentication has to be repeated; no resumption moves it."""
    spi_i: bytes
    """The client's SPI and the gateway's (`spi_r`) of the SA that it was issued on: to find that
    SA, never for the new one.
    """
    spi_r: bytes
    idi_type: int
    idi: bytes
    idr_type: int
    idr: bytes
    identity: str
    """The authenticated identity: what policy is about."""
    auth_method: str
    """How it was proven: see `proto.ike.core.SaCore`."""
    suite: SuiteNumbers
    """The algorithms of the SA, not negotiated again."""
    sk_d: bytes
    flags: int = 0
    """A sum of `BY_REFERENCE`, `BEHIND_NAT` and `PPK_USED`."""
    connection: str = DEFAULT
    """The name of the connection that admitted the peer: what policy is looked up by."""
    addkes: tuple[int, ...] = ()
    """The last field of the `Suite`: its additional key exchanges."""
    leased: tuple[Leased, ...] = ()
    """The session's internal addresses."""
    certificate: bytes = b""
    """By which one it was proven, for its revocation (RFC 5723 5, note 2)."""
    authenticated_wall_s: float = 0.0
    """When that was, originally."""

    def __repr__(self) -> str:
        return f"<TicketBody {self.id.hex()} chain {self.chain.hex()}/{self.generation}>"


def psk_identities(body: TicketBody) -> tuple[Identity, ...]:
    """Whose pre-shared keys have proven something, as far as the ticket still tells: those of the
    first and of the last proof. Raises ValueError for an identity that isn't one.
    """
    first = (body.idi_type, body.idi)
    if body.auth_method == _PSK:
        return (first,)
    methods = body.auth_method.split("+")
    found = [first] if methods[0] == _PSK else []
    if len(methods) > 1 and methods[-1] == _PSK:
        found.append(parse_identity(body.identity))
    return tuple(found)


encode_body = msgspec.msgpack.Encoder().encode
decode_body = msgspec.msgpack.Decoder(TicketBody).decode
"""Raises `proto.ike.wire.UNREADABLE`."""


def _derive(form: int, key: TicketKey, salt: bytes) -> tuple[bytes, bytes]:
    """The AES-256 key and the nonce of one ticket."""
    okm = key.expand(_INFO[form] + salt)
    return okm[:_KEY_LEN], okm[_KEY_LEN : _KEY_LEN + _NONCE_LEN]


def seal_octets(form: int, plaintext: bytes, key: TicketKey, realm: bytes, rng: Rng) -> bytes:
    """A ticket: `format 1 | key id 8 | salt 16 | AES-256-GCM(plaintext), tag 16 last`.

    Key and nonce are HKDF-Expand-SHA512(ring key, the format's label | salt), 44 octets; everything
    in clear and `realm` are associated data.
    """
    salt = rng.bytes(_SALT_LEN)
    ticket_key, nonce = _derive(form, key, salt)
    clear = bytes((form,)) + key.key_id + salt
    return clear + AESGCM(ticket_key).encrypt(nonce, plaintext, clear + realm)


def open_octets(
    form: int, octets: bytes, keys: TicketKeys, realm: bytes, now_wall_s: float
) -> bytes:
    """What `seal_octets` was given. Raises TicketRejected: MALFORMED, UNKNOWN_KEY, FORGED."""
    if not TICKET_MIN <= len(octets) <= TICKET_MAX or octets[0] != form:
        raise TicketRejected(TicketReason.MALFORMED)
    key = keys.opening(octets[KEY_ID], now_wall_s)
    if key is None:
        raise TicketRejected(TicketReason.UNKNOWN_KEY)
    ticket_key, nonce = _derive(form, key, octets[9:_CLEAR_LEN])
    aad = octets[:_CLEAR_LEN] + realm
    try:
        return AESGCM(ticket_key).decrypt(nonce, octets[_CLEAR_LEN:], aad)
    except InvalidTag:
        raise TicketRejected(TicketReason.FORGED) from None


def check_dates(
    issued_wall_s: float, expires_wall_s: float, now_wall_s: float, skew_s: float
) -> None:
    """Raises TicketRejected: EXPIRED, NOT_YET_VALID."""
    # said so that a time that is no number is out of time
    if not now_wall_s - skew_s <= expires_wall_s:
        raise TicketRejected(TicketReason.EXPIRED)
    if not issued_wall_s <= now_wall_s + skew_s:
        raise TicketRejected(TicketReason.NOT_YET_VALID)


def seal(body: TicketBody, key: TicketKey, realm: bytes, rng: Rng) -> bytes:
    """A ticket that holds `body`; see `seal_octets`."""
    return seal_octets(FORMAT, encode_body(body), key, realm, rng)


def open_ticket(
    octets: bytes, keys: TicketKeys, realm: bytes, now_wall_s: float, skew_s: float
) -> TicketBody:
    """What `octets` holds. `skew_s` is how far the members' clocks may differ.

    Raises TicketRejected: MALFORMED, UNKNOWN_KEY, FORGED, EXPIRED, NOT_YET_VALID.
    """
    plaintext = open_octets(FORMAT, octets, keys, realm, now_wall_s)
    try:
        body = decode_body(plaintext)
    except UNREADABLE:
        raise TicketRejected(TicketReason.MALFORMED) from None
    if not now_wall_s - skew_s <= body.auth_deadline_wall_s:
        raise TicketRejected(TicketReason.EXPIRED)
    check_dates(body.issued_wall_s, body.expires_wall_s, now_wall_s, skew_s)
    return body


def _from_secret(value: object) -> str:
    if isinstance(value, Secret):
        return value.octets.hex()
    # as msgspec wants it of its hooks
    raise NotImplementedError(f"{type(value).__name__} has no place in a ticket file")


def _to_secret(kind: type, value: object) -> Secret:
    if kind is not Secret or not isinstance(value, str):
        raise ValueError("a key is hex")
    return Secret(bytes.fromhex(value))


class ClientTicket(msgspec.Struct, frozen=True):
    """A ticket as the client keeps it, with what it must remember of the old SA (RFC 5723 section
    5).
    """

    ticket: bytes
    expires_wall_s: float
    suite: SuiteNumbers
    sk_d: Secret
    idi_type: int
    idi: bytes
    idr_type: int
    idr: bytes
    auth_method: str
    addkes: tuple[int, ...] = ()
    """See `TicketBody`."""
    ppk: bool = False
    """The session's keys have a PPK in them."""

    def encode(self) -> bytes:
        """JSON, for a file of mode 0600: it holds a key."""
        return msgspec.json.encode(self, enc_hook=_from_secret)

    @classmethod
    def decode(cls, data: bytes) -> "ClientTicket":
        """Raises TicketRejected MALFORMED when `data` isn't what `encode` wrote."""
        try:
            return msgspec.json.decode(data, type=cls, dec_hook=_to_secret)
        except (*UNREADABLE, ValueError):
            raise TicketRejected(TicketReason.MALFORMED) from None
