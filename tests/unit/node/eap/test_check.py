"""node.eap.check, files and build: from a gateway's file to its back end."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog

from node.eap.backend import EapBackend, EapClient
from node.eap.build import client_backend, gateway_backend
from node.eap.check import SERVERS_MAX, check_client_eap, check_eap
from node.eap.files import read_line
from node.eap.local import LocalServer
from node.eap.method import Asked, Failure, Reason, Round, Success
from node.eap.packet import EapPacket
from node.eap.radius.relay import RadiusRelay
from node.seams import OsClock
from node.sections import (
    CertificateConfig,
    ClientConfig,
    ClientSection,
    ClusterConfig,
    ConnectionConfig,
    EapConfig,
    GatewayConfig,
    IkeConfig,
    MemberConfig,
    RadiusConfig,
    TrustConfig,
)
from node.toml_strict import ConfigError, Problems
from node.trust.config import trust_settings
from node.trust.verifier import Trust, decode_ids
from tests import pki
from tests.unit.node.eap.parts import Authority, HandClock, SeededRng, talk

AUTHORITY = Authority()
OTHER = Authority("other authority")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a file of each kind."""
    AUTHORITY.issue("gw", "fqdn:gw.example.com").write(tmp_path, "gw")
    AUTHORITY.issue("aaa", "fqdn:aaa.example.com").write(tmp_path, "aaa")
    AUTHORITY.issue("a", "rfc822:a@example.com").write(tmp_path, "a")
    (tmp_path / "ca.pem").write_bytes(AUTHORITY.pem)
    (tmp_path / "other.pem").write_bytes(OTHER.pem)
    (tmp_path / "users").write_text('[[eap_user]]\nidentity = "a"\npassword = "b"\n')
    (tmp_path / "secret").write_text("between us\n")
    for name in ("users", "secret"):
        (tmp_path / name).chmod(0o600)
    return tmp_path


def config(*radius: RadiusConfig, shown: Path | None = None, **eap: object) -> GatewayConfig:
    """`shown`: the stem of a certificate's files; its folder's ca.pem is trusted."""
    return GatewayConfig(
        cluster=ClusterConfig("c"),
        member=MemberConfig("gw1", "data"),
        ike=IkeConfig(("127.0.0.1:500",), "fqdn:gw.example.com", "psks"),
        eap=msgspec.convert(eap, EapConfig),
        radius=radius,
        trust=TrustConfig() if shown is None else TrustConfig(f"{shown.parent}/ca.pem"),
        certificate=() if shown is None else (own(shown),),
    )


def own(shown: Path) -> CertificateConfig:
    return CertificateConfig(f"{shown}.pem", f"{shown}.key")


def server(folder: Path, name: str = "r1", **changed: object) -> RadiusConfig:
    fields = {"name": name, "address": "127.0.0.1:1812", "secret_file": f"{folder}/secret"}
    return msgspec.convert(fields | changed, RadiusConfig)


def problems(folder: Path, config: GatewayConfig) -> str:
    found = Problems(Path("f"))
    check_eap(config, found)
    return "\n".join(found.lines).replace(f"{folder}/", "")


def test_what_is_right_is_left_alone(folder: Path) -> None:
    assert problems(folder, config()) == ""
    assert problems(folder, config(methods=["mschapv2"], users_file=f"{folder}/users")) == ""
    assert problems(folder, config(methods=["tls"], shown=folder / "gw")) == ""
    assert problems(folder, config(server(folder), methods=["radius"])) == ""


@pytest.mark.parametrize(
    ("method", "needs"),
    [
        ("mschapv2", "eap.users_file"),
        ("tls", "a [[certificate]] and trust.ca_file"),
        ("radius", "a [[radius]] table"),
    ],
)
def test_a_method_without_its_means(folder: Path, method: str, needs: str) -> None:
    expected = f'f: eap.methods: "{method}" → needs {needs}'
    assert problems(folder, config(methods=[method])) == expected


