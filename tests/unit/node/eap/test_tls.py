"""node.eap.tls: fragments, names, and both sides against each other with TLS 1.2 and 1.3."""

from collections.abc import Callable

import pytest
from cryptography import x509
from OpenSSL import SSL

from node.eap.local import LocalServer
from node.eap.method import Failure, Reason, Success
from node.eap.packet import EapError, EapPacket, EapType, MalformedEapError
from node.eap.peer import EapPeer
from node.eap.tls import framing, names
from node.eap.tls.engine import TlsCredentials, TlsEngine, context
from node.eap.tls.peer import TlsPeer
from node.eap.tls.server import TlsServer, Trust, Vouched
from tests import pki
from tests.unit.node.eap.parts import Authority, talk, trusted

AUTHORITY = Authority()


def issued(
    subject: str, *names: str, by: Authority = AUTHORITY, days: int = 30, padding: int = 0
) -> TlsCredentials:
    made = by.issue(subject, *names, days=days, padding=padding)
    return by.credentials(made, AUTHORITY)


GATEWAY = issued("gw", "fqdn:gw.example.com")
CAROL = issued("Carol", "rfc822:carol@example.com")
versions = pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])


def server(
    credentials: TlsCredentials = GATEWAY,
    *,
    claimed: str = "carol@example.com",
    trust: Trust = trusted,
    version: int = SSL.TLS1_3_VERSION,
) -> LocalServer:
    shared = context(credentials)
    shared.set_max_proto_version(version)
    return LocalServer([lambda identity: TlsServer(shared, identity, trust)], claimed, 1)


def peer(
    credentials: TlsCredentials = CAROL,
    *,
    servers: tuple[str, ...] = ("gw.example.com",),
    trust: Trust = trusted,
) -> EapPeer:
    return EapPeer("carol", [TlsPeer(context(credentials), "carol", servers, trust)])


# -- framing --------------------------------------------------------------------------------------


def test_a_short_message_is_one_fragment_without_a_length() -> None:
    assert framing.fragments(b"hello") == [b"\0hello"]


