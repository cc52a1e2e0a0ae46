"""A chain from a peer's certificate to a trust anchor, out of what the peer sent.

Rules: certificates come in any order, and some belong to no chain; cross-signed authorities lead to
several. A chain is first found by names and key identifiers, which is cheap, and then checked from
the anchor down, so that a stranger's signature is looked at only below one that we trust. Numbers
of certificates, of steps and of signatures are bounded. RFC 5280 6.1 without policies; RFC 4945 5.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec
from cryptography.exceptions import InvalidSignature

from node.trust.certificate import (
    IKE_PURPOSES,
    TLS_PURPOSES,
    UNREADABLE,
    Certificate,
    CertificateId,
    Unfit,
    one_line,
    weak_hash,
)
from node.trust.constraints import violation
from proto.ike.signature import key_problem

CERTIFICATES_MAX = 16
"""In one message of a peer's; one of them is his own."""
DEPTH_MAX = 8
"""Certificates of one chain, anchor and peer's own included."""
STEPS_MAX = 64
"""Certificates tried as somebody's issuer, in one search."""
SIGNATURES_MAX = 24
"""Checked in one search, over all chains that were found."""


class Anchors:
    """The authorities that a connection trusts."""

    def __init__(self, certificates: Iterable[Certificate]) -> None:
        self.certificates = tuple({one.der: one for one in certificates}.values())
        self._by_subject: dict[bytes, list[Certificate]] = {}
        for one in self.certificates:
            self._by_subject.setdefault(one.subject, []).append(one)

    def named(self, subject: bytes) -> Sequence[Certificate]:
        """Those with this name, DER."""
        return self._by_subject.get(subject, ())

    def key_hashes(self) -> bytes:
        """What CERTREQ names: SHA-1 of each SubjectPublicKeyInfo, one behind the other (RFC 7296
        3.7).
        """
        return b"".join(sorted({one.key_hash for one in self.certificates}))


class Chain(msgspec.Struct, frozen=True, eq=False):
    """A chain that was checked."""

    certificates: tuple[Certificate, ...]
    """The peer's own first, the anchor last."""

    @property
    def leaf(self) -> Certificate:
        """The peer's own."""
        return self.certificates[0]

    @property
    def links(self) -> tuple[tuple[Certificate, Certificate], ...]:
        """(certificate, its issuer) of each but the anchor."""
        return tuple(zip(self.certificates, self.certificates[1:], strict=False))

    @property
    def ids(self) -> tuple[CertificateId, ...]:
        """What may be revoked of it: every certificate but the anchor."""
        return tuple(one.id_below(issuer) for one, issuer in self.links)

    @property
    def not_after_wall_s(self) -> float:
        """When the first of its certificates ends."""
        return min(one.not_after_wall_s for one in self.certificates)


class _Budget:
    """What one search may still spend."""

    def __init__(self) -> None:
        self.steps = STEPS_MAX
        self.signatures = SIGNATURES_MAX


def find_chain(
    leaf: Certificate,
    others: Sequence[Certificate],
    anchors: Anchors,
    now_wall_s: float,
    *,
    tls_purposes: bool = False,
) -> Chain:
    """The first chain from `leaf` to one of `anchors` that holds at `now_wall_s`.

    `tls_purposes`: a certificate that is for TLS only will do (`extKeyUsage`). Raises Unfit with
    the reason that the last chain failed for.
    """
    _check_leaf(leaf, tls_purposes)
    budget = _Budget()
    why = f"nobody trusted has issued {leaf.text}"
    for candidate in _candidates([leaf], others, anchors, budget):
        try:
            _check_chain(candidate, now_wall_s, budget)
        except Unfit as error:
            why = str(error)
            continue
        return Chain(tuple(candidate))
    if not budget.steps:
        why = f"no chain found for {leaf.text} in {STEPS_MAX} steps"
    raise Unfit(why)


