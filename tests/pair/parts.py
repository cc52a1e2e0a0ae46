"""What an endpoint is given in a test: randomness, SPIs, keys, policy, and a store in three dicts.

Rules: everything comes from a seed or from a test's hand; nothing here knows the endpoint.
"""

import hashlib
import itertools

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from proto.ike.connection import OwnKey
from proto.ike.core import Peer, RetransmitPolicy, Settings
from proto.ike.effects import Persist, PersistKind, Settlement
from proto.ike.enums import IdType, NotifyType, PayloadType
from proto.ike.errors import PeerError
from proto.ike.identity import Identity
from proto.ike.names import parse_child, parse_suite
from proto.ike.payloads import CertreqPayload, IdPayload
from proto.ike.selectors import parse_selector
from proto.ike.ticket import TicketBody, psk_identities
from proto.secret import Secret

Address = tuple[str, int]

GATEWAY, CLIENT = ("192.0.2.1", 500), ("192.0.2.2", 40000)
SECOND_GATEWAY = ("192.0.2.3", 500)
WALL_S = 1_800_000_000.0
ANY = (parse_selector("0.0.0.0/0"),)
GATEWAY_ID = IdPayload(PayloadType.IDr, IdType.ID_FQDN, b"vpn.example.com")
CLIENT_ID = IdPayload(PayloadType.IDi, IdType.ID_RFC822_ADDR, b"alice@example.com")
BOB_ID = IdPayload(PayloadType.IDi, IdType.ID_RFC822_ADDR, b"bob@example.com")
PSK = Secret(b"a pre-shared key of more than enough octets")
BOB_PSK = Secret(b"another pre-shared key of more than enough octets")


class SeededRng:
    """SHA-256 in counter mode: the same octets from the same seed."""

    def __init__(self, seed: str) -> None:
        self._seed = seed.encode()
        self._counter = itertools.count()

    def bytes(self, n: int) -> bytes:
        """`n` octets."""
        out = b""
        while len(out) < n:
            out += hashlib.sha256(self._seed + b"%d" % next(self._counter)).digest()
        return out[:n]


class Spis:
    """SPIs from a seed; every IV under one fence."""

    def __init__(self, rng: SeededRng, fence: int = 1) -> None:
        self._rng = rng
        self.fence = fence
        self.owns_a_shard = True
        self.has_esp_spis = True
        self.stays = True

    def ike_spi(self) -> bytes | None:
        """A fresh SPI, while there is a shard."""
        return self._rng.bytes(8) if self.owns_a_shard else None

    def ike_spi_beside(self, ike_spi: bytes) -> bytes:
        """A fresh SPI."""
        return self._rng.bytes(8)

    def begins(self, ike_spi: bytes, makes: bool) -> bool:
        """Unless its shard is on its way to another owner."""
        return self.stays

    def esp_spi(self, ike_spi: bytes) -> bytes:
        """A fresh inbound ESP SPI, while there are any."""
        if not self.has_esp_spis:
            raise PeerError(NotifyType.NO_ADDITIONAL_SAS)
        return self._rng.bytes(4)

    def iv_prefix(self, ike_spi: bytes) -> tuple[int, int]:
        """(epoch, fence)."""
        return (0, self.fence)


class Key:
    """One ticket key."""

    def __init__(self, key_id: bytes, secret: Secret) -> None:
        self.key_id = key_id
        self.secret = secret

    def expand(self, info: bytes) -> bytes:
        """As the ring's key does, by the library's own HKDF."""
        return HKDFExpand(hashes.SHA512(), 64, info).derive(self.secret.octets)


class Ring:
    """Ticket keys that a test can change or take away."""

    def __init__(self) -> None:
        self.key: Key | None = Key(b"key-id-1", Secret(bytes(range(32))))
        self.old: dict[bytes, Key] = {}
        self.asked: list[bytes] = []

    def sealing(self, wall_s: float) -> Key | None:
        """The key for new tickets."""
        return self.key

    def opening(self, key_id: bytes, wall_s: float) -> Key | None:
        """The key of that id, if it is known."""
        self.asked.append(key_id)
        if self.key is not None and self.key.key_id == key_id:
            return self.key
        return self.old.get(key_id)

    def rotate(self, key: Key) -> None:
        """`key` seals from now on; the present one still opens."""
        if self.key is not None:
            self.old[self.key.key_id] = self.key
        self.key = key


