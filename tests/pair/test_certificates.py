"""Certificates and signatures in IKE_AUTH, both roles (RFC 7296 2.15; RFC 7427; RFC 8420)."""

import pytest

from proto.ike.connection import Connection, Method, OwnKey
from proto.ike.core import Peer, Settings, replace
from proto.ike.enums import AuthMethod, CertEncoding, ExchangeType, NotifyType
from proto.ike.errands import Undone
from proto.ike.events import Ended, Failed
from proto.ike.message import decode_clear
from proto.ike.payloads import AuthPayload, CertPayload, CertreqPayload, NotifyPayload
from proto.ike.rounds import Proof
from proto.ike.signature import ANNOUNCED, decode_hashes
from tests.pair.authorities import KINDS, own_key
from tests.pair.craft import opened, sealed
from tests.pair.pair import Pair
from tests.pair.parts import ANY, BOB_ID, CLIENT_ID, GATEWAY_ID, PEER, PSK, SETTINGS

ANCHORS = (
    CertreqPayload(CertEncoding.X509_SIGNATURE, bytes(range(40))),
    CertreqPayload(CertEncoding.OCSP_CONTENT, b""),
)


def connection(own: str | None = "p256", remote: Method = Method.CERTIFICATE) -> Settings:
    """A gateway with a key of kind `own` (None: pre-shared), which wants `remote`."""
    made = Connection(
        "certificates",
        GATEWAY_ID,
        ANY,
        ANY,
        local_auth=Method.PSK if own is None else Method.CERTIFICATE,
        remote_auth=(remote,),
    )
    return replace(SETTINGS, connections=(made,), requests=ANCHORS)


def peer_with(method: Method = Method.CERTIFICATE, remote: Method = Method.CERTIFICATE) -> Peer:
    """A client that proves itself so."""
    psk = PSK if method is Method.PSK else None
    proof = Proof(method, CLIENT_ID, psk)
    return replace(PEER, proofs=(proof,), remote_auth=remote, requests=ANCHORS)


def pair_of(
    client: str | None = "p256", gateway: str | None = "p256", peer: Peer | None = None
) -> Pair:
    """Both have keys of these kinds (None: none), and trust each other's certificates."""
    settings = connection(gateway, Method.PSK if client is None else Method.CERTIFICATE)
    pair = Pair(settings, peer or peer_with())
    pair.client.endpoint.settings = SETTINGS
    if client is not None:
        pair.client.psks.keys[CLIENT_ID.data] = mine = own_key(client, "alice")
        pair.authority.trust(mine, CLIENT_ID.data)
    if gateway is not None:
        pair.gateway.psks.keys[GATEWAY_ID.data] = theirs = own_key(gateway, "vpn.example.com")
        pair.authority.trust(theirs, GATEWAY_ID.data)
    return pair


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_key_authenticates_both_sides(kind: str) -> None:
    pair = pair_of(kind, kind)
    spi = pair.connect()
    pair.agree(spi)
    (core,) = pair.gateway.live()
    assert (core.identity, core.auth_method) == ("rfc822:alice@example.com", "certificate")
    asked, answered = (opened(pair_core(pair, side), octets(pair, side)) for side in (0, 1))
    for message in (asked, answered):
        proof, cert = message.find(AuthPayload), message.find(CertPayload)
        assert proof is not None
        assert proof.method == AuthMethod.DIGITAL_SIGNATURE
        assert cert is not None
        assert cert.encoding == CertEncoding.X509_SIGNATURE
    assert pair.check == []


def pair_core(pair: Pair, side: int):
    """The established SA of the client (0) or the gateway (1)."""
    return (pair.client, pair.gateway)[side].live()[0]


def octets(pair: Pair, side: int) -> bytes:
    """What that side sent last."""
    return (pair.client, pair.gateway)[side].octets()[-1]


def test_anchors_and_hashes_are_told_and_hash_and_url_is_not_asked_for() -> None:
    pair = pair_of()
    pair.connect()
    first, answer = decode_clear(pair.client.octets()[0]), decode_clear(pair.gateway.octets()[0])
    for message in (first, answer):
        hashes = message.notify(NotifyType.SIGNATURE_HASH_ALGORITHMS)
        assert hashes is not None
        assert decode_hashes(hashes.data) == frozenset(ANNOUNCED)
        assert message.notify(NotifyType.HTTP_CERT_LOOKUP_SUPPORTED) is None
    asked = opened(pair_core(pair, 0), pair.client.octets()[1])
    for message in (answer, asked):
        assert tuple(p for p in message.payloads if isinstance(p, CertreqPayload)) == ANCHORS
    assert pair.client.psks.asked_for == pair.gateway.psks.asked_for == [ANCHORS]
    assert asked.notify(NotifyType.HTTP_CERT_LOOKUP_SUPPORTED) is None


