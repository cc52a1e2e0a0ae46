"""What was done without the store, by chain: every member of the roster keeps such a ledger. Pure.

Rules: of a chain the newest generation counts, of a generation the newest operation. An SA that the
ledger doesn't name at its generation is void, and so is every ticket of an earlier generation. What
is known from before (`known`) counts like what is kept. An internal address that another chain is
known to have makes an operation void. What this member answered for is written to
the store by itself (`cluster.failsafe.flush`); the rest is kept for when its owner is lost.
"""

from collections.abc import Mapping

import msgspec

from cluster.batch import journal_of
from cluster.failsafe.frames import Claim

CHAINS_MAX = 100_000
"""Chains kept; beyond it no operation of another chain is kept, and so none is answered."""
GONE_MAX = 100
"""Records of one chain that have gone; beyond it the chain moves on no more. All are deleted with
its last step, and of the store's 128 operations the steps of a flush, and the step's own, take 26.
"""
RESERVED_MAX = 100_000
"""Chains granted here as their home; beyond it none is granted."""


class Live(msgspec.Struct, frozen=True, gc=False):
    """The SA that a chain has here, as the store knew it."""

    generation: int
    spi: bytes
    addresses: tuple[bytes, ...] = ()
    """Keys of its internal addresses."""


class Row(msgspec.Struct, frozen=True, gc=False):
    """The newest operation of a chain, and the records that went by those before it."""

    claim: Claim
    gone: tuple[tuple[int, bytes], ...]


def _gone(row: Row | None, claim: Claim) -> tuple[tuple[int, bytes], ...]:
    """The records that have gone once `claim` is the newest of the chain; `row` is what was."""
    if row is None:
        return claim.gone
    last = row.claim
    gone = {*row.gone, *claim.gone, (last.shard, last.spi)}
    return tuple(sorted(gone - {(claim.shard, claim.spi)}))


def _is_of(row: Row, processes: Mapping[str, str]) -> bool:
    return processes.get(row.claim.owner) == row.claim.incarnation


class Ledger:
    """See the module."""

    def __init__(self, known: Mapping[bytes, Live]) -> None:
        """`known`: the chains whose SAs live here as the store's silence began."""
        self.rows: dict[bytes, Row] = {}
        self.unwritten: dict[bytes, None] = {}
        """Chains whose row the store doesn't have yet, and that were answered for here."""
        self._known = dict(known)
        self._leased = {key: chain for chain, live in known.items() for key in live.addresses}
        """Internal addresses → the chains that have them, as far as is known here."""
        self._reserved: dict[bytes, tuple[int, bytes]] = {}

    def grant(self, op_id: bytes, chain: bytes, generation: int, spi: bytes) -> bool:
        """As the chain's home: may that operation move it on from `generation`? The generation is
        granted to a journal: that has one operation of a chain under way at a time, so what it asks
        for has the place of what it has given up.
        """
        if self.behind(chain, generation + 1, spi):
            return False
        journal = journal_of(op_id)
        reserved = self._reserved.get(chain)
        if reserved is not None and reserved[0] >= generation:
            return reserved == (generation, journal)
        if len(self._reserved) >= RESERVED_MAX:
            return False
        self._reserved[chain] = (generation, journal)
        return True

    def keep(self, claim: Claim) -> bool:
        """Take `claim` in; False: something newer is known, or there is no room."""
        row = self.rows.get(claim.chain)
        if row is not None and row.claim.op_id == claim.op_id:
            return True
        if self.behind(claim.chain, claim.generation, claim.spi):
            return False
        if any(self._leased.get(key, claim.chain) != claim.chain for key in claim.addresses):
            return False
        if row is None and len(self.rows) >= CHAINS_MAX:
            return False
        gone = _gone(row, claim)
        if len(gone) > GONE_MAX:
            return False
        self._lease(claim.chain, claim.addresses, claim.void)
        if row is None:
            self.rows[claim.chain] = Row(claim, gone)
            return True
        last = row.claim
        if claim.generation == last.generation and claim.number < last.number:
            self.rows[claim.chain] = msgspec.structs.replace(row, gone=gone)
            return True  # overtaken by a later one of the same SA
        ticket = last.ticket if claim.ticket is None else claim.ticket
        newest = msgspec.structs.replace(claim, ticket=ticket)
        self.rows[claim.chain] = Row(newest, gone)
        return True

    def answered(self, claim: Claim) -> bool:
        """`claim` is answered for here: the store is to have it. False: its chain went on."""
        row = self.rows.get(claim.chain)
        if row is None or row.claim.spi != claim.spi:
            return False
        self.unwritten[claim.chain] = None
        return True

    def committed(self, chain: bytes, live: Live, *, void: bool = False) -> bool:
        """The store has carried out an operation of this member, which ended the chain if `void`;
        whether it may be answered: not if the chain went on without the store meanwhile."""
        if self.behind(chain, live.generation, live.spi):
            return False
        self._known[chain] = live
        self._lease(chain, live.addresses, void)
        return True

    def _lease(self, chain: bytes, addresses: tuple[bytes, ...], void: bool) -> None:
        """The chain has these, or had them until it ended."""
        for key in addresses:
            if void:
                self._leased.pop(key, None)
            else:
                self._leased[key] = chain

    def behind(self, chain: bytes, generation: int, spi: bytes) -> bool:
        """Whether the chain is known to be further than that SA at that generation."""
        row = self.rows.get(chain)
        if row is not None:
            last = row.claim
            if last.generation != generation:
                return last.generation > generation
            return last.spi != spi
        known = self._known.get(chain)
        if known is None or known.generation < generation:
            return False
        return known.generation > generation or known.spi != spi

    def kept(self, chain: bytes, generation: int) -> tuple[bool, bytes] | None:
        """For a ticket by reference: whether that generation is over, and the sealed state that it
        points to. None: what the store has is still good, if anybody has it."""
        row = self.rows.get(chain)
        if row is None:
            return None
        claim = row.claim
        if claim.void or claim.generation != generation:
            return True, b""
        return None if claim.ticket is None else (False, claim.ticket)

    def of_lost(self, lost: Mapping[str, str]) -> list[Row]:
        """What processes that are lost (member → incarnation) had answered for, or may have."""
        return [row for row in self.rows.values() if _is_of(row, lost)]

    def forget(self, through: Mapping[str, str]) -> None:
        """The store has all that these processes (member → incarnation) had answered for."""
        self.rows = {c: r for c, r in self.rows.items() if not _is_of(r, through)}
        self.unwritten = {chain: None for chain in self.unwritten if chain in self.rows}

    def owners(self) -> dict[str, str]:
        """Whose answers are kept here: member → incarnation."""
        return {row.claim.owner: row.claim.incarnation for row in self.rows.values()}
