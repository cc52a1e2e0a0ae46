"""node.trust.config: [trust] and [[certificate]]; every mistake is one line with key and fix."""

from pathlib import Path

import pytest

from node.certificates import client_problems, gateway_problems
from node.config import load_client, load_gateway
from node.sample import Sample, write_sample
from node.seams import OsClock, OsRng
from node.toml_strict import ConfigError
from node.trust.config import CERTIFICATES_MAX, trust_settings
from tests.pki import DAY_S, Authority, Issued

NOW_S = OsClock().wall_s()
TIMES = {"begins": NOW_S - DAY_S, "ends": NOW_S + DAY_S}
ROOT = Authority.root(**TIMES)
IDENTITY = "fqdn:gw.example.com"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trust")
    write_sample(folder, Sample(), OsRng(), NOW_S)
    for file in ("gw1.toml", "client.toml"):
        text = (folder / file).read_text()
        section = "[ike]" if file == "gw1.toml" else "[client]"
        start = text.index("identity = ", text.index(section))
        end = text.index("\n", start)
        (folder / file).write_text(text[:start] + f'identity = "{IDENTITY}"' + text[end:])
    (folder / "ca.pem").write_bytes(ROOT.own.pem)
    middle = ROOT.authority("middle", **TIMES)
    middle.issue(names=[IDENTITY], **TIMES).write(folder, "good", [middle.own])
    middle.issue(kind="rsa", names=[IDENTITY], **TIMES).write(folder, "rsa", [middle.own])
    ROOT.issue(names=["fqdn:other.example.com"], **TIMES).write(folder, "other")
    ROOT.issue("CN=gw,O=Example", **TIMES).write(folder, "dn")
    ROOT.issue(names=[IDENTITY], begins=NOW_S - 2, ends=NOW_S - 1).write(folder, "expired")
    ROOT.issue(kind="rsa1024", names=[IDENTITY], **TIMES).write(folder, "weak")
    (folder / "rubbish").write_text("rubbish")
    (folder / "rubbish").chmod(0o600)
    weak = Issued(Authority.root("weak", "rsa1024", **TIMES).own.parsed, ROOT.own.key)
    (folder / "weak-ca.pem").write_bytes(weak.pem)
    return folder


def certificate(stem: str) -> str:
    return f'[[certificate]]\ncert_file = "{stem}.pem"\nkey_file = "{stem}.key"\n'


def changed(made: Path, tables: str, file: str = "gw1.toml") -> Path:
    path = made / f"changed-{file}"
    path.write_text((made / file).read_text() + "\n" + tables)
    return path


def problems(made: Path, tables: str, file: str = "gw1.toml") -> list[str]:
    """What is said of the file with these tables in it."""
    load = load_gateway if file == "gw1.toml" else load_client
    with pytest.raises(ConfigError) as caught:
        load(changed(made, tables, file))
    return [line.replace(f"{made}/", "") for line in caught.value.problems]


GOLDEN = [
    (
        '[trust]\nca_file = "missing.pem"',
        "trust.ca_file: missing.pem: no such file or directory → a readable file",
    ),
    ('[trust]\nca_file = "rubbish"', "trust.ca_file: rubbish holds no certificate ("),
    (
        '[trust]\nca_file = "good.pem"',
        "trust.ca_file: good.pem: CN=peer is no authority → certificates of authorities only",
    ),
    (
        '[trust]\nca_file = "weak-ca.pem"',
        "trust.ca_file: weak-ca.pem: CN=weak has a weak key: RSA key of 1024 bits → 2048 to 8192",
    ),
    (
        '[trust]\nintermediates_file = "rubbish"',
        "trust.intermediates_file: rubbish holds no certificate (",
    ),
    (
        certificate("good").replace("good.pem", "missing.pem"),
        "certificate[1].cert_file: missing.pem: no such file or directory →",
    ),
    (
        certificate("good").replace("good.key", "rsa.key"),
        "certificate[1].key_file: rsa.key is another certificate's key → the key of CN=peer",
    ),
    (
        certificate("good").replace("good.key", "rubbish"),
        "certificate[1].key_file: rubbish holds no private key → a private key as PEM, not encr",
    ),
    (
        certificate("good") + certificate("other"),
        "certificate[2].cert_file: other.pem speaks for dn:CN=peer, fqdn:other.example.com → one"
        f" for {IDENTITY} (subjectAltName)",
    ),
    (certificate("weak"), "certificate[1].key_file: weak.key: RSA key of 1024 bits → 2048 to 8192"),
    (certificate("good") * (CERTIFICATES_MAX + 1), "certificate: 17 tables → at most 16"),
    (
        '[[connection]]\nname = "a"\nidentity = ["*"]\nca_file = "rubbish"\n',
        "connection[1].ca_file: rubbish holds no certificate (",
    ),
]


@pytest.mark.parametrize(("tables", "line"), GOLDEN)
def test_each_mistake_is_one_line(made: Path, tables: str, line: str) -> None:
    found = problems(made, tables)
    assert [one for one in found if one.startswith(f"changed-gw1.toml: {line}")], found
    assert len(found) == 1


@pytest.mark.parametrize(("tables", "line"), [g for g in GOLDEN if "connection" not in g[0]])
def test_and_the_same_for_a_client(made: Path, tables: str, line: str) -> None:
    found = problems(made, tables, "client.toml")
    assert [one for one in found if one.startswith(f"changed-client.toml: {line}")], found


def test_a_key_that_others_may_read(made: Path) -> None:
    (made / "good.key").chmod(0o640)
    try:
        (line,) = problems(made, certificate("good"))
    finally:
        (made / "good.key").chmod(0o600)
    assert line.endswith(
        "certificate[1].key_file: good.key has mode 0640 → mode 0600 (chmod 600 good.key)"
    )


def test_what_is_out_of_its_time_is_told_by_the_clock(made: Path) -> None:
    for file, load, look in (
        ("gw1.toml", load_gateway, gateway_problems),
        ("client.toml", load_client, client_problems),
    ):
        path = changed(made, certificate("expired") + certificate("good"), file)
        (line,) = look(path, load(path), NOW_S)  # type: ignore[operator, arg-type]
        assert "certificate[1].cert_file: " in line
        assert "expired.pem: CN=peer is valid from 20" in line


def test_a_local_identity_of_a_connection_counts(made: Path) -> None:
    tables = '[[connection]]\nname = "a"\nidentity = ["*"]\nlocal_identity = "dn:CN=gw,O=Example"\n'
    load_gateway(changed(made, tables + certificate("dn") + certificate("good")))


def test_what_comes_of_it(made: Path) -> None:
    tables = """
[trust]
ca_file = "ca.pem"
intermediates_file = "good.pem"
tls_certificates = true
check_id_address = false
[[connection]]
name = "other"
identity = ["*"]
ca_file = "ca.pem"
"""
    found = trust_settings(load_gateway(changed(made, tables + certificate("rsa"))))
    assert [one.text for one in found.anchors.certificates] == ["CN=root"]
    assert [*found.own_anchors] == ["other"]
    assert [one.text for one in found.intermediates] == ["CN=peer", "CN=middle"]
    (own,) = found.own
    assert (own.certificate.text, [one.text for one in own.above]) == ("CN=peer", ["CN=middle"])
    assert found.tls_purposes
    assert not found.check_address
    nothing = trust_settings(load_client(made / "client.toml"))
    assert nothing.anchors.certificates == nothing.own == ()
    assert nothing.check_address
    assert not nothing.tls_purposes
