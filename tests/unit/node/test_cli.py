"""node.cli: the real command against real files and a real member; output, exit codes, one line."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import msgspec
import pytest

from cluster.vault import Kek
from node.admin import AdminService, add_admin
from node.admin_client import load_credentials
from node.cli import main
from node.cli.output import Output, print_json, print_table, when
from node.config import load_gateway
from node.supervisor import Supervisor
from proto.secret import Secret
from tests.unit.node.test_admin import FakeView, session

STANDFAST = Path(sys.executable).with_name("standfast")


def run(*arguments: object) -> int:
    """The command in this process; its exit code."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:
        return int(end.code or 0)


BASE_PORT = 20_000 + os.getpid() % 100 * 100
"""Test runs on one machine at a time keep out of each other's way."""


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert run("init", tmp_path / "c", "--base-port", BASE_PORT) == 0
    capsys.readouterr()
    return tmp_path / "c"


@pytest.mark.parametrize(
    "command",
    [
        (),
        ("init",),
        ("config", "check"),
        ("gateway",),
        ("client",),
        ("status",),
        ("sessions", "list"),
        ("sessions", "show"),
        ("sessions", "terminate"),
        ("sessions", "redirect"),
        ("shards", "list"),
        ("shards", "move"),
        ("pools",),
        ("keys", "list"),
        ("keys", "rotate"),
        ("keys", "cancel"),
        ("keys", "revoke"),
        ("keys", "rewrap"),
        ("drill", "run"),
    ],
)
def test_every_command_has_help(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*command, "--help") == 0
    out, err = capsys.readouterr()
    assert out.split("\n")[0].startswith("Usage: ")
    assert " ".join(command) in out.split("\n")[0]
    assert err == ""


def test_init_says_what_it_made_and_what_comes_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("init", tmp_path / "c", "--gateways", 2, "--name", "mine") == 0
    out = capsys.readouterr().out
    for line in (
        f"Made in {tmp_path}/c:",
        f"  etcd --config-file {tmp_path}/c/etcd.yml",
        f"  standfast gateway --config {tmp_path}/c/gw1.toml",
        f"  standfast gateway --config {tmp_path}/c/gw2.toml",
        f"  standfast client --config {tmp_path}/c/client.toml",
        f"  standfast status --config {tmp_path}/c/operator.toml",
    ):
        assert line in out.splitlines()
    assert not (tmp_path / "c" / "gw3.toml").exists()
    assert load_gateway(tmp_path / "c" / "gw2.toml").cluster.name == "mine"


def test_init_as_json_lists_the_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("init", tmp_path / "c", "-o", "json") == 0
    made = json.loads(capsys.readouterr().out)
    assert f"{tmp_path}/c/gw3.toml" in made["files"]
    assert all(Path(path).is_file() for path in made["files"])


