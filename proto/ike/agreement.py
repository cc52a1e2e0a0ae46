"""Key exchanges that take milliseconds: never on the event loop, but as errands.

Rules: which groups these are is a setting. The private value comes from the given randomness, as
everywhere; a peer's value is checked before it is used.
"""

from proto.ike import dh
from proto.ike.core import Context
from proto.ike.dh import KeyExchange
from proto.ike.enums import NotifyType
from proto.ike.errands import Computation, Result
from proto.ike.errors import PeerError
from proto.ike.seams import Rng
from proto.secret import Secret

SEED_OCTETS = 128
"""Randomness for one private value, of any group."""


class _Seed(Rng):
    """Hands the octets of a seed out once."""

    def __init__(self, seed: Secret) -> None:
        self._left = seed.octets

    def bytes(self, n: int) -> bytes:
        """The next `n` octets. Raises ValueError beyond the end."""
        if n > len(self._left):
            raise ValueError(f"{n} octets of a seed that has {len(self._left)}")
        octets, self._left = self._left[:n], self._left[n:]
        return octets


class Answered(Result, frozen=True):
    """Our KE data and the shared secret; None: the peer's value is none of its group."""

    public: bytes
    shared: Secret | None
    why: str = ""


class Answer(Computation, frozen=True):
    """What a responder makes of the peer's KE data, with a key pair out of `seed`."""

    group: int
    peer_public: bytes
    seed: Secret

    def run(self) -> Answered:
        """See `dh.answer`."""
        try:
            return Answered(*dh.answer(self.group, self.peer_public, _Seed(self.seed)))
        except PeerError as error:
            return Answered(b"", None, error.why)


class KeyMade(Result, frozen=True):
    """Our half."""

    exchange: KeyExchange


class MakeKey(Computation, frozen=True):
    """A key pair of `group`, out of `seed`."""

    group: int
    seed: Secret

    def run(self) -> KeyMade:
        """See `KeyExchange.generate`."""
        return KeyMade(KeyExchange.generate(self.group, _Seed(self.seed)))


class Agreed(Result, frozen=True):
    """The shared secret; None: the peer's value is none of its group."""

    shared: Secret | None
    why: str = ""


class Agree(Computation, frozen=True):
    """What our half makes of the peer's."""

    exchange: KeyExchange
    peer_public: bytes

    def run(self) -> Agreed:
        """See `KeyExchange.shared`."""
        try:
            return Agreed(self.exchange.shared(self.peer_public))
        except PeerError as error:
            return Agreed(None, error.why)


def make_key(group: int, ctx: Context) -> KeyExchange:
    """Initiator: a fresh key pair. Raises Misuse for a group that isn't supported; Needed."""
    if group not in ctx.settings.slow_groups:
        return KeyExchange.generate(group, ctx.rng)
    return ctx.need(MakeKey(group, Secret(ctx.rng.bytes(SEED_OCTETS))), KeyMade).exchange


def answer(group: int, peer_public: bytes, ctx: Context) -> tuple[bytes, Secret]:
    """Responder: our KE data, and g^ir. Raises PeerError INVALID_SYNTAX for a value that isn't one,
    Misuse for a group that isn't supported; Needed.
    """
    if group not in ctx.settings.slow_groups:
        return dh.answer(group, peer_public, ctx.rng)
    seed = Secret(ctx.rng.bytes(SEED_OCTETS))
    answered = ctx.need(Answer(group, peer_public, seed), Answered)
    if answered.shared is None:
        raise PeerError(NotifyType.INVALID_SYNTAX, why=answered.why)
    return answered.public, answered.shared


def agree(exchange: KeyExchange, peer_public: bytes, ctx: Context) -> Secret:
    """Initiator: g^ir. Raises PeerError INVALID_SYNTAX for a value that isn't one; Needed."""
    if exchange.group not in ctx.settings.slow_groups:
        return exchange.shared(peer_public)
    agreed = ctx.need(Agree(exchange, peer_public), Agreed)
    if agreed.shared is None:
        raise PeerError(NotifyType.INVALID_SYNTAX, why=agreed.why)
    return agreed.shared
