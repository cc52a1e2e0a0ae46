"""node.config, toml_strict, identity: each mistake is one line with key, value and fix."""

import subprocess
import sys
from pathlib import Path

import pytest

from node.config import load_client, load_gateway, load_operator
from node.identity import PSKS_MAX, find_psk, format_address, load_kek, load_psks, parse_address
from node.sample import Sample, write_sample
from node.seams import OsClock, OsRng
from node.toml_strict import FILE_OCTETS_MAX, ConfigError
from proto.ike.identity import format_identity, parse_identity
from proto.secret import Secret


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    write_sample(folder, Sample(), OsRng(), OsClock().wall_s())
    return folder


def problems(made: Path, replaced: str, by: str, file: str = "gw1.toml") -> list[str]:
    """What is said of the sample's file with `replaced` replaced, without the folder's name."""
    text = (made / file).read_text()
    assert replaced in text
    changed = made / "changed.toml"
    changed.write_text(text.replace(replaced, by))
    load = {"gw1.toml": load_gateway, "client.toml": load_client, "operator.toml": load_operator}
    with pytest.raises(ConfigError) as caught:
        load[file](changed)
    assert str(caught.value) == "\n".join(caught.value.problems)
    assert not [line for line in caught.value.problems if "\n" in line]
    return [line.replace(f"{made}/", "") for line in caught.value.problems]


