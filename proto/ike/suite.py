"""Sets of algorithms: their names in configuration, as proposals, and the choice among a peer's
proposals.

Rules: an offered transform with an attribute or a number that isn't known is unacceptable, the
others stand; a chosen proposal holds one transform of every type that was offered, exactly as
offered. RFC 7296 2.7, 3.3; RFC 5282 8 (no INTEG with an AEAD); RFC 7634 5 (ChaCha20-Poly1305 has no
Key Length).
"""

from collections.abc import Sequence
from functools import lru_cache

import msgspec

from proto.ike.enums import Encr, Integ, KeMethod, NotifyType, Prf, ProtocolId, TransformType
from proto.ike.errors import PeerError
from proto.ike.payloads import Proposal, SaPayload, Transform

_ESP = ProtocolId.ESP

IKE_SPI_LEN = 8
_IKE_NO_SPI = bytes(IKE_SPI_LEN)
ESP_SPI_LEN = 4
_ESP_NO_SPI = bytes(ESP_SPI_LEN)

WITHOUT_KE = (0,)
"""Groups of a Child SA's proposals in IKE_AUTH: it has no key exchange of its own."""

AEAD_SALT_LEN = 4
"""The fixed part of an AEAD nonce, at the end of an encryption key (RFC 5282 7.1, RFC 4106 8.1)."""

_INTEG_KEY_LEN: dict[int, int] = {
    Integ.NONE: 0,
    Integ.AUTH_HMAC_SHA2_256_128: 32,
    Integ.AUTH_HMAC_SHA2_384_192: 48,
    Integ.AUTH_HMAC_SHA2_512_256: 64,
}

_ENCRS: dict[str, tuple[int, int]] = {
    "aes128gcm16": (Encr.ENCR_AES_GCM_16, 128),
    "aes256gcm16": (Encr.ENCR_AES_GCM_16, 256),
    "chacha20poly1305": (Encr.ENCR_CHACHA20_POLY1305, 256),
    "aes128": (Encr.ENCR_AES_CBC, 128),
    "aes192": (Encr.ENCR_AES_CBC, 192),
    "aes256": (Encr.ENCR_AES_CBC, 256),
}
_INTEGS: dict[str, int] = {
    "sha256": Integ.AUTH_HMAC_SHA2_256_128,
    "sha384": Integ.AUTH_HMAC_SHA2_384_192,
    "sha512": Integ.AUTH_HMAC_SHA2_512_256,
}
_PRFS: dict[str, int] = {
    "prfsha256": Prf.PRF_HMAC_SHA2_256,
    "prfsha384": Prf.PRF_HMAC_SHA2_384,
    "prfsha512": Prf.PRF_HMAC_SHA2_512,
}
_KES: dict[str, int] = {
    "x25519": KeMethod.CURVE25519,
    "ecp256": KeMethod.ECP_256,
    "ecp384": KeMethod.ECP_384,
}
_ESNS: dict[str, bool] = {"noesn": False, "esn": True}

_ENCR_NAMES = {value: name for name, value in _ENCRS.items()}
_INTEG_NAMES = {value: name for name, value in _INTEGS.items()}
_PRF_NAMES = {value: name for name, value in _PRFS.items()}
_KE_NAMES = {value: name for name, value in _KES.items()}


def _encr_transform(encr: int, key_bits: int) -> Transform:
    has_key_length = encr != Encr.ENCR_CHACHA20_POLY1305
    return Transform(TransformType.ENCR, encr, key_bits if has_key_length else None)


