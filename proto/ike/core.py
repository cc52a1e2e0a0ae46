"""The immutable state of one IKE SA, and what a handler is given and gives back.

Rules: a handler maps (SaCore, Message, Context) to a Step. If it raises, nothing happened. What a
handshake needs only until IKE_AUTH lives in `Handshake` and is dropped with it: an idle session is
to be small.
"""

import enum
from typing import TypeVar

import msgspec

from proto.ike.auth import ResumeForm
from proto.ike.connection import BOTH_FORMS, DEFAULT, Connection, Connections, Method
from proto.ike.cookie import CookieSecrets
from proto.ike.credentials import Credentials
from proto.ike.dh import MODP, KeyExchange
from proto.ike.effects import KernelOp, Now, Path, PersistKind
from proto.ike.enums import NotifyType
from proto.ike.errands import Errand, Needed, Result, Undone
from proto.ike.errors import PeerError
from proto.ike.events import Event
from proto.ike.kdf import SaKeys
from proto.ike.nat import BETWEEN
from proto.ike.payloads import CertreqPayload, IdPayload, NotifyPayload, Payload, TrafficSelector
from proto.ike.pools import NO_ADDRESSES, Addresses, Leased
from proto.ike.ppk import Ppk, PpkUse
from proto.ike.redirect import Target
from proto.ike.refusals import NO_REFUSALS, Refusals
from proto.ike.rounds import Proof, Proving, Rounds
from proto.ike.seams import Rng, SpiSpace
from proto.ike.suite import ChildSuite, ChildSuites, Suite, Suites
from proto.ike.ticket import ClientTicket, TicketBody, TicketForm, TicketKeys
from proto.secret import Secret

R = TypeVar("R", bound=Result)

replace = msgspec.structs.replace
"""A changed copy of an immutable value."""


class State(enum.Enum):
    """Where an IKE SA stands. The first two are the responder's half-open ones, the next five the
    initiator's.
    """

    INIT_ANSWERED = "IKE_SA_INIT answered, waiting for IKE_AUTH"
    RESUME_ANSWERED = "IKE_SESSION_RESUME answered, waiting for IKE_AUTH"
    INIT_SENT = "IKE_SA_INIT sent"
    RESUME_SENT = "IKE_SESSION_RESUME sent"
    INTERMEDIATE_SENT = "IKE_INTERMEDIATE sent"
    AUTH_SENT = "IKE_AUTH sent"
    RESUME_AUTH_SENT = "IKE_AUTH of a resumption sent"
    ESTABLISHED = "established"
    REKEYED = "rekeyed: another IKE SA has taken over, only the Delete is still to come"
    DEAD = "dead"

    # by identity, in C: half the key by which each request is looked up
    __hash__ = object.__hash__


class Child(msgspec.Struct, frozen=True, gc=False):
    """One pair of ESP SAs."""

    spi_in: bytes
    spi_out: bytes
    suite: ChildSuite
    local_ts: tuple[TrafficSelector, ...]
    remote_ts: tuple[TrafficSelector, ...]
    keymat: Secret
    """encr_i ‖ integ_i ‖ encr_r ‖ integ_r, for the record: an adopter installs it inbound only."""
    initiator: bool = False
    """Did we start the exchange that made it? Then we send under the initiator's keys."""
    rekeyed: bool = False
    """Another one has taken over; only its Delete is still to come."""
    transport: bool = False
    """In transport mode, in place of tunnel mode."""


class Work(enum.Enum):
    """What we may want of the peer on an established SA, beside a sign of life."""

    NEW_CHILD = "a new Child SA"
    REKEY_CHILD = "a Child SA rekeyed"
    REKEY_IKE = "the IKE SA rekeyed"
    DELETE_CHILD = "a Child SA deleted"
    UPDATE_ADDRESSES = "our new addresses used"
    CHECK_PATH = "proof that the peer is where it says"
    ASK_TICKET = "a ticket"


class Want(msgspec.Struct, frozen=True, gc=False):
    """Something to be asked for, when no other request of ours is outstanding."""

    work: Work
    child: bytes = b""
    """REKEY_CHILD, DELETE_CHILD: our inbound SPI of it."""
    after_s: float = 0.0
    """Not before, on the boot clock."""
    tries: int = 0
    """How often it was asked for in vain."""
    group: int = 0
    """The key exchange method that the peer wants; 0: ours."""