GOLDEN = [
    # unknown keys and tables
    (
        "ticket_lifetime_s = 3600",
        "ticket_liftime_s = 3600",
        "ike.ticket_liftime_s: unknown key → did you mean ticket_lifetime_s?",
    ),
    ("[metrics]", "[zzz]", "zzz: unknown key → one of cluster, member, ike, store, metrics, log,"),
    # missing, wrong type, out of range
    ('name = "gw1"', "", "member.name: missing → 1 to 63 letters a-z, digits and inner hyphens"),
    ('"gw1"\nhost', '"GW 1"\nhost', 'member.name: "GW 1" → 1 to 63 letters a-z, digits and inner'),
    ("mirrors = 1", 'mirrors = "one"', 'member.mirrors: "one" → a whole number from 0 to 3'),
    ("mirrors = 1", "mirrors = true", "member.mirrors: true → a whole number from 0 to 3"),
    ("mirrors = 1", "mirrors = 4", "member.mirrors: 4 → a whole number from 0 to 3"),
    ("keep_alive_s = 1.0", "keep_alive_s = 0", "member.keep_alive_s: 0 → a number of seconds abov"),
    ("keep_alive_s = 1.0", "keep_alive_s = nan", "member.keep_alive_s: nan → a number of seconds"),
    ('kind = "etcd"', 'kind = "redis"', 'store.kind: "redis" → "etcd", "etcd3" or "memory"'),
    ('level = "info"', 'level = "loud"', 'log.level: "loud" → "debug", "info", "warning" or "err'),
    ("[log]", "log = 3\n[x]", "x: unknown key"),
    # impossible values
    ("ticket_lifetime_s = 3600", 'pools = ["z"]', 'ike.pools: "z" → the name of a [[pool]] table'),
    ("shards = 64", "shards = 63", "cluster.shards: 63 → a power of two up to 4096"),
    ("shards = 64", "shards = 8192", "cluster.shards: 8192 → a power of two from 1 to 4096"),
    (
        "lease_ttl_s = 5",
        "lease_ttl_s = 3",
        "member.lease_ttl_s: 3 → more than 3.535: keep_alive_s and the time one may take need 3 s,",
    ),
    (
        "suspect_after_s = 1.0",
        "suspect_after_s = 0.3",
        "member.suspect_after_s: 0.3 → at least twice heartbeat_interval_s (0.4)",
    ),
    (
        "ticket_lifetime_s = 3600",
        "ticket_lifetime_s = 20000",
        "ike.ticket_lifetime_s: 20000.0 → at most 14400 (ike_sa_lifetime_s, and never above 86400",
    ),
    (
        "ticket_lifetime_s = 3600",
        "ticket_lifetime_s = 86401\nike_sa_lifetime_s = 172800",
        "ike.ticket_lifetime_s: 86401.0 → at most 86400 (ike_sa_lifetime_s, and never above 86400)",
    ),
    (
        "ticket_lifetime_s = 3600",
        "half_open_max = 10",
        "ike.cookie_threshold: 1024 → at most half_open_max (10)",
    ),
    ("[ike]", "[ike]\nhalf_open_max = 0", "ike.half_open_max: 0 → a whole number from 1 to 1000"),
    # addresses, identities, algorithms, networks
    (
        '["127.0.0.1:5001"]',
        '["127.0.0.1"]',
        'ike.listen: "127.0.0.1" → ADDRESS:PORT, such as 127.0.0.1:500 or [::1]:500',
    ),
    ('["127.0.0.1:5001"]', "[]", "ike.listen: [] → a list of ADDRESS:PORT, at least one"),
    (
        '["127.0.0.1:5001"]',
        '["127.0.0.1:5001"]\nlisten_nat = ["127.0.0.1:"]',
        'ike.listen_nat: "127.0.0.1:" → ADDRESS:PORT, such as',
    ),
    (
        '["127.0.0.1:5001"]',
        '["127.0.0.1:5001"]\nlisten_nat = ["127.0.0.1:5001"]',
        'ike.listen_nat: "127.0.0.1:5001" → a port of its own, not one of listen',
    ),
    (
        "[ike]",
        '[ike]\nmobike_from = ["10.0.0.1/8"]',
        'ike.mobike_from: "10.0.0.1/8" → a network such as 10.0.0.0/8',
    ),
    (
        "[ike]",
        '[ike]\nadditional_addresses = ["gw1"]',
        'ike.additional_addresses: "gw1" → an IP address such as 192.0.2.7',
    ),
    (
        "[ike]",
        '[ike]\nudp_encapsulation = "never"',
        'ike.udp_encapsulation: "never" → "auto" or "always"',
    ),
    ('"127.0.0.1:7401"', '"gw1:7401"', 'member.rpc_listen: "gw1:7401" → ADDRESS:PORT, such as'),
    ('"127.0.0.1:7401"', '"0.0.0.0:7401"', 'member.rpc_listen: "0.0.0.0:7401" → one address and p'),
    ('"127.0.0.1:7401"', '"[::]:7401"', 'member.rpc_listen: "[::]:7401" → one address and port'),
    ('"127.0.0.1:7401"', '"127.0.0.1:0"', 'member.rpc_listen: "127.0.0.1:0" → one address and p'),
    ('"127.0.0.1:7401"', '""', "member.rpc_listen: missing → ADDRESS:PORT where other members"),
    ('"127.0.0.1:9401"', '"127.0.0.1:99999"', 'metrics.listen: "127.0.0.1:99999" → ADDRESS:PORT'),
    ('"fqdn:vpn', '"dns:vpn', 'ike.identity: "dns:vpn.example.com" → fqdn:NAME, rfc822:USER@DOMAI'),
    (
        '"aes256gcm16-prfsha256-x25519"',
        '"aes257gcm16-prfsha256-x25519"',
        "ike.proposals: \"aes257gcm16-prfsha256-x25519\" → 'aes257gcm16' is no cipher; known:",
    ),
    (
        '["aes256gcm16"]',
        '["rot13"]',
        "ike.child_proposals: \"rot13\" → 'rot13' is no cipher; known",
    ),
    ("[ike]", '[ike]\nlocal_ts = ["10.1.0.0/8"]', 'ike.local_ts: "10.1.0.0/8" → a network such'),
    # the store
    ('["127.0.0.1:2379"]', "[]", "store.endpoints: missing → HOST:PORT of at least one member"),
    (
        '["127.0.0.1:2379"]',
        '["https://127.0.0.1:2379"]',
        'store.endpoints: "https://127.0.0.1:2379" → HOST:PORT, without https://',
    ),
    (
        'kind = "etcd" ',
        'kind = "memory" ',
        'store.endpoints: ["127.0.0.1:2379"] → nothing with kind = "memory"',
    ),
    (
        'kind = "etcd"                 # or "memory": one gateway alone, nothing is shared\n'
        'endpoints = ["127.0.0.1:2379"]',
        'kind = "etcd3"\nendpoints = ["127.0.0.1:2379", "127.0.0.1:2389"]',
        'store.endpoints: ["127.0.0.1:2379", "127.0.0.1:2389"] → one HOST:PORT with kind = "etcd3"',
    ),
    (
        "[store]",
        "[store]\nattempt_timeout_s = 9",
        "store.attempt_timeout_s: 9.0 → at most total_ti",
    ),
    (
        'psk_file = "psk.toml"',
        'psk_file = "psk.toml"\nredirect_at = ["127.0.0.1:5001"]',
        'ike.redirect_at: "127.0.0.1:5001" → an address of listen, without its port',
    ),
    # files
    (
        'kek_file = "kek"',
        'kek_file = "nokek"',
        "cluster.kek_file: nokek: no such file or directory",
    ),
    (
        'kek_file = "kek"',
        'kek_file = ""',
        "cluster.kek_file: missing → one of kek_file, kek_credential, kek_command",
    ),
    (
        'kek_file = "kek"',
        'kek_file = "kek"\nkek_command = ["/bin/true"]',
        "cluster.kek_command: beside kek_file → only one of kek_file, kek_credential, kek_command",
    ),
    (
        'kek_file = "kek"',
        'kek_command = ["/nowhere/kek", "-x"]',
        'cluster.kek_command: "/nowhere/kek": no such program → one that prints the key',
    ),
    (
        "[metrics]",
        "[keys]\nticket_key_opening_s = 89999\n[metrics]",
        "keys.ticket_key_opening_s: 89999.0 → at least 90000 (ticket_key_sealing_s and ike.tick",
    ),
    (
        "[metrics]",
        "[keys]\nticket_key_sealing_s = 100\n[metrics]",
        "keys.ticket_key_sealing_s: 100.0 → longer: a ticket key would be replaced every 40 s and",
    ),
    (
        "[metrics]",
        '[keys]\nrotate = "never"\n[metrics]',
        'keys.rotate: "never" → "schedule" or "manual"',
    ),
    ('"kek"', '"pki"', "cluster.kek_file: pki is a folder → a file"),
    ('"pki/gw1.key"', '"pki/gw9.key"', "store.key_file: pki/gw9.key: no such file or directory →"),
    (
        '"pki/gw1.key"',
        '"pki/gw1.crt"',
        "store.key_file: pki/gw1.crt has mode 0644 → mode 0600 (chm",
    ),
    ('"psk.toml"', '"etcd.yml"', "ike.psk_file: etcd.yml has mode 0644 → mode 0600"),
]