def test_init_refuses_what_is_not_empty(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("init", folder) == 1
    out, err = capsys.readouterr()
    assert out == ""
    right = "an empty folder, or one that doesn't exist yet"
    assert err == f"standfast: {folder} is not empty → {right}\n"


def test_config_check_knows_every_kind(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, kind in (("gw1", "a gateway"), ("client", "a client"), ("operator", "an operator")):
        assert run("config", "check", folder / f"{name}.toml") == 0
        out = capsys.readouterr().out
        assert out == f"{folder}/{name}.toml: {kind}'s configuration, and it fits\n"
    assert run("config", "check", folder / "psk.toml") == 0
    assert capsys.readouterr().out == f"{folder}/psk.toml: pre-shared keys, and it fits\n"
    drill = Path("deploy/drills/kill-one.toml")
    assert run("config", "check", drill) == 0
    assert capsys.readouterr().out == f"{drill}: a drill, and it fits\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("x = 1\n", "nothing known here, only x → [cluster], [member] and [ike] for a gateway;"),
        ("[[fault]]\n", "missing → a drill needs it"),
        ("[[fault]]\nactoin = 1\n", "fault[0].actoin: unknown key → see deploy/drills/README.md"),
        ("[[psk]]\n", "has mode 0644 → mode 0600"),
    ],
)
def test_config_check_says_what_a_file_lacks_to_be_one(
    tmp_path: Path, text: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.toml"
    file.write_text(text)
    file.chmod(0o644)
    assert run("config", "check", file) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert line in err


def test_config_check_prints_each_problem(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = folder / "wrong.toml"
    text = (folder / "gw1.toml").read_text()
    wrong.write_text(text.replace("mirrors = 1", "mirors = 1").replace('"info"', '"loud"'))
    assert run("config", "check", wrong) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert sorted(err.splitlines()) == [
        f'standfast: {wrong}: log.level: "loud" → "debug", "info", "warning" or "error"',
        f"standfast: {wrong}: member.mirors: unknown key → did you mean mirrors?",
    ]
    assert run("config", "check", wrong, "-o", "json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is False
    assert len(found["problems"]) == 2


@pytest.mark.parametrize("command", ["gateway", "client"])
def test_a_bad_configuration_does_not_run(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.toml").write_text("[zzz]\n")
    assert run(command, "--config", tmp_path / "x.toml") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"standfast: {tmp_path}/x.toml: zzz: unknown key" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("status",), "standfast: whom to ask is missing → --config FILE"),
        (("status", "--config", "client.toml"), "a client's configuration → an operator's or a ga"),
        (("status", "--config", "operator.toml", "--cert", "x"), "--cert alone → --key too: a ce"),
        (("status", "--config", "operator.toml", "--key", "x"), "--key alone → --cert too: a cer"),
        (("status", "--config", "none.toml"), "no such file or directory → a readable file"),
        (("status", "--config", "operator.toml", "--address", "x"), "--address: x → ADDRESS:PORT"),
        (("sessions", "show", "zz", "--config", "operator.toml"), "SPI: zz → 16 hex digits"),
        (
            ("status", "--config", "operator.toml"),
            f"answers at 127.0.0.1:{BASE_PORT + 41} (connection refused)",
        ),
        (("gateway", "--config", "client.toml"), "a client's configuration → a gateway's confi"),
        (("client", "--config", "gw1.toml"), "a gateway's configuration → a client's configurat"),
        (("status", "-o", "yaml"), "Invalid value for '-o'"),
        (("frobnicate",), "No such command 'frobnicate'"),
    ],
)
def test_what_cannot_run_is_exit_code_2(
    folder: Path, arguments: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    placed = [folder / one if one.endswith(".toml") else one for one in arguments]
    assert run(*placed) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert line in err
    assert "Traceback" not in err


def test_a_data_directory_that_cannot_be_is_told_with_its_key(folder: Path) -> None:
    text = (folder / "gw1.toml").read_text().replace('data_dir = "data/gw1"', 'data_dir = "kek"')
    (folder / "no-folder.toml").write_text(text)
    asked = [STANDFAST, "gateway", "--config", folder / "no-folder.toml"]
    ended = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    right = "a folder that this gateway may make and write"
    line = f"standfast: member.data_dir: {folder}/kek: File exists → {right}\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", line)


class Served:
    """One member that serves administration with the sample's certificates, and the command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.view = FakeView("gw1", range(3))
        self.supervisor = Supervisor()
        self.member = load_gateway(folder / "gw1.toml").member
        files = (self.member.key_file, self.member.cert_file, self.member.ca_file)
        self.pem = [Path(file).read_bytes() for file in files]

    async def start(self) -> None:
        member = self.member
        self.server = grpc.aio.server()
        own = load_credentials(member.ca_file, member.cert_file, member.key_file)
        add_admin(self.server, AdminService(self.view, "sample", own, self.supervisor.spawn))
        key, certificate, authority = self.pem
        credentials = grpc.ssl_server_credentials(
            [(key, certificate)], authority, require_client_auth=True
        )
        self.server.add_secure_port(member.rpc_listen, credentials)
        await self.server.start()

    async def stop(self) -> None:
        await self.server.stop(None)
        await self.supervisor.stop()

    async def ask(self, *arguments: str, config: str = "operator.toml") -> tuple[int, str, str]:
        """Exit code, stdout and stderr of a real `standfast`."""
        process = await asyncio.create_subprocess_exec(
            STANDFAST,
            *arguments,
            env={"STANDFAST_CONFIG": str(self.folder / config)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()


@pytest.fixture
async def served(folder: Path) -> AsyncIterator[Served]:
    served = Served(folder)
    await served.start()
    yield served
    await served.stop()


async def test_status(served: Served) -> None:
    code, out, err = await served.ask("status")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert "shards     64, 1 without an owner" in lines
    assert "key ring   revision 7" in lines
    assert lines[-3].split()[:4] == ["MEMBER", "HOST", "STATE", "SHARDS"]
    assert lines[-2].split()[:4] == ["gw1", "host-1", "normal", "32"]
    assert "1.5 s ago" in lines[-1]
    code, out, _ = await served.ask("status", "-o", "json")
    assert code == 0
    found = json.loads(out)
    assert found["shards_owned"] == 63
    assert [member["name"] for member in found["members"]] == ["gw1", "gw2"]


async def test_sessions(served: Served) -> None:
    spi = session(1, "gw1").spi_r.hex()
    code, out, err = await served.ask("sessions", "list")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "3 sessions"
    assert spi in out
    code, out, _ = await served.ask("sessions", "show", spi, "-o", "json")
    assert json.loads(out)["spi_r"] == spi
    code, out, _ = await served.ask("sessions", "show", spi)
    assert "identity     rfc822:alice@example.com" in out.splitlines()
    code, out, _ = await served.ask("sessions", "terminate", spi)
    assert (code, out) == (0, f"{spi}: ended at gw1\n")
    code, out, err = await served.ask("sessions", "terminate", spi)
    assert (code, out, err) == (1, "", f"standfast: no session {spi}\n")
    code, out, _ = await served.ask("sessions", "list", "-o", "json")
    assert len(json.loads(out)["sessions"]) == 2


async def test_an_incomplete_list_says_so(served: Served) -> None:
    served.view.others = {"gw2": "127.0.0.1:1"}
    code, out, err = await served.ask("sessions", "list", "-o", "json")
    assert json.loads(out)["unreachable"] == ["gw2"]
    assert (code, err) == (1, "standfast: incomplete: gw2 did not answer\n")


async def test_keys(served: Served) -> None:
    code, out, _ = await served.ask("keys", "list")
    assert code == 0
    assert [line.split()[1:3] for line in out.splitlines()[1:3]] == [
        ["ticket", "sealing"],
        ["ticket", "announced"],
    ]
    served.view.go_on.set()
    code, out, _ = await served.ask("keys", "rotate")
    assert (code, out) == (0, "announced: key 0102\nactivated: key 0102\n")
    code, out, _ = await served.ask("keys", "rotate", "-o", "json")
    assert [json.loads(line)["line"] for line in out.splitlines()] == [
        "announced: key 0102",
        "activated: key 0102",
    ]


async def test_keys_are_changed_by_an_operators_word(served: Served, tmp_path: Path) -> None:
    served.view.go_on.set()
    code, out, _ = await served.ask("keys", "cancel")
    assert (code, out) == (0, "cancelled: key 0102030405060708\n")
    code, _, _ = await served.ask("keys", "rotate", "--force")
    assert code == 0
    code, out, err = await served.ask("keys", "revoke", "0A0B0C0D")
    assert (code, out) == (2, "")
    assert "full handshake → say --yes" in err
    code, out, _ = await served.ask("keys", "revoke", "0A0B0C0D", "--yes")
    assert (code, out) == (0, "revoked: key 0a0b0c0d\n")
    code, _, err = await served.ask("keys", "revoke", "0a", "--yes")
    assert (code, err) == (
        2,
        "standfast: KEY: 0a → its id as the list of keys shows it, 8 hex digits or more\n",
    )
    kek = tmp_path / "new"
    kek.write_text("7f" * 32)
    kek.chmod(0o600)
    code, _, _ = await served.ask("keys", "rewrap", "--new-kek", kek)
    assert code == 0
    kek.chmod(0o644)
    code, _, err = await served.ask("keys", "rewrap", "--new-kek", kek)
    assert code == 2
    assert "mode 0644" in err
    kek_id = Kek(Secret(b"\x7f" * 32)).kek_id
    assert served.view.asked == [
        ("cancel",),
        ("rotate", True),
        ("revoke", "0a0b0c0d"),
        ("rewrap", kek_id),
    ]


async def test_a_revocation_says_whom_it_hits(served: Served) -> None:
    chain = session(1, "gw1").chain.hex()
    code, out, _ = await served.ask("revoke", "session", chain)
    assert (code, out) == (0, "revoked: 0102\nlive sessions that end: 1\n")
    nobody = "ff" * 16
    code, out, err = await served.ask("revoke", "session", nobody)
    assert (code, out) == (1, "revoked: 0102\nlive sessions that end: 0\n")
    assert err == (
        f"standfast: no session of chain {nobody}: nothing is void by that but what may come yet\n"
    )
    served.view.others = {"gw2": "127.0.0.1:1"}
    code, out, err = await served.ask("revoke", "session", nobody, "-o", "json")
    assert code == 1
    assert json.loads(out) == {
        "revocation": "0102",
        "sessions": 0,
        "found": False,
        "unreachable": ["gw2"],
    }
    assert f"no session of chain {nobody} (gw2 did not answer): nothing is void" in err
    before = len(served.view.asked)
    code, out, err = await served.ask("revoke", "session", "xyz")
    assert (code, out) == (2, "")
    assert err == (
        "standfast: CHAIN: xyz → 32 hex digits, as `standfast sessions show SPI` tells them\n"
    )
    code, out, _ = await served.ask("sessions", "show", session(1, "gw1").spi_r.hex())
    assert f"chain        {chain}" in out.splitlines()
    code, out, _ = await served.ask("sessions", "list", "-o", "json")
    assert chain in [one["chain"] for one in json.loads(out)["sessions"]]
    code, out, err = await served.ask("revoke", "identity", "rfc822:*@example.com")
    assert (code, out) == (2, "")
    assert err.startswith("standfast: ID: rfc822:*@example.com → one identity, letter by letter: ")
    assert len(served.view.asked) == before


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("identity", "rfc822:a@example.com"), "rfc822:a@example.com: every session that it has"),
        (("issued-before", "2020-01-01T00:00:00Z"), "every client's tickets issued before 2020-01"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
async def test_what_nothing_takes_back_is_asked_for_twice(
    served: Served, command: tuple[str, str], said: str
) -> None:
    code, out, err = await served.ask("revoke", *command)
    assert (code, out) == (2, "")
    assert err.startswith(f"standfast: {said}")
    assert err.endswith("nothing takes that back → say --yes if that is wanted\n")
    assert served.view.asked == []
    code, out, _ = await served.ask("revoke", *command, "--yes")
    assert code == 0
    assert out.startswith("revoked: 0102\n")
    assert len(served.view.asked) == 1


async def test_a_gateways_own_file_asks_about_that_gateway(served: Served) -> None:
    served.view.others = {"gw2": "127.0.0.1:1"}
    code, out, err = await served.ask("sessions", "list", config="gw1.toml")
    assert code == 0
    assert out.splitlines()[-1] == "3 sessions"
    assert "asking with gw1's own certificate" in err
    code, out, err = await served.ask("keys", "rotate", config="gw1.toml")
    assert (code, out) == (1, "")
    assert "an operator's certificate of sample is needed" in err
    assert served.view.rotations == 0


async def test_another_authoritys_member_is_told_from_nobody(
    served: Served, tmp_path: Path
) -> None:
    assert run("init", tmp_path / "other", "--base-port", 24000) == 0
    others = [str(tmp_path / "other" / "pki" / f"operator.{end}") for end in ("crt", "key")]
    code, out, err = await served.ask("status", "--cert", others[0], "--key", others[1])
    assert (code, out) == (2, "")
    assert f"{BASE_PORT + 41} (somebody listens, but certificates don't fit" in err
    assert f"{BASE_PORT + 42} (connection refused)" in err


async def test_who_listens_and_stands_still_is_not_taken_for_another_authoritys(
    served: Served,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as still:  # the kernel takes connections for it
        address = f"127.0.0.1:{still.getsockname()[1]}"
        code, out, err = await served.ask("status", "--address", address)
    assert (code, out) == (2, "")
    assert f"{address} (somebody listens and does not answer" in err
    assert "certificates" not in err


class Value(msgspec.Struct, frozen=True):
    octets: bytes
    inner: tuple[dict[str, bytes], ...]


def test_json_shows_octets_as_hex(capsys: pytest.CaptureFixture[str]) -> None:
    print_json(Value(b"\x01\xff", ({"a": b"\x02"},)))
    assert json.loads(capsys.readouterr().out) == {"octets": "01ff", "inner": [{"a": "02"}]}


def test_a_table_is_not_cut_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("A", "N"), [("x" * 150, 1), ("[red]y", 22)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].rstrip() == f"{'x' * 150}   1"
    assert lines[2].startswith("[red]y ")
    print_table(("IDENTITY",), [("fqdn:\x1b[2J\r\u202ex",)])
    assert "fqdn:\\x1b[2J\\r\\u202ex" in capsys.readouterr().out
    assert when(0) == ""
    assert when(1_800_000_000) == "2027-01-15 08:00:00Z"
    assert list(Output) == ["table", "json"]