class Rival(msgspec.Struct, frozen=True, gc=False):
    """The peer's rekey of what we are rekeying ourselves (RFC 7296 2.8.1, 2.8.2)."""

    nonce: bytes
    """The lower one of its exchange."""
    child: bytes = b""
    """Our inbound SPI of the Child SA that it made."""


class Series(msgspec.Struct, frozen=True):
    """A CREATE_CHILD_SA with additional key exchanges, as it stands between two exchanges
    (`proto.ike.exchanges.series`): an IKE SA that is rekeyed has a `suite`, a Child SA a `child`.
    """

    more: tuple[int, ...]
    """Those that are still to be done, in order."""
    nonces: tuple[bytes, bytes]
    """(Ni, Nr)"""
    secrets: tuple[Secret, ...]
    """Of those that are done, CREATE_CHILD_SA's own first; none: a Child SA without any."""
    suite: Suite | None = None
    spis: tuple[bytes, bytes] = (b"", b"")
    """(SPIi, SPIr) of the IKE SA."""
    ticket: bool = False
    """Responder: the peer asks for a ticket of the IKE SA."""
    child: Child | None = None
    """Without its keys."""
    former: bytes = b""
    """Our inbound SPI of the Child SA that it is to replace."""
    link: bytes = b""
    """Responder: what the next request has to say."""
    until_s: float = 0.0
    """Responder: until when it is waited for, on the boot clock."""

    def after(self, shared: Secret) -> "Series":
        """The same with one more exchange done."""
        return replace(self, more=self.more[1:], secrets=(*self.secrets, shared))


class Asking(msgspec.Struct, frozen=True):
    """What our outstanding request is for, with our half of the exchange."""

    want: Want
    nonce: bytes = b""
    spi: bytes = b""
    """Ours of the SA to be made: 8 octets of an IKE SA, 4 of a Child SA."""
    exchange: KeyExchange | None = None
    rival: Rival | None = None
    series: Series | None = None
    """The request is an IKE_FOLLOWUP_KE, which goes on with this."""
    path: Path | None = None
    """On which it was sent, where the answer is about that."""


class Handshake(msgspec.Struct, frozen=True, gc=False):
    """What is needed until IKE_AUTH has ended, and not longer."""

    nonce_i: bytes
    nonce_r: bytes = b""
    message_1: bytes = b""
    """RealMessage1: the last request of the first exchange, octet for octet."""
    message_2: bytes = b""
    ticket: TicketBody | None = None
    """Responder of a resumption: what the ticket held."""
    ticket_key: bytes = b""
    """The id of the ring's key that it was sealed under."""
    client_ticket: ClientTicket | None = None
    """Initiator of a resumption: what is stored with the ticket."""
    exchange: KeyExchange | None = None
    """Initiator: our half of the key exchange."""
    peer: "Peer | None" = None
    """Initiator: whom we talk to."""
    child_spi: bytes = b""
    nat_path: Path | None = None
    """Initiator: the way to the peer through the ports that NATs let pass; None: there is none."""
    shown: tuple[NotifyPayload, ...] = ()
    """Initiator: NAT_DETECTION of the first request."""
    cookie: bytes = b""
    """Initiator: what the responder asked us to bring."""
    retries: int = 0
    """Initiator: COOKIE and INVALID_KE_PAYLOAD answers followed so far."""
    hashes: frozenset[int] | None = None
    """Those that the peer can check signatures with; None: one of the two announced none."""
    requests: tuple[CertreqPayload, ...] = ()
    """Initiator: what the gateway told of the certificates that it believes."""
    multiple: bool = False
    """Initiator: the responder takes several authentications (RFC 4739)."""
    rounds: Rounds | None = None
    """Responder, once the first request of IKE_AUTH was answered."""
    proving: Proving = Proving()
    """Initiator."""
    more: tuple[int, ...] = ()
    """Additional key exchanges that are still to be done."""
    exchanges: int = 0
    """IKE_INTERMEDIATE exchanges that were done."""
    int_auth_i: bytes = b""
    """What AUTH covers of their requests, and of their responses (`proto.ike.intermediate`)."""
    int_auth_r: bytes = b""
    ppk: PpkUse = PpkUse.OFF
    why: str = ""
    """Initiator: the last unauthenticated error seen; believed only if nothing better comes."""


