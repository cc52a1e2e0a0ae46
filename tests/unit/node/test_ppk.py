"""The file of PPKs, and where its entries go: a gateway's credentials, a client's peer."""

from pathlib import Path

import pytest

from node.config import load_client, load_gateway
from node.connections import core_connections
from node.credentials import PskTable
from node.peer import peer_of
from node.ppk import PPKS_MAX, load_ppks
from node.sample import Sample, write_sample
from node.seams import OsClock, OsRng
from node.settings import endpoint_settings
from node.toml_strict import ConfigError
from proto.ike.enums import IdType, PayloadType
from proto.ike.payloads import IdPayload
from proto.ike.ppk import Ppk
from proto.secret import Secret

CANARY = "CANARY of a PPK that has more than 32 octets"
ALICE = IdPayload(PayloadType.IDi, IdType.ID_RFC822_ADDR, b"alice@example.com")
BOB = IdPayload(PayloadType.IDi, IdType.ID_RFC822_ADDR, b"bob@example.com")
ONE = f'[[ppk]]\nid = "one"\nidentity = "rfc822:alice@*"\nsecret = "{CANARY}"\n'
TWO = f'{ONE}[[ppk]]\nid = "two"\ntype = "opaque"\nsecret_hex = "{"0f" * 32}"\n'


def file_of(folder: Path, content: str, mode: int = 0o600) -> str:
    """A file of PPKs."""
    path = folder / "ppk.toml"
    path.write_text(content)
    path.chmod(mode)
    return str(path)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A sample's files, with PPKs beside them."""
    write_sample(tmp_path, Sample(), OsRng(), OsClock().wall_s())
    file_of(tmp_path, TWO)
    return tmp_path


def test_a_ppk_is_found_by_its_id_for_whom_it_is_for(tmp_path: Path) -> None:
    ppks = load_ppks(file_of(tmp_path, TWO))
    credentials = PskTable((), ppks)
    assert credentials.ppk(b"\x02one", ALICE) == Secret(CANARY.encode())
    assert credentials.ppk(b"\x02one", BOB) is None
    assert credentials.ppk(b"\x01one", ALICE) is None  # of another type
    assert credentials.ppk(b"\x01two", BOB) == Secret(b"\x0f" * 32)
    for unknown in (b"", b"\x02", b"\x02three", b"\x80two"):
        assert credentials.ppk(unknown, ALICE) is None
    assert credentials.expects_ppk(BOB)
    only_alices = PskTable((), load_ppks(file_of(tmp_path, ONE)))
    assert not only_alices.expects_ppk(BOB)
    assert ppks.first("rfc822:alice@example.com") == Ppk(b"\x02one", Secret(CANARY.encode()))


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("", "ppk: missing → 1 to"),
        ("[[psk]]", "psk: unknown key → [[ppk]] tables only"),
        ("[[ppk]]\n" * (PPKS_MAX + 1), "ppk: missing → 1 to"),
        (f"[[ppk]]\nsecret = '{CANARY}'", "ppk 1.id: missing → a text"),
        (f"[[ppk]]\nid = ''\nsecret = '{CANARY}'", 'ppk 1.id: "" → a text'),
        (f"[[ppk]]\nid = 'x'\ntype = 'y'\nsecret = '{CANARY}'", 'ppk 1.type: "y" → "fixed" or'),
        (f"[[ppk]]\nid = 'x'\nidentity = 'y'\nsecret = '{CANARY}'", "ppk 1.identity: "),
        ("[[ppk]]\nid = 'x'", "ppk 1: a secret (not shown) → either secret or secret_hex"),
        ("[[ppk]]\nid = 'x'\nsecret = 'short'", "ppk 1: a secret (not shown) → either"),
        (f"[[ppk]]\nid = 'x'\nsecret_hex = '{CANARY}'", "ppk 1: a secret (not shown) → either"),
        (f"[[ppk]]\nid = 'x'\nsecret = ['{CANARY}']", "ppk 1: not a table of texts"),
        (f"[[ppk]]\nid = 'x'\nsecret = '{CANARY}'\n" * 2, 'ppk 2.id: "x" → an id once'),
    ],
)
def test_a_mistake_is_one_line_that_shows_no_ppk(tmp_path: Path, content: str, line: str) -> None:
    path = file_of(tmp_path, content)
    with pytest.raises(ConfigError) as caught:
        load_ppks(path)
    assert any(one.startswith(f"{path}: {line}") for one in caught.value.problems), str(caught)
    assert "CANARY" not in str(caught.value)


def test_a_file_that_others_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mode 0600"):
        load_ppks(file_of(tmp_path, TWO, 0o640))


def gateway(made: Path, *lines: str, table: str = "") -> Path:
    """The sample's first gateway with these lines in [ike]."""
    file = made / "changed.toml"
    text = (made / "gw1.toml").read_text()
    file.write_text(text.replace("[ike]\n", "[ike]\n" + "\n".join(lines) + "\n") + table)
    return file


TABLE = '[[connection]]\nname = "office"\nidentity = ["*"]\n'


def test_a_gateways_file_says_who_needs_one(made: Path) -> None:
    table = TABLE + "ppk_required = true\n"
    config = load_gateway(gateway(made, 'ppk_file = "ppk.toml"', table=table))
    settings = endpoint_settings(config, 0, lambda identity: identity, ())
    assert settings.use_ppk
    assert [one.ppk_required for one in settings.connections] == [True, False]
    lines = ('ppk_file = "ppk.toml"', "ppk_required = true")
    config = load_gateway(gateway(made, *lines, table=TABLE))
    required = [one.ppk_required for one in core_connections(config, lambda identity: identity)]
    assert required == [True, True]
    config = load_gateway(made / "gw1.toml")
    assert not endpoint_settings(config, 0, lambda identity: identity, ()).use_ppk


@pytest.mark.parametrize(
    ("line", "table", "said"),
    [
        ("ppk_required = true", "", "ike.ppk_file: missing → the name of a file with PPKs"),
        ('ppk_file = "none.toml"', "", "ike.ppk_file: none.toml: no such file"),
        (
            "",
            TABLE + "ppk_required = true\n",
            "connection[1].ppk_required: true → needs ike.ppk",
        ),
    ],
)
def test_a_gateways_mistake_is_one_line(made: Path, line: str, table: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_gateway(gateway(made, line, table=table))
    assert said in str(caught.value).replace(str(made) + "/", "")


def test_a_client_takes_the_first_one_for_its_gateways(made: Path) -> None:
    file = made / "changed.toml"
    text = (made / "client.toml").read_text()
    lines = '[client]\nppk_file = "ppk.toml"\nppk_required = true\n'
    file.write_text(text.replace("[client]\n", lines))
    section = load_client(file).client
    psks = PskTable((("*", Secret(b"psk")),))
    peer = peer_of(section, psks)
    assert peer.ppk == Ppk(b"\x01two", Secret(b"\x0f" * 32))
    assert peer.ppk_required
    file_of(made, ONE)
    with pytest.raises(ConfigError, match=r"no PPK for fqdn:vpn\.example\.com → add a"):
        peer_of(load_client(file).client, psks)
    file.write_text(text.replace("[client]\n", "[client]\nppk_required = true\n"))
    with pytest.raises(ConfigError, match=r"client\.ppk_file: missing"):
        load_client(file)