def test_who_uses_pre_shared_keys_asks_for_no_certificate() -> None:
    pair = Pair()
    pair.connect()
    assert decode_clear(pair.gateway.octets()[0]).find(CertreqPayload) is None
    assert opened(pair_core(pair, 0), pair.client.octets()[1]).find(CertreqPayload) is None


def test_a_gateway_with_a_certificate_takes_a_peer_with_a_pre_shared_key() -> None:
    pair = pair_of(None, peer=peer_with(Method.PSK))  # B38
    pair.agree(pair.connect())
    assert pair.gateway.live()[0].auth_method == "psk"


def test_a_peer_with_a_certificate_takes_a_gateway_with_a_pre_shared_key() -> None:
    pair = pair_of("p256", None, peer_with(remote=Method.PSK))
    pair.agree(pair.connect())
    assert pair.gateway.live()[0].auth_method == "certificate"


def failed(pair: Pair) -> tuple[list[str], list[str]]:
    """Why it failed, by the gateway and by the client."""
    spi = pair.connect()
    assert pair.gateway.live() == pair.client.live() == []
    assert pair.chains.writes == []
    assert pair.client.endpoint.find(spi) is None
    return [e.why for e in pair.gateway.of(Failed)], [e.why for e in pair.client.of(Failed)]


TOLD = ["the gateway answered AUTHENTICATION_FAILED"]


def test_a_certificate_that_nobody_trusts_is_refused() -> None:
    pair = pair_of()
    del pair.authority.trusted[own_key("p256", "alice").shown[0].data]
    said, told = failed(pair)
    assert said == ["certificate of rfc822:alice@example.com: nobody trusts it"]
    assert told == TOLD


def test_a_certificate_of_somebody_else_is_refused() -> None:
    pair = pair_of()
    pair.authority.trust(own_key("p256", "alice"), BOB_ID.data)
    assert failed(pair)[1] == TOLD


def test_a_gateway_whose_certificate_nobody_trusts_is_not_believed() -> None:
    pair = pair_of()
    del pair.authority.trusted[own_key("p256", "vpn.example.com").shown[0].data]
    pair.connect()
    assert pair.client.live() == []
    (event,) = pair.client.of(Failed)
    assert event.why == "certificate of the gateway: nobody trusts it"


def test_a_signature_by_another_key_is_refused() -> None:
    mine, other = own_key("p256", "alice"), own_key("p256", "mallory")
    pair = pair_of()
    pair.client.psks.keys[CLIENT_ID.data] = OwnKey(other.key, mine.shown)
    said, told = failed(pair)
    assert said == ["wrong signature"]
    assert told == TOLD


def test_no_certificate_at_all_is_refused() -> None:
    mine = own_key("p256", "alice")
    pair = pair_of()
    pair.client.psks.keys[CLIENT_ID.data] = OwnKey(mine.key, ())
    assert failed(pair)[0] == ["certificate of rfc822:alice@example.com: nobody trusts it"]


def test_more_certificates_than_any_chain_has_are_not_even_looked_at() -> None:
    mine = own_key("p256", "alice")
    pair = pair_of()
    pair.client.psks.keys[CLIENT_ID.data] = OwnKey(mine.key, mine.shown * 17)
    assert failed(pair)[0] == ["17 CERT payloads from rfc822:alice@example.com"]
    assert pair.authority.checked == []


def test_a_pre_shared_key_is_no_certificate_nor_the_other_way_round() -> None:
    pair = pair_of()
    pair.peer = peer_with(Method.PSK)
    said, _ = failed(pair)
    assert said == [
        "no connection for rfc822:alice@example.com that asks for fqdn:vpn.example.com and begins"
        " with psk; configured: certificates (* proves certificate to fqdn:vpn.example.com)"
    ]
    pair = Pair(peer=peer_with())
    pair.client.psks.keys[CLIENT_ID.data] = own_key("p256", "alice")
    said, _ = failed(pair)
    assert "begins with certificate" in said[0]


