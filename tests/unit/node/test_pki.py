"""node.pki and node.sample: certificates that say who, files that only their owner reads."""

import datetime
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from cluster.identity import Identity, parse_uri, server_name
from node.config import load_client, load_gateway, load_operator
from node.identity import find_psk, load_psks
from node.pki import AUTHORITY_DAYS, LEAF_DAYS, Authority, Issued
from node.sample import (
    GATEWAYS_MAX,
    PORTS_PER_CLUSTER,
    InitError,
    Ports,
    Sample,
    ports_from,
    write_sample,
)
from node.seams import OsRng

NOW = 1_800_000_000.0


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("sample", NOW)


def loaded(issued: Issued) -> x509.Certificate:
    return x509.load_pem_x509_certificate(issued.certificate)


def names(issued: Issued) -> x509.SubjectAlternativeName:
    return loaded(issued).extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def policy(authority: Authority) -> PolicyBuilder:
    at = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
    return PolicyBuilder().store(Store([loaded(authority.issued)])).time(at)


@pytest.mark.parametrize("role", ["member", "operator", "etcd"])
def test_a_certificate_says_who_and_is_believed(authority: Authority, role: str) -> None:
    issued = getattr(authority, role)("n1")
    (uri,) = names(issued).get_values_for_type(x509.UniformResourceIdentifier)
    assert parse_uri(uri) == Identity(cluster="sample", role=role, name="n1")
    policy(authority).build_client_verifier().verify(loaded(issued), [])
    key = load_pem_private_key(issued.key.octets, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert isinstance(key.curve, ec.SECP256R1)
    assert key.public_key() == loaded(issued).public_key()


def test_a_member_is_a_server_under_its_name_and_at_home(authority: Authority) -> None:
    issued = authority.member("gw1", ["192.0.2.1", "gw1.example.com"])
    own = server_name(Identity(cluster="sample", role="member", name="gw1"))
    for name in (own, "localhost", "gw1.example.com"):
        verifier = policy(authority).build_server_verifier(x509.DNSName(name))
        verifier.verify(loaded(issued), [])
    addresses = names(issued).get_values_for_type(x509.IPAddress)
    assert [str(address) for address in addresses] == ["127.0.0.1", "::1", "192.0.2.1"]
    other = server_name(Identity(cluster="sample", role="member", name="gw2"))
    with pytest.raises(VerificationError):
        policy(authority).build_server_verifier(x509.DNSName(other)).verify(loaded(issued), [])


def test_an_operator_is_no_server(authority: Authority) -> None:
    usage = loaded(authority.operator("admin")).extensions.get_extension_for_class(
        x509.ExtendedKeyUsage
    )
    assert list(usage.value) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_another_clusters_authority_is_not_believed(authority: Authority) -> None:
    stranger = Authority("sample", NOW)
    verifier = policy(authority).build_client_verifier()
    with pytest.raises(VerificationError):
        verifier.verify(loaded(stranger.operator("admin")), [])


def test_validity_begins_a_little_early_and_ends(authority: Authority) -> None:
    for issued, days in ((authority.issued, AUTHORITY_DAYS), (authority.member("m"), LEAF_DAYS)):
        certificate = loaded(issued)
        assert certificate.not_valid_before_utc.timestamp() == NOW - 3600
        assert certificate.not_valid_after_utc.timestamp() == NOW + days * 86400


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[Path, ...]]:
    folder = tmp_path_factory.mktemp("init") / "new" / "cluster"
    return folder, write_sample(folder, Sample(), OsRng(), NOW)


SECRETS = {"kek", "psk.toml", "client-psk.toml"}


def test_only_the_owner_reads_what_is_secret(made: tuple[Path, tuple[Path, ...]]) -> None:
    folder, files = made
    assert {path for path in folder.rglob("*") if path.is_file()} == set(files)
    for path in files:
        secret = path.name in SECRETS or path.suffix == ".key"
        assert stat.S_IMODE(path.stat().st_mode) == (0o600 if secret else 0o644), path
    for path in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path


def test_no_secret_is_in_a_file_that_others_may_read(made: tuple[Path, tuple[Path, ...]]) -> None:
    folder, files = made
    secrets = [(folder / "kek").read_text().strip()]
    secrets.append((folder / "psk.toml").read_text().split('"')[-2])
    for path in files:
        if stat.S_IMODE(path.stat().st_mode) != 0o600:
            text = path.read_text()
            assert not [secret for secret in secrets if secret in text], path
            assert "PRIVATE KEY" not in text, path


def test_client_and_gateway_share_a_key(made: tuple[Path, tuple[Path, ...]]) -> None:
    folder, _ = made
    client = load_client(folder / "client.toml").client
    gateway = load_gateway(folder / "gw1.toml").ike
    assert client.remote_identity == gateway.identity
    theirs = find_psk(load_psks(gateway.psk_file), client.identity)
    ours = find_psk(load_psks(client.psk_file), client.remote_identity)
    assert ours is not None
    assert ours == theirs
    assert len(ours) == 32


def test_every_listener_has_a_port_of_its_own(tmp_path: Path) -> None:
    sample = Sample("many", GATEWAYS_MAX, ports_from(20000))
    write_sample(tmp_path, sample, OsRng(), NOW)
    ports = [sample.ports.etcd, sample.ports.etcd_peer]
    for number in range(1, GATEWAYS_MAX + 1):
        config = load_gateway(tmp_path / f"gw{number}.toml")
        assert config.member.host == f"host-{number}"
        listens = (*config.ike.listen, config.member.rpc_listen, config.metrics.listen)
        ports += [int(address.rpartition(":")[2]) for address in listens]
    assert len(set(ports)) == len(ports)
    assert all(20000 <= port < 20000 + PORTS_PER_CLUSTER for port in ports)
    assert len(load_operator(tmp_path / "operator.toml").addresses) == GATEWAYS_MAX
    assert len(load_client(tmp_path / "client.toml").client.gateways) == GATEWAYS_MAX


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    with pytest.raises(InitError, match="is not empty → an empty folder"):
        write_sample(tmp_path, Sample(), OsRng(), NOW)
    with pytest.raises(InitError, match="precious is no folder → an empty folder"):
        write_sample(tmp_path / "precious", Sample(), OsRng(), NOW)
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.mark.parametrize(
    "sample",
    [Sample("Not A Name"), Sample("", 3), Sample("a", 0), Sample("a", GATEWAYS_MAX + 1)],
)
def test_what_makes_no_cluster_is_refused(tmp_path: Path, sample: Sample) -> None:
    with pytest.raises(InitError, match="→"):
        write_sample(tmp_path / "x", sample, OsRng(), NOW)
    assert not (tmp_path / "x").exists()


def test_ports_that_do_not_fit_are_refused() -> None:
    assert ports_from(1024).etcd == 1024
    for base in (0, 1023, 65535):
        with pytest.raises(InitError, match=f"base port {base} → 1024 to"):
            ports_from(base)
    assert Ports().ike == 5000