@pytest.mark.parametrize(("replaced", "by", "line"), GOLDEN, ids=[row[2][:40] for row in GOLDEN])
def test_a_gateways_mistake_is_one_line(made: Path, replaced: str, by: str, line: str) -> None:
    found = problems(made, replaced, by)
    assert any(one.startswith(f"changed.toml: {line}") for one in found), found


@pytest.mark.parametrize(
    ("file", "replaced", "by", "line"),
    [
        ("client.toml", '"rfc822:alice@', '"alice@', "client.identity: "),
        ("client.toml", '"fqdn:vpn', '"', "client.remote_identity: "),
        ("client.toml", "127.0.0.1:5002", "127.0.0.1", 'client.gateways: "127.0.0.1" → ADDRESS'),
        (
            "client.toml",
            "[client]",
            '[client]\ngateways_nat = ["127.0.0.1:5501"]',
            'client.gateways_nat: ["127.0.0.1:5501"] → as many as client.gateways (3), or none',
        ),
        ("client.toml", "[client]", '[client]\ngateways_nat = [""]', "client.gateways_nat: "),
        ("client.toml", "factor = 1.5", "factor = 0.5", "client.retransmit_factor: 0.5 → a number"),
        ("client.toml", "tries = 4", "tries = 2.5", "client.retransmit_tries: 2.5 → a whole numb"),
        ("client.toml", "client-psk", "nopsk", "client.psk_file: nopsk.toml: no such file"),
        ("client.toml", "[client]", '[client]\nproposals = ["x"]', "client.proposals: "),
        (
            "operator.toml",
            "pki/operator.key",
            "pki/ca.crt",
            "operator.key_file: pki/ca.crt has mod",
        ),
        ("operator.toml", "127.0.0.1:7402", "x", 'operator.addresses: ["127.0.0.1:7401", "x", '),
        ("operator.toml", '"sample"', "7", "operator.cluster: 7 → 1 to 63 letters"),
    ],
)
def test_a_clients_and_an_operators_mistake_is_one_line(
    made: Path, file: str, replaced: str, by: str, line: str
) -> None:
    found = problems(made, replaced, by, file)
    assert len(found) == 1
    assert found[0].startswith(f"changed.toml: {line}"), found