class SaCore(msgspec.Struct, frozen=True, gc=False):
    """One IKE SA. `spi_i` and `spi_r` are of the original initiator and responder."""

    state: State
    initiator: bool
    """Are we the original initiator?"""
    spi_i: bytes
    spi_r: bytes
    suite: Suite | None = None
    keys: SaKeys | None = None
    handshake: Handshake | None = None
    idi: IdPayload | None = None
    idr: IdPayload | None = None
    identity: str = ""
    """The peer's authenticated identity, in text."""
    auth_method: str = ""
    """How: `psk`, `certificate`, `null`, `eap-` and the method; several with a `+` between."""
    certificate: bytes = b""
    """By which one, as `proto.ike.proofs.ChainChecked.certificate` has it."""
    authenticated_wall_s: float = 0.0
    """When, originally."""
    chain: bytes = b""
    generation: int = 0
    """Of the chain; 0: the store holds nothing of this SA (a client's; one that was revoked)."""
    replaces: bytes = b""
    resumed: bool = False
    established_wall_s: float = 0.0
    expires_wall_s: float = 0.0
    auth_deadline_wall_s: float = 0.0
    """When the original authentication ends; no resumption moves it: a chain can't outlive it."""
    fragmentation: bool = False
    """Both sides announced IKEV2_FRAGMENTATION_SUPPORTED in the first exchange (RFC 7383)."""
    nat: int = 0
    """What was found of NATs: a sum of the flags in `proto.ike.nat`."""
    mobike: bool = False
    """Both sides announced MOBIKE_SUPPORTED (RFC 4555)."""
    peer_addresses: tuple[str, ...] = ()
    """The peer's addresses beside the one in use, as it told them."""
    seen_as: bytes = b""
    """Behind a NAT: as what the peer saw us last, hashed."""
    children: tuple[Child, ...] = ()
    client: bool = False
    """Did we begin the session? An IKE rekey may make either end the original initiator."""
    connection: str = DEFAULT
    """The name of the connection that admitted the peer (`proto.ike.connection`)."""
    follows: bool = False
    """Gateway: may the peer be redirected (RFC 5685 3)?"""
    leased: tuple[Leased, ...] = ()
    """Gateway: the internal addresses that the session has."""
    ticketed: bool = False
    """Gateway: was a ticket issued that redeems this generation?"""
    ppk: bool = False
    """A PPK was mixed into the keys that these come of (RFC 8784)."""
    window: int = 1
    """How many requests of ours the peer takes at a time."""
    asking: Asking | None = None
    """Our outstanding request, where it is for more than a sign of life."""
    series: Series | None = None
    """What the peer's next IKE_FOLLOWUP_KE goes on with; no record has it."""

    @property
    def spi(self) -> bytes:
        """Our own SPI."""
        return self.spi_i if self.initiator else self.spi_r

    @property
    def peer_spi(self) -> bytes:
        """The peer's SPI."""
        return self.spi_r if self.initiator else self.spi_i

    @property
    def encapsulated(self) -> bool:
        """Does ESP travel in UDP?"""
        return self.nat & BETWEEN != 0


class Step(msgspec.Struct, frozen=True, gc=False):
    """What a handler made of a message: the new state, the reply's payloads, the effects."""

    core: SaCore
    reply: tuple[Payload, ...] = ()
    persist: PersistKind | None = None
    kernel: tuple[KernelOp, ...] = ()
    events: tuple[Event, ...] = ()
    ticket: bytes = b""
    """What a ticket by reference, in the reply, points to; goes with `persist`."""
    takes: bool = False
    """The internal addresses of `core` are new to the session; goes with `persist`."""
    successor: SaCore | None = None
    """The IKE SA that takes over; REKEYED: one that lost against the peer's, and is deleted."""
    wants: tuple[Want, ...] = ()
    path: Path | None = None
    """The SA's path from now on, where the peer has moved it (RFC 4555)."""