class Suite(msgspec.Struct, frozen=True, gc=False):
    """The algorithms of an IKE SA, by IANA numbers."""

    encr: int
    key_bits: int
    integ: int
    """0 with an AEAD."""
    prf: int
    ke: int

    def __str__(self) -> str:
        parts = [_ENCR_NAMES.get((self.encr, self.key_bits), f"encr{self.encr}-{self.key_bits}")]
        if self.integ:
            parts.append(_INTEG_NAMES.get(self.integ, f"integ{self.integ}"))
        parts.append(_PRF_NAMES.get(self.prf, f"prf{self.prf}"))
        parts.append(_KE_NAMES.get(self.ke, f"ke{self.ke}"))
        return "-".join(parts)

    @property
    def encr_key_octets(self) -> int:
        """Octets of an encryption key, an AEAD's salt included."""
        return self.key_bits // 8 + (0 if self.encr == Encr.ENCR_AES_CBC else AEAD_SALT_LEN)

    @property
    def integ_key_octets(self) -> int:
        """Octets of an integrity key; 0 with an AEAD."""
        return _INTEG_KEY_LEN[self.integ]

    @property
    def transforms(self) -> tuple[Transform, ...]:
        """What a proposal of exactly this suite holds."""
        return _transforms(self)


class ChildSuite(msgspec.Struct, frozen=True, gc=False):
    """The algorithms of a pair of ESP SAs, by IANA numbers."""

    encr: int
    key_bits: int
    integ: int
    """0 with an AEAD."""
    esn: bool

    def __str__(self) -> str:
        parts = [_ENCR_NAMES.get((self.encr, self.key_bits), f"encr{self.encr}-{self.key_bits}")]
        if self.integ:
            parts.append(_INTEG_NAMES.get(self.integ, f"integ{self.integ}"))
        parts.append("esn" if self.esn else "noesn")
        return "-".join(parts)

    @property
    def encr_key_octets(self) -> int:
        """Octets of an encryption key, an AEAD's salt included."""
        return self.key_bits // 8 + (0 if self.encr == Encr.ENCR_AES_CBC else AEAD_SALT_LEN)

    @property
    def integ_key_octets(self) -> int:
        """Octets of an integrity key; 0 with an AEAD."""
        return _INTEG_KEY_LEN[self.integ]

    @property
    def transforms(self) -> tuple[Transform, ...]:
        """What a proposal of exactly this suite holds."""
        return _child_transforms(self)


@lru_cache(maxsize=64)
def _transforms(suite: Suite) -> tuple[Transform, ...]:
    integ = (Transform(TransformType.INTEG, suite.integ),) if suite.integ else ()
    return (
        _encr_transform(suite.encr, suite.key_bits),
        Transform(TransformType.PRF, suite.prf),
        *integ,
        Transform(TransformType.KE, suite.ke),
    )


@lru_cache(maxsize=64)
def _child_transforms(suite: ChildSuite) -> tuple[Transform, ...]:
    integ = (Transform(TransformType.INTEG, suite.integ),) if suite.integ else ()
    return (
        _encr_transform(suite.encr, suite.key_bits),
        *integ,
        Transform(TransformType.ESN, int(suite.esn)),
    )


def _take(parts: list[str], known: dict[str, int]) -> int | None:
    """The number of the first part, taken off, if it is in `known`."""
    if parts and parts[0] in known:
        return known[parts.pop(0)]
    return None


def _encr_and_integ(text: str, parts: list[str]) -> tuple[int, int, int]:
    name = parts.pop(0)
    if name not in _ENCRS:
        raise ValueError(f"{text!r}: {name!r} is no cipher; known: {', '.join(_ENCRS)}")
    encr, key_bits = _ENCRS[name]
    integ = _take(parts, _INTEGS)
    if encr == Encr.ENCR_AES_CBC and integ is None:
        raise ValueError(f"{text!r}: {name} needs an integrity algorithm: {', '.join(_INTEGS)}")
    if encr != Encr.ENCR_AES_CBC and integ is not None:
        raise ValueError(f"{text!r}: {name} has its own integrity check; leave out the second part")
    return encr, key_bits, integ or 0


