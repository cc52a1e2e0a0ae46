"""Algorithms that go together: those of one SA, and sets of alternatives that may be put together.

Rules: whatever is acceptable is said in one form, `alternatives`: by transform type what is taken,
the best first. Ciphers with an integrity check of their own stand in other sets than those without
(RFC 7296 3.3). Names are made of parts joined by hyphens: `proto.ike.names` reads them. RFC 7296
2.7, 3.3; RFC 9370 2.2.1.
"""

from functools import lru_cache
from typing import Protocol

import msgspec

from proto.ike.algorithms import (
    ADDKE_TYPES,
    FIXED_KEY_BITS,
    INTEG_KEY_OCTETS,
    SALT_OCTETS,
    Cipher,
    addke_name,
    cipher_name,
    integ_name,
    ke_name,
    prf_name,
)
from proto.ike.enums import TransformType
from proto.ike.payloads import Transform

_ENCR = int(TransformType.ENCR)
_PRF = int(TransformType.PRF)
_INTEG = int(TransformType.INTEG)
_KE = int(TransformType.KE)
_ESN = int(TransformType.ESN)

Alternatives = tuple[tuple[int, tuple[Transform, ...]], ...]
"""By transform type what is taken, the best first; 0 among the ids: it may be left out."""
Addkes = tuple[tuple[int, ...], ...]
"""Alternatives of the additional key exchanges, by number from 1; 0 among them: may be left out."""


class Acceptable(Protocol):
    """What is taken of a peer, or offered to it, as one proposal."""

    @property
    def alternatives(self) -> Alternatives:
        """See the type."""
        ...


def _encrs(ciphers: tuple[Cipher, ...]) -> tuple[int, tuple[Transform, ...]]:
    made = [Transform(_ENCR, e, None if e in FIXED_KEY_BITS else bits) for e, bits in ciphers]
    return _ENCR, tuple(made)


def _of(kind: int, ids: tuple[int, ...]) -> tuple[int, tuple[Transform, ...]]:
    return kind, tuple([Transform(kind, id_) for id_ in ids])


def _addkes(addkes: Addkes) -> Alternatives:
    pairs = zip(ADDKE_TYPES, addkes, strict=False)
    return tuple([_of(kind, ids) for kind, ids in pairs if any(ids)])


class Kes(msgspec.Struct, frozen=True, gc=False):
    """Key exchange methods that a Child SA's proposal may have."""

    kes: tuple[int, ...]
    addkes: Addkes = ()

    @property
    def alternatives(self) -> Alternatives:
        """See the type."""
        return (_of(_KE, self.kes), *_addkes(self.addkes))


WITHOUT_KE = (Kes((0,)),)
"""A Child SA in IKE_AUTH has no key exchange of its own."""


class Suite(msgspec.Struct, frozen=True, gc=False):
    """The algorithms of an IKE SA, by IANA numbers."""

    encr: int
    key_bits: int
    integ: int
    """0 with a cipher that has its own integrity check."""
    prf: int
    ke: int
    addkes: tuple[int, ...] = ()
    """Additional key exchanges, by number from 1; 0: none of that number."""

    def __str__(self) -> str:
        return "-".join(_names(one_each(self)))

    @property
    def encr_key_octets(self) -> int:
        """Octets of an encryption key, a nonce's fixed part included."""
        return self.key_bits // 8 + SALT_OCTETS[self.encr]

    @property
    def integ_key_octets(self) -> int:
        """Octets of an integrity key; 0 with a combined mode."""
        return INTEG_KEY_OCTETS[self.integ]

    @property
    def numbers(self) -> tuple[int, ...]:
        """All of it in a row, as a record keeps it; `suite_from` reads it."""
        return (self.encr, self.key_bits, self.integ, self.prf, self.ke, *self.addkes)

    @property
    def more_kes(self) -> tuple[int, ...]:
        """The additional key exchanges in the order in which they are done."""
        return tuple([ke for ke in self.addkes if ke])

    @property
    def alternatives(self) -> Alternatives:
        """See the type: one of each."""
        return _alternatives(one_each(self))

    @property
    def transforms(self) -> tuple[Transform, ...]:
        """What a proposal of exactly this suite holds."""
        return offered(self.alternatives)

    def holds(self, suite: "Suite") -> bool:
        """Is it this one?"""
        return self == suite


