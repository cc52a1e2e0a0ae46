"""The durable form of one IKE SA: what the journal keeps and an adopter starts from.

Rules: one msgpack array, fields only ever appended, readers ignore what they don't know and fill in
what is missing: members one release apart run together. It holds keys in clear: whoever stores it
seals it first. It holds the last response, so that an adopter can answer a repeat of the last
request.
"""

import msgspec

from proto.ike.connection import DEFAULT
from proto.ike.core import Child, SaCore
from proto.ike.effects import Address, Path
from proto.ike.errors import Misuse, WireError
from proto.ike.pools import Leased
from proto.ike.wire import UNREADABLE

FORMAT = 1

ChildRow = tuple[
    bytes,
    bytes,
    tuple[int, int, int, bool],
    tuple[tuple[int | bytes, ...], ...],
    tuple[tuple[int | bytes, ...], ...],
    bytes,
    bool,
    bool,
    bool,
]
"""The fields of `proto.ike.core.Child`, in order."""


class Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One IKE SA as its owner left it. Order is the wire format: append only."""

    format: int
    spi_i: bytes
    spi_r: bytes
    suite: tuple[int, ...]
    """`proto.ike.suite.Suite.numbers`."""
    sk_d: bytes
    sk_ai: bytes
    sk_ar: bytes
    sk_ei: bytes
    sk_er: bytes
    idi_type: int
    idi: bytes
    idr_type: int
    idr: bytes
    identity: str
    auth_method: str
    chain: bytes
    generation: int
    resumed: bool
    established_wall_s: float
    expires_wall_s: float
    auth_deadline_wall_s: float
    fragmentation: bool
    children: tuple[ChildRow, ...]
    local: Address
    remote: Address
    epoch: int
    fence: int
    expected_id: int
    """Message ID of the peer's next request."""
    next_id: int
    """Message ID of our next request."""
    last_reply: bytes
    """The answer to the request before that, octet for octet: an authentic repeat gets it again."""
    initiator: bool = False
    """Are we the original initiator, by a rekey that we began? Then our SPI is `spi_i`."""
    former: bytes = b""
    """The record of the SA that was rekeyed into this one: its peer may want the answer again."""
    connection: str = DEFAULT
    """The name of the connection that admitted the peer."""
    nat: int = 0
    """See `SaCore`."""
    leased: tuple[Leased, ...] = ()
    follows: bool = False
    ticketed: bool = False
    certificate: bytes = b""
    """See `proto.ike.core.SaCore`, of this and the next."""
    authenticated_wall_s: float = 0.0
    mobike: bool = False
    """See `SaCore`; so are those that follow."""
    peer_addresses: tuple[str, ...] = ()
    ppk: bool = False
    window: int = 1

    @property
    def spi(self) -> bytes:
        """The gateway's SPI."""
        return self.spi_i if self.initiator else self.spi_r

    def __repr__(self) -> str:
        return f"<Record {self.spi.hex()} chain {self.chain.hex()}/{self.generation}>"


_astuple = msgspec.structs.astuple
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Record)


def encode(
    core: SaCore,
    path: Path,
    iv_prefix: tuple[int, int],
    ids: tuple[int, int],
    last_reply: bytes,
    former: bytes = b"",
) -> bytes:
    """The record of an established SA; `ids` = (expected_id, next_id), `iv_prefix` = (epoch,
    fence). `former`: see `Record`.
    """
    suite, keys, idi, idr = core.suite, core.keys, core.idi, core.idr
    if suite is None or keys is None or idi is None or idr is None:
        raise Misuse("a record of an SA that isn't established")
    return _ENCODER.encode(
        Record(
            FORMAT,
            core.spi_i,
            core.spi_r,
            suite.numbers,
            keys.d.octets,
            keys.ai.octets,
            keys.ar.octets,
            keys.ei.octets,
            keys.er.octets,
            idi.id_type,
            idi.data,
            idr.id_type,
            idr.data,
            core.identity,
            core.auth_method,
            core.chain,
            core.generation,
            core.resumed,
            core.established_wall_s,
            core.expires_wall_s,
            core.auth_deadline_wall_s,
            core.fragmentation,
            tuple(map(_child_row, core.children)),
            path.local,
            path.remote,
            *iv_prefix,
            *ids,
            last_reply,
            core.initiator,
            former,
            core.connection,
            core.nat,
            core.leased,
            core.follows,
            core.ticketed,
            core.certificate,
            core.authenticated_wall_s,
            core.mobike,
            core.peer_addresses,
            core.ppk,
            core.window,
        )
    )


def _child_row(child: Child) -> ChildRow:
    return (
        child.spi_in,
        child.spi_out,
        _astuple(child.suite),
        tuple(map(_astuple, child.local_ts)),
        tuple(map(_astuple, child.remote_ts)),
        child.keymat.octets,
        child.initiator,
        child.rekeyed,
        child.transport,
    )


def decode(octets: bytes) -> Record:
    """The record in `octets`. Raises WireError where it is none, or of a format we can't read."""
    try:
        record = _DECODER.decode(octets)
    except UNREADABLE as error:
        raise WireError(f"not an IKE SA record: {error}") from None
    if record.format != FORMAT:
        raise WireError(f"IKE SA record of format {record.format}, not {FORMAT}")
    return record
