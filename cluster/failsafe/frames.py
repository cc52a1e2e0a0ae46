"""The frames that members exchange while the store answers nobody; part of `cluster.link.Frame`.

Rules: each is answered or repeated by whoever needs it; a lost one costs time, never safety.
"""

import msgspec


class PledgeAsk(msgspec.Struct, frozen=True, tag="pledge-ask", tag_field="kind"):
    """The store doesn't answer me. Does it answer you? If not: do you pledge to claim nothing of
    mine until I release you?"""

    incarnation: str
    """Of the asker: whose shards it is about."""
    round: int
    """Counts the asker's rounds; a pledge of an earlier one is worth nothing."""


class PledgeAnswer(msgspec.Struct, frozen=True, tag="pledge", tag_field="kind"):
    """The answer to a PledgeAsk."""

    incarnation: str
    round: int
    given: bool
    why: str
    """Why it was not given, for people."""
    roster: dict[str, str]
    """The members that the pledger knows of, so that nobody is left out: name → incarnation."""


class PledgeQuery(msgspec.Struct, frozen=True, tag="pledge-query", tag_field="kind"):
    """I have pledged to that process of yours: does it still need it?"""

    incarnation: str


class PledgeWord(msgspec.Struct, frozen=True, tag="pledge-word", tag_field="kind"):
    """Whether that process of mine still needs pledges. If not, they are released."""

    incarnation: str
    round: int
    """Of the pledgee: what it says holds for this round and those before."""
    needed: bool
    roster: dict[str, str] = {}
    """The frozen roster while it is in failsafe, else empty."""


class Claim(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one operation, carried out without the store, makes of its chain."""

    op_id: bytes
    """16 octets; the last 8 are its number, by which operations on a chain have an order."""
    chain: bytes
    generation: int
    """Of the chain after it."""
    spi: bytes
    """The SA that the chain names after it, at `owner`."""
    shard: int
    owner: str
    incarnation: str
    expires_wall_s: float
    record: bytes
    """Sealed; empty: the record goes, with the SA."""
    ticket: bytes | None
    """Sealed: what tickets by reference point to. Empty: it goes. None: nothing changes."""
    gone: tuple[tuple[int, bytes], ...]
    """Records that go besides: shard and SPI."""
    void: bool
    """The chain goes as well: no ticket of it is good any more."""
    shard_revision: int = 0
    """Of the shard's key, as the owner had it when the record was made."""
    addresses: tuple[bytes, ...] = ()
    """Keys of the internal addresses that the session has."""

    @property
    def number(self) -> int:
        """Later operations have higher ones, those that went to the store too (`cluster.batch`)."""
        return int.from_bytes(self.op_id[-8:], "big")


class ClaimAsk(msgspec.Struct, frozen=True, tag="claim", tag_field="kind"):
    """To the chain's home member: may this operation be the one that moves the chain on?"""

    op_id: bytes
    chain: bytes
    generation: int
    """Of the chain before it."""
    spi: bytes


class ClaimAnswer(msgspec.Struct, frozen=True, tag="claimed", tag_field="kind"):
    """The home's answer; the same however often it is asked."""

    op_id: bytes
    granted: bool


class Hold(msgspec.Struct, frozen=True, tag="hold", tag_field="kind"):
    """To every member of the roster: keep this until the store is back."""

    claim: Claim


class Held(msgspec.Struct, frozen=True, tag="held", tag_field="kind"):
    """It is kept; or not, because the sender knows better of that chain."""

    op_id: bytes
    kept: bool