class RetransmitPolicy(msgspec.Struct, frozen=True):
    """When an unanswered request is sent again (RFC 7296 2.1): initial, initial × factor, …"""

    initial_s: float = 0.5
    factor: float = 1.8
    tries: int = 5
    """How often it is sent in all before the peer counts as dead."""


class Peer(msgspec.Struct, frozen=True):
    """Initiator: whom we talk to, what we offer. `local_id` is of kind IDi, `remote_id` of IDr."""

    local_id: IdPayload
    remote_id: IdPayload
    psk: Secret | None
    """What is shared with the gateway, if anything."""
    suites: Suites
    child_suites: ChildSuites
    local_ts: tuple[TrafficSelector, ...]
    remote_ts: tuple[TrafficSelector, ...]
    resume_form: ResumeForm = ResumeForm.RFC
    ppk: Ppk | None = None
    """What is mixed in where the gateway has it as well (RFC 8784)."""
    ppk_required: bool = False
    """And where it hasn't, there is no session."""
    follows: bool = False
    """We go where a gateway redirects us to (RFC 5685)."""
    redirected_from: str = ""
    """The address of the gateway that has redirected us to this one, if one has."""
    families: tuple[int, ...] = ()
    """IP versions of which an internal address is asked for."""
    retransmit: RetransmitPolicy = RetransmitPolicy()
    transport: bool = False
    """Child SAs are to be in transport mode."""
    initial_contact: bool = False
    """We have no other session with this gateway, and it may end what it takes for one."""
    nack_wait_s: float = 0.1
    """How long a genuine answer may still come after a TICKET_NACK, which anybody can forge
    (RFC 7296 2.21.1).
    """
    proofs: tuple[Proof, ...] = ()
    """What we prove, one after the other; none: the pre-shared key."""
    remote_auth: Method = Method.PSK
    """What the gateway must prove; EAP: that it may leave that to EAP (RFC 5998)."""
    requests: tuple[CertreqPayload, ...] = ()
    """What the gateway is told of the certificates that we believe."""

    @property
    def to_prove(self) -> tuple[Proof, ...]:
        """`proofs`, or the pre-shared key."""
        return self.proofs or (Proof(Method.PSK, self.local_id, self.psk),)


