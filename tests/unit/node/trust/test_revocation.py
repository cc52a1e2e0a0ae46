"""node.trust.revocation, lists, responders, staples: policies, and who is asked when."""

import asyncio
from pathlib import Path

import pytest
from cryptography.x509.ocsp import OCSPCertStatus

from node.trust import lists, responders
from node.trust.certificate import Unfit
from node.trust.own import pair
from node.trust.responders import RETRY_S
from node.trust.verifier import Checked
from proto.ike.identity import parse_identity
from proto.ike.payloads import CertPayload, CertreqPayload
from tests.pki import DAY_S, NOW, Authority, Issued
from tests.unit.node.trust.world import CRL_URL, OCSP_URL, TrustWorld, in_world, responder

ROOT = Authority.root()
NAMES = ["fqdn:peer.example.com"]
PEER = parse_identity(NAMES[0])
LISTED = ROOT.issue("listed", names=NAMES, crl_urls=[CRL_URL])
ASKED = ROOT.issue("asked", names=NAMES, ocsp_urls=[OCSP_URL])
PLAIN = ROOT.issue("plain", names=NAMES)
WORLD: dict[str, object] = {"anchors": (ROOT,)}


async def check(world: TrustWorld, *chain: Issued | Authority, stapled: bytes = b"") -> Checked:
    payloads = [
        CertPayload(4, (one.own if isinstance(one, Authority) else one).der) for one in chain
    ]
    if stapled:
        payloads.append(CertPayload(14, stapled))
    return await world.trust.check(payloads, PEER, "", "192.0.2.7")


async def refused(world: TrustWorld, *chain: Issued | Authority, stapled: bytes = b"") -> str:
    with pytest.raises(Unfit) as caught:
        await check(world, *chain, stapled=stapled)
    return str(caught.value)


# -- lists


@pytest.mark.parametrize("policy", ["off", "if-known", "required"])
def test_a_list_that_revokes(policy: str, tmp_path: Path) -> None:
    file = tmp_path / "ca.crl"
    file.write_bytes(ROOT.crl([LISTED]))

    async def play(world: TrustWorld) -> None:
        await asyncio.sleep(1)
        # whatever the policy: a list that is there is believed
        assert await refused(world, LISTED) == "CN=listed: revoked"
        assert world.counts.by["revoked"] == 1
        world.web.put(CRL_URL, ROOT.crl([LISTED]))
        found = await check(world, PLAIN)
        assert not world.trust.revoked(found.ids)
        assert world.trust.revoked((LISTED.read.id_below(ROOT.own.read),))

    in_world(play, crl=policy, files=(str(file),), **WORLD)


def test_lenient_goes_on_without_a_list_and_has_it_next_time() -> None:
    async def play(world: TrustWorld) -> None:
        world.web.put(CRL_URL, ROOT.crl([LISTED]))
        await check(world, LISTED)  # nobody waits for a list
        assert world.counts.by["crl-missing"] == 1
        await asyncio.sleep(1)
        assert world.counts.by["crl-loaded"] == 1
        assert await refused(world, LISTED) == "CN=listed: revoked"

    in_world(play, crl="if-known", **WORLD)


def test_required_waits_for_the_list() -> None:
    async def play(world: TrustWorld) -> None:
        assert await refused(world, LISTED) == "CN=listed: no fresh CRL"
        world.web.put(CRL_URL, ROOT.crl())
        assert await refused(world, LISTED)  # asked a moment ago
        assert world.web.asked == [CRL_URL]
        await asyncio.sleep(lists.RETRY_S + 1)  # by itself
        await check(world, LISTED)
        await check(world, PLAIN)  # the list is about all that its issuer has issued

    in_world(play, crl="required", **WORLD)


def test_required_takes_a_list_that_comes_in_time() -> None:
    async def play(world: TrustWorld) -> None:
        world.web.put(CRL_URL, ROOT.crl())
        world.web.waits = lambda: asyncio.sleep(2)
        began = world.clock.boot_s()
        await asyncio.gather(*(check(world, LISTED) for _ in range(20)))
        assert world.clock.boot_s() - began == pytest.approx(2)
        assert world.web.asked == [CRL_URL]  # one for all

    in_world(play, crl="required", **WORLD)