class CookieRing:
    """One cookie secret."""

    def __init__(self) -> None:
        self.secret = Secret(bytes(32))

    def sealing(self, wall_s: float) -> tuple[int, Secret]:
        """Generation 1, always."""
        return 1, self.secret

    def opening(self, generation: int, wall_s: float) -> Secret | None:
        """The secret of generation 1."""
        return self.secret if generation == 1 else None


class Psks:
    """Who shares a key with the gateway."""

    def __init__(self) -> None:
        self.known = {CLIENT_ID.data: PSK}
        self.keys: dict[bytes, OwnKey] = {}
        self.asked_for: list[tuple[CertreqPayload, ...]] = []
        self.ppks: dict[bytes, Secret] = {}

    def psk(self, peer: IdPayload) -> Secret | None:
        """The key by the identity's data alone."""
        return self.known.get(peer.data)

    def own(
        self,
        identity: Identity,
        requests: tuple[CertreqPayload, ...],
        announced: frozenset[int] | None,
    ) -> OwnKey | None:
        """The key for the identity's data."""
        self.asked_for.append(requests)
        return self.keys.get(identity[1])

    def ppk(self, ppk_id: bytes, peer: IdPayload) -> Secret | None:
        """The PPK of that id, for whom there is a pre-shared key."""
        return self.ppks.get(ppk_id) if self.expects_ppk(peer) else None

    def expects_ppk(self, peer: IdPayload) -> bool:
        """Whether there is a pre-shared key."""
        return peer.data in self.known

    def may_resume(self, body: TicketBody, address: str) -> bool:
        """Whether the keys are still there that were proven."""
        return all(data in self.known for _, data in psk_identities(body))


class Chains:
    """The store's view: version and SPI of every session chain, compared as the journal does."""

    def __init__(self) -> None:
        self.version: dict[bytes, int] = {}
        self.spi: dict[bytes, bytes] = {}
        self.records: dict[bytes, bytes] = {}
        self.writes: list[Persist] = []
        self.states: dict[bytes, bytes] = {}
        """What is kept for tickets by reference, by chain."""
        self.reads = 0

    def fetch(self, chain: bytes, generation: int) -> tuple[bool, bytes]:
        """(used, state) of a ticket by reference, as the cluster reads them."""
        self.reads += 1
        return self.version.get(chain) != generation, self.states.get(chain, b"")

    def commit(self, op: Persist) -> Settlement:
        """All of `op` or nothing."""
        if self.version.get(op.chain, 0) != op.generation:
            return Settlement.REFUSED
        self.writes.append(op)
        if op.kind in (PersistKind.CREATE, PersistKind.REDEEM, PersistKind.REKEY):
            self.version[op.chain] = op.generation + 1
            self.spi[op.chain] = op.spi
        if op.kind in (PersistKind.END, PersistKind.REVOKE):
            self.records.pop(op.spi, None)
        else:
            self.records[op.spi] = op.record
        if op.kind is PersistKind.REVOKE:
            self.version.pop(op.chain, None)
        if op.ticket:
            self.states[op.chain] = op.ticket
        elif op.ticket is not None or op.kind is PersistKind.REVOKE:
            self.states.pop(op.chain, None)
        self.records.pop(op.replaces, None)
        return Settlement.DURABLE


SETTINGS = Settings(
    local_id=GATEWAY_ID,
    realm=b"test",
    suites=tuple(
        parse_suite(text)
        for text in (
            "aes256gcm16-prfsha256-x25519",
            "aes128gcm16-prfsha384-ecp256",
            "chacha20poly1305-prfsha512-ecp384",
            "aes256-sha256-prfsha256-x25519",
        )
    ),
    child_suites=(parse_child("aes256gcm16"), parse_child("aes256-sha256")),
    local_ts=ANY,
    remote_ts=ANY,
    fragment_octets=65_535,  # so that a test reads whole messages
)

PEER = Peer(
    local_id=CLIENT_ID,
    remote_id=GATEWAY_ID,
    psk=PSK,
    suites=SETTINGS.suites[:1],
    child_suites=SETTINGS.child_suites[:1],
    local_ts=ANY,
    remote_ts=ANY,
    retransmit=RetransmitPolicy(initial_s=0.5, factor=2.0, tries=4),
)