@pytest.mark.parametrize("methods", [["tls", "tls"], ["radius", "tls"]])
def test_methods_that_dont_go_together(folder: Path, methods: list[str]) -> None:
    said = problems(folder, config(server(folder), methods=methods, shown=folder / "gw"))
    assert said.endswith('→ "tls" and "mschapv2" once each, or ["radius"]')


def test_authorities_of_a_connection_alone_will_do(folder: Path) -> None:
    made = config(methods=["tls"], shown=folder / "gw")
    one = ConnectionConfig("c", ("*",), ca_file=f"{folder}/ca.pem")
    changed = msgspec.structs.replace(made, trust=TrustConfig(), connection=(one,))
    assert problems(folder, changed) == ""


def test_servers_that_wont_do(folder: Path) -> None:
    (folder / "empty").write_text("\n")
    (folder / "empty").chmod(0o600)
    said = problems(
        folder,
        config(
            server(folder),
            server(folder, address="radius.example.com:1812"),
            server(folder, "r3", timeout_s=5.0),
            server(folder, "r4", secret_file=f"{folder}/empty"),
            server(folder, "r5", secret_file=f"{folder}/gw.pem"),
        ),
    )
    assert said.splitlines() == [
        'f: radius[2].name: "r1" → a name once',
        'f: radius[2].address: "radius.example.com:1812" → '
        "ADDRESS:PORT, such as 127.0.0.1:500 or [::1]:500",
        "f: radius[3].timeout_s: 5.0 → at most eap.radius_timeout_s (4)",
        "f: radius[4].secret_file: empty: no first line → a secret of 1 to 1024 octets",
        "f: radius[5].secret_file: gw.pem has mode 0644 → mode 0600 (chmod 600 gw.pem)",
    ]


def test_servers_have_a_bound(folder: Path) -> None:
    many = [server(folder, f"r{n}") for n in range(SERVERS_MAX + 1)]
    assert problems(folder, config(*many)) == "f: radius: 17 tables → at most 16 [[radius]]"


def test_a_users_file_that_wont_do(folder: Path) -> None:
    said = problems(folder, config(users_file=f"{folder}/secret"))
    assert said.startswith("f: eap.users_file: secret: not TOML")


def test_a_secret_is_the_first_line(folder: Path) -> None:
    assert read_line(str(folder / "secret")).octets == b"between us"
    (folder / "secret").write_bytes(b"one\r\ntwo\n")
    assert read_line(str(folder / "secret")).octets == b"one"
    (folder / "secret").write_bytes(b"x" * 1025)
    with pytest.raises(ConfigError, match="no first line"):
        read_line(str(folder / "secret"))


# -- the back end ---------------------------------------------------------------------------------

ASKED = Asked("a", "192.0.2.1")


def backend_of(config: GatewayConfig, log: Any = None) -> EapBackend:
    trust = Trust(trust_settings(config), OsClock())
    return gateway_backend(config, trust, HandClock(), SeededRng(), log or structlog.get_logger())


def client_of(config: ClientConfig) -> EapClient:
    return client_backend(config, Trust(trust_settings(config), OsClock()), SeededRng())


def both(folder: Path) -> GatewayConfig:
    """With two methods."""
    methods = ["tls", "mschapv2"]
    return config(methods=methods, users_file=f"{folder}/users", shown=folder / "gw")


async def test_the_back_end_proposes_what_is_configured(folder: Path) -> None:
    made = both(folder)
    backend = backend_of(made)
    conversation = backend.converse(ASKED)
    assert isinstance(conversation, LocalServer)
    asked = EapPacket.decode((await conversation.answer(b"")).packet)
    assert asked.type == 13
    packet = EapPacket(2, asked.identifier, 3, b"\x1a").encode()
    asked = EapPacket.decode((await conversation.answer(packet)).packet)
    assert asked.type == 26
    assert asked.data.endswith(b"gw.example.com")