def test_all_problems_are_found_in_one_go(made: Path) -> None:
    found = problems(
        made, "[log]\nlevel = ", '[store2]\nx = "y"\n[log]\ncolour = true\nlevel = 3  # '
    )
    keys = [line.split(": ")[1] for line in found]
    assert sorted(keys) == ["log.colour", "log.level", "store2"]


def test_a_long_value_is_shortened(made: Path) -> None:
    (found,) = problems(made, '"fqdn:vpn.example.com"', f'"{"x" * 500}"')
    assert len(found) < 250


def test_the_samples_files_load_with_absolute_paths(made: Path) -> None:
    config = load_gateway(made / "gw2.toml")
    assert config.member.name == "gw2"
    assert config.member.data_dir == str(made / "data/gw2")
    assert config.cluster.kek_file == str(made / "kek")
    assert config.member.cert_file == config.store.cert_file == str(made / "pki/gw2.crt")
    assert config.events.file == ""
    client = load_client(made / "client.toml")
    assert client.client.ticket_file == str(made / "tickets/alice")
    assert len(load_operator(made / "operator.toml").addresses) == 3


def test_paths_are_relative_to_the_file_and_not_to_where_one_stands(made: Path) -> None:
    nested = made / "nested"
    nested.mkdir()
    text = (made / "gw1.toml").read_text()
    for name in ("kek", "psk.toml", "pki/", "data/"):
        text = text.replace(f'"{name}', f'"../{name}')
    (nested / "gw1.toml").write_text(text)
    assert load_gateway(nested / "gw1.toml").cluster.kek_file == str(made / "kek")


def test_one_gateway_alone_needs_neither_etcd_nor_certificates(made: Path) -> None:
    alone = made / "alone.toml"
    alone.write_text(
        '[cluster]\nname = "alone"\nkek_file = "kek"\n[store]\nkind = "memory"\n'
        '[member]\nname = "gw1"\ndata_dir = "data/gw1"\n'
        '[ike]\nlisten = ["127.0.0.1:5001", "[::1]:5001"]\nidentity = "fqdn:a"\n'
        'psk_file = "psk.toml"\n'
    )
    config = load_gateway(alone)
    assert config.store.kind == "memory"
    assert config.member.rpc_listen == ""


WITHOUT_ETCD3 = """
import sys
sys.modules["etcd3"] = None  # Python's way of saying: not installed
from node.config import load_gateway
from node.toml_strict import ConfigError
try:
    load_gateway(sys.argv[1])
except ConfigError as error:
    print(error)
"""


def test_an_extra_that_is_not_installed_is_one_line_with_the_fix(made: Path) -> None:
    chosen = made / "chosen.toml"
    chosen.write_text((made / "gw1.toml").read_text().replace('kind = "etcd"', 'kind = "etcd3"'))
    assert load_gateway(chosen).store.kind == "etcd3"
    said = subprocess.run(
        [sys.executable, "-c", WITHOUT_ETCD3, str(chosen)],
        capture_output=True,
        text=True,
        check=True,
    )
    fix = "needs the etcd3 package: pip install 'standfast[etcd3]'"
    assert said.stdout == f'{chosen}: store.kind: "etcd3" → {fix}\n'


