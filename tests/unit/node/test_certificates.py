"""node.certificates: what a peer would refuse without a word is one line before anybody runs."""

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from node.certificates import gateway_problems, operator_problems
from node.config import load_gateway, load_operator
from node.sample import Sample, write_sample
from node.seams import OsClock, OsRng

NOW_S = OsClock().wall_s()
TWENTY_YEARS_S = 20 * 365 * 86_400.0


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    for name, cluster in (("mine", "sample"), ("other", "sample"), ("named", "other")):
        write_sample(folder / name, Sample(name=cluster), OsRng(), NOW_S)
    (folder / "mine" / "rubbish").write_text("rubbish")
    (folder / "mine" / "rubbish").chmod(0o600)
    return folder


def said(made: Path, replaced: str, by: str, file: str = "gw1.toml", now_s: float = NOW_S) -> str:
    """What is said of the sample's file with `replaced` replaced; a line, or nothing."""
    text = (made / "mine" / file).read_text()
    assert replaced in text
    changed = made / "mine" / f"changed-{file}"
    changed.write_text(text.replace(replaced, by))
    if file == "operator.toml":
        lines = operator_problems(changed, load_operator(changed), now_s)
    else:
        lines = gateway_problems(changed, load_gateway(changed), now_s)
    return "\n".join(lines).replace(f"{made}/mine/", "").replace(f"{made}/", "")


@pytest.mark.parametrize("file", ["gw1.toml", "gw3.toml", "operator.toml"])
def test_the_samples_certificates_fit(made: Path, file: str) -> None:
    assert said(made, "pki/", "pki/", file) == ""


@pytest.mark.parametrize(
    ("replaced", "by", "line"),
    [
        ("pki/gw1.key", "pki/gw2.key", "member.key_file: pki/gw2.key is another certificate's → "),
        ("pki/gw1.", "pki/gw2.", "is for member gw2 of sample → one for member gw1 of sample"),
        ("pki/gw1.", "pki/operator.", "is for operator admin of sample → one for member gw1 of"),
        ("pki/gw1.", "../named/pki/gw1.", "is for member gw1 of other → one for member gw1 of sa"),
        ("pki/ca.crt", "../other/pki/ca.crt", "member.cert_file: pki/gw1.crt is signed by CN="),
        (
            "pki/gw1.crt",
            "pki/ca.crt",
            "member.cert_file: pki/ca.crt is for no member and no operator →",
        ),
        ("pki/gw1.crt", "rubbish", "member.cert_file: rubbish holds no certificate → a certifi"),
        ("pki/gw1.key", "rubbish", "member.key_file: rubbish holds no private key → a private k"),
        ("pki/ca.crt", "kek", "member.ca_file: kek holds no certificate → a certificate as PEM"),
    ],
)
def test_what_does_not_fit_is_one_line(made: Path, replaced: str, by: str, line: str) -> None:
    found = said(made, replaced, by).splitlines()
    assert any(line in one for one in found), found
    assert all(one.startswith("changed-gw1.toml: member.") for one in found)


def test_a_certificate_out_of_its_time_is_named_with_its_time(made: Path) -> None:
    found = said(made, "pki/", "pki/", now_s=NOW_S + TWENTY_YEARS_S)
    assert found.startswith("changed-gw1.toml: member.cert_file: pki/gw1.crt is valid from ")
    assert found.endswith(" → one that is valid today")
    assert said(made, "pki/", "pki/", now_s=NOW_S - TWENTY_YEARS_S) == found


def test_an_operators_certificate_is_an_operators(made: Path) -> None:
    found = said(made, "pki/operator.", "pki/gw1.", "operator.toml")
    assert "operator.cert_file: pki/gw1.crt is for member gw1 of sample → one for operator" in found


def test_a_weak_key_is_named(made: Path) -> None:
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gw1")])
    leaf = x509.load_pem_x509_certificate((made / "mine/pki/gw1.crt").read_bytes())
    weak = x509.CertificateBuilder(
        name, name, key.public_key(), 1, leaf.not_valid_before_utc, leaf.not_valid_after_utc
    ).sign(key, hashes.SHA256())
    (made / "mine" / "weak.crt").write_bytes(weak.public_bytes(serialization.Encoding.PEM))
    found = said(made, "pki/gw1.crt", "weak.crt")
    line = "member.cert_file: weak.crt has a weak key: RSA key of 1024 bits → 2048 to 8192 bits"
    assert line in found


def test_a_store_may_have_certificates_of_its_own(made: Path) -> None:
    own = 'key_file = "pki/gw1.key"\n'
    member = (
        '\n[member]\nca_file = "pki/ca.crt"\ncert_file = "pki/gw1.crt"\nkey_file = "pki/gw1.key"'
    )
    text = (made / "mine" / "gw1.toml").read_text()
    head, tail = text.split(own, 1)
    head = head.replace("pki/", "../other/pki/")
    tail = tail.replace("[member]", member.strip(), 1)
    file = made / "mine" / "two.toml"
    file.write_text(head + own.replace("pki/", "../other/pki/") + tail)
    assert gateway_problems(file, load_gateway(file), NOW_S) == []
    file.write_text(head + own.replace("pki/gw1", "../other/pki/gw2") + tail)
    found = gateway_problems(file, load_gateway(file), NOW_S)
    assert len(found) == 1
    assert "store.key_file: " in found[0]