@pytest.mark.parametrize("octets", [1024, 1025, 5000])
def test_a_message_comes_together_again(octets: int) -> None:
    message = bytes(range(256)) * 20
    message = message[:octets]
    parts = framing.fragments(message)
    assert len(parts) == -(-octets // 1024)
    assembly = framing.Assembly()
    came = [assembly.add(framing.Fragment.decode(part)) for part in parts]
    assert came == [None] * (len(parts) - 1) + [message]


def test_what_the_first_of_several_looks_like() -> None:
    first, last = framing.fragments(bytes(1500))
    assert first[:5] == bytes.fromhex("c0 000005dc")
    assert last[:1] == b"\0"
    assert len(first) == 5 + 1024


@pytest.mark.parametrize(
    "parts",
    [
        ["c0 000005"],
        ["80 00010001"],
        ["40 aa"],
        ["c0 00000002 aabbcc"],
        ["c0 00000004 aabb", "00 aabbcc"],
        ["c0 00000004 aabb", "00 aa"],
        ["c0 00000004 aabb", "c0 00000005 aa"],
        ["c0 00000004"],
    ],
)
def test_what_no_fragment_may_do(parts: list[str]) -> None:
    assembly = framing.Assembly()
    *fine, wrong = map(bytes.fromhex, parts)
    for part in fine:
        assert assembly.add(framing.Fragment.decode(part)) is None
    with pytest.raises(MalformedEapError):
        assembly.add(framing.Fragment.decode(wrong))


def test_forms_of_acknowledgement() -> None:
    for data in (b"", b"\0"):
        assert framing.Fragment.decode(data).is_acknowledgement
    for data in (b"\x20", b"\0x", b"\x40"):
        assert not framing.Fragment.decode(data).is_acknowledgement


# -- names ----------------------------------------------------------------------------------------


def principal(name: str) -> x509.OtherName:
    return x509.OtherName(names.USER_PRINCIPAL_NAME, b"\x0c" + bytes((len(name),)) + name.encode())


def test_the_names_of_a_certificate() -> None:
    general = [x509.DNSName("c.example"), principal("C@ad"), x509.RFC822Name("c@example")]
    alternative = (x509.SubjectAlternativeName(general), False)
    root = pki.Authority.root()
    certificate = root.issue("Carol", extensions=[alternative]).parsed
    assert names.names(certificate) == ("c@example", "C@ad", "c.example", "CN=Carol")
    assert names.named(certificate, "c@AD") == "C@ad"
    assert names.named(certificate, "Carol") is None
    assert names.server_names(certificate) == ("c.example",)


def test_a_certificate_without_other_names_has_its_common_name() -> None:
    certificate = AUTHORITY.issue("Carol").parsed
    assert names.names(certificate) == ("Carol", "CN=Carol")
    assert names.server_names(certificate) == ()


@pytest.mark.parametrize("value", [b"", b"\x0c\x05ab", b"\x0c\x81\x01a", b"\x16\x01a"])
def test_a_principal_name_that_is_none(value: bytes) -> None:
    other = x509.OtherName(names.USER_PRINCIPAL_NAME, b"\x0c\x01a")
    assert names._utf8(other.value) == "a"
    assert names._utf8(value) == ""


@pytest.mark.parametrize(
    ("claimed", "says_nothing"),
    [("", True), ("@realm", True), ("anonymous@realm", True), ("anonymous", False), ("c@r", False)],
)
def test_identities_that_say_nothing(claimed: str, says_nothing: bool) -> None:
    assert names.is_anonymous(claimed) is says_nothing


# -- both sides -----------------------------------------------------------------------------------


@versions
async def test_both_sides_get_the_same_key(version: int) -> None:
    at_server, at_peer, _ = await talk(server(version=version), peer())
    assert isinstance(at_server.result, Success)
    assert isinstance(at_peer.result, Success)
    assert at_server.result.identity == "carol@example.com"
    assert at_server.result.method == EapType.TLS
    assert len(at_server.result.msk) == 64
    assert at_server.result.msk == at_peer.result.msk


@versions
async def test_long_certificates_come_in_fragments_both_ways(version: int) -> None:
    long_gateway = issued("gw", "fqdn:gw.example.com", padding=9000)
    long_carol = issued("c", "rfc822:carol@example.com", padding=9000)
    at_server, at_peer, sent = await talk(server(long_gateway, version=version), peer(long_carol))
    assert isinstance(at_server.result, Success)
    assert isinstance(at_peer.result, Success)
    assert at_server.result.msk == at_peer.result.msk
    assert sent > 2 * 9


STRANGER = Authority("stranger")


def refused(at: object) -> tuple[Reason, str]:
    assert isinstance(at, Failure)
    return at.reason, at.why


@versions
@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: issued("c", "rfc822:carol@example.com", by=STRANGER), ""),
        (lambda: issued("c", "rfc822:carol@example.com", days=-1), "verify"),
        (lambda: issued("d", "rfc822:dave@example.com"), "isn't for 'carol@"),
    ],
)
async def test_certificates_that_dont_let_in(
    version: int, make: Callable[[], TlsCredentials], why: str
) -> None:
    at_server, at_peer, _ = await talk(server(version=version), peer(make()))
    assert at_server.packet == EapPacket(4, at_server.packet[1]).encode()
    reason, said = refused(at_server.result)
    assert reason is Reason.CREDENTIALS
    assert why in said
    assert refused(at_peer.result)[0] is Reason.REJECTED


@versions
async def test_a_server_that_isnt_trusted_learns_nothing_of_the_client(version: int) -> None:
    false = issued("gw", "fqdn:gw.example.com", by=STRANGER)
    at_server, at_peer, _ = await talk(server(false, version=version), peer())
    assert refused(at_server.result)[0] is Reason.CREDENTIALS
    assert "unknown ca" in refused(at_server.result)[1]
    assert "certificate verify failed" in refused(at_peer.result)[1]


@versions
async def test_a_server_with_another_name_isnt_answered(version: int) -> None:
    at_server, at_peer, _ = await talk(server(version=version), peer(servers=("other",)))
    assert at_server.result is None
    assert at_peer.packet == b""
    assert refused(at_peer.result) == (
        Reason.CREDENTIALS,
        "the server's certificate is for gw.example.com, not other",
    )


async def revoked(chain: tuple[x509.Certificate, ...]) -> Vouched:
    assert len(chain) == 2
    assert chain[-1] == AUTHORITY.certificate
    raise EapError("revoked")


async def vouched(_chain: tuple[x509.Certificate, ...]) -> Vouched:
    return Vouched(b"serial", 5e9)


