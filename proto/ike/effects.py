"""What goes into the core and what comes out of it.

Rules: an Outcome is carried out in the order of its fields: durable write, then kernel, then send,
then events. An Outcome with a `persist` waits for the write; `Endpoint.settle` is told how that
ended. Everything here is immutable.
"""

import enum
from typing import NamedTuple

import msgspec

from proto.ike.errands import Errand
from proto.ike.events import Dropped, Event
from proto.ike.kdf import split_keymat
from proto.ike.payloads import TrafficSelector
from proto.ike.pools import Leased
from proto.ike.reference import Reference
from proto.ike.suite import ChildSuite
from proto.ike.ticket import TicketBody
from proto.secret import Secret

Address = tuple[str, int]
"""IP address in text form and UDP port."""


class Now(msgspec.Struct, frozen=True, gc=False):
    """The time, given to the core with every call."""

    boot_s: float
    """CLOCK_BOOTTIME: timers and deadlines."""
    wall_s: float
    """Seconds since 1970: what is written into tickets and records."""


class Path(msgspec.Struct, frozen=True, gc=False):
    """Between which addresses a datagram travelled. A reply takes the same path back."""

    local: Address
    remote: Address
    via: str = ""
    """The member at whose socket it arrived, where that isn't this one."""


class Progress(NamedTuple):
    """How far an established SA has come: what changes without a durable write."""

    ids: tuple[int, int]
    """(message ID of the peer's next request, of our next request)."""
    path: Path
    heard_boot_s: float
    """When the peer was heard last, on the boot clock."""


class Datagram(msgspec.Struct, frozen=True, gc=False):
    """One UDP payload to be sent from `path.local` to `path.remote`."""

    data: bytes
    path: Path


class PersistKind(enum.Enum):
    """What a durable write does to the session chain (`generation` is what must hold before it)."""

    CREATE = "create"
    """The chain must not exist; it names this SPI now, generation 1."""
    REDEEM = "redeem"
    """The chain is at `generation`; it names this SPI now, generation + 1. `replaces` goes."""
    REKEY = "rekey"
    """As REDEEM, without a ticket: the SA that is `replaces` was rekeyed."""
    WRITE = "write"
    """The chain is at `generation`; only the record changes."""
    END = "end"
    """The chain is at `generation`; the record goes, the chain stays: its ticket still works."""
    REVOKE = "revoke"
    """The chain is at `generation`; record and chain go: no ticket of it works any more."""

    # by identity, in C: looked up for every write
    __hash__ = object.__hash__


class Persist(msgspec.Struct, frozen=True, gc=False):
    """One durable write; all or nothing."""

    kind: PersistKind
    chain: bytes
    """Session chain id, 16 octets."""
    generation: int
    spi: bytes
    """The gateway's SPI of the IKE SA, 8 octets."""
    record: bytes
    """Encoded IKE SA record, which holds keys in clear; empty with END and REVOKE."""
    replaces: bytes
    """The gateway's SPI of the SA that this one replaces (REDEEM, REKEY), or empty."""
    expires_wall_s: float
    """When neither the SA nor any ticket of the chain can be valid any more."""
    identity: str = ""
    """Whose session it is; compared with revocations, never stored."""
    authenticated_wall_s: float = 0.0
    """When the original authentication was."""
    redeems: TicketBody | None = None
    """The ticket that is used up (REDEEM)."""
    ticket_key: bytes = b""
    """The ring's key that it was sealed under."""
    ticket: bytes | None = None
    """What a ticket by reference points to, a key in clear: kept under the chain from now on.
    Empty: what was kept goes. None: nothing changes. With REVOKE it goes in any case.
    """
    leased: tuple[Leased, ...] = ()
    """The internal addresses that the session has: they come and go with the chain."""
    takes: bool = False
    """Are they new to the session? Then nobody else may have them."""

    def __repr__(self) -> str:
        return f"<Persist {self.kind.value} {self.spi.hex()} {self.chain.hex()}/{self.generation}>"


class Settlement(enum.Enum):
    """How a durable write ended."""

    DURABLE = "durable"
    REFUSED = "void: its ticket was used, or it is revoked"
    """The chain had moved on: this ticket or this SA is void."""
    FENCED = "fenced"
    """The shard has another owner: say nothing, drop the SA."""


class InstallChild(msgspec.Struct, frozen=True, gc=False):
    """Install a pair of ESP SAs. Its keys are split when asked for: a null kernel never does."""

    spi_in: bytes
    spi_out: bytes
    suite: ChildSuite
    keymat: Secret
    """KEYMAT whole (RFC 7296 2.17)."""
    initiator: bool
    """Did we start the exchange? Then the initiator's keys are those that we send under."""
    local_ts: tuple[TrafficSelector, ...]
    remote_ts: tuple[TrafficSelector, ...]
    path: Path
    encapsulated: bool = False
    """ESP travels in UDP between the ports of `path` (RFC 3948)."""
    transport: bool = False
    """In transport mode, in place of tunnel mode."""
    inbound_only: bool = False
    """Inherited from another owner, whose kernel may still count under the outbound key: nothing is
    ever sent under it here."""

    @property
    def keys_in(self) -> tuple[Secret, Secret]:
        """Encryption key (with an AEAD's salt) and integrity key (empty with an AEAD), inbound."""
        keys = split_keymat(self.suite, self.keymat)
        return (keys.encr_r, keys.integ_r) if self.initiator else (keys.encr_i, keys.integ_i)

    @property
    def keys_out(self) -> tuple[Secret, Secret]:
        """The same, outbound."""
        keys = split_keymat(self.suite, self.keymat)
        return (keys.encr_i, keys.integ_i) if self.initiator else (keys.encr_r, keys.integ_r)


class UpdateChild(msgspec.Struct, frozen=True, gc=False):
    """The pair of ESP SAs with this inbound SPI has other outer addresses or ports from now on."""

    spi_in: bytes
    path: Path
    encapsulated: bool
    """See `InstallChild`."""


class RemoveChild(msgspec.Struct, frozen=True, gc=False):
    """Remove the pair of ESP SAs that has this inbound SPI."""

    spi_in: bytes


KernelOp = InstallChild | UpdateChild | RemoveChild


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What one input led to; see the module for the order in which it is carried out."""

    spi: bytes = b""
    """Our SPI of the IKE SA concerned, for `Endpoint.settle`; empty where no SA is."""
    persist: Persist | None = None
    kernel: tuple[KernelOp, ...] = ()
    send: tuple[Datagram, ...] = ()
    events: tuple[Event, ...] = ()
    look_up: bytes = b""
    """A ticket key identity that isn't known here: look at the ring once, then present the datagram
    again.
    """
    confirm: TicketBody | None = None
    """A ticket that may have been used: ask the session chain, then present the datagram again."""
    fetch: Reference | None = None
    """A ticket by reference: ask its chain, and for what is kept under it, then present the
    datagram again with both.
    """
    errand: Errand | None = None
    """To be carried out, with nothing else beside it; `Endpoint.done` is told what came of it."""


def ignored(reason: str) -> Outcome:
    """Nothing happens but a count."""
    return Outcome(events=(Dropped(b"", reason),))
