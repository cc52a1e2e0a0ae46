"""Our EAP against that of others: FreeRADIUS and hostapd behind our relay, with our peer; and
eapol_test as the peer of our own methods.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from OpenSSL import SSL

from node.eap.local import LocalServer, MakeMethod
from node.eap.method import Asked, Conversation, Failure, Reason, Success
from node.eap.mschapv2.crypto import nt_password_hash
from node.eap.mschapv2.peer import MschapV2Peer
from node.eap.mschapv2.server import MschapV2Server
from node.eap.packet import EapType
from node.eap.peer import EapPeer
from node.eap.radius.relay import RadiusRelay, RadiusServers, RelaySettings
from node.eap.radius.server import RadiusServer, RadiusSettings, UdpPorts
from node.eap.tls.engine import context
from node.eap.tls.peer import TlsPeer
from node.eap.tls.server import TlsServer
from node.eap.users import User, Users
from node.seams import OsClock, OsRng
from proto.ike.effects import Address
from proto.secret import Secret
from tests import pki
from tests.e2e.aaa import programs
from tests.e2e.aaa.programs import PASSWORD, SECRET, SESSION_S, STAFF, USER, RadiusProgram
from tests.unit.node.eap import radius
from tests.unit.node.eap.parts import Authority, talk, trusted

AUTHORITY = Authority()
SERVER = AUTHORITY.issue("aaa.example.com", "fqdn:aaa.example.com", padding=2000)
CAROL = AUTHORITY.issue("Carol", f"rfc822:{USER}")
STRANGER = Authority("stranger").issue("Carol", f"rfc822:{USER}")


def relay(*addresses: Address, timeout_s: float = 10.0, identity: str = USER) -> RadiusRelay:
    """A conversation of the gateway's with those servers."""
    settings = RelaySettings("gw1", timeout_s)
    servers = [
        RadiusServer(
            RadiusSettings(f"r{n}", address, Secret(SECRET.encode()), timeout_s / 2),
            UdpPorts(), OsClock(), OsRng(),
        )
        for n, address in enumerate(addresses, 1)
    ]  # fmt: skip
    return RadiusRelay(RadiusServers(servers, settings), Asked(identity, "198.51.100.7"), 40)


def by_password(password: str = PASSWORD) -> EapPeer:
    return EapPeer(USER, [MschapV2Peer(USER, nt_password_hash(password), OsRng())])


def by_certificate(version: int, shown: pki.Issued = CAROL) -> EapPeer:
    shared = context(AUTHORITY.credentials(shown))
    shared.set_max_proto_version(version)
    return EapPeer(USER, [TlsPeer(shared, USER, ("aaa.example.com",), trusted)])