async def test_what_the_certificate_says_goes_along() -> None:
    at_server, _, _ = await talk(server(trust=vouched), peer())
    assert isinstance(at_server.result, Success)
    assert (at_server.result.certificate, at_server.result.expires_wall_s) == (b"serial", 5e9)


@versions
async def test_what_trust_says_counts_at_the_server(version: int) -> None:
    at_server, at_peer, _ = await talk(server(trust=revoked, version=version), peer())
    assert refused(at_server.result) == (Reason.CREDENTIALS, "revoked")
    assert isinstance(at_peer.result, Failure)


@versions
async def test_what_trust_says_counts_at_the_client(version: int) -> None:
    _, at_peer, _ = await talk(server(version=version), peer(trust=revoked))
    assert at_peer.packet == b""
    assert refused(at_peer.result) == (Reason.CREDENTIALS, "the server's certificate: revoked")


async def test_who_claims_nothing_is_named_by_the_certificate() -> None:
    at_server, _, _ = await talk(server(claimed="anonymous@example.com"), peer())
    assert isinstance(at_server.result, Success)
    assert at_server.result.identity == "carol@example.com"


@versions
async def test_success_before_the_servers_last_word_isnt_believed(version: int) -> None:
    at_gateway, client = server(version=version), peer()
    asked = await at_gateway.answer(b"")
    answered = await client.answer(asked.packet)
    asked = await at_gateway.answer(answered.packet)
    answered = await client.answer(asked.packet)
    while answered.packet[5:] == framing.ACKNOWLEDGEMENT:
        answered = await client.answer((await at_gateway.answer(answered.packet)).packet)
    ended = await client.answer(EapPacket(3, 9).encode())
    assert refused(ended.result) == (Reason.MALFORMED, "success before the method's end")


@pytest.mark.parametrize("data", ["00", "16", "00 160301", "20", "c0 00000fff aa"])
async def test_what_no_start_is(data: str) -> None:
    ended = await peer().answer(EapPacket(1, 1, 13, bytes.fromhex(data)).encode())
    if data == "20":
        assert ended.result is None
    else:
        assert refused(ended.result)[0] is Reason.MALFORMED


@pytest.mark.parametrize("garbage", [b"\0GET / HTTP/1.1", b"\0\x16\x03\x01\x00\x05hello", b"\0"])
async def test_garbage_is_refused_by_the_server(garbage: bytes) -> None:
    conversation = server()
    asked = EapPacket.decode((await conversation.answer(b"")).packet)
    went = await conversation.answer(EapPacket(2, asked.identifier, 13, garbage).encode())
    for _ in range(3):
        if went.result is not None:
            break
        number = EapPacket.decode(went.packet).identifier
        went = await conversation.answer(EapPacket(2, number, 13, b"\0").encode())
    assert refused(went.result)[0] in (Reason.CREDENTIALS, Reason.MALFORMED)


async def test_no_tls_instead_of_an_acknowledgement() -> None:
    at_gateway = server(issued("gw", "fqdn:gw.example.com", padding=3000))
    client = peer()
    hello = await client.answer((await at_gateway.answer(b"")).packet)
    first = await at_gateway.answer(hello.packet)
    number = EapPacket.decode(first.packet).identifier
    ended = await at_gateway.answer(EapPacket(2, number, 13, b"\0more").encode())
    assert refused(ended.result)[0] is Reason.MALFORMED


def test_a_server_that_doesnt_speak_of_renegotiation_is_answered() -> None:
    """strongSwan's: its ServerHello has no extensions at all (RFC 5246 7.4.1.3)."""
    client = TlsEngine(context(CAROL), server=False)
    client.feed(b"")
    client.take()
    cipher, no_compression = b"\xc0\x2f", b"\0"
    hello = b"\x03\x03" + bytes(32) + b"\0" + cipher + no_compression
    message = b"\x02" + len(hello).to_bytes(3, "big") + hello
    client.feed(b"\x16\x03\x03" + len(message).to_bytes(2, "big") + message)
    assert client.take() == b""


def test_a_key_that_doesnt_fit_is_found_at_once() -> None:
    mixed = TlsCredentials(GATEWAY.chain, CAROL.key, GATEWAY.anchors)
    with pytest.raises(ValueError, match="don't fit"):
        context(mixed)
