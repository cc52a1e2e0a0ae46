"""The sealed traffic of one IKE SA: a protection for each direction, IVs, fragments under way.

Rules: what fails its integrity check leaves no trace; an IV is used once. Fragments are made and
taken only where both sides agreed on them, one message at a time; ours are no longer than those in
which the peer's last message came. RFC 7296 3.14, RFC 7383.
"""

from functools import partial

from proto.ike import aead, fragment
from proto.ike.core import SaCore
from proto.ike.enums import FLAG_INITIATOR, ExchangeType, PayloadType
from proto.ike.errors import Misuse, TooLong, WireError
from proto.ike.message import (
    MESSAGE_MAX,
    Header,
    Message,
    decode_inner,
    open_sealed,
    seal,
    unseal,
    with_covered,
)
from proto.ike.payloads import Payload
from proto.ike.seams import Rng

_SKF = PayloadType.SKF
_INTERMEDIATE = int(ExchangeType.IKE_INTERMEDIATE)


class Channel:
    """See the module. Made as soon as an SA has keys."""

    __slots__ = ("_former", "_fragments", "_ivs", "_passes", "_rx", "_tx")

    def __init__(self, core: SaCore, iv_prefix: tuple[int, int]) -> None:
        """`iv_prefix`: (epoch, fence) under which we own the SA."""
        self._tx, self._rx = _protections(core)
        self._former: aead.Protection | None = None
        self._ivs = aead.IvSpace(*iv_prefix)
        self._fragments: tuple[tuple[bool, int], float, fragment.Reassembly] | None = None
        """Of which message, since when, what there is."""
        self._passes = fragment.REASSEMBLY_MAX
        """Octets of a message that is known to pass, where the peer sends fragments."""

    def renew(self, core: SaCore) -> None:
        """Other keys from here on. IVs count on; by the former keys a repeat is still known."""
        self._former = self._rx
        self._tx, self._rx = _protections(core)

    def seal(
        self,
        core: SaCore,
        exchange: int,
        flags: int,
        message_id: int,
        payloads: tuple[Payload, ...],
        rng: Rng,
        octets_max: int,
    ) -> bytes:
        """A message of ours, under a fresh IV; if it would be longer than `octets_max`, in
        fragments, each under an IV of its own (`fragment.apart`). Raises TooLong where it is longer
        than a message can be, and there are no fragments.
        """
        tx = self._tx
        if core.initiator:
            flags |= FLAG_INITIATOR
        head = (core.spi_i, core.spi_r, exchange, flags, message_id, payloads, tx)
        octets_max = min(octets_max, self._passes) if core.fragmentation else MESSAGE_MAX
        try:
            return seal(*head, self._iv(rng), octets_max)
        except TooLong:
            if not core.fragmentation:
                raise
        return b"".join(fragment.seal_fragments(*head, partial(self._iv, rng), octets_max))

    def _iv(self, rng: Rng) -> bytes:
        return self._ivs.next() if self._tx.counter_iv else rng.bytes(self._tx.iv_len)

    def open(
        self, core: SaCore, header: Header, data: bytes, limit: int, boot_s: float
    ) -> Message | None:
        """The opened message; None: a fragment was taken, others are missing. `limit` is in octets.

        Raises WireError; PeerError where it is authentic and malformed.
        """
        if header.next_payload != _SKF:
            return open_sealed(data, header, self._rx)
        if not core.fragmentation:
            raise WireError("fragments, and they weren't agreed on")
        part = fragment.open_fragment(data, header, self._rx)
        kept = self._fragments
        key = (header.is_response, header.message_id)
        if kept is None or kept[0] != key or boot_s > kept[1] + fragment.REASSEMBLY_S:
            kept = self._fragments = (key, boot_s, fragment.Reassembly(limit))
        collected = kept[2]
        whole = collected.add(part)
        if whole is None:
            return None
        self._fragments = None
        if part.total > 1:
            self._passes = max(collected.longest, fragment.OCTETS_MIN)
        first, plaintext = whole
        message = decode_inner(header, first, plaintext)
        if header.exchange == _INTERMEDIATE:
            return with_covered(message, first, plaintext, collected.reserved)
        return message

    def begins_again(self, header: Header, data: bytes) -> bool:
        """Is this message authentic, and whole or the first fragment of its kind: one that asks for
        an answer once more (RFC 7383 2.6.1)? Raises WireError where it isn't authentic.
        """
        try:
            return _begins(header, data, self._rx)
        except WireError:
            if self._former is None:
                raise
            return _begins(header, data, self._former)


def _protections(core: SaCore) -> tuple[aead.Protection, aead.Protection]:
    """What we seal with, and what we open with."""
    suite, keys = core.suite, core.keys
    if suite is None or keys is None:
        raise Misuse("protection before keys")
    initiator = aead.protection(suite, keys.ei, keys.ai)
    responder = aead.protection(suite, keys.er, keys.ar)
    return (initiator, responder) if core.initiator else (responder, initiator)


def _begins(header: Header, data: bytes, protection: aead.Protection) -> bool:
    if header.next_payload != _SKF:
        unseal(data, header, protection)
        return True
    return fragment.open_fragment(data, header, protection).number == 1