def test_required_covers_every_certificate_but_the_anchor(tmp_path: Path) -> None:
    middle = ROOT.authority("middle")
    leaf = middle.issue("leaf", names=NAMES)
    of_root, of_middle = tmp_path / "root.crl", tmp_path / "middle.crl"
    of_root.write_bytes(ROOT.crl())

    async def play(world: TrustWorld) -> None:
        await asyncio.sleep(1)
        assert await refused(world, leaf, middle) == "CN=leaf: no fresh CRL"
        # its issuer is met only now: the list has waited
        of_middle.write_bytes(middle.crl())
        await asyncio.sleep(lists.LOOK_S + 1)
        await check(world, leaf, middle)
        of_root.write_bytes(ROOT.crl([middle.own], at=NOW))
        await asyncio.sleep(lists.LOOK_S + 1)
        assert await refused(world, leaf, middle) == "CN=middle: revoked"

    in_world(play, crl="required", files=(str(of_root), str(of_middle)), **WORLD)


def test_a_list_is_fetched_again_before_it_ends() -> None:
    async def play(world: TrustWorld) -> None:
        def page(_body: bytes) -> bytes:
            at = world.clock.wall_s()
            return ROOT.crl(at=at, until=at + 1000)

        world.web.pages[CRL_URL] = page
        await check(world, LISTED)
        for _ in range(20):
            await asyncio.sleep(500)
            assert world.lists.fresh(LISTED.read, ROOT.own.read)
        assert len(world.web.asked) == pytest.approx(10_000 / 900, abs=1)

    in_world(play, crl="if-known", **WORLD)


def test_configured_lists_are_fetched_before_anybody_comes() -> None:
    async def play(world: TrustWorld) -> None:
        await asyncio.sleep(1)
        world.web.put(CRL_URL, ROOT.crl([PLAIN]))
        told: list[int] = []
        world.lists.on_news.append(lambda: told.append(1))
        # so that a ticket can be refused at a member that has never seen its bearer
        await asyncio.sleep(lists.RETRY_S + 1)
        assert world.trust.revoked((PLAIN.read.id_below(ROOT.own.read),))
        assert told == [1]

    in_world(play, urls=(CRL_URL,), **WORLD)


def test_rubbish_is_counted_and_what_was_held_goes_on_counting(tmp_path: Path) -> None:
    file = tmp_path / "ca.crl"
    file.write_bytes(ROOT.crl([LISTED]))

    async def play(world: TrustWorld) -> None:
        await asyncio.sleep(1)
        for rubbish in (b"rubbish", Authority.root("root").crl(at=NOW), b""):
            file.write_bytes(rubbish)
            await asyncio.sleep(lists.LOOK_S + 1)
        file.unlink()
        await asyncio.sleep(lists.LOOK_S + 1)
        assert world.counts.by["crl-failed"] >= 4
        assert await refused(world, LISTED) == "CN=listed: revoked"

    in_world(play, files=(str(file),), **WORLD)


def test_how_many_points_are_followed_is_bounded() -> None:
    async def play(world: TrustWorld) -> None:
        for n in range(lists.SOURCES_MAX + 5):
            world.lists.follow(f"http://crl/{n}")
        world.lists.follow("ldap://crl/")
        await asyncio.sleep(1)
        assert len(world.web.asked) == lists.SOURCES_MAX
        await world.lists.settled(["http://crl/unknown", f"http://crl/{lists.SOURCES_MAX + 1}"])

    in_world(play, **WORLD)


def test_how_many_lists_wait_for_their_issuers_is_bounded() -> None:
    async def play(world: TrustWorld) -> None:
        strangers = [Authority.root(f"stranger {n}") for n in range(lists.WAITING_MAX + 1)]
        for n, stranger in enumerate(strangers):
            world.web.put(f"http://crl/{n}", stranger.crl([PLAIN]))
            world.lists.follow(f"http://crl/{n}")
        await asyncio.sleep(1)
        for stranger in strangers:
            await world.lists.meet(stranger.own.read)
        assert world.counts.by["crl-loaded"] == lists.WAITING_MAX

    in_world(play, **WORLD)


# -- responders