async def test_a_connection_may_want_fewer(folder: Path) -> None:
    made = both(folder)
    backend = backend_of(made)
    conversation = backend.converse(Asked("a", "192.0.2.1", ("mschapv2",)))
    assert EapPacket.decode((await conversation.answer(b"")).packet).type == 26


async def test_a_gateway_without_eap_refuses_everybody() -> None:
    backend = backend_of(config())
    went = await backend.converse(ASKED).answer(b"")
    assert isinstance(went.result, Failure)
    assert went.result.reason is Reason.NO_METHOD
    backend.close()


async def test_radius_is_the_only_method_where_it_is_one(folder: Path) -> None:
    made = config(server(folder), methods=["radius"])
    lines = structlog.testing.LogCapture()
    log = structlog.wrap_logger(None, processors=[lines])
    backend = backend_of(made, log)
    assert isinstance(backend.converse(ASKED), RadiusRelay)
    assert backend.radius is not None
    (one,) = backend.radius.servers
    one.on_change(True)
    one.on_change(False)
    said = [(line["log_level"], line["event"], line["server"]) for line in lines.entries]
    assert said == [
        ("warning", "RADIUS server doesn't answer", "r1"),
        ("info", "RADIUS server answers again", "r1"),
    ]
    backend.close()


# -- a client -------------------------------------------------------------------------------------


def client(*, shown: Path | None = None, **changed: object) -> ClientConfig:
    fields: dict[str, object] = {
        "identity": "rfc822:a@example.com",
        "remote_identity": "fqdn:gw.example.com",
        "psk_file": "psks",
        "gateways": ["127.0.0.1:500"],
    }
    return ClientConfig(
        client=msgspec.convert(fields | changed, ClientSection),
        trust=TrustConfig() if shown is None else TrustConfig(f"{shown.parent}/ca.pem"),
        certificate=() if shown is None else (own(shown),),
    )


def client_problems(folder: Path, config: ClientConfig) -> str:
    found = Problems(Path("f"))
    check_client_eap(config, found)
    return "\n".join(found.lines).replace(f"{folder}/", "")


def test_what_is_right_at_a_client_is_left_alone(folder: Path) -> None:
    assert client_problems(folder, client()) == ""
    password = f"{folder}/secret"
    both = client(shown=folder / "a", eap_password_file=password, eap_methods=["tls", "mschapv2"])
    assert client_problems(folder, both) == ""


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"eap_password_file": "gw.pem"}, "f: client.eap_password_file: gw.pem has mode 0644"),
        ({"eap_password_file": "latin"}, "latin: not UTF-8 → a password, which is UTF-8 text"),
        ({"eap_methods": ["tls"]}, '"tls" → needs a [[certificate]] and trust.ca_file'),
        ({"eap_methods": ["mschapv2"]}, '"mschapv2" → needs client.eap_password_file'),
    ],
)
def test_what_wont_do_at_a_client(folder: Path, changed: dict[str, object], said: str) -> None:
    (folder / "latin").write_bytes("ü".encode("latin-1"))
    (folder / "latin").chmod(0o600)
    named = {key: f"{folder}/{v}" if isinstance(v, str) else v for key, v in changed.items()}
    assert said in client_problems(folder, client(**named))


@pytest.mark.parametrize(
    ("means", "wanted", "types"),
    [
        ("", [], b"\0"),
        ("password", [], b"\x1a"),
        ("certificate", [], b"\x0d"),
        ("password certificate", [], b"\x0d\x1a"),
        ("password certificate", ["mschapv2"], b"\x1a"),
        ("password certificate", ["tls"], b"\x0d"),
    ],
)
async def test_a_client_does_what_it_has_the_means_for(
    folder: Path, means: str, wanted: list[str], types: bytes
) -> None:
    made = client(
        shown=folder / "a" if "certificate" in means else None,
        eap_password_file=f"{folder}/secret" if "password" in means else "",
        eap_methods=wanted,
    )
    backend = client_of(made)
    conversation = backend.converse(Asked("a@example.com", "192.0.2.1"))
    went = await conversation.answer(EapPacket(1, 5, 99).encode())
    assert EapPacket.decode(went.packet).data == types