class Settings(msgspec.Struct, frozen=True):
    """What an endpoint is configured with; every limit and period has its unit in its name."""

    local_id: IdPayload
    """The cluster's identity, of kind IDr, where a connection has no other."""
    realm: bytes
    """Bound into every ticket: the cluster's name."""
    suites: Suites
    child_suites: ChildSuites
    local_ts: tuple[TrafficSelector, ...]
    remote_ts: tuple[TrafficSelector, ...]
    ike_sa_lifetime_s: float = 14400.0
    authentication_lifetime_s: float = 86400.0
    ticket_lifetime_s: float = 3600.0
    ticket_skew_s: float = 5.0
    ticket_form: TicketForm = TicketForm.AUTO
    ticket_octets_max: int = 1000
    """AUTO: a ticket by value is no longer; an IKE_SESSION_RESUME with it fits 1280 octets."""
    half_open_max: int = 4096
    """Of full handshakes, and as many of resumptions."""
    half_open_timeout_s: float = 30.0
    cookie_threshold: int = 1024
    half_open_source_max: int = 1024
    """Of full handshakes from one source (`proto.ike.half_open`)."""
    cookie_source_threshold: int = 128
    redirect: Target | None = None
    """Responder: who follows is sent there with his first request (RFC 5685 3)."""
    redirect_at: tuple[str, ...] = ()
    """Our addresses at which that is so, an anycast one for example; none: at all of them."""
    nat_traversal: bool = False
    """Responder: we listen at ports that NATs let pass, and look for NATs (RFC 7296 2.23)."""
    encapsulate_always: bool = False
    """The peer is to believe in a NAT: ESP travels in UDP in any case."""
    nat_keepalive_s: float = 20.0
    """A NAT that we are behind has its mapping kept after so long without a word; 0 = never."""
    mobike: bool = False
    """Peers may change their addresses, and we ours."""
    no_nats: bool = False
    """Client: MOBIKE without NAT traversal too, which forbids NATs (RFC 4555 3.9)."""
    additional_addresses: tuple[str, ...] = ()
    """Gateway: IP addresses at which the same cluster is reached."""
    mobike_from: tuple[str, ...] = ()
    """Gateway: networks that clients may move to; empty: any."""
    resume_undetected: bool = False
    """A session that was behind a NAT may be resumed by a client that looks for none."""
    fragment_octets: int = 1280
    """The longest IP datagram of a message: beyond it messages are sent in fragments, where the
    peer takes them (RFC 7383).
    """
    liveness_interval_s: float = 60.0
    """After this silence of an established peer we ask whether it lives; 0 = never."""
    ike_rekey_s: float = 0.0
    """Age at which we rekey an IKE SA, up to a tenth earlier; 0 = never."""
    child_rekey_s: float = 0.0
    """The same for a Child SA."""
    child_pfs: bool = True
    """A Child SA that we ask for has a key exchange of its own, where the peer agrees."""
    resume_forms: tuple[ResumeForm, ...] = BOTH_FORMS
    transport: bool = False
    """Child SAs are in transport mode where the peer agrees."""
    connections: tuple[Connection, ...] = ()
    """In the order in which they are tried; none: one for everybody, made of the above."""
    revoke_on_delete: bool = False
    requests: tuple[CertreqPayload, ...] = ()
    """What peers are told of the certificates that we believe (RFC 7296 3.7, RFC 4806 3.1)."""
    use_ppk: bool = False
    """Gateway: there are PPKs, at least for some peers (RFC 8784)."""
    slow_groups: tuple[int, ...] = MODP
    """Key exchange methods that are computed by errand, and only after a cookie."""
    epoch: int = 0
    retransmit: RetransmitPolicy = RetransmitPolicy()


def connections_of(settings: Settings) -> Connections:
    """Those that there are, or the one for everybody."""
    if settings.connections:
        return Connections(settings.connections)
    everybody = Connection(
        DEFAULT,
        settings.local_id,
        settings.local_ts,
        settings.remote_ts,
        resume_forms=settings.resume_forms,
        transport=settings.transport,
    )
    return Connections((everybody,))


class Context(msgspec.Struct, gc=False):
    """What a handler may use beside the SA's state and the message."""

    now: Now
    path: Path
    """Of the SA."""
    rng: Rng
    settings: Settings
    credentials: Credentials
    spis: SpiSpace
    tickets: TicketKeys
    cookies: CookieSecrets
    connections: Connections
    raw: bytes = b""
    """The datagram as it came."""
    refusals: Refusals = NO_REFUSALS
    addresses: Addresses = NO_ADDRESSES
    came: Path | None = None
    """How it came, where the SA itself uses another path; the answer takes it back."""
    moved: tuple[KernelOp, ...] = ()
    """What the kernel is to be told of the SA's new path."""
    given: tuple[Result, ...] = ()
    """What the errands of this message came to, in order."""
    left: tuple[Result, ...] = ()
    """Those of them that the handler hasn't asked for yet, this time."""

    def connection_of(self, core: SaCore) -> Connection:
        """What holds for an established SA. Raises PeerError TEMPORARY_FAILURE when its connection
        isn't configured here (any more): that of another member may be.
        """
        connection = self.connections.named(core.connection)
        if connection is None:
            why = f"no connection {core.connection!r} is configured here"
            raise PeerError(NotifyType.TEMPORARY_FAILURE, why=why)
        return connection

    def need(
        self,
        errand: Errand,
        kind: type[R],
        otherwise: NotifyType = NotifyType.TEMPORARY_FAILURE,
    ) -> R:
        """What comes of `errand`. Raises Needed until it is there, PeerError `otherwise` where it
        couldn't be done.

        A handler that needs several must ask for those of one kind in the same order each time.
        """
        for at, result in enumerate(self.left):
            if isinstance(result, Undone):
                raise PeerError(otherwise, why=result.why)
            if isinstance(result, kind):
                self.left = self.left[:at] + self.left[at + 1 :]
                return result
        raise Needed(errand)