def parse_suite(text: str) -> Suite:
    """`cipher[-integrity]-prf-group`. Raises ValueError: one line that names what is known."""
    parts = text.strip().lower().split("-")
    encr, key_bits, integ = _encr_and_integ(text, parts)
    prf = _take(parts, _PRFS)
    if prf is None:
        raise ValueError(f"{text!r}: a prf is missing; known: {', '.join(_PRFS)}")
    ke = _take(parts, _KES)
    if ke is None or parts:
        raise ValueError(f"{text!r}: ends with exactly one group; known: {', '.join(_KES)}")
    return Suite(encr, key_bits, integ, prf, ke)


def parse_child(text: str) -> ChildSuite:
    """`cipher[-integrity][-esn|-noesn]` as in configuration. Raises ValueError naming what is
    known.
    """
    parts = text.strip().lower().split("-")
    encr, key_bits, integ = _encr_and_integ(text, parts)
    esn = _ESNS[parts.pop(0)] if parts and parts[0] in _ESNS else False
    if parts:
        raise ValueError(f"{text!r}: {parts[0]!r} may only be {' or '.join(_ESNS)}")
    return ChildSuite(encr, key_bits, integ, esn)


def proposal(suites: Sequence[Suite], spi: bytes = b"") -> SaPayload:
    """An offer of `suites`, one proposal each, numbered from 1; `spi` is empty but in an IKE SA
    rekey.
    """
    return SaPayload(
        tuple([Proposal(i, ProtocolId.IKE, spi, s.transforms) for i, s in enumerate(suites, 1)])
    )


def child_proposal(
    suites: Sequence[ChildSuite], spi: bytes, groups: Sequence[int] = WITHOUT_KE
) -> SaPayload:
    """An offer of `suites` for ESP, one proposal for each and each of `groups`; `spi` is our
    inbound one, 4 octets.
    """
    offered = [_with_ke(suite, group) for group in groups for suite in suites]
    return SaPayload(tuple([Proposal(i, _ESP, spi, t) for i, t in enumerate(offered, 1)]))


def _with_ke(suite: ChildSuite, group: int) -> tuple[Transform, ...]:
    """The transforms of `suite`, and of a key exchange unless `group` is 0."""
    transforms = suite.transforms
    if not group:
        return transforms
    return (*transforms[:-1], Transform(TransformType.KE, group), transforms[-1])


_OPTIONAL = (int(TransformType.ESN),)
"""Types that a peer may leave out and mean 0 (old peers do so with ESN)."""


def _by_types(offered: Proposal) -> dict[int, list[Transform]]:
    by_type: dict[int, list[Transform]] = {}
    for transform in offered.transforms:
        by_type.setdefault(transform.type, []).append(transform)
    return by_type


def _match(
    by_type: dict[int, list[Transform]], wanted: tuple[Transform, ...]
) -> tuple[Transform, ...] | None:
    """One transform per type offered: those of `wanted`, else the type's NONE; None: impossible."""
    chosen = []
    types = []
    for want in wanted:
        types.append(want.type)
        candidates = by_type.get(want.type)
        if candidates is None:
            if want.type in _OPTIONAL and want.id == 0:
                continue
            return None
        if want not in candidates:
            return None
        chosen.append(want)
    for kind, candidates in by_type.items():
        if kind not in types:
            none = Transform(kind, 0)
            if none not in candidates:
                return None
            chosen.append(none)
    return tuple(chosen)


def select(
    offer: SaPayload, acceptable: Sequence[Suite], spi: bytes = b""
) -> tuple[Suite, SaPayload] | None:
    """The first of `acceptable` that the peer offers, and the SA payload that says so; None:
    nothing in common.

    `spi` goes into the answer: empty but in an IKE SA rekey.
    """
    proposals = [(p, _by_types(p)) for p in offer.proposals if p.protocol == ProtocolId.IKE]
    for suite in acceptable:
        wanted = suite.transforms
        for offered, by_type in proposals:
            chosen = _match(by_type, wanted)
            if chosen is not None:
                answer = Proposal(offered.number, ProtocolId.IKE, spi, chosen)
                return suite, SaPayload((answer,))
    return None