def test_a_gateway_that_proves_a_pre_shared_key_is_not_one_with_a_certificate() -> None:
    pair = Pair(peer=peer_with(Method.PSK))
    pair.connect()
    (event,) = pair.client.of(Failed)
    assert event.why == "the gateway's AUTH is wrong (method 2; configured: certificate)"


def test_who_has_no_certificate_for_what_it_is_says_so_and_goes_no_further() -> None:
    pair = pair_of()
    pair.client.psks.keys.clear()
    pair.connect()
    (event,) = pair.client.of(Failed)
    assert event.why == (
        "no certificate of ours for rfc822:alice@example.com that the peer could check"
    )
    assert len(pair.client.sent) == 1
    pair = pair_of()
    pair.gateway.psks.keys.clear()
    said, told = failed(pair)
    assert said == ["no certificate of ours for fqdn:vpn.example.com that the peer could check"]
    assert told == TOLD


def test_a_verifier_that_is_away_refuses_in_time() -> None:
    pair = pair_of()
    pair.start()
    pair.hold_errands = True
    pair.run(0.1)
    pair.run_errands(Undone("a CheckChain took more than 10 s"))
    pair.run()
    assert [e.why for e in pair.gateway.of(Failed)] == ["a CheckChain took more than 10 s"]
    assert [e.why for e in pair.client.of(Failed)] == TOLD


def test_the_client_waits_for_its_own_verifier_and_asks_nothing_meanwhile() -> None:
    pair = pair_of()
    pair.start()
    pair.run(0.025)
    pair.hold_errands = True
    pair.run(0.01)
    pair.run_errands()  # the gateway's
    pair.hold_errands = True
    pair.run(5)
    assert [side for side, _, _ in pair.out] == [pair.client]
    assert len(pair.client.sent) == 2
    pair.run_errands()
    pair.run()
    (core,) = pair.client.live()
    pair.agree(core.spi)


def test_an_authentication_lasts_no_longer_than_its_certificate() -> None:
    pair = pair_of()
    der = own_key("p256", "alice").shown[0].data
    pair.authority.expires_wall_s[der] = pair.now.wall_s + 100
    pair.connect()
    (core,) = pair.gateway.live()
    assert core.auth_deadline_wall_s == pair.authority.expires_wall_s[der]
    assert pair.ticket().expires_wall_s <= core.auth_deadline_wall_s + 1
    pair.run(101)
    assert pair.gateway.live() == []


def test_a_certificate_that_is_over_at_the_last_moment_is_refused() -> None:
    pair = pair_of()
    der = own_key("p256", "alice").shown[0].data
    pair.authority.expires_wall_s[der] = pair.now.wall_s
    assert failed(pair)[0] == ["what rfc822:alice@example.com has proven holds no longer"]


def test_a_resumed_session_keeps_the_certificate_that_was_shown() -> None:
    pair = pair_of()  # R41
    pair.connect()
    (before,) = pair.gateway.live()
    pair.run(5)
    asked = len(pair.authority.checked)
    pair.resume()
    (after,) = pair.gateway.live()
    assert after.resumed
    assert after.certificate == before.certificate != b""
    assert after.auth_method == "certificate"
    assert after.authenticated_wall_s == before.authenticated_wall_s > 0
    assert len(pair.authority.checked) == asked
    sent = opened(pair.client.live()[-1], pair.client.octets()[-1])
    assert sent.find(CertPayload) is None


def test_b33_a_peer_that_does_not_believe_us_has_no_sa_with_us() -> None:
    pair = pair_of()
    pair.connect()
    (client,) = pair.client.live()
    notify = NotifyPayload(NotifyType.AUTHENTICATION_FAILED)
    pair.inject(pair.gateway, sealed(client, ExchangeType.INFORMATIONAL, 2, [notify]))
    assert pair.gateway.live() == []
    assert [e.why for e in pair.gateway.of(Ended)] == ["the peer didn't believe who we are"]


def test_a_refused_authentication_says_nothing_but_that() -> None:
    pair = pair_of()
    pair.authority.trust(own_key("p256", "alice"), BOB_ID.data)
    spi = pair.start()
    pair.run(0.035)
    half_open = pair.gateway.core(pair.other_end(spi))
    pair.run()
    answer = opened(half_open, pair.gateway.octets()[-1])
    assert answer.header.exchange == ExchangeType.IKE_AUTH
    assert answer.payloads == (NotifyPayload(NotifyType.AUTHENTICATION_FAILED),)
