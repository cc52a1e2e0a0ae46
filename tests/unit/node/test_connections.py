"""[[connection]] tables: what may stand in them, and what the core gets of it."""

from pathlib import Path

import pytest

from node.config import load_client, load_gateway
from node.connections import CONNECTIONS_MAX
from node.credentials import PskTable
from node.peer import peer_of
from node.sample import Sample, write_sample
from node.seams import OsClock, OsRng
from node.settings import endpoint_settings
from node.toml_strict import ConfigError
from node.trust.config import trust_settings
from node.trust.verifier import Trust
from proto.ike.auth import ResumeForm
from proto.ike.connection import DEFAULT, Method
from proto.ike.core import Settings
from proto.ike.enums import IdType
from proto.ike.redirect import parse_target
from proto.ike.rounds import Proof
from proto.ike.selectors import parse_selector
from tests.pki import DAY_S, Authority

NOW_S = OsClock().wall_s()
TIMES = {"begins": NOW_S - DAY_S, "ends": NOW_S + DAY_S}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    write_sample(folder, Sample(), OsRng(), NOW_S)
    root = Authority.root(**TIMES)
    (folder / "ca.pem").write_bytes(root.own.pem)
    root.issue("CN=gw,O=Example", names=["fqdn:gw.example.com"], **TIMES).write(folder, "gw")
    root.issue(names=["rfc822:alice@example.com"], **TIMES).write(folder, "alice")
    (folder / "users").write_text('[[eap_user]]\nidentity = "a"\npassword = "b"\n')
    (folder / "users").chmod(0o600)
    return folder


def core_settings(file: Path) -> Settings:
    """The core's, as a gateway makes them of its file."""
    config = load_gateway(file)
    trust = Trust(trust_settings(config), OsClock())
    return endpoint_settings(config, 0, trust.exact, trust.requests(None))


def problems(made: Path, by: str) -> list[str]:
    """What is said of the sample with these tables in it."""
    changed = made / "changed.toml"
    changed.write_text((made / "gw1.toml").read_text().replace("[metrics]", by))
    with pytest.raises(ConfigError) as caught:
        load_gateway(changed)
    return [line.replace(f"{made}/", "") for line in caught.value.problems]


GOLDEN = [
    (
        '[[connection]]\nname = "a"\nidentity = ["*", "al*ce"]\n[metrics]',
        'connection[1].identity: "al*ce" → fqdn:NAME, rfc822:USER@DOMAIN, ipv4:ADDRESS, ipv6:AD',
    ),
    (
        '[[connection]]\nname = "a"\nidentity = []\n[metrics]',
        'connection[1].identity: [] → a list of identities, such as ["rfc822:*@example.com"]',
    ),
    (
        '[[connection]]\nname = "a"\nidentity = ["*"]\n' * 2 + "[metrics]",
        'connection[2].name: "a" → a name once',
    ),
    (
        '[[connection]]\nname = "a"\nidentity = ["*"]\nlocal_identity = "me"\n[metrics]',
        'connection[1].local_identity: "me" → fqdn:NAME',
    ),
    (
        '[[connection]]\nname = "a"\nidentity = ["*"]\nremote_ts = ["10.0.0.1/8"]\n[metrics]',
        'connection[1].remote_ts: "10.0.0.1/8" → a network such as 10.0.0.0/8',
    ),
    (
        '[[connection]]\nname = "a"\nidentity = ["*"]\nredirect = "[::1]:500"\n[metrics]',
        'connection[1].redirect: "[::1]:500" → an address, or a name such as gw2.example.com',
    ),
    (
        '[[connection]]\nidentity = ["*"]\nnane = "a"\n[metrics]',
        "connection[1].nane: unknown key → did you mean name?",
    ),
]


@pytest.mark.parametrize(("by", "said"), GOLDEN)
def test_each_mistake_is_one_line(made: Path, by: str, said: str) -> None:
    line, *_ = problems(made, by)
    assert line.startswith(f"changed.toml: {said}")


CONNECTIONS = """
[[connection]]
name = "partners"
identity = ["fqdn:*.partner.example", "ipv4:192.0.2.7"]
local_identity = "fqdn:partners.example.com"
resume_auth = "rfc"
remote_ts = ["10.9.0.0/16"]
redirect = "192.0.2.2"

[metrics]"""


