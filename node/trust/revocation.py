"""Whether a chain's certificates were taken back, and what policy makes of silence.

Rules: a certificate that anybody entitled says is revoked is refused whatever the policies are.
Responders are asked, and lists fetched, only for chains that hold. `required` waits for an answer
and refuses without one; the lenient policies count and log what they went on without, and never
wait for a list. Responders are asked about a peer's own certificate, and about one above it where
that names a responder. RFC 5280 6.3; RFC 6960; RFC 4806.
"""

import enum
from collections.abc import Iterable, Sequence
from typing import Any

from node.metrics import Counts
from node.trust.certificate import Certificate, CertificateId, Unfit
from node.trust.lists import Lists
from node.trust.ocsp import Status
from node.trust.path import Chain
from node.trust.responders import Responders


class CrlPolicy(enum.Enum):
    """What a missing list means."""

    OFF = "off"
    IF_KNOWN = "if-known"
    REQUIRED = "required"


class OcspPolicy(enum.Enum):
    """What a missing answer means."""

    OFF = "off"
    FAIL_OPEN = "fail-open"
    REQUIRED = "required"


class Revocation:
    """See the module."""

    def __init__(
        self,
        crl: CrlPolicy,
        ocsp: OcspPolicy,
        lists: Lists,
        responders: Responders,
        counts: Counts,
        log: Any,
    ) -> None:
        self._crl = crl
        self._ocsp = ocsp
        self._lists = lists
        self._responders = responders
        self._counts = counts
        self._log = log

    @property
    def asks_responders(self) -> bool:
        """Would an OCSP response be looked at?"""
        return self._ocsp is not OcspPolicy.OFF

    @property
    def trusted_responders(self) -> tuple[Certificate, ...]:
        """Those whose word is taken about any certificate."""
        return self._responders.settings.responders

    def revoked(self, ids: Iterable[CertificateId]) -> bool:
        """Is one of them known to be revoked by now? Answered from memory."""
        return any(self._lists.revoked(one) or self._responders.revoked(one) for one in ids)

    async def check(self, chain: Chain, stapled: Sequence[bytes] = ()) -> None:
        """Raises Unfit where one of the chain's certificates is revoked, or must be known not to be
        and isn't. `stapled`: OCSP responses that the peer sent with it.
        """
        for certificate, issuer in chain.links:
            is_leaf = certificate is chain.leaf
            await self._lists.meet(issuer)
            if is_leaf and self._ocsp is not OcspPolicy.OFF:
                self._responders.take(stapled, certificate, issuer)
            self._refuse_revoked(certificate, issuer)
            await self._ask(certificate, issuer, is_leaf=is_leaf)
            await self._look(certificate, issuer)
            self._refuse_revoked(certificate, issuer)

    def _refuse_revoked(self, certificate: Certificate, issuer: Certificate) -> None:
        if self.revoked((certificate.id_below(issuer),)):
            self._counts.add("revoked")
            raise Unfit(f"{certificate.text}: revoked")

    async def _ask(self, certificate: Certificate, issuer: Certificate, *, is_leaf: bool) -> None:
        urls = self._responders.urls_for(certificate, is_leaf=is_leaf)
        needed = self._ocsp is OcspPolicy.REQUIRED and (is_leaf or bool(urls))
        if self._ocsp is OcspPolicy.OFF or not (urls or needed):
            return
        known = self._responders.known(certificate.id_below(issuer))
        if known is not None and known.status is Status.GOOD:
            return
        try:
            await self._responders.ask(certificate, issuer, urls)
        except Unfit as error:
            self._missing("ocsp-unanswered", certificate, str(error), refuse=needed)

    async def _look(self, certificate: Certificate, issuer: Certificate) -> None:
        if self._crl is CrlPolicy.OFF:
            return
        for url in certificate.crl_urls:
            self._lists.follow(url)
        if self._lists.fresh(certificate, issuer):
            return
        needed = self._crl is CrlPolicy.REQUIRED
        if needed:
            await self._lists.settled((*certificate.crl_urls, *self._lists.settings.urls))
        if self._lists.fresh(certificate, issuer):
            return
        if needed or certificate.crl_urls:
            why = f"{certificate.text}: no fresh CRL"
            self._missing("crl-missing", certificate, why, refuse=needed)

    def _missing(self, what: str, certificate: Certificate, why: str, *, refuse: bool) -> None:
        self._counts.add(what)
        if refuse:
            raise Unfit(why)
        self._log.warning("revocation not checked", certificate=certificate.text, why=why)
