"""OCSP responders: asked, and their answers remembered.

Rules: an answer is kept while it is fresh, one that says revoked for as long as there is room, and
an older one never replaces a newer. Who didn't answer isn't asked again for a while, so that a dead
responder costs one handshake its time, not all. What is held is bounded. RFC 6960; RFC 4806.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence

import msgspec

from cluster.seams import Clock, Rng
from node.metrics import Counts
from node.trust.certificate import Certificate, CertificateId, Unfit
from node.trust.fetch import Fetch, FetchFailed
from node.trust.ocsp import (
    NONCE_OCTETS,
    OCSP_OCTETS_MAX,
    Answer,
    Status,
    check_response,
    encode_request,
)

REQUEST_TYPE = "application/ocsp-request"
RETRY_S = 30.0
"""Who didn't answer isn't asked again for so long."""
ANSWERS_MAX = 65_536
SILENT_MAX = 1024
"""URLs remembered for not having answered."""
STAPLED_MAX = 4
"""Responses taken from one message of a peer's."""


class ResponderSettings(msgspec.Struct, frozen=True):
    """Who is asked."""

    url: str = ""
    """Asked about peers' own certificates, instead of whom they name."""
    responders: tuple[Certificate, ...] = ()
    """Believed about any certificate (RFC 6960 4.2.2.2, RFC 4806 3.1 (b))."""


class Responders:
    """Asks responders, and remembers their answers."""

    def __init__(
        self, settings: ResponderSettings, fetch: Fetch, clock: Clock, rng: Rng, counts: Counts
    ) -> None:
        self.settings = settings
        self._fetch = fetch
        self._clock = clock
        self._rng = rng
        self._counts = counts
        self._answers: OrderedDict[CertificateId, Answer] = OrderedDict()
        self._silent: OrderedDict[str, float] = OrderedDict()
        self._asking: dict[CertificateId, asyncio.Lock] = {}

    def revoked(self, one: CertificateId) -> bool:
        """Has a responder said so?"""
        answer = self._answers.get(one)
        return answer is not None and answer.status is Status.REVOKED

    def known(self, one: CertificateId) -> Answer | None:
        """A fresh answer about it, if there is one."""
        answer = self._answers.get(one)
        if answer is None or answer.until_wall_s < self._clock.wall_s():
            return None
        return answer

    def urls_for(self, certificate: Certificate, *, is_leaf: bool) -> tuple[str, ...]:
        """Whom to ask about it."""
        if is_leaf and self.settings.url:
            return (self.settings.url,)
        return certificate.ocsp_urls

    def take(self, ders: Sequence[bytes], certificate: Certificate, issuer: Certificate) -> None:
        """Responses that a peer sent along (RFC 4806); those that are worth nothing are dropped."""
        for der in ders[:STAPLED_MAX]:
            try:
                answer = self._checked(der, certificate, issuer)
            except Unfit:
                self._counts.add("ocsp-stapled-unfit")
                continue
            self._counts.add(f"ocsp-stapled-{answer.status.value}")
            self._keep(certificate.id_below(issuer), answer)

    async def ask(
        self, certificate: Certificate, issuer: Certificate, urls: Sequence[str]
    ) -> Answer:
        """The answer of the first of `urls` that gives one. Raises Unfit: none does."""
        one = certificate.id_below(issuer)
        lock = self._asking.setdefault(one, asyncio.Lock())
        try:
            async with lock:
                known = self.known(one)
                return known or await self._ask_each(certificate, issuer, urls)
        finally:
            if not lock.locked():
                self._asking.pop(one, None)

    async def _ask_each(
        self, certificate: Certificate, issuer: Certificate, urls: Sequence[str]
    ) -> Answer:
        why = f"{certificate.text}: no OCSP responder known"
        for url in urls:
            if self._silent.get(url, 0.0) > self._clock.boot_s():
                why = f"{url}: silent a moment ago"
                continue
            try:
                answer = await self.ask_one(certificate, issuer, url)
            except (FetchFailed, Unfit) as error:
                why = str(error)
                self._be_patient(url)
                continue
            self._counts.add(f"ocsp-{answer.status.value}")
            self._keep(certificate.id_below(issuer), answer)
            return answer
        raise Unfit(why)

    async def ask_one(
        self, certificate: Certificate, issuer: Certificate, url: str, *, with_nonce: bool = True
    ) -> Answer:
        """The answer from `url`, not remembered. Raises FetchFailed, Unfit."""
        nonce = self._rng.bytes(NONCE_OCTETS) if with_nonce else b""
        request = encode_request(certificate, issuer, nonce)
        der = await self._fetch.fetch(url, OCSP_OCTETS_MAX, request, REQUEST_TYPE)
        return self._checked(der, certificate, issuer, nonce)

    def _checked(
        self, der: bytes, certificate: Certificate, issuer: Certificate, nonce: bytes = b""
    ) -> Answer:
        trusted = self.settings.responders
        now_wall_s = self._clock.wall_s()
        return check_response(der, certificate, issuer, now_wall_s, trusted=trusted, nonce=nonce)

    def _keep(self, one: CertificateId, answer: Answer) -> None:
        known = self._answers.get(one)
        if known is not None and known.this_update_wall_s > answer.this_update_wall_s:
            return  # an older one is shown again by whom it suits
        self._answers[one] = answer
        self._answers.move_to_end(one)
        while len(self._answers) > ANSWERS_MAX:
            self._answers.popitem(last=False)

    def _be_patient(self, url: str) -> None:
        self._silent[url] = self._clock.boot_s() + RETRY_S
        self._silent.move_to_end(url)
        while len(self._silent) > SILENT_MAX:
            self._silent.popitem(last=False)
