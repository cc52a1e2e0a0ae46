"""Offers as proposals, and the choice among a peer's.

Rules: an offered transform with an attribute or a number that isn't known is unacceptable, the
others stand; a proposal with a transform type that isn't known is unacceptable as a whole (RFC
7296 3.3.6). A chosen proposal holds one transform of every type that was offered, exactly as
offered. No additional key exchange is chosen twice in one SA (RFC 9370 2.2.1). RFC 7296 2.7, 3.3;
RFC 5282 8 (no INTEG with a combined mode).
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import msgspec

from proto.ike.algorithms import ADDKE_TYPES
from proto.ike.enums import NotifyType, ProtocolId, TransformType
from proto.ike.errors import PeerError
from proto.ike.payloads import Proposal, SaPayload, Transform
from proto.ike.suite import (
    WITHOUT_KE,
    Acceptable,
    Alternatives,
    ChildSuite,
    ChildSuites,
    ChildSuiteSet,
    Kes,
    Suite,
    Suites,
    child_suite_of,
    kes_chosen,
    offered,
    suite_of,
)

_IKE = ProtocolId.IKE
_ESP = ProtocolId.ESP
_KE = int(TransformType.KE)
_KNOWN_TYPES = frozenset(int(kind) for kind in TransformType)

IKE_SPI_LEN = 8
_IKE_NO_SPI = bytes(IKE_SPI_LEN)
ESP_SPI_LEN = 4
_ESP_NO_SPI = bytes(ESP_SPI_LEN)


def proposal(suites: Sequence[Acceptable], spi: bytes = b"") -> SaPayload:
    """An offer of `suites`, one proposal each, numbered from 1; `spi` is empty but in an IKE SA
    rekey.
    """
    offers = [offered(some.alternatives) for some in suites]
    return SaPayload(tuple([Proposal(i, _IKE, spi, ts) for i, ts in enumerate(offers, 1)]))


def child_proposal(
    suites: ChildSuites, spi: bytes, groups: Sequence[Kes] = WITHOUT_KE
) -> SaPayload:
    """An offer of `suites` for ESP, one proposal for each and each of `groups`; `spi` is our
    inbound one, 4 octets.
    """
    offers = [offered(_with_kes(suite, kes)) for kes in groups for suite in suites]
    return SaPayload(tuple([Proposal(i, _ESP, spi, ts) for i, ts in enumerate(offers, 1)]))


@lru_cache(maxsize=256)
def _with_kes(suite: ChildSuite | ChildSuiteSet, kes: Kes) -> Alternatives:
    """What is taken for a Child SA: its key exchanges before ESN, as peers send it."""
    alternatives = suite.alternatives
    return (*alternatives[:-1], *kes.alternatives, alternatives[-1])


CACHED_TRANSFORMS_MAX = 32
"""Choices out of longer proposals are rare, and not worth remembering."""


def _match(
    given: tuple[Transform, ...], wanted: Alternatives, first_ke: int = 0
) -> tuple[Transform, ...] | None:
    """One transform of each type in `given`, by preference of `wanted`; None: impossible. A key
    exchange by `first_ke` is preferred.
    """
    match = _cached_match if len(given) <= CACHED_TRANSFORMS_MAX else _find_match
    return match(given, wanted, first_ke)


def _find_match(
    given: tuple[Transform, ...], wanted: Alternatives, first_ke: int
) -> tuple[Transform, ...] | None:
    by_type: dict[int, list[Transform]] = {}
    for transform in given:
        by_type.setdefault(transform.type, []).append(transform)
    if not by_type.keys() <= _KNOWN_TYPES:
        return None
    chosen: dict[int, Transform] = {}
    for kind, alternatives in wanted:
        if kind in ADDKE_TYPES:
            continue
        first = first_ke if kind == _KE else 0
        picked = _pick(by_type.get(kind), alternatives, first)
        if picked is None:
            return None
        chosen[kind] = picked
    more = _distinct(_addkes(by_type, wanted), (chosen[_KE].id,) if _KE in chosen else ())
    if more is None:
        return None
    chosen |= more
    for kind, candidates in by_type.items():
        if kind not in chosen:
            none = Transform(kind, 0)
            if none not in candidates:
                return None
            chosen[kind] = none
    return tuple([t for kind, t in chosen.items() if kind in by_type])


_cached_match = lru_cache(maxsize=1024)(_find_match)
"""Clients of one make offer the same proposals."""


def _pick(
    candidates: list[Transform] | None, alternatives: Sequence[Transform], first: int
) -> Transform | None:
    """The first alternative that is offered, or `first`; a type that isn't offered means 0."""
    if candidates is None:
        return next((t for t in alternatives if not t.id), None)
    common = [t for t in alternatives if t in candidates]
    return next((t for t in common if t.id == first), common[0] if common else None)


