"""A small web and a clock for `node.trust`, on virtual time."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import TypeVar

import structlog
from cryptography.x509 import ocsp

from node.metrics import Counts
from node.supervisor import Supervisor
from node.trust.certificate import Certificate
from node.trust.fetch import FetchFailed
from node.trust.lists import Lists, ListSettings
from node.trust.own import Own
from node.trust.path import Anchors
from node.trust.responders import Responders, ResponderSettings
from node.trust.revocation import CrlPolicy, OcspPolicy, Revocation
from node.trust.staples import Staples
from node.trust.verifier import Trust, TrustSettings
from tests.pki import NOW, Authority, Issued
from tests.sim.loop import SimLoop, run
from tests.sim.seams import WALL_START_S, SeededRng, SimClock

T = TypeVar("T")
Page = Callable[[bytes], bytes | None]
"""What is answered to a body; None: nothing."""

CRL_URL = "http://crl.example.com/root.crl"
OCSP_URL = "http://ocsp.example.com/"


class Web:
    """Implements `node.trust.fetch.Fetch`: pages that are there, others that aren't."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.asked: list[str] = []
        self.waits: Callable[[], Awaitable[None]] | None = None

    def put(self, url: str, content: bytes) -> None:
        """The same for everybody."""
        self.pages[url] = lambda _body: content

    async def fetch(
        self, url: str, octets_max: int, body: bytes = b"", content_type: str = ""
    ) -> bytes:
        """See `Fetch.fetch`."""
        self.asked.append(url)
        if self.waits is not None:
            await self.waits()
        page = self.pages.get(url)
        content = None if page is None else page(body)
        if content is None:
            raise FetchFailed(f"{url}: connection refused")
        assert len(content) <= octets_max
        assert bool(content_type) is bool(body)
        return content


class TrustWorld:
    """Everything of `node.trust` for one process."""

    def __init__(
        self,
        loop: SimLoop,
        *,
        crl: str = "if-known",
        ocsp: str = "fail-open",
        anchors: tuple[Authority, ...] = (),
        intermediates: tuple[Authority, ...] = (),
        files: tuple[str, ...] = (),
        urls: tuple[str, ...] = (),
        ocsp_url: str = "",
        responders: tuple[Certificate, ...] = (),
        own: tuple[Own, ...] = (),
    ) -> None:
        self.loop = loop
        self.clock = SimClock(loop, wall_offset_s=NOW - WALL_START_S)
        self.web = Web()
        self.counts = Counts()
        self.supervisor = Supervisor()
        log = structlog.get_logger("test")
        settings = TrustSettings(
            anchors=Anchors(one.own.read for one in anchors),
            intermediates=tuple(one.own.read for one in intermediates),
            own=own,
        )
        above = [one.own.read for one in (*anchors, *intermediates)]
        self.responders = Responders(
            ResponderSettings(ocsp_url, responders),
            self.web,
            self.clock,
            SeededRng(1, "trust"),
            self.counts,
        )
        self.lists = Lists(
            ListSettings(files, urls),
            above,
            self.web,
            self.clock,
            self.counts,
            log,
        )
        self.staples = Staples(own, above, self.responders, self.clock, self.counts, log)
        revocation = Revocation(
            CrlPolicy(crl), OcspPolicy(ocsp), self.lists, self.responders, self.counts, log
        )
        self.trust = Trust(settings, self.clock, revocation, self.staples)

    def start(self) -> None:
        """Everything that works by itself."""
        self.lists.start(self.supervisor.spawn)
        self.staples.start(self.supervisor.spawn)

    async def stop(self) -> None:
        """End its tasks; none may have died."""
        await self.supervisor.stop()
        assert self.supervisor.crashes == 0


def in_world(play: Callable[[TrustWorld], Coroutine[object, object, T]], **settings: object) -> T:
    """Play it in a world with these settings; what it returns."""

    async def main(loop: SimLoop) -> T:
        world = TrustWorld(loop, **settings)  # type: ignore[arg-type]
        world.start()
        try:
            return await play(world)
        finally:
            await world.stop()

    return run(main)


def responder(
    world: TrustWorld, authority: Authority, *issued: Issued, revoked: tuple[Issued, ...] = ()
) -> Page:
    """A responder of `authority` that knows these certificates."""

    def answer(body: bytes) -> bytes | None:
        request = ocsp.load_der_ocsp_request(body)
        nonce = [e.value.nonce for e in request.extensions if hasattr(e.value, "nonce")]
        for one in (*issued, *revoked):
            if one.parsed.serial_number == request.serial_number:
                status = ocsp.OCSPCertStatus.REVOKED if one in revoked else ocsp.OCSPCertStatus.GOOD
                at = world.clock.wall_s()
                return authority.ocsp(
                    one, status, at=at - 1, until=at + 3600, nonce=nonce[0] if nonce else None
                )
        return None

    return answer