def test_a_connection_has_what_its_table_says_and_else_what_ike_says(made: Path) -> None:
    changed = made / "connections.toml"
    changed.write_text((made / "gw1.toml").read_text().replace("[metrics]", CONNECTIONS))
    settings = core_settings(changed)
    partners, everybody = settings.connections
    assert (partners.name, everybody.name) == ("partners", DEFAULT)
    assert partners.local_id.data == b"partners.example.com"
    assert partners.resume_forms == (ResumeForm.RFC,)
    assert partners.remote_ts == (parse_selector("10.9.0.0/16"),)
    assert (partners.redirect, everybody.redirect) == (parse_target("192.0.2.2"), None)
    assert partners.local_ts == everybody.local_ts == settings.local_ts
    fitting = ("fqdn:a.partner.example", "ipv4:192.0.2.7", "fqdn:partner.example", "ipv4:192.0.2.8")
    assert [partners.fits(text) for text in fitting] == [True, True, False, False]
    assert everybody.fits("fqdn:partner.example")


def test_a_limit_of_sessions_is_a_tables_own_or_that_of_ike(made: Path) -> None:
    table = '[[connection]]\nname = "%s"\nidentity = ["*"]\n'
    by = table % "a" + 'sessions_max = 1\nsessions_over = "refuse"\n' + table % "b" + "[metrics]"
    changed = made / "limits.toml"
    limits = '[ike]\nsessions_max = 3\nsessions_over = "end-oldest"\n'
    text = (made / "gw1.toml").read_text().replace("[metrics]", by).replace("[ike]\n", limits)
    changed.write_text(text)
    found = [(one.sessions_max, one.oldest_ends) for one in core_settings(changed).connections]
    assert found == [(1, False), (3, True), (3, True)]


def test_connections_are_no_more_than_may_be(made: Path) -> None:
    row = '[[connection]]\nname = "c%d"\nidentity = ["*"]\n'
    rows = "".join(row % n for n in range(CONNECTIONS_MAX + 1))
    (line,) = problems(made, rows + "[metrics]")
    assert line == "changed.toml: connection: 257 tables → at most 256 [[connection]]"


ROW = '[[connection]]\nname = "a"\nidentity = ["*"]\n'
OWN = '[[certificate]]\ncert_file = "gw.pem"\nkey_file = "gw.key"\n'
TRUST = '[trust]\nca_file = "ca.pem"\n'
USERS = '[eap]\nmethods = ["mschapv2"]\nusers_file = "users"\n'
GW = 'local_identity = "fqdn:gw.example.com"\n'


@pytest.mark.parametrize(
    ("by", "said"),
    [
        ('local_auth = "certificate"\n', 'local_auth: "certificate" → needs a [[certificate]] for'),
        (
            'local_auth = "certificate"\n' + OWN,
            'local_auth: "certificate" → needs a [[certificate]] for fqdn:vpn.example.com',
        ),
        (
            'remote_auth = ["certificate"]\n',
            'remote_auth: "certificate" → needs ca_file or trust.ca_file',
        ),
        ('remote_auth = ["eap"]\n' + OWN, 'remote_auth: "eap" → needs eap.methods'),
        (
            'remote_auth = ["eap"]\n' + USERS,
            'local_auth: "psk" → "certificate", which a peer that uses EAP must be shown',
        ),
        ("eap_only = true\n", 'eap_only: set → nothing without "eap" in remote_auth'),
        (
            'remote_auth = ["eap"]\nlocal_auth = "certificate"\neap_only = true\n'
            + GW
            + OWN
            + USERS,
            'eap_only: true → false without "eap" first in remote_auth, by "tls" or "radius"',
        ),
        ('eap_methods = ["tls"]\n', 'eap_methods: set → nothing without "eap" in remote_auth'),
        (
            "remote_auth = []\n",
            'remote_auth: [] → a list of "psk", "certificate", "eap" and "null"',
        ),
        ('local_auth = "eap"\n', 'local_auth: "eap" → "psk", "certificate" or "null"'),
        (
            'remote_auth = ["null"]\nsessions_max = 2\n',
            'sessions_max: 2 → nothing where "null" says who it is: nobody has sessions',
        ),
    ],
)
def test_what_is_to_be_proven_is_there_to_be_proven_with(made: Path, by: str, said: str) -> None:
    lines = problems(made, ROW + by + "[metrics]")
    assert [line for line in lines if line.startswith(f"changed.toml: connection[1].{said}")], lines