@pytest_asyncio.fixture(
    params=[programs.free_radius, programs.hostapd], ids=["freeradius", "hostapd"]
)
async def server(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[RadiusProgram]:
    made: RadiusProgram = request.param(tmp_path / "server", SERVER, AUTHORITY)
    await made.start()
    yield made
    await made.stop()


@pytest_asyncio.fixture
async def free_radius(tmp_path: Path) -> AsyncIterator[RadiusProgram]:
    made = programs.free_radius(tmp_path / "server", SERVER, AUTHORITY)
    await made.start()
    yield made
    await made.stop()


async def test_mschapv2_through_a_radius_server(server: RadiusProgram) -> None:
    at_gateway, at_peer, _ = await talk(relay(server.address), by_password())
    assert isinstance(at_gateway.result, Success), server.log()
    assert isinstance(at_peer.result, Success)
    assert at_gateway.result.msk == at_peer.result.msk
    assert at_gateway.result.identity == USER
    assert at_gateway.result.method == EapType.MSCHAPV2


async def test_a_wrong_password_at_a_radius_server(server: RadiusProgram) -> None:
    at_gateway, at_peer, _ = await talk(relay(server.address), by_password("wrong"))
    assert isinstance(at_gateway.result, Failure)
    assert at_gateway.result.reason is Reason.REJECTED
    assert at_peer.result == Failure(Reason.REJECTED, "unknown user or wrong password")


async def test_what_an_accept_says_beside_the_key(free_radius: RadiusProgram) -> None:
    at_gateway, _, _ = await talk(relay(free_radius.address), by_password())
    assert isinstance(at_gateway.result, Success)
    assert at_gateway.result.lifetime_s == SESSION_S
    assert at_gateway.result.classes == (STAFF,)


async def has_tls(server: RadiusProgram, version: int) -> None:
    """EAP-TLS gives both sides one key."""
    at_gateway, at_peer, _ = await talk(relay(server.address), by_certificate(version))
    assert isinstance(at_gateway.result, Success), server.log()
    assert isinstance(at_peer.result, Success)
    assert at_gateway.result.msk == at_peer.result.msk
    assert at_gateway.result.method == EapType.TLS


async def test_tls_1_2_through_a_radius_server(server: RadiusProgram) -> None:
    await has_tls(server, SSL.TLS1_2_VERSION)


async def test_tls_1_3_through_free_radius(free_radius: RadiusProgram) -> None:
    await has_tls(free_radius, SSL.TLS1_3_VERSION)


@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
async def test_a_strangers_certificate_at_free_radius(
    free_radius: RadiusProgram, version: int
) -> None:
    peer = by_certificate(version, STRANGER)
    at_gateway, at_peer, _ = await talk(relay(free_radius.address), peer)
    assert isinstance(at_gateway.result, Failure)
    assert at_gateway.result.reason is Reason.REJECTED
    assert isinstance(at_peer.result, Failure)
    assert at_peer.result.reason is Reason.REJECTED


async def test_a_wrong_secret_is_silence(free_radius: RadiusProgram) -> None:
    conversation = relay(free_radius.address, timeout_s=1.0)
    one = conversation._servers.servers[0]
    one.settings = RadiusSettings("r1", one.settings.address, Secret(b"another"), 1.0)
    went = await conversation.answer(b"")
    assert isinstance(went.result, Failure)
    assert went.result.reason is Reason.AWAY


async def test_a_stopped_server_is_passed_by(free_radius: RadiusProgram, tmp_path: Path) -> None:
    stopped = programs.free_radius(tmp_path / "stopped", SERVER, AUTHORITY)
    await stopped.start()
    try:
        stopped.signal(signal.SIGSTOP)
        conversation = relay(stopped.address, free_radius.address, timeout_s=10.0)
        at_gateway, _, _ = await talk(conversation, by_password())
        assert isinstance(at_gateway.result, Success)
        assert conversation._servers.servers[0].is_away
    finally:
        await stopped.stop()


# -- eapol_test ------------------------------------------------------------------------------------


class Front(asyncio.DatagramProtocol):
    """A RADIUS server on loopback around one of our own conversations."""

    def __init__(self, make: Callable[[], Conversation]) -> None:
        self._answer = radius.EapOverRadius(make())
        self.address: Address = ("", 0)

    async def open(self) -> asyncio.DatagramTransport:
        """Listen."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", 0)
        )
        self.address = transport.get_extra_info("sockname")
        return transport

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        """asyncio's."""
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Address) -> None:  # type: ignore[override]
        """One request."""
        for answer in self._answer(radius.received(data)):
            self._transport.sendto(answer, addr)


async def judged(folder: Path, method: MakeMethod, network: str) -> str:
    """What eapol_test says of our `method`."""
    front = Front(lambda: LocalServer([method], USER, 80))
    transport = await front.open()
    try:
        return await programs.eapol_test(folder, front.address, network)
    finally:
        transport.close()


def users() -> Users:
    return Users((User(USER, nt_password_hash(PASSWORD)),))


async def test_eapol_test_likes_our_mschapv2(tmp_path: Path) -> None:
    network = (
        f'eap=MSCHAPV2\nidentity="{USER}"\npassword=hash:{nt_password_hash(PASSWORD).octets.hex()}'
    )
    said = await judged(tmp_path, lambda _: MschapV2Server(users(), "gw", OsRng()), network)
    assert said.endswith("SUCCESS\n"), said
    assert "MPPE keys OK: 1  mismatch: 0" in said


async def test_eapol_test_with_a_wrong_password(tmp_path: Path) -> None:
    network = f'eap=MSCHAPV2\nidentity="{USER}"\npassword="wrong"'
    said = await judged(tmp_path, lambda _: MschapV2Server(users(), "gw", OsRng()), network)
    assert said.endswith("FAILURE\n"), said
    assert "error 691" in said


@pytest.mark.parametrize(("version", "phase1"), [(0x0303, ""), (0x0304, "tls_disable_tlsv1_3=0")])
async def test_eapol_test_likes_our_tls(tmp_path: Path, version: int, phase1: str) -> None:
    CAROL.write(tmp_path, "carol")
    (tmp_path / "ca.crt").write_bytes(AUTHORITY.pem)
    shared = context(AUTHORITY.credentials(SERVER))
    network = (
        f'eap=TLS\nidentity="{USER}"\nca_cert="{tmp_path}/ca.crt"\n'
        f'client_cert="{tmp_path}/carol.pem"\nprivate_key="{tmp_path}/carol.key"\n'
        f'phase1="{phase1}"\nfragment_size=500'
    )
    said = await judged(tmp_path, lambda claimed: TlsServer(shared, claimed, trusted), network)
    assert said.endswith("SUCCESS\n"), said
    assert "MPPE keys OK: 1  mismatch: 0" in said
    assert f"Using TLS version TLSv1.{version - 0x0301}" in said


def test_the_certificates_are_long_enough_to_be_fragmented() -> None:
    assert len(SERVER.der) > 2000