def test_etcd_far_away_is_not_reached_in_plain_text(made: Path) -> None:
    text = (made / "gw1.toml").read_text()
    plain = text.replace('"127.0.0.1:2379"]', '"192.0.2.1:2379"]')
    for key in ("ca", "cert", "key"):
        plain = plain.replace(f"\n{key}_file", f"\n# {key}_file")
    certificates = "".join(
        f'{key} = "pki/{file}"\n'
        for key, file in (("ca_file", "ca.crt"), ("cert_file", "gw1.crt"), ("key_file", "gw1.key"))
    )
    (made / "far.toml").write_text(plain.replace("mirrors = 1", f"mirrors = 1\n{certificates}"))
    with pytest.raises(ConfigError, match=r"store.ca_file: missing → certificates, to reach 192"):
        load_gateway(made / "far.toml")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"a = ", "not TOML: "),
        (b"\xff\xfe", "not UTF-8 → TOML"),
        (b"#" * (FILE_OCTETS_MAX + 1), "too large → at most"),
    ],
)
def test_what_is_no_toml_is_one_line(tmp_path: Path, content: bytes, line: str) -> None:
    (tmp_path / "x.toml").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_gateway(tmp_path / "x.toml")
    assert str(caught.value).startswith(f"{tmp_path}/x.toml: {line}")
    assert len(caught.value.problems) == 1


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file or directory → a readable file"):
        load_client(tmp_path / "none.toml")


def secret_file(folder: Path, content: str, mode: int = 0o600) -> str:
    path = folder / "secret"
    path.write_text(content)
    path.chmod(mode)
    return str(path)


def test_pre_shared_keys_are_read_in_order(tmp_path: Path) -> None:
    path = secret_file(
        tmp_path,
        '[[psk]]\nidentity = "rfc822:*@example.com"\nsecret_hex = "00ff"\n'
        '[[psk]]\nidentity = "rfc822:bob@example.com"\nsecret = "büb"\n',
    )
    psks = load_psks(path)
    assert psks == (
        ("rfc822:*@example.com", Secret(b"\x00\xff")),
        ("rfc822:bob@example.com", Secret("büb".encode())),
    )
    assert find_psk(psks, "rfc822:alice@example.com") == Secret(b"\x00\xff")
    assert find_psk(psks, "rfc822:bob@example.com") == Secret("büb".encode())
    assert find_psk(psks, "rfc822:alice@example.org") is None
    assert find_psk(psks, "fqdn:alice@example.com") is None


def test_an_identity_is_found_however_it_was_written(tmp_path: Path) -> None:
    written = ("ipv6:2001:DB8:0::1", "key_id:0x6b6579", "key_id:0x00ff", "ipv4:192.0.2.*")
    path = secret_file(
        tmp_path, "".join(f'[[psk]]\nidentity = "{one}"\nsecret = "{one}"\n' for one in written)
    )
    psks = load_psks(path)
    sent = (
        (5, bytes.fromhex("20010db8000000000000000000000001")),
        (11, b"key"),
        (11, b"\x00\xff"),
        (1, b"\xc0\x00\x02\x07"),
    )
    for one, identity in zip(written, sent, strict=True):
        assert find_psk(psks, format_identity(identity)) == Secret(one.encode())


def test_only_a_star_is_special_in_a_pattern() -> None:
    key = Secret(b"k")
    assert find_psk((("fqdn:[ab]?*", key),), "fqdn:[ab]?x") == key
    assert find_psk((("fqdn:[ab]?*", key),), "fqdn:abx") is None
    assert find_psk((("fqdn:?", key),), "fqdn:x") is None
    assert find_psk((("*", key),), "ipv4:192.0.2.1") == key