def offered_spi(offer: SaPayload, number: int) -> bytes | None:
    """The SPI of the peer's new IKE SA in its proposal of that number; None: it is none (RFC 7296
    3.3.1).
    """
    for proposal in offer.proposals:
        if proposal.number == number:
            spi = proposal.spi
            return spi if len(spi) == IKE_SPI_LEN and spi != _IKE_NO_SPI else None
    return None


class ChildChoice(msgspec.Struct, frozen=True, gc=False):
    """A proposal of the peer's that was chosen for ESP."""

    suite: ChildSuite
    peer_spi: bytes
    """The peer's inbound SPI."""
    number: int
    transforms: tuple[Transform, ...]
    group: int = 0
    """Of its own key exchange; 0: it has none."""

    def reply(self, my_spi: bytes) -> SaPayload:
        """The SA payload that accepts it; `my_spi` is our inbound SPI."""
        return SaPayload((Proposal(self.number, _ESP, my_spi, self.transforms),))


def _is_esp(offered: Proposal) -> bool:
    spi = offered.spi
    return offered.protocol == _ESP and len(spi) == ESP_SPI_LEN and spi != _ESP_NO_SPI


def select_child(
    offer: SaPayload, acceptable: Sequence[ChildSuite], groups: Sequence[int] = WITHOUT_KE
) -> ChildChoice | None:
    """The first of `acceptable`, with the first of `groups`, that the peer offers for ESP; None:
    nothing in common.
    """
    proposals = [p for p in offer.proposals if _is_esp(p)]
    for suite in acceptable:
        for group in groups:
            wanted = _with_ke(suite, group)
            for offered in proposals:
                # the usual offer is of one suite per proposal
                if offered.transforms == wanted:
                    return ChildChoice(suite, offered.spi, offered.number, wanted, group)
                chosen = _match(_by_types(offered), wanted)
                if chosen is not None:
                    return ChildChoice(suite, offered.spi, offered.number, chosen, group)
    return None


def _single(reply: SaPayload, count: int) -> Proposal:
    """The one proposal of an answer to an offer of `count`."""
    if len(reply.proposals) != 1 or not 1 <= reply.proposals[0].number <= count:
        raise PeerError(NotifyType.NO_PROPOSAL_CHOSEN, why="the answer is none of our proposals")
    return reply.proposals[0]


def _by_type(transform: Transform) -> int:
    return transform.type


def _same(answered: Proposal, wanted: tuple[Transform, ...]) -> bool:
    """The answer holds exactly `wanted`, in any order; a NONE more or less says the same."""
    given = sorted([t for t in answered.transforms if t.id], key=_by_type)
    return given == sorted([t for t in wanted if t.id], key=_by_type)


def chosen(reply: SaPayload, offered: Sequence[Suite]) -> Suite:
    """The suite that the responder took out of `proposal(offered)`.

    Raises PeerError NO_PROPOSAL_CHOSEN when it answers what we didn't offer (RFC 7296 2.7).
    """
    answer = _single(reply, len(offered))
    suite = offered[answer.number - 1]
    if answer.protocol != ProtocolId.IKE or not _same(answer, suite.transforms):
        raise PeerError(NotifyType.NO_PROPOSAL_CHOSEN, why="the answer isn't what we offered")
    return suite


def chosen_child(
    reply: SaPayload, offered: Sequence[ChildSuite], groups: Sequence[int] = WITHOUT_KE
) -> ChildChoice:
    """What the responder took out of `child_proposal(offered, …, groups)`.

    Raises PeerError NO_PROPOSAL_CHOSEN when it answers what we didn't offer.
    """
    answer = _single(reply, len(offered) * len(groups))
    by_group, by_suite = divmod(answer.number - 1, len(offered))
    suite, group = offered[by_suite], groups[by_group]
    if not _is_esp(answer) or not _same(answer, _with_ke(suite, group)):
        raise PeerError(NotifyType.NO_PROPOSAL_CHOSEN, why="the answer isn't what we offered")
    return ChildChoice(suite, answer.spi, answer.number, answer.transforms, group)
