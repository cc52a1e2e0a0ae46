"""The durable write that goes with a Step: which kind, under which generation, with which record.

Rules: pure. The record holds the answer that leaves once it is durable (promise 6). An end has no
record.
"""

from proto.ike import record
from proto.ike.core import Context, SaCore
from proto.ike.effects import Persist, PersistKind
from proto.ike.ticket import BY_REFERENCE

_REDEEM = PersistKind.REDEEM

FIRST_IDS = (0, 0)
"""Of an SA that a rekey made (RFC 7296 2.2)."""
ENDINGS = (PersistKind.END, PersistKind.REVOKE)
BEGINNINGS = (PersistKind.CREATE, PersistKind.REDEEM)
"""Kinds that move the chain to `core`'s generation: what must hold before is one less."""


def rekeyed(
    before: SaCore, former: bytes, new: SaCore, ctx: Context, ticket: bytes = b""
) -> Persist:
    """The write that makes `new` take over from `before`; `former` is the record of the SA whose
    peer may want its answer again, or empty; `ticket`: see `persist`.
    """
    octets = record.encode(new, ctx.path, ctx.spis.iv_prefix(new.spi), FIRST_IDS, b"", former)
    return Persist(
        PersistKind.REKEY, new.chain, new.generation - 1, new.spi, octets, before.spi,
        new.expires_wall_s, new.identity, new.authenticated_wall_s, ticket=ticket or None,
        leased=new.leased,
    )  # fmt: skip


def persist(
    before: SaCore,
    core: SaCore,
    kind: PersistKind,
    ids: tuple[int, int],
    reply: bytes,
    ctx: Context,
    ticket: bytes = b"",
    takes: bool = False,
) -> Persist:
    """The write that makes `core` of `before`; `ids` = (expected_id, next_id) afterwards. `ticket`:
    what one by reference in the answer points to. `takes`: its internal addresses are new to it.
    """
    spi, octets = core.spi, b""
    if kind not in ENDINGS:
        octets = record.encode(core, ctx.path, ctx.spis.iv_prefix(spi), ids, reply)
    generation, replaces, redeems, ticket_key = core.generation, b"", None, b""
    if kind in BEGINNINGS:
        generation -= 1
    if kind is _REDEEM:
        replaces, handshake = core.replaces, before.handshake
        if handshake is not None:
            redeems, ticket_key = handshake.ticket, handshake.ticket_key
    was_kept = redeems is not None and redeems.flags & BY_REFERENCE
    return Persist(
        kind, core.chain, generation, spi, octets, replaces, core.expires_wall_s,
        core.identity, core.authenticated_wall_s, redeems, ticket_key,
        ticket if ticket or was_kept else None, core.leased, takes,
    )  # fmt: skip
