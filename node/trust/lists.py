"""Certificate revocation lists: read from files, fetched from where they are published, kept fresh.

Rules: a distribution point that a certificate names is followed once the chain holds, and from then
on for as long as there is room: lists are there before the next handshake needs them. A list whose
issuer hasn't been met yet waits for him. What can't be had or isn't worth anything is logged and
counted; what was held goes on counting. RFC 5280 5, 6.3; RFC 4945 5.2.
"""

import asyncio
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
from cryptography import x509

from cluster.seams import Clock, Spawn
from node.metrics import Counts
from node.trust.certificate import Certificate, CertificateId, Unfit
from node.trust.crl import (
    CRL_OCTETS_MAX,
    Crl,
    CrlStore,
    check_crl,
    decode_crl,
    issuer_name,
    serials_of,
)
from node.trust.fetch import Fetch, FetchFailed

SOURCES_MAX = 256
"""Distribution points that are followed; beyond it, those of new certificates aren't."""
WAITING_MAX = 64
"""Lists of issuers that haven't been met yet."""
ISSUERS_MAX = 1024
RETRY_S = 30.0
LEAST_S = 60.0
"""Between two fetches of one list that succeeded, however soon it ends."""
AT_ONCE = 500
"""Entries of a list that are read before others have their turn: a millisecond."""
LOOK_S = 10.0
"""Between two looks at the files."""


class ListSettings(msgspec.Struct, frozen=True):
    """Where lists come from, beside certificates' own distribution points."""

    files: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    refresh_s: float = 3600.0
    """A list is fetched again after this time, or sooner if it ends sooner."""