class SuiteSet(msgspec.Struct, frozen=True, gc=False):
    """Alternatives for IKE SAs, the best first of each kind; at least one each."""

    encrs: tuple[Cipher, ...]
    integs: tuple[int, ...]
    """Empty with combined modes."""
    prfs: tuple[int, ...]
    kes: tuple[int, ...]
    addkes: Addkes = ()

    def __str__(self) -> str:
        return "-".join(_names(self))

    @property
    def alternatives(self) -> Alternatives:
        """See the type."""
        return _alternatives(self)

    def holds(self, suite: Suite) -> bool:
        """Can `suite` be put together from it?"""
        if len(suite.addkes) > len(self.addkes):
            return False
        addkes = suite.addkes + (0,) * (len(self.addkes) - len(suite.addkes))
        return (
            (suite.encr, suite.key_bits) in self.encrs
            and (suite.integ in self.integs if self.integs else not suite.integ)
            and suite.prf in self.prfs
            and suite.ke in self.kes
            and all(
                ke in ids if ids else not ke for ke, ids in zip(addkes, self.addkes, strict=True)
            )
        )


Suites = tuple[Suite | SuiteSet, ...]
"""What is taken or offered for an IKE SA, the best first."""


def suite_from(numbers: tuple[int, ...]) -> Suite:
    """The suite of these `Suite.numbers`. Raises ValueError where there are too few."""
    encr, key_bits, integ, prf, ke, *addkes = numbers
    return Suite(encr, key_bits, integ, prf, ke, tuple(addkes))


def one_each(suite: Suite) -> SuiteSet:
    """The set of exactly this suite."""
    return SuiteSet(
        ((suite.encr, suite.key_bits),),
        (suite.integ,) if suite.integ else (),
        (suite.prf,),
        (suite.ke,),
        tuple([(ke,) for ke in suite.addkes]),
    )


def holds(suites: Suites, suite: Suite) -> bool:
    """Is `suite` one of those that `suites` allow?"""
    for some in suites:  # noqa: SIM110 - looked at for every ticket: a generator costs as much again
        if some.holds(suite):
            return True
    return False


def without_addkes(suites: Suites) -> Suites:
    """`suites` without their additional key exchanges, each once."""
    return tuple(dict.fromkeys(msgspec.structs.replace(some, addkes=()) for some in suites))


def kes_of(suites: Suites) -> tuple[int, ...]:
    """The key exchange methods in `suites`, in order."""
    return tuple(dict.fromkeys(t.id for s in suites for t in _alternatives_of(s, _KE)))


def addkes_of(suites: Suites) -> Addkes:
    """The additional key exchanges in `suites`, by number, each of which may be left out."""
    by_type = [
        dict.fromkeys([*(t.id for s in suites for t in _alternatives_of(s, kind)), 0])
        for kind in ADDKE_TYPES
    ]
    while by_type and len(by_type[-1]) == 1:
        by_type.pop()
    return tuple([(*[ke for ke in ids if ke], 0) for ids in by_type])


def _alternatives_of(acceptable: Acceptable, kind: int) -> tuple[Transform, ...]:
    return next((ts for type_, ts in acceptable.alternatives if type_ == kind), ())


class ChildSuite(msgspec.Struct, frozen=True, gc=False):
    """The algorithms of a pair of ESP SAs, by IANA numbers."""

    encr: int
    key_bits: int
    integ: int
    """0 with a cipher that has its own integrity check."""
    esn: bool

    def __str__(self) -> str:
        parts = [cipher_name((self.encr, self.key_bits))]
        parts += [integ_name(self.integ)] if self.integ else []
        return "-".join([*parts, "esn" if self.esn else "noesn"])

    @property
    def encr_key_octets(self) -> int:
        """Octets of an encryption key, a nonce's fixed part included."""
        return self.key_bits // 8 + SALT_OCTETS[self.encr]

    @property
    def integ_key_octets(self) -> int:
        """Octets of an integrity key; 0 with a combined mode."""
        return INTEG_KEY_OCTETS[self.integ]

    @property
    def alternatives(self) -> Alternatives:
        """See the type: one of each."""
        return _child_alternatives(
            ((self.encr, self.key_bits),),
            (self.integ,) if self.integ else (),
            (self.esn,),
        )

    def holds(self, suite: "ChildSuite") -> bool:
        """Is it this one?"""
        return self == suite


