"""What must hold in every run, looked at from outside: on the wire, in the store, at both ends.

Rules: a checker only looks; it reads datagrams and recorded events and never the parts under test,
so that a bug can't hide itself. Findings are sentences; an empty list is a good run.

- I3, one voice: nobody says two different things under one message ID (promise 5); of a message in
  fragments that goes for each one of a set (RFC 7383 2.6.1). But for one case: who has adopted an
  SA answers an INFORMATIONAL request once more, under a fence of its own, if no record ever held
  the first answer: that had no effect. What it says of itself may differ, such as a ticket that is
  a reference now.
- I4, no IV twice: an (SA, direction, IV) that was seen before carries the same octets (promise 5).
- I6, single use: a ticket's (chain, generation) gives at most one IKE SA (promise 3).
"""

import hashlib
from collections.abc import Callable

from proto.ike.effects import Path
from proto.ike.enums import FLAG_INITIATOR, FLAG_RESPONSE, ExchangeType, PayloadType
from tests.sim.findings import Findings

HEADER_LEN = 28
SK_IV = slice(HEADER_LEN + 4, HEADER_LEN + 12)
"""Where an SK payload that comes first has its 8-octet IV (RFC 5282 3)."""

SKF_NUMBERS = slice(HEADER_LEN + 4, HEADER_LEN + 8)
"""Fragment number and total of an SKF payload that comes first."""
SKF_IV = slice(HEADER_LEN + 8, HEADER_LEN + 16)

FENCE_LEN = 3
"""Epoch and fence, with which a gateway's IV begins."""

WITHOUT_STATE = (ExchangeType.IKE_SA_INIT, ExchangeType.IKE_SESSION_RESUME)
"""Several members may answer these, and a request may come again with a cookie."""


PROTECTED = (PayloadType.SK, PayloadType.SKF)


class WireChecker:
    """Reads every datagram that is sent."""

    def __init__(
        self,
        findings: Findings | None = None,
        durable: Callable[[bytes], bool] = lambda _digest: False,
    ) -> None:
        """`durable(digest)`: whether a record has held an answer with that SHA-256."""
        self.findings = Findings() if findings is None else findings
        self._durable = durable
        self._said: dict[tuple[bytes | bool, ...], tuple[bytes, bytes]] = {}
        self._under: dict[tuple[bytes | bool, ...], bytes] = {}
        """The same by fence: who was replaced and doesn't know it may answer, too."""
        self._ivs: dict[tuple[bytes, bool, bytes], bytes] = {}

    def see(self, data: bytes, path: Path) -> None:
        """One datagram leaves `path.local`."""
        if len(data) < HEADER_LEN or data[18] in WITHOUT_STATE:
            return
        if data[16] not in PROTECTED:
            return  # INVALID_MAJOR_VERSION and its like: nobody's word, and no SA's (RFC 7296 1.5)
        digest = hashlib.sha256(data).digest()
        spis, flags, message_id = data[:16], data[19], data[20:24]
        from_initiator, is_response = bool(flags & FLAG_INITIATOR), bool(flags & FLAG_RESPONSE)
        whole = data[16] == PayloadType.SK
        iv = data[SK_IV if whole else SKF_IV]
        before = self._ivs.setdefault((spis, from_initiator, iv), digest)
        if before != digest:
            self._find("I4", "one IV for two messages", data, path)
        part = b"" if whole else data[SKF_NUMBERS]
        voice = (spis, from_initiator, is_response, message_id, part)
        fence = iv[:FENCE_LEN]
        before, former_fence = self._said.get(voice, (digest, fence))
        kept = fence > former_fence and self._durable(before)
        informational = data[18] == ExchangeType.INFORMATIONAL
        if informational and is_response and not kept:
            before = self._under.setdefault((*voice, fence), digest)
        if fence >= former_fence:
            self._said[voice] = digest, fence
        if before != digest:
            self._find("I3", "two messages under one message ID", data, path)

    def _find(self, invariant: str, what: str, data: bytes, path: Path) -> None:
        self.findings.broken(
            invariant,
            f"{what}: SPIs {data[:8].hex()} {data[8:16].hex()}, exchange {data[18]}, "
            f"message ID {int.from_bytes(data[20:24], 'big')}, from {path.local[0]}",
        )


class TicketChecker:
    """Is told of every IKE SA that a gateway holds established."""

    def __init__(self, findings: Findings | None = None) -> None:
        self.findings = Findings() if findings is None else findings
        self._holder: dict[tuple[bytes, int], str] = {}

    def established(self, gateway: str, chain: bytes, generation: int, spi: bytes) -> None:
        """`gateway` says that `chain` is at `generation` with this SPI of its own."""
        here = f"{gateway} {spi.hex()}"
        before = self._holder.setdefault((chain, generation), here)
        if before != here:
            self.findings.broken(
                "I6", f"generation {generation} of chain {chain.hex()} twice: {before} and {here}"
            )
