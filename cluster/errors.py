"""Everything that can go wrong in the cluster layer: a closed family.

`Unavailable` says that nothing happened. `Unknown` says that it may have: read before doing it
again.
"""

import enum

import msgspec

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for octets that it can't decode: text that is no UTF-8 and lists that are
nested too deep have exceptions of their own."""


class ClusterError(Exception):
    """Base of the family; each message is one line a person can act on."""


class Trouble(enum.Enum):
    """Why the store didn't do what it was asked, as `cluster.conditions` names it."""

    NO_ANSWER = "no-answer"
    NO_LEADER = "no-leader"
    NO_SPACE = "no-space"
    DENIED = "permission-denied"
    CERTIFICATE = "certificate"
    REWOUND = "store-rewound"


class Unavailable(ClusterError):
    """The operation was not carried out: the store did not answer in time, or would not."""

    def __init__(self, message: str, trouble: Trouble = Trouble.NO_ANSWER) -> None:
        super().__init__(message)
        self.trouble = trouble


class Unknown(ClusterError):
    """The store did not answer in time, and the operation may have been carried out."""


class Compacted(ClusterError):
    """The history asked for is gone: scan again and watch from there."""

    def __init__(self, compact_revision: int) -> None:
        super().__init__(f"history before revision {compact_revision} is compacted")
        self.compact_revision = compact_revision


class LeaseLost(ClusterError):
    """The lease has expired or was revoked: whatever hung on it is gone."""


class Conflict(ClusterError):
    """A compare failed: somebody else changed it first; re-read."""


class Stale(Conflict):
    """What a decision was founded on has changed since it was read: decide anew."""


class NameTaken(ClusterError):
    """A live member has this name and another data directory."""


class WrongKek(ClusterError):
    """The key-encryption key at hand doesn't open what is stored; nothing was overwritten."""


class Incompatible(ClusterError):
    """What is stored was made by a release or a cluster that this member can't join."""
