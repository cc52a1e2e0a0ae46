"""What the tests of rekeys share: a pair about to begin something, and what must hold after it."""

import hashlib
import hmac
import itertools
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from proto.ike.core import Child, SaCore, Settings
from proto.ike.effects import InstallChild
from proto.ike.enums import KeMethod, NotifyType, PayloadType, ProtocolId
from proto.ike.negotiation import child_proposal, proposal
from proto.ike.payloads import (
    KePayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    TsPayload,
)
from tests.pair.pair import LOST, ONCE, Fate, Pair, Side
from tests.pair.parts import ANY, SETTINGS
from tests.pair.states import QUIET

X25519 = KeMethod.CURVE25519
BOTH = pytest.mark.parametrize("by_client", [True, False], ids=["client", "gateway"])


class Up(NamedTuple):
    """A pair with an SA, `side` about to begin something on it."""

    pair: Pair
    side: Side
    other: Side

    @property
    def own(self) -> SaCore:
        """The side's one SA that is in use."""
        (core,) = self.side.live()
        return core

    @property
    def theirs(self) -> SaCore:
        """The other end's."""
        (core,) = self.other.live()
        return core

    def rekey_ike(self) -> None:
        """Begin; nothing is delivered yet."""
        outcome = self.side.endpoint.rekey_ike(self.own.spi, self.pair.now)
        self.pair.carry_out(self.side, outcome)

    def rekey_child(self, child: Child | None = None) -> None:
        """Begin; nothing is delivered yet."""
        spi_in = (child or self.own.children[-1]).spi_in
        outcome = self.side.endpoint.rekey_child(self.own.spi, spi_in, self.pair.now)
        self.pair.carry_out(self.side, outcome)


def both_rekey_ike(at: Up) -> None:
    """At the same instant."""
    at.rekey_ike()
    Up(at.pair, at.other, at.side).rekey_ike()


def both_rekey_child(at: Up) -> None:
    """At the same instant, the same one."""
    at.rekey_child()
    Up(at.pair, at.other, at.side).rekey_child()


Rekeys = Callable[[Up], None]
AT_ONCE = pytest.mark.parametrize("what", [both_rekey_ike, both_rekey_child])
DELAYS = list(itertools.product((0.0, 0.3, 0.9), repeat=4))
"""Of the first four datagrams: in every order, and beside their repeats."""


def late(delays: Sequence[float]) -> Callable[[Side, object], Fate]:
    """The first datagrams come so much later."""
    numbers = itertools.count()

    def deliver(side: Side, datagram: object) -> Fate:
        number = next(numbers)
        return (delays[number],) if number < len(delays) else ONCE

    return deliver


def losing(lost: Collection[int]) -> Callable[[Side, object], Fate]:
    """Datagrams of these numbers don't come."""
    numbers = itertools.count()
    return lambda side, datagram: LOST if next(numbers) in lost else ONCE


def up(by_client: bool = True, settings: Settings = QUIET, resumed: bool = False) -> Up:
    """An established session."""
    pair = Pair(settings)
    first = pair.connect()
    if resumed:
        pair.resume()
        pair.client.endpoint.drop(first, "resumed")  # as a client's shell does
    sides = (pair.client, pair.gateway)
    return Up(pair, *(sides if by_client else reversed(sides)))


def agree(at: Up) -> None:
    """Both ends hold the same IKE SA and mirror-inverted Child SAs, and nothing else."""
    own, theirs = at.own, at.theirs
    assert (own.spi_i, own.spi_r, own.suite) == (theirs.spi_i, theirs.spi_r, theirs.suite)
    assert own.keys == theirs.keys
    assert own.initiator is not theirs.initiator
    assert {(c.spi_in, c.spi_out, c.keymat.octets) for c in own.children} == {
        (c.spi_out, c.spi_in, c.keymat.octets) for c in theirs.children
    }
    for mine, peers in (
        (c, d) for c in own.children for d in theirs.children if c.spi_in == d.spi_out
    ):
        assert mine.initiator is not peers.initiator
        assert (mine.local_ts, mine.remote_ts) == (peers.remote_ts, peers.local_ts)
    assert len(at.side.endpoint.spis()) == len(at.other.endpoint.spis()) == 1
    assert at.pair.check == []
    gateway = at.pair.gateway.live()[0]
    assert at.pair.chains.spi[gateway.chain] == gateway.spi
    assert at.pair.chains.version[gateway.chain] == gateway.generation
    assert list(at.pair.chains.records) == [gateway.spi]


def works(at: Up) -> None:
    """A question on the SA is answered, from either end."""
    for side, core in ((at.side, at.own), (at.other, at.theirs)):
        at.pair.carry_out(side, side.endpoint.probe(core.spi, at.pair.now))
        at.pair.run()
        assert side.endpoint.probe(core.spi, at.pair.now) is not None
        at.pair.run()
    agree(at)


def handed_out(side: Side) -> list[bytes]:
    """The ESP SPIs that `side` draws from here on."""
    given: list[bytes] = []
    draw = side.spis.esp_spi

    def noted(ike_spi: bytes) -> bytes:
        given.append(draw(ike_spi))
        return given[-1]

    side.spis.esp_spi = noted  # type: ignore[method-assign]
    return given


def in_kernel(side: Side) -> list[bytes]:
    """Inbound SPIs that are installed."""
    held: dict[bytes, None] = {}
    for op in side.kernel:
        if isinstance(op, InstallChild):
            held[op.spi_in] = None
        else:
            del held[op.spi_in]
    return list(held)


def ike_request(spi: bytes, nonce: bytes = b"n" * 32) -> list[Payload]:
    """SA, Ni, KEi of a rekey."""
    public = X25519PrivateKey.generate().public_key().public_bytes_raw()
    return [proposal(SETTINGS.suites[:1], spi), NoncePayload(nonce), KePayload(X25519, public)]


def child_request(
    spi: bytes = b"\xc0\x00\x00\x01", rekeys: bytes = b"", nonce: bytes = b"n" * 32
) -> list[Payload]:
    """[N(REKEY_SA),] SA, Ni, TSi, TSr, without a key exchange."""
    head = [NotifyPayload(NotifyType.REKEY_SA, b"", ProtocolId.ESP, rekeys)] if rekeys else []
    return [
        *head,
        child_proposal(SETTINGS.child_suites[:1], spi),
        NoncePayload(nonce),
        TsPayload(PayloadType.TSi, ANY),
        TsPayload(PayloadType.TSr, ANY),
    ]


def mac(key: bytes, data: bytes) -> bytes:
    """prf of RFC 7296 2.13, from Python's own parts."""
    return hmac.new(key, data, hashlib.sha256).digest()


def expand(key: bytes, seed: bytes, length: int) -> bytes:
    """prf+ of RFC 7296 2.13, likewise."""
    out, last = b"", b""
    for number in range(1, length // 32 + 2):
        last = mac(key, last + seed + bytes((number,)))
        out += last
    return out[:length]