@pytest.mark.parametrize(("configured", "told"), [("", b"a@example.com"), ("carol", b"carol")])
async def test_who_a_client_is(configured: str, told: bytes) -> None:
    backend = client_of(client(eap_identity=configured))
    conversation = backend.converse(Asked("a@example.com", "192.0.2.1"))
    went = await conversation.answer(EapPacket(1, 5, 1).encode())
    assert EapPacket.decode(went.packet).data == told


async def met(
    gateway: GatewayConfig, peer: ClientConfig, connection: str = ""
) -> tuple[Round, Round]:
    """Both sides' ends of EAP-TLS."""
    asked = Asked("a@example.com", "192.0.2.1", connection=connection)
    at_gateway = backend_of(gateway)
    at_client = client_of(peer)
    ended = await talk(at_gateway.converse(asked), at_client.converse(asked))
    return ended[:2]


@pytest.mark.parametrize(
    ("listed", "shown", "takes"),
    [
        ([], "gw", True),
        ([], "aaa", False),
        (["aaa.example.com"], "aaa", True),
        (["*"], "aaa", True),
    ],
)
async def test_which_server_a_client_believes(
    folder: Path, listed: list[str], shown: str, takes: bool
) -> None:
    gateway = config(methods=["tls"], shown=folder / shown)
    peer = client(shown=folder / "a", eap_server_names=listed)
    at_gateway, at_client = await met(gateway, peer)
    assert isinstance(at_client.result, Success) is takes
    assert isinstance(at_gateway.result, Success) is takes


async def test_whose_peers_a_connection_believes(folder: Path) -> None:
    OTHER.issue("a", "rfc822:a@example.com").write(folder, "stranger")
    one = ConnectionConfig("guests", ("*",), ca_file=f"{folder}/other.pem")
    gateway = config(methods=["tls"], shown=folder / "gw")
    gateway = msgspec.structs.replace(gateway, connection=(one,))
    ended = {}
    for shown in ("a", "stranger"):
        for connection in ("", "guests"):
            at_gateway, _ = await met(gateway, client(shown=folder / shown), connection)
            ended[shown, connection] = isinstance(at_gateway.result, Success)
    assert ended == {
        ("a", ""): True,
        ("a", "guests"): False,
        ("stranger", ""): False,
        ("stranger", "guests"): True,
    }


async def test_authorities_between_that_a_peer_doesnt_send(folder: Path) -> None:
    between = AUTHORITY.below("between")
    between.issue("a", "rfc822:a@example.com").write(folder, "far")
    (folder / "between.pem").write_bytes(between.pem)
    gateway = config(methods=["tls"], shown=folder / "gw")
    peer = client(shown=folder / "far")
    at_gateway, _ = await met(gateway, peer)
    assert isinstance(at_gateway.result, Failure)
    trust = TrustConfig(f"{folder}/ca.pem", f"{folder}/between.pem")
    at_gateway, _ = await met(msgspec.structs.replace(gateway, trust=trust), peer)
    assert isinstance(at_gateway.result, Success)
    assert len(decode_ids(at_gateway.result.certificate)) == 2
    assert at_gateway.result.expires_wall_s < OsClock().wall_s() + 31 * pki.DAY_S
    trust = TrustConfig(f"{folder}/other.pem", f"{folder}/between.pem")
    at_gateway, _ = await met(msgspec.structs.replace(gateway, trust=trust), peer)
    assert isinstance(at_gateway.result, Failure)
    assert "nobody trusted has issued" in at_gateway.result.why