def _candidates(
    chain: list[Certificate], others: Sequence[Certificate], anchors: Anchors, budget: _Budget
) -> Iterator[list[Certificate]]:
    """Chains that fit by name, anchor last; depth first, fitting key identifiers first."""
    last = chain[-1]
    for anchor in _likely(last, anchors.named(last.issuer)):
        yield [*chain, anchor]
    if len(chain) + 1 >= DEPTH_MAX:
        return
    for issuer in _likely(last, [one for one in others if one.subject == last.issuer]):
        if not budget.steps:
            return
        budget.steps -= 1
        # nobody twice, under another certificate either (RFC 4158 2.4.2)
        if all((issuer.subject, issuer.spki) != (one.subject, one.spki) for one in chain):
            yield from _candidates([*chain, issuer], others, anchors, budget)


def _likely(below: Certificate, issuers: Sequence[Certificate]) -> list[Certificate]:
    wanted = below.authority_key_id
    return sorted(issuers, key=lambda one: bool(wanted) and one.subject_key_id not in (b"", wanted))


def _check_leaf(leaf: Certificate, tls_purposes: bool) -> None:
    """What needs no issuer (RFC 4945 5.1.3.2, 5.1.3.12)."""
    if (problem := key_problem(leaf.key)) is not None:
        raise Unfit(f"{leaf.text}: {problem}")
    usage = leaf.usage
    if usage is not None and not (usage.digital_signature or usage.content_commitment):
        raise Unfit(f"{leaf.text}: its keyUsage isn't for signatures")
    allowed = IKE_PURPOSES | TLS_PURPOSES if tls_purposes else IKE_PURPOSES
    if leaf.purposes is not None and not leaf.purposes & allowed:
        raise Unfit(f"{leaf.text}: its extKeyUsage isn't for IKE")


def _check_chain(chain: Sequence[Certificate], now_wall_s: float, budget: _Budget) -> None:
    """Raises Unfit unless everything below the anchor, which is last, is in order."""
    anchor = chain[-1]
    _check_time(anchor, now_wall_s)
    room = DEPTH_MAX if anchor.path_length is None else anchor.path_length
    constraints = [] if anchor.constraints is None else [anchor.constraints]
    for at in range(len(chain) - 2, -1, -1):
        one, issuer = chain[at], chain[at + 1]
        if not budget.signatures:
            raise Unfit(f"no chain found for {chain[0].text} in {SIGNATURES_MAX} signatures")
        budget.signatures -= 1
        _check_issued(one, issuer)
        _check_time(one, now_wall_s)
        counts = not one.self_issued or at == 0
        for constraint in constraints if counts else ():
            if (name := violation(one, constraint)) is not None:
                raise Unfit(f"{one.text}: its issuer may not name {name}")
        if at == 0:
            return
        _check_authority(one)
        if counts:
            if room <= 0:
                raise Unfit(f"{one.text}: one authority too many below {issuer.text}")
            room -= 1
        if one.path_length is not None:
            room = min(room, one.path_length)
        if one.constraints is not None:
            constraints.append(one.constraints)


def _check_time(one: Certificate, now_wall_s: float) -> None:
    if now_wall_s < one.not_before_wall_s:
        raise Unfit(f"{one.text}: not valid yet")
    if now_wall_s > one.not_after_wall_s:
        raise Unfit(f"{one.text}: expired")


def _check_issued(one: Certificate, issuer: Certificate) -> None:
    try:
        if (name := weak_hash(one.parsed)) is not None:
            raise Unfit(f"{one.text}: signed over {name}")
        one.parsed.verify_directly_issued_by(issuer.parsed)
    except InvalidSignature:
        raise Unfit(f"{one.text}: not signed by {issuer.text}") from None
    except UNREADABLE as error:
        raise Unfit(f"{one.text}: its signature can't be checked: {one_line(error)}") from None


def _check_authority(one: Certificate) -> None:
    if not one.is_ca:
        raise Unfit(f"{one.text}: no authority (basicConstraints)")
    if one.usage is not None and not one.usage.key_cert_sign:
        raise Unfit(f"{one.text}: its keyUsage isn't for certificates")
    if (problem := key_problem(one.key)) is not None:
        raise Unfit(f"{one.text}: {problem}")
