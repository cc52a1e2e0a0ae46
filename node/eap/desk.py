"""Which handshake is in which conversation: between the core's errands and the back ends.

Rules: a conversation is kept under the name of the IKE SA that it belongs to, from its first
packet to its result, for a bounded time, and there is a bounded number of them. A new first packet
under a name ends what was there. Each end is counted, a success is said in the log with who it was;
a failure by whoever tells of the IKE SA.
"""

import msgspec

from cluster.seams import Clock
from node.eap.method import Asked, Backend, Conversation, Failure, Reason, Round, Success
from node.eap.packet import name_of_type
from node.metrics import Counts
from node.observe import SparseLog


class _Held(msgspec.Struct):
    conversation: Conversation
    asked: Asked
    ends_boot_s: float
    is_judged: bool = False
    """Its failure is counted and said already: a peer that is told of it may leave without a word,
    and then its IKE SA doesn't fail, but is forgotten.
    """


class EapDesk:
    """See the module."""

    def __init__(
        self,
        backend: Backend,
        clock: Clock,
        log: SparseLog,
        ended: Counts,
        *,
        at_most: int,
        lifetime_s: float,
    ) -> None:
        """`ended`: conversations that came to a result are counted there, by outcome.
        `lifetime_s`: no handshake takes longer.
        """
        self._backend = backend
        self._clock = clock
        self._log = log
        self._at_most = at_most
        self._lifetime_s = lifetime_s
        self._ended_as = ended
        self._held: dict[bytes, _Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    async def begin(self, key: bytes, asked: Asked, packet: bytes = b"") -> Round:
        """A new conversation under `key`: at a gateway the first request, at a client what the
        gateway's first `packet` leads to.
        """
        self.forget(key)
        self._tidy()
        if len(self._held) >= self._at_most:
            failure = Failure(Reason.BUSY, f"{self._at_most} conversations under way", "")
            return self._ended(asked, Round(b"", failure))
        ends_s = self._clock.boot_s() + self._lifetime_s
        held = _Held(self._backend.converse(asked), asked, ends_s)
        self._held[key] = held
        return await self._round(key, held, packet)

    async def go_on(self, key: bytes, packet: bytes) -> Round:
        """What the peer's `packet` leads to in the conversation under `key`."""
        held = self._held.get(key)
        if held is None or not packet:
            asked = Asked("", "") if held is None else held.asked
            why = "no conversation is under way" if held is None else "an empty packet"
            self.forget(key)
            return self._ended(asked, Round(b"", Failure(Reason.MALFORMED, why)))
        return await self._round(key, held, packet)

    def forget(self, key: bytes) -> None:
        """Nothing more comes under `key`."""
        held = self._held.pop(key, None)
        if held is not None:
            held.conversation.close()

    async def _round(self, key: bytes, held: _Held, packet: bytes) -> Round:
        went = await held.conversation.answer(packet)
        if went.verdict is not None and not held.is_judged:
            held.is_judged = True
            self._failed(held.asked, went.verdict)
        if went.result is None:
            return went
        if self._held.get(key) is held:
            self.forget(key)
        return went if held.is_judged else self._ended(held.asked, went)

    def _ended(self, asked: Asked, went: Round) -> Round:
        if isinstance(went.result, Success):
            self._ended_as.add("success")
            done = went.result
            self._log.info(
                "eap: success",
                identity=done.identity,
                remote=asked.remote,
                method=name_of_type(done.method),
                classes=[octets.hex() for octets in done.classes],
            )
        elif isinstance(went.result, Failure):
            # the IKE SA that fails with it is told of in the log, once
            self._ended_as.add(went.result.reason.value)
        return went

    def _failed(self, asked: Asked, failure: Failure) -> None:
        self._ended_as.add(failure.reason.value)
        self._log.info(
            f"eap: {failure.reason.value}",
            identity=failure.identity or asked.identity,
            remote=asked.remote,
            why=failure.why,
        )

    def _tidy(self) -> None:
        """Forget those whose time is over: they were begun first."""
        now_s = self._clock.boot_s()
        for key, held in list(self._held.items()):
            if held.ends_boot_s > now_s:
                return
            self.forget(key)