def test_without_pre_shared_keys_there_are_connections_that_need_none(made: Path) -> None:
    file = made / "without.toml"
    text = (made / "gw1.toml").read_text()
    psk = 'psk_file = "psk.toml"\n'
    file.write_text(text.replace(psk, ""))
    with pytest.raises(ConfigError) as caught:
        load_gateway(file)
    assert "ike.psk_file: missing → the name of a file, or [[connection]]" in str(caught.value)
    file.write_text(text.replace(psk, "") + ROW)
    with pytest.raises(ConfigError) as caught:
        load_gateway(file)
    assert 'connection[1].remote_auth: "psk" → needs ike.psk_file' in str(caught.value)
    certificates = 'local_auth = "certificate"\nremote_auth = ["certificate", "eap"]\n'
    rest = 'authentication_lifetime_s = 600\neap_methods = ["mschapv2"]\n'
    tables = ROW + GW + certificates + rest + OWN + TRUST + USERS
    file.write_text(text.replace(psk, "") + tables)
    settings = core_settings(file)
    (one,) = settings.connections
    assert (one.local_auth, one.remote_auth) == (
        Method.CERTIFICATE,
        (Method.CERTIFICATE, Method.EAP),
    )
    assert (one.lifetime_s, one.eap_methods) == (600, ("mschapv2",))
    assert len(settings.requests) == 1


def test_a_distinguished_name_of_ours_is_sent_as_the_certificate_has_it(made: Path) -> None:
    file = made / "dn.toml"
    tables = ROW + 'local_identity = "dn:CN=gw,O=Example"\nlocal_auth = "certificate"\n' + OWN
    file.write_text((made / "gw1.toml").read_text() + tables)
    settings = core_settings(file)
    assert settings.connections[0].local_id.id_type == IdType.ID_DER_ASN1_DN
    assert not settings.requests  # nobody is asked for a certificate
    config = load_gateway(file)
    (own,) = trust_settings(config).own
    assert settings.connections[0].local_id.data == own.certificate.subject


def test_a_client_says_what_it_proves_and_what_is_missing_for_that(made: Path) -> None:
    file = made / "proving.toml"
    text = (made / "client.toml").read_text()
    psk = next(line for line in text.splitlines() if line.startswith("psk_file"))
    for auth, remote, said in (
        ('["psk"]', "psk", "client.psk_file: missing → the name of a file with pre-shared keys"),
        ('["certificate"]', "null", 'client.auth: "certificate" → needs a [[certificate]]'),
        ('["eap"]', "null", 'client.auth: "eap" → needs client.eap_password_file or a [[certif'),
        ('["null"]', "certificate", 'client.remote_auth: "certificate" → needs trust.ca_file'),
        ('["null"]', "eap", 'client.remote_auth: "eap" → needs "eap" first in client.auth'),
    ):
        lines = f'auth = {auth}\nremote_auth = "{remote}"'
        file.write_text(text.replace(psk, lines))
        with pytest.raises(ConfigError) as caught:
            load_client(file)
        assert said in str(caught.value)


def test_a_clients_proofs_are_as_its_file_says(made: Path) -> None:
    file = made / "proving.toml"
    (made / "password").write_text("b\n")
    (made / "password").chmod(0o600)
    text = (made / "client.toml").read_text()
    psk = next(line for line in text.splitlines() if line.startswith("psk_file"))
    identity = next(line for line in text.splitlines() if line.startswith("identity"))
    text = text.replace(identity, 'identity = "rfc822:alice@example.com"').replace(
        psk,
        'auth = ["certificate", "eap"]\nremote_auth = "certificate"\n'
        'eap_identity = "a"\neap_password_file = "password"',
    )
    file.write_text(text + OWN.replace("gw.", "alice.") + TRUST)
    config = load_client(file)
    peer = peer_of(config.client, PskTable(()), Trust(trust_settings(config), OsClock()))
    first, second = peer.to_prove
    assert first == Proof(Method.CERTIFICATE, peer.local_id)
    assert (second.method, second.local_id.data) == (Method.EAP, b"a")
    assert peer.remote_auth is Method.CERTIFICATE
    assert len(peer.requests) == 1