class _Source:
    """One URL, and a task that follows it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.wanted = asyncio.Event()
        self.tried = asyncio.Event()
        """Not set while an attempt is under way."""
        self.patient_until_s = 0.0


class Lists:
    """See the module."""

    def __init__(
        self,
        settings: ListSettings,
        issuers: Iterable[Certificate],
        fetch: Fetch,
        clock: Clock,
        counts: Counts,
        log: Any,
    ) -> None:
        """`issuers`: those known beforehand."""
        self.settings = settings
        self.held = CrlStore()
        self.on_news: list[Callable[[], None]] = []
        """Called when a newer list is held."""
        self._fetch = fetch
        self._clock = clock
        self._counts = counts
        self._log = log
        self._issuers: dict[bytes, Certificate] = {}
        self._waiting: dict[bytes, x509.CertificateRevocationList] = {}
        self._sources: dict[str, _Source] = {}
        self._seen: dict[str, int] = {}
        """When each file was changed last, as the file system says."""
        self._spawn: Spawn | None = None
        for issuer in issuers:
            self._issuers[issuer.issuer_id] = issuer

    def start(self, spawn: Spawn) -> None:
        """Follow what is configured, and from now on what certificates name."""
        self._spawn = spawn
        for url in self.settings.urls:
            self.follow(url)
        if self.settings.files:
            spawn(self._watch_files(), "crl-files")

    def revoked(self, one: CertificateId) -> bool:
        """Is it on a list of its issuer's?"""
        return self.held.revoked(one)

    def fresh(self, certificate: Certificate, issuer: Certificate) -> bool:
        """Is there a list about it that hasn't ended?"""
        return self.held.until_wall_s(certificate, issuer) >= self._clock.wall_s()

    async def meet(self, issuer: Certificate) -> None:
        """An authority whose lists count from now on; one of them may be waiting for it."""
        if issuer.issuer_id not in self._issuers and len(self._issuers) < ISSUERS_MAX:
            self._issuers[issuer.issuer_id] = issuer
        parsed = self._waiting.pop(issuer.subject, None)
        if parsed is not None:
            try:
                await self._take(parsed)
            except Unfit as error:
                self._failed(str(error))

    def follow(self, url: str) -> None:
        """Fetch the list there, now and whenever it is about to end."""
        if url in self._sources or self._spawn is None or len(self._sources) >= SOURCES_MAX:
            return
        if not url.startswith(("http://", "https://")):
            return  # RFC 4945 5.1.3.13 leaves LDAP to who wants it
        source = self._sources[url] = _Source(url)
        self._spawn(self._keep(source), f"crl {url}")

    async def settled(self, urls: Iterable[str]) -> None:
        """Wait until each of `urls` has been tried, anew where that was a while ago."""
        for url in urls:
            source = self._sources.get(url)
            if source is None:
                continue
            if source.tried.is_set() and source.patient_until_s <= self._clock.boot_s():
                source.tried.clear()
                source.wanted.set()
            await source.tried.wait()

    # -- by itself

    async def _keep(self, source: _Source) -> None:
        while True:
            pause_s = await self._load(source.url)
            # who has just answered isn't asked again for a handshake's sake either
            source.patient_until_s = self._clock.boot_s() + RETRY_S
            source.tried.set()
            try:
                async with asyncio.timeout(pause_s):
                    await source.wanted.wait()
            except TimeoutError:
                source.tried.clear()
            source.wanted.clear()

    async def _load(self, url: str) -> float:
        """Fetch once; the time until it should be done again."""
        try:
            octets = await self._fetch.fetch(url, CRL_OCTETS_MAX)
            until_wall_s = await self._take(decode_crl(octets))
        except (FetchFailed, Unfit) as error:
            self._failed(str(error))
            return RETRY_S
        left_s = until_wall_s - self._clock.wall_s()
        return max(LEAST_S, min(self.settings.refresh_s, 0.9 * left_s))

    async def _watch_files(self) -> None:
        while True:
            for file in self.settings.files:
                await self._look_at(file)
            await asyncio.sleep(LOOK_S)

    async def _look_at(self, file: str) -> None:
        try:
            changed = os.stat(file).st_mtime_ns
            if self._seen.get(file) == changed:
                return
            self._seen[file] = changed
            await self._take(decode_crl(_contents(file)))
        except OSError as error:
            self._failed(f"{file}: {error.strerror}")
        except Unfit as error:
            self._failed(f"{file}: {error}")

    async def _take(self, parsed: x509.CertificateRevocationList) -> float:
        """Hold the list, or let it wait for its issuer; when it ends. Raises Unfit."""
        name = issuer_name(parsed)
        issuers = [one for one in self._issuers.values() if one.subject == name]
        if not issuers:
            if name in self._waiting or len(self._waiting) < WAITING_MAX:
                self._waiting[name] = parsed
            return self._clock.wall_s() + self.settings.refresh_s
        crl = self._checked(parsed, issuers)
        crl = msgspec.structs.replace(crl, serials=await _serials(parsed))
        if self.held.add(crl):
            self._counts.add("crl-loaded")
            self._log.info("CRL loaded", issuer=crl.issuer.hex(), revoked=len(crl.serials))
            for told in self.on_news:
                told()
        return crl.next_update_wall_s

    def _checked(
        self, parsed: x509.CertificateRevocationList, issuers: Iterable[Certificate]
    ) -> Crl:
        """By the first of `issuers`, all of one name, whose signature it is. Raises Unfit."""
        why = Unfit("a CRL of nobody")
        for issuer in issuers:
            try:
                return check_crl(parsed, issuer, self._clock.wall_s())
            except Unfit as error:
                why = error
        raise why

    def _failed(self, why: str) -> None:
        self._counts.add("crl-failed")
        self._log.warning("CRL not loaded", why=why)


def _contents(file: str) -> bytes:
    """Raises OSError."""
    with Path(file).open("rb") as opened:
        return opened.read(CRL_OCTETS_MAX + 1)


async def _serials(parsed: x509.CertificateRevocationList) -> frozenset[int]:
    """What is on the list, read a piece at a time: a long one takes a second. Raises Unfit."""
    found: list[int] = []
    for serial in serials_of(parsed):
        found.append(serial)
        if len(found) % AT_ONCE == 0:
            await asyncio.sleep(0)
    return frozenset(found)