@pytest.mark.parametrize("policy", ["fail-open", "required"])
def test_a_responder_is_asked_once_and_believed(policy: str) -> None:
    revoked = ROOT.issue("revoked", names=NAMES, ocsp_urls=[OCSP_URL])

    async def play(world: TrustWorld) -> None:
        world.web.pages[OCSP_URL] = responder(world, ROOT, ASKED, revoked=(revoked,))
        found = await check(world, ASKED)
        await check(world, ASKED)
        assert not world.trust.revoked(found.ids)
        assert world.web.asked == [OCSP_URL]
        assert await refused(world, revoked) == "CN=revoked: revoked"
        assert world.trust.revoked((revoked.read.id_below(ROOT.own.read),))
        assert await refused(world, revoked) == "CN=revoked: revoked"
        assert world.web.asked == [OCSP_URL] * 2
        assert world.counts.by["ocsp-good"] == world.counts.by["ocsp-revoked"] == 1
        await asyncio.sleep(3601)
        await check(world, ASKED)  # out of date by now
        assert world.web.asked == [OCSP_URL] * 3

    in_world(play, ocsp=policy, **WORLD)


def test_many_at_once_ask_once() -> None:
    async def play(world: TrustWorld) -> None:
        world.web.pages[OCSP_URL] = responder(world, ROOT, ASKED)
        world.web.waits = lambda: asyncio.sleep(1)
        await asyncio.gather(*(check(world, ASKED) for _ in range(20)))
        assert world.web.asked == [OCSP_URL]
        assert not world.responders._asking

    in_world(play, **WORLD)


def test_a_silent_responder_costs_one_handshake_its_time() -> None:
    async def play(world: TrustWorld) -> None:
        world.web.waits = lambda: asyncio.sleep(3)
        for expected_s in (3, 0, 0):
            began = world.clock.boot_s()
            await check(world, ASKED)
            assert world.clock.boot_s() - began == pytest.approx(expected_s)
        assert world.counts.by["ocsp-unanswered"] == 3
        world.web.pages[OCSP_URL] = responder(world, ROOT, ASKED)
        await asyncio.sleep(RETRY_S)
        await check(world, ASKED)
        assert world.counts.by["ocsp-good"] == 1

    in_world(play, ocsp="fail-open", **WORLD)


def test_required_refuses_without_an_answer() -> None:
    async def play(world: TrustWorld) -> None:
        assert "connection refused" in await refused(world, ASKED)
        assert "silent a moment ago" in await refused(world, ASKED)
        assert "no OCSP responder known" in await refused(world, PLAIN)

    in_world(play, ocsp="required", **WORLD)


def test_off_asks_nobody() -> None:
    async def play(world: TrustWorld) -> None:
        both = ROOT.issue("both", names=NAMES, ocsp_urls=[OCSP_URL], crl_urls=[CRL_URL])
        await check(world, both)
        await asyncio.sleep(1)
        assert world.web.asked == []
        assert [one.encoding for one in world.trust.requests(None)] == [4]

    in_world(play, ocsp="off", crl="off", **WORLD)


def test_a_configured_responder_is_asked_about_peers_instead() -> None:
    own = "http://own.example.com/ocsp"
    trusted = Authority.root("trusted")

    async def play(world: TrustWorld) -> None:
        at = world.clock.wall_s()
        world.web.put(own, ROOT.ocsp(ASKED, at=at, until=at + 10, signer=trusted.own))
        await check(world, ASKED)
        assert world.web.asked == [own]
        (_, asked) = world.trust.requests(None)
        assert asked == CertreqPayload(14, trusted.own.read.key_hash)

    in_world(play, ocsp="required", ocsp_url=own, responders=(trusted.own.read,), **WORLD)


def test_an_authority_that_names_a_responder_is_asked_about_too() -> None:
    middle = ROOT.authority("middle", ocsp_urls=["http://root.example.com/"])
    leaf = middle.issue("leaf", names=NAMES, ocsp_urls=[OCSP_URL])

    async def play(world: TrustWorld) -> None:
        world.web.pages[OCSP_URL] = responder(world, middle, leaf)
        world.web.pages["http://root.example.com/"] = responder(world, ROOT, revoked=(middle.own,))
        assert await refused(world, leaf, middle) == "CN=middle: revoked"

    in_world(play, **WORLD)


def test_what_holds_no_chain_makes_nobody_be_asked() -> None:
    stranger = Authority.root("stranger")
    foreign = stranger.issue(names=NAMES, ocsp_urls=[OCSP_URL], crl_urls=[CRL_URL])
    other = ROOT.issue(names=["fqdn:other"], ocsp_urls=[OCSP_URL], crl_urls=[CRL_URL])

    async def play(world: TrustWorld) -> None:
        await refused(world, foreign)
        await refused(world, foreign, stranger)
        await refused(world, other)
        await asyncio.sleep(1)
        assert world.web.asked == []

    in_world(play, ocsp="required", crl="required", **WORLD)


