"""Suites and sets of them as an operator writes them: parts joined by hyphens, in any order.

Rules: each part names one algorithm, and says by itself of which kind it is; several of a kind are
alternatives, the best first. `ke1_…` to `ke7_…` are additional key exchanges (RFC 9370). What is
wrong is one line that names what is known.
"""

import re
from collections.abc import Collection, Mapping
from typing import TypeVar

from proto.ike.algorithms import (
    ADDKES_MAX,
    COMBINED,
    ESNS,
    ESP_CIPHERS,
    IKE_CIPHERS,
    INTEGS,
    KES,
    NO_KE,
    PRFS,
    Cipher,
)
from proto.ike.suite import Addkes, ChildSuite, ChildSuiteSet, Suite, SuiteSet

V = TypeVar("V")

_ADDKE = re.compile(rf"ke([1-{ADDKES_MAX}])_(.+)")


def parse_suites(text: str) -> SuiteSet:
    """The set that `text` names: ciphers, integrity algorithms where they need them, prfs, groups
    and additional key exchanges. Raises ValueError: one line.
    """
    left = _parts(text)
    encrs, integs = _ciphers(text, left, IKE_CIPHERS)
    prfs, kes = _take(left, PRFS), _take(left, KES)
    addkes = _take_addkes(text, left, kes)
    if not prfs:
        raise ValueError(f"{text!r}: a prf is missing; known: {', '.join(PRFS)}")
    if not kes or left:
        odd = f"{left[0]!r} is nothing known" if left else "a group is missing"
        raise ValueError(f"{text!r}: {odd}; known groups: {', '.join(KES)}")
    return SuiteSet(encrs, integs, prfs, kes, addkes)


def parse_suite(text: str) -> Suite:
    """`cipher[-integrity]-prf-group[-ke1_…]`, one of each. Raises ValueError likewise."""
    found = parse_suites(text)
    kinds = (found.encrs, found.integs or (0,), found.prfs, found.kes, *found.addkes)
    if any(len(kind) > 1 for kind in kinds):
        raise ValueError(f"{text!r}: more than one algorithm of a kind")
    integ = found.integs[0] if found.integs else 0
    addkes = tuple([ids[0] if ids else 0 for ids in found.addkes])
    return Suite(*found.encrs[0], integ, found.prfs[0], found.kes[0], addkes)


def parse_children(text: str) -> ChildSuiteSet:
    """The set that `text` names for Child SAs: ciphers, integrity algorithms where they need them,
    `esn`, `noesn` or both; neither: `noesn`. Raises ValueError: one line.
    """
    left = _parts(text)
    encrs, integs = _ciphers(text, left, ESP_CIPHERS)
    esns = _take(left, ESNS) or (0,)
    if left:
        raise ValueError(f"{text!r}: {left[0]!r} may only be {' or '.join(ESNS)}")
    return ChildSuiteSet(encrs, integs, tuple([bool(esn) for esn in esns]))


def parse_child(text: str) -> ChildSuite:
    """`cipher[-integrity][-esn|-noesn]`, one of each. Raises ValueError likewise."""
    found = parse_children(text)
    if any(len(kind) > 1 for kind in (found.encrs, found.integs or (0,), found.esns)):
        raise ValueError(f"{text!r}: more than one algorithm of a kind")
    return ChildSuite(*found.encrs[0], found.integs[0] if found.integs else 0, found.esns[0])


def _parts(text: str) -> list[str]:
    """The parts, each once."""
    parts = text.strip().lower().split("-")
    twice = next((part for part in parts if parts.count(part) > 1), None)
    if twice is not None:
        raise ValueError(f"{text!r}: {twice!r} stands there twice")
    return parts


def _take(left: list[str], known: Mapping[str, V]) -> tuple[V, ...]:
    """What the parts in `known` stand for; they are taken off."""
    taken = [part for part in left if part in known]
    left[:] = [part for part in left if part not in known]
    return tuple([known[part] for part in taken])


def _ciphers(
    text: str, left: list[str], known: Mapping[str, Cipher]
) -> tuple[tuple[Cipher, ...], tuple[int, ...]]:
    """Ciphers and integrity algorithms, which must go with each other."""
    first = left[0]
    encrs, integs = _take(left, known), _take(left, INTEGS)
    if not encrs:
        raise ValueError(f"{text!r}: {first!r} is no cipher; known: {', '.join(known)}")
    combined = [encr in COMBINED for encr, _ in encrs]
    if any(combined) and not all(combined):
        raise ValueError(
            f"{text!r}: ciphers with and without their own integrity check are two proposals"
        )
    if any(combined) and integs:
        raise ValueError(f"{text!r}: {first} has its own integrity check; leave out the other one")
    if not any(combined) and not integs:
        raise ValueError(f"{text!r}: {first} needs an integrity algorithm: {', '.join(INTEGS)}")
    return encrs, integs


def _take_addkes(text: str, left: list[str], kes: Collection[int]) -> Addkes:
    """Additional key exchanges, by number."""
    by_number: dict[int, list[int]] = {}
    for part in [part for part in left if _ADDKE.fullmatch(part)]:
        found = _ADDKE.fullmatch(part)
        number, name = (found[1], found[2]) if found else ("", "")
        if name != NO_KE and name not in KES:
            raise ValueError(f"{text!r}: {part!r}; known: {', '.join((*KES, NO_KE))}")
        by_number.setdefault(int(number), []).append(KES.get(name, 0))
        left.remove(part)
    for number, ids in by_number.items():
        if not any(ids):
            raise ValueError(f"{text!r}: ke{number} is {NO_KE} and nothing else; leave it out")
    highest = max(by_number, default=0)
    addkes = tuple([tuple(by_number.get(number, ())) for number in range(1, highest + 1)])
    _check_distinct(text, addkes, kes)
    return addkes


def _check_distinct(text: str, addkes: Addkes, kes: Collection[int]) -> None:
    """Each exchange needs a method of its own (RFC 9370 2.2.1)."""
    singles = [ids[0] for ids in (tuple(kes), *addkes) if len(ids) == 1 and ids[0]]
    if len(singles) != len(set(singles)):
        raise ValueError(f"{text!r}: one method is demanded for two key exchanges")