CANARY = "CANARY-of-a-key"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("", "psk: missing → 1 to"),
        (f'psk = "{CANARY}"', "psk: missing → 1 to"),
        (f"[[psk]]\nsecret = '{CANARY}'", "psk 1.identity: missing → fqdn:NAME"),
        (f"[[psk]]\nidentity = 'x'\nsecret = '{CANARY}'", 'psk 1.identity: "x" → fqdn:NAME'),
        ("[[psk]]\nidentity = 'fqdn:x'", "psk 1: neither → either secret or secret_hex"),
        (
            f"[[psk]]\nidentity = 'fqdn:x'\nsecret = '{CANARY}'\nsecret_hex = '00'",
            "psk 1: both secret and secret_hex → either",
        ),
        (f"[[psk]]\nidentity = 'fqdn:x'\nsecret_hex = '{CANARY}'", "psk 1.secret_hex: not hex"),
        (f"[[psk]]\nidentity = 'fqdn:x'\nsecret = ['{CANARY}']", "psk 1: not a table of texts"),
        (f"[[psk]]\nidentity = 'fqdn:x'\nsecrt = '{CANARY}'", "psk 1.secrt: unknown key → did you"),
        ("[keys]", "keys: unknown key → [[psk]] tables only"),
        ("[[psk]]\n" * (PSKS_MAX + 1), "psk: missing → 1 to"),
    ],
)
def test_a_mistake_in_the_keys_is_one_line_that_shows_no_key(
    tmp_path: Path, content: str, line: str
) -> None:
    path = secret_file(tmp_path, content)
    with pytest.raises(ConfigError) as caught:
        load_psks(path)
    assert any(one.startswith(f"{path}: {line}") for one in caught.value.problems), str(caught)
    assert CANARY not in str(caught.value)


def test_secret_files_of_others_are_refused(tmp_path: Path) -> None:
    for mode in (0o640, 0o604, 0o620):
        path = secret_file(tmp_path, "00" * 32, mode)
        with pytest.raises(ConfigError, match=rf"has mode {mode:04o} → mode 0600 \(chmod 600"):
            load_kek(path)
        with pytest.raises(ConfigError, match="mode 0600"):
            load_psks(path)


def test_the_kek_is_32_octets_of_hex(tmp_path: Path) -> None:
    assert load_kek(secret_file(tmp_path, "0A" * 32 + "\n")) == Secret(b"\n" * 32)
    for wrong in ("", "0a" * 31, "0a" * 33, "zz" * 32, CANARY):
        path = secret_file(tmp_path, wrong)
        with pytest.raises(ConfigError) as caught:
            load_kek(path)
        assert str(caught.value) == f"{path}: not a key → 32 octets as 64 hex digits"


@pytest.mark.parametrize(
    ("text", "identity"),
    [
        ("fqdn:vpn.example.com", (2, b"vpn.example.com")),
        ("rfc822:a@b", (3, b"a@b")),
        ("ipv4:192.0.2.1", (1, b"\xc0\x00\x02\x01")),
        ("ipv6:2001:db8::1", (5, bytes.fromhex("20010db8000000000000000000000001"))),
        ("key_id:any thing", (11, b"any thing")),
        ("key_id:0x00ff", (11, b"\x00\xff")),
    ],
)
def test_identities(text: str, identity: tuple[int, bytes]) -> None:
    assert parse_identity(text) == identity
    assert parse_identity(format_identity(identity)) == identity


@pytest.mark.parametrize(
    "text",
    ["", "fqdn", "fqdn:", "x:y", "ipv4:1.2.3", "ipv4:::1", "rfc822:x", "fqdn:a b", "fqdn:a@b"],
)
def test_what_is_no_identity(text: str) -> None:
    with pytest.raises(ValueError, match=r"^fqdn:NAME, rfc822:USER@DOMAIN"):
        parse_identity(text)


def test_an_identity_from_a_peer_can_always_be_shown() -> None:
    assert format_identity((2, b"\x00\n")) == "fqdn:0x000a"
    assert format_identity((8, b"rng")) == "type8:rng"
    assert format_identity((9, b"der")) == "dn:0x646572"
    assert format_identity((1, b"abc")) == "ipv4:abc"
    assert format_identity((11, b"0x41")) == "key_id:0x30783431"


def test_addresses() -> None:
    for text in ("127.0.0.1:500", "[::1]:4500", "[2001:db8::1]:0"):
        assert format_address(parse_address(text)) == text
    wrong = ("", ":500", "127.0.0.1", "127.0.0.1:", "::1:500", "[::1]", "1.2.3:4", "1.2.3.4:65536")
    for text in (*wrong, "1.2.3.4:-1", "[1.2.3.4]:5", "localhost:500"):
        with pytest.raises(ValueError, match=r"^ADDRESS:PORT, such as"):
            parse_address(text)
