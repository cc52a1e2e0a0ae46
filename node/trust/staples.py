"""What our own certificates' responders say of them, at hand for peers that ask (RFC 4806 4.2).

Rules: fetched before anybody asks, and again half-way to its end; asked for without a nonce, since
it is for others. A handshake never waits for it: what isn't at hand isn't sent.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from cluster.seams import Clock, Spawn
from node.metrics import Counts
from node.trust.certificate import Certificate, Unfit
from node.trust.fetch import FetchFailed
from node.trust.ocsp import Answer, Status
from node.trust.own import Own
from node.trust.responders import Responders

RETRY_S = 60.0
LEAST_S = 60.0
MOST_S = 3600.0
"""Between two questions."""


class Staples:
    """See the module."""

    def __init__(
        self,
        own: Sequence[Own],
        above: Sequence[Certificate],
        responders: Responders,
        clock: Clock,
        counts: Counts,
        log: Any,
    ) -> None:
        """`above`: authorities that are known beside those in our certificates' files."""
        self._asked = [
            (one.certificate, issuer)
            for one in own
            if (issuer := _issuer(one, above)) is not None and one.certificate.ocsp_urls
        ]
        self._responders = responders
        self._clock = clock
        self._counts = counts
        self._log = log
        self._held: dict[bytes, Answer] = {}

    def start(self, spawn: Spawn) -> None:
        """Ask, from now on."""
        for certificate, issuer in self._asked:
            spawn(self._keep(certificate, issuer), f"staple {certificate.text}")

    def of(self, certificate: Certificate) -> bytes:
        """An OCSPResponse that says our certificate is good; empty: none is at hand."""
        answer = self._held.get(certificate.der)
        if answer is None or answer.until_wall_s < self._clock.wall_s():
            return b""
        return answer.der

    async def _keep(self, certificate: Certificate, issuer: Certificate) -> None:
        pause_s = 0.0
        while True:
            await asyncio.sleep(pause_s)
            pause_s = await self._ask(certificate, issuer)

    async def _ask(self, certificate: Certificate, issuer: Certificate) -> float:
        """Ask once; how long to wait before the next time."""
        url = certificate.ocsp_urls[0]
        try:
            answer = await self._responders.ask_one(certificate, issuer, url, with_nonce=False)
        except (FetchFailed, Unfit) as error:
            self._counts.add("ocsp-own-unanswered")
            self._log.warning("no OCSP response for our own certificate", why=str(error))
            return RETRY_S
        if answer.status is Status.GOOD:
            self._held[certificate.der] = answer
        else:
            self._held.pop(certificate.der, None)
            self._log.error("our own certificate is revoked", certificate=certificate.text)
        left_s = answer.until_wall_s - self._clock.wall_s()
        return max(LEAST_S, min(MOST_S, left_s / 2))


def _issuer(own: Own, above: Sequence[Certificate]) -> Certificate | None:
    """Who has issued it, by name and key identifier."""
    one = own.certificate
    named = [issuer for issuer in (*own.above, *above) if issuer.subject == one.issuer]
    fitting = [issuer for issuer in named if issuer.subject_key_id == one.authority_key_id]
    return next(iter(fitting or named), None)
