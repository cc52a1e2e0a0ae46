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
    roster: tuple[str, ...]
    """The members that the pledger knows of, so that nobody is left out."""


class PledgeQuery(msgspec.Struct, frozen=True, tag="pledge-query", tag_field="kind"):
    """I have pledged to that process of yours: does it still need it?"""

    incarnation: str


class PledgeWord(msgspec.Struct, frozen=True, tag="pledge-word", tag_field="kind"):
    """Whether that process of mine still needs pledges. If not, they are released."""

    incarnation: str
    round: int
    """Of the pledgee: what it says holds for this round and those before."""
    needed: bool
    roster: tuple[str, ...] = ()
    """The frozen roster while it is in failsafe, else empty."""
