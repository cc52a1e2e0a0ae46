"""Key exchanges that take milliseconds: never on the event loop, but as errands.

Rules: which groups these are is a setting. The private value comes from the given randomness, as
everywhere; a peer's value is checked before it is used. What another process is told and answers is
a msgpack array, in a format that only processes of one release see.
"""

import msgspec

from proto.ike import dh
from proto.ike.core import Context
from proto.ike.dh import KeyExchange
from proto.ike.enums import NotifyType
from proto.ike.errands import Computation, Result
from proto.ike.errors import PeerError, WireError
from proto.ike.wire import UNREADABLE
from proto.secret import Secret


class Work(msgspec.Struct, frozen=True, array_like=True):
    """What is to be computed: our KE data, the shared secret, or both."""

    group: int
    private: bytes
    public: bool
    peer_public: bytes
    """Empty: no shared secret is wanted."""


class Done(msgspec.Struct, frozen=True, array_like=True):
    """What came of it; `why` is empty, or says what is wrong with the peer's value."""

    public: bytes = b""
    shared: bytes = b""
    why: str = ""


def compute(request: bytes) -> bytes:
    """The answer to a `Computation.request`, in whichever process. Raises WireError."""
    try:
        work = msgspec.msgpack.decode(request, type=Work)
    except UNREADABLE as error:
        raise WireError(f"no computation: {error}") from None
    return msgspec.msgpack.encode(_do(work))


def _do(work: Work) -> Done:
    half = KeyExchange.from_private(work.group, Secret(work.private))
    try:
        shared = half.shared(work.peer_public).octets if work.peer_public else b""
    except PeerError as error:
        return Done(why=error.why)
    return Done(half.public if work.public else b"", shared)


class _Exchange(Computation, frozen=True):
    """Base of the three kinds, each of which has the first two (a struct can't be abstract)."""

    def work(self) -> Work:
        """What is to be computed."""
        raise NotImplementedError

    def come_to(self, done: Done) -> Result:
        """The result of it."""
        raise NotImplementedError

    def run(self) -> Result:
        """See `Computation`."""
        return self.come_to(_do(self.work()))

    def request(self) -> bytes:
        """See `Computation`."""
        return msgspec.msgpack.encode(self.work())

    def result(self, answer: bytes) -> Result:
        """See `Computation`."""
        try:
            return self.come_to(msgspec.msgpack.decode(answer, type=Done))
        except UNREADABLE as error:
            raise WireError(f"no answer to a computation: {error}") from None


class Answered(Result, frozen=True):
    """Our KE data and the shared secret; None: the peer's value is none of its group."""

    public: bytes
    shared: Secret | None
    why: str = ""


class Answer(_Exchange, frozen=True):
    """What a responder makes of the peer's KE data."""

    group: int
    private: Secret
    peer_public: bytes

    def work(self) -> Work:
        """See `dh.answer`."""
        return Work(self.group, self.private.octets, True, self.peer_public)

    def come_to(self, done: Done) -> Answered:
        """See `Answered`."""
        return Answered(done.public, None if done.why else Secret(done.shared), done.why)


class KeyMade(Result, frozen=True):
    """Our half."""

    exchange: KeyExchange


class MakeKey(_Exchange, frozen=True):
    """A key pair of `group`."""

    group: int
    private: Secret

    def work(self) -> Work:
        """See `KeyExchange.generate`."""
        return Work(self.group, self.private.octets, True, b"")

    def come_to(self, done: Done) -> KeyMade:
        """See `KeyMade`."""
        return KeyMade(KeyExchange.from_private(self.group, self.private, done.public))


class Agreed(Result, frozen=True):
    """The shared secret; None: the peer's value is none of its group."""

    shared: Secret | None
    why: str = ""


class Agree(_Exchange, frozen=True):
    """What our half makes of the responder's."""

    exchange: KeyExchange
    peer_public: bytes

    def work(self) -> Work:
        """See `KeyExchange.shared`."""
        return Work(self.exchange.group, self.exchange.private.octets, False, self.peer_public)

    def come_to(self, done: Done) -> Agreed:
        """See `Agreed`."""
        return Agreed(None if done.why else Secret(done.shared), done.why)


def make_key(group: int, ctx: Context) -> KeyExchange:
    """Initiator: a fresh key pair. Raises Misuse for a group that isn't supported; Needed."""
    if group not in ctx.settings.slow_groups:
        return KeyExchange.generate(group, ctx.rng)
    return ctx.need(MakeKey(group, dh.draw(group, ctx.rng)), KeyMade).exchange


def answer(group: int, peer_public: bytes, ctx: Context) -> tuple[bytes, Secret]:
    """Responder: our KE data, and the shared secret. Raises PeerError INVALID_SYNTAX for a value
    that isn't one, Misuse for a group that isn't supported; Needed.
    """
    private = dh.draw(group, ctx.rng)
    if group not in ctx.settings.slow_groups:
        return dh.answer(group, private, peer_public)
    if not peer_public:
        raise PeerError(NotifyType.INVALID_SYNTAX, why="empty KE data")
    answered = ctx.need(Answer(group, private, peer_public), Answered)
    if answered.shared is None:
        raise PeerError(NotifyType.INVALID_SYNTAX, why=answered.why)
    return answered.public, answered.shared


def agree(exchange: KeyExchange, peer_public: bytes, ctx: Context) -> Secret:
    """Initiator: the shared secret. Raises PeerError INVALID_SYNTAX for a value that isn't one;
    Needed.
    """
    if exchange.group not in ctx.settings.slow_groups:
        return exchange.shared(peer_public)
    if not peer_public:
        raise PeerError(NotifyType.INVALID_SYNTAX, why="empty KE data")
    agreed = ctx.need(Agree(exchange, peer_public), Agreed)
    if agreed.shared is None:
        raise PeerError(NotifyType.INVALID_SYNTAX, why=agreed.why)
    return agreed.shared