def test_an_older_answer_never_replaces_a_newer() -> None:
    async def play(world: TrustWorld) -> None:
        good = ROOT.ocsp(ASKED, at=NOW, until=NOW + DAY_S)
        bad = ROOT.ocsp(ASKED, OCSPCertStatus.REVOKED, at=NOW + 100, until=NOW + DAY_S)
        await check(world, ASKED, stapled=good)
        await asyncio.sleep(200)
        assert await refused(world, ASKED, stapled=bad) == "CN=asked: revoked"
        assert await refused(world, ASKED, stapled=good) == "CN=asked: revoked"

    in_world(play, **WORLD)


def test_memory_is_bounded() -> None:
    async def play(world: TrustWorld) -> None:
        urls = [f"http://ocsp/{n}" for n in range(responders.SILENT_MAX + 10)]
        with pytest.raises(Unfit):
            await world.responders.ask(ASKED.read, ROOT.own.read, urls)
        assert len(world.responders._silent) == responders.SILENT_MAX

    in_world(play, **WORLD)


# -- responses in CERT payloads (RFC 4806)


def test_a_peers_stapled_response_will_do() -> None:
    async def play(world: TrustWorld) -> None:
        (_, asked) = world.trust.requests(None)
        assert asked == CertreqPayload(14, b"")  # "zero or more" trusted responders (3.1)
        await check(world, ASKED, stapled=ROOT.ocsp(ASKED))
        await check(world, PLAIN, stapled=ROOT.ocsp(PLAIN))
        assert world.web.asked == []
        assert world.counts.by["ocsp-stapled-good"] == 2

    in_world(play, ocsp="required", **WORLD)


def test_a_stapled_response_that_is_worth_nothing_is_no_response() -> None:
    namesake = Authority.root("root")

    async def play(world: TrustWorld) -> None:
        for stapled in (
            b"rubbish",
            ROOT.ocsp(ASKED),
            ROOT.ocsp(PLAIN, at=NOW - 9000, until=NOW - 5000),
            namesake.ocsp(Issued(PLAIN.parsed, PLAIN.key)),
        ):
            assert "no OCSP responder known" in await refused(world, PLAIN, stapled=stapled)
        assert world.counts.by["ocsp-stapled-unfit"] == 4

    in_world(play, ocsp="required", **WORLD)


def test_ours_is_at_hand_for_who_asks() -> None:
    middle = ROOT.authority("middle")
    mine = middle.issue("mine", names=NAMES, ocsp_urls=[OCSP_URL])
    own = pair([mine.read, middle.own.read], mine.key)

    async def play(world: TrustWorld) -> None:
        assert world.trust.payloads(own, [CertreqPayload(14, b"")]) == own.payloads()
        world.web.pages[OCSP_URL] = responder(world, middle, mine)
        await asyncio.sleep(61)
        sent = world.trust.payloads(own, [CertreqPayload(4, bytes(20)), CertreqPayload(14, b"")])
        assert sent[:-1] == own.payloads()
        assert sent[-1].encoding == 14
        assert world.trust.payloads(own, [CertreqPayload(4, bytes(20))]) == own.payloads()
        # a peer of ours that insists on it believes it, and asks nobody
        peer = TrustWorld(world.loop, ocsp="required", anchors=(ROOT,))
        await peer.trust.check(sent, PEER, "", "192.0.2.7")
        assert peer.web.asked == []
        # out of date: not sent any more
        world.web.pages.clear()
        await asyncio.sleep(3600)
        assert world.trust.payloads(own, [CertreqPayload(14, b"")]) == own.payloads()

    in_world(play, own=(own,), **WORLD)


def test_our_own_revoked_certificate_is_not_stapled() -> None:
    mine = ROOT.issue("mine", names=NAMES, ocsp_urls=[OCSP_URL])
    own = pair([mine.read], mine.key)

    async def play(world: TrustWorld) -> None:
        world.web.pages[OCSP_URL] = responder(world, ROOT, revoked=(mine,))
        await asyncio.sleep(61)
        assert world.trust.payloads(own, [CertreqPayload(14, b"")]) == own.payloads()

    in_world(play, own=(own,), **WORLD)