def _addkes(
    by_type: dict[int, list[Transform]], wanted: Alternatives
) -> list[tuple[int, list[Transform]]]:
    """By type of additional key exchange, what both sides take, the best first."""
    found = []
    for kind, alternatives in wanted:
        if kind in ADDKE_TYPES:
            candidates = by_type.get(kind, [Transform(kind, 0)])
            found.append((kind, [t for t in alternatives if t in candidates]))
    return found


def _distinct(
    left: list[tuple[int, list[Transform]]], used: tuple[int, ...]
) -> dict[int, Transform] | None:
    """One of each type, none twice; None: impossible."""
    if not left:
        return {}
    (kind, alternatives), rest = left[0], left[1:]
    for transform in alternatives:
        if transform.id and transform.id in used:
            continue
        others = _distinct(rest, (*used, transform.id))
        if others is not None:
            return {kind: transform, **others}
    return None


def select(
    offer: SaPayload,
    acceptable: Suites,
    spi: bytes = b"",
    first_ke: int = 0,
    addkes: bool = True,
) -> tuple[Suite, SaPayload] | None:
    """The first of `acceptable` that the peer offers, and the SA payload that says so; None:
    nothing in common.

    `spi` goes into the answer: empty but in an IKE SA rekey. `first_ke`: the peer's KE payload is
    of that method, which saves a round trip. `addkes`: additional key exchanges are possible; if
    not, proposals that have any are passed over (RFC 9370 2.2.1).
    """
    proposals = [p for p in offer.proposals if p.protocol == _IKE]
    if not addkes:
        proposals = [p for p in proposals if all(t.type not in ADDKE_TYPES for t in p.transforms)]
    for some in acceptable:
        wanted = some.alternatives
        for each in proposals:
            chosen = _match(each.transforms, wanted, first_ke)
            if chosen is not None:
                answer = Proposal(each.number, _IKE, spi, chosen)
                return suite_of(chosen), SaPayload((answer,))
    return None


def offered_spi(offer: SaPayload, number: int) -> bytes | None:
    """The SPI of the peer's new IKE SA in its proposal of that number; None: it is none (RFC 7296
    3.3.1).
    """
    for each in offer.proposals:
        if each.number == number:
            spi = each.spi
            return spi if len(spi) == IKE_SPI_LEN and spi != _IKE_NO_SPI else None
    return None


class ChildChoice(msgspec.Struct, frozen=True, gc=False):
    """A proposal of the peer's that was chosen for ESP."""

    suite: ChildSuite
    peer_spi: bytes
    """The peer's inbound SPI."""
    number: int
    transforms: tuple[Transform, ...]
    kes: tuple[int, ...] = ()
    """Its own key exchanges, in order; empty: it has none."""

    def reply(self, my_spi: bytes) -> SaPayload:
        """The SA payload that accepts it; `my_spi` is our inbound SPI."""
        return SaPayload((Proposal(self.number, _ESP, my_spi, self.transforms),))


def _is_esp(each: Proposal) -> bool:
    spi = each.spi
    return each.protocol == _ESP and len(spi) == ESP_SPI_LEN and spi != _ESP_NO_SPI