class ChildSuiteSet(msgspec.Struct, frozen=True, gc=False):
    """Alternatives for Child SAs, the best first of each kind; at least one each."""

    encrs: tuple[Cipher, ...]
    integs: tuple[int, ...]
    """Empty with combined modes."""
    esns: tuple[bool, ...]

    def __str__(self) -> str:
        parts = [cipher_name(cipher) for cipher in self.encrs]
        parts += [integ_name(integ) for integ in self.integs]
        return "-".join([*parts, *["esn" if esn else "noesn" for esn in self.esns]])

    @property
    def alternatives(self) -> Alternatives:
        """See the type."""
        return _child_alternatives(self.encrs, self.integs, self.esns)

    def holds(self, suite: ChildSuite) -> bool:
        """Can `suite` be put together from it?"""
        return (
            (suite.encr, suite.key_bits) in self.encrs
            and (suite.integ in self.integs if self.integs else not suite.integ)
            and suite.esn in self.esns
        )


ChildSuites = tuple[ChildSuite | ChildSuiteSet, ...]
"""What is taken or offered for a Child SA, the best first."""


@lru_cache(maxsize=256)
def _alternatives(suites: SuiteSet) -> Alternatives:
    return (
        _encrs(suites.encrs),
        _of(_PRF, suites.prfs),
        _of(_INTEG, suites.integs or (0,)),
        _of(_KE, suites.kes),
        *_addkes(suites.addkes),
    )


@lru_cache(maxsize=256)
def _child_alternatives(
    encrs: tuple[Cipher, ...], integs: tuple[int, ...], esns: tuple[bool, ...]
) -> Alternatives:
    return (
        _encrs(encrs),
        _of(_INTEG, integs or (0,)),
        _of(_ESN, tuple([int(esn) for esn in esns])),
    )


@lru_cache(maxsize=256)
def offered(alternatives: Alternatives) -> tuple[Transform, ...]:
    """The transforms of a proposal; a type that is always left out isn't named, but for ESN."""
    return tuple(
        [t for kind, ts in alternatives if kind == _ESN or any(t.id for t in ts) for t in ts]
    )


def _names(suites: SuiteSet) -> list[str]:
    names = [cipher_name(cipher) for cipher in suites.encrs]
    names += [integ_name(integ) for integ in suites.integs]
    names += [prf_name(prf) for prf in suites.prfs]
    names += [ke_name(ke) for ke in suites.kes]
    for at, ids in enumerate(suites.addkes):
        names += [addke_name(at, ke) for ke in ids if ke or any(ids)]
    return names


def suite_of(transforms: tuple[Transform, ...]) -> Suite:
    """The suite that a chosen proposal says. Raises KeyError where a kind is missing."""
    by_type = {t.type: t for t in transforms}
    encr, integ = by_type[_ENCR], by_type.get(_INTEG)
    addkes = [by_type[kind].id if kind in by_type else 0 for kind in ADDKE_TYPES]
    while addkes and not addkes[-1]:
        addkes.pop()
    return Suite(
        encr.id,
        _key_bits(encr),
        0 if integ is None else integ.id,
        by_type[_PRF].id,
        by_type[_KE].id,
        tuple(addkes),
    )


def child_suite_of(transforms: tuple[Transform, ...]) -> ChildSuite:
    """Likewise for a Child SA."""
    by_type = {t.type: t for t in transforms}
    encr, integ, esn = by_type[_ENCR], by_type.get(_INTEG), by_type.get(_ESN)
    return ChildSuite(
        encr.id,
        _key_bits(encr),
        0 if integ is None else integ.id,
        esn is not None and esn.id == 1,
    )


def kes_chosen(transforms: tuple[Transform, ...]) -> tuple[int, ...]:
    """Key exchange methods of a chosen proposal in the order in which they are done."""
    kinds = (_KE, *ADDKE_TYPES)
    by_type = {t.type: t.id for t in transforms}
    return tuple([by_type[kind] for kind in kinds if by_type.get(kind)])


def _key_bits(encr: Transform) -> int:
    return FIXED_KEY_BITS.get(encr.id, encr.key_length or 0)