def select_child(
    offer: SaPayload,
    acceptable: ChildSuites,
    groups: Sequence[Kes] = WITHOUT_KE,
    first_ke: int = 0,
) -> ChildChoice | None:
    """The first of `acceptable`, with the first of `groups`, that the peer offers for ESP; None:
    nothing in common. `first_ke`: see `select`.
    """
    for suite in acceptable:
        for kes in groups:
            for each in offer.proposals:
                if not _is_esp(each):
                    continue
                short = len(each.transforms) <= CACHED_TRANSFORMS_MAX
                find = _cached_child_match if short else _find_child_match
                found = find(each.transforms, suite, kes, first_ke)
                if found is not None:
                    return ChildChoice(found[0], each.spi, each.number, found[1], found[2])
    return None


ChildMatch = tuple[ChildSuite, tuple[Transform, ...], tuple[int, ...]]
"""Suite, transforms of the answer, key exchange methods."""


def _find_child_match(
    given: tuple[Transform, ...], suite: ChildSuite | ChildSuiteSet, kes: Kes, first_ke: int
) -> ChildMatch | None:
    chosen = _match(given, _with_kes(suite, kes), first_ke)
    if chosen is None:
        return None
    return child_suite_of(chosen), chosen, kes_chosen(chosen)


_cached_child_match = lru_cache(maxsize=1024)(_find_child_match)
"""Looked for at every resumption, and nearly always the same."""


def _single(reply: SaPayload, count: int) -> Proposal:
    """The one proposal of an answer to an offer of `count`."""
    if len(reply.proposals) != 1 or not 1 <= reply.proposals[0].number <= count:
        raise PeerError(NotifyType.NO_PROPOSAL_CHOSEN, why="the answer is none of our proposals")
    return reply.proposals[0]


def _is_of(answered: Proposal, wanted: Alternatives) -> bool:
    """The answer holds one transform of each type that was offered, out of what was offered, in any
    order, and no additional key exchange twice; a NONE more or less says the same.
    """
    given = {t.type: t for t in answered.transforms if t.id}
    if len({t.type for t in answered.transforms}) != len(answered.transforms):
        return False  # a NONE beside the one that was offered isn't the same
    for kind, alternatives in wanted:
        if given.pop(kind, Transform(kind, 0)) not in alternatives:
            return False
    more = list(_more_kes(answered))
    return not given and len(more) == len(set(more))


def _more_kes(answered: Proposal) -> Iterator[int]:
    for transform in answered.transforms:
        if transform.id and transform.type in ADDKE_TYPES:
            yield transform.id


def chosen(reply: SaPayload, offers: Suites) -> Suite:
    """The suite that the responder took out of `proposal(offers)`.

    Raises PeerError NO_PROPOSAL_CHOSEN when it answers what we didn't offer (RFC 7296 2.7).
    """
    answer = _single(reply, len(offers))
    if answer.protocol != _IKE or not _is_of(answer, offers[answer.number - 1].alternatives):
        raise PeerError(NotifyType.NO_PROPOSAL_CHOSEN, why="the answer isn't what we offered")
    return suite_of(answer.transforms)


def chosen_child(
    reply: SaPayload, offers: ChildSuites, groups: Sequence[Kes] = WITHOUT_KE
) -> ChildChoice:
    """What the responder took out of `child_proposal(offers, …, groups)`.

    Raises PeerError NO_PROPOSAL_CHOSEN when it answers what we didn't offer.
    """
    answer = _single(reply, len(offers) * len(groups))
    by_group, by_suite = divmod(answer.number - 1, len(offers))
    wanted = _with_kes(offers[by_suite], groups[by_group])
    if not _is_esp(answer) or not _is_of(answer, wanted):
        raise PeerError(NotifyType.NO_PROPOSAL_CHOSEN, why="the answer isn't what we offered")
    suite = child_suite_of(answer.transforms)
    kes = kes_chosen(answer.transforms)
    return ChildChoice(suite, answer.spi, answer.number, answer.transforms, kes)
