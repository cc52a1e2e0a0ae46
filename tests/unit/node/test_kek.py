"""node.kek: a key-encryption key from a file, a credential, a command; each mistake one line."""

import sys
from pathlib import Path

import msgspec
import pytest

from cluster.vault import Kek
from node.kek import CREDENTIALS, check_keks, read_keks
from node.sections import ClusterConfig
from node.toml_strict import ConfigError, Problems
from proto.secret import Secret

HEX = "5a" * 32
KEK = Kek(Secret(b"\x5a" * 32))
NEXT = Kek(Secret(b"\xa5" * 32))


def config(**sources: object) -> ClusterConfig:
    return msgspec.structs.replace(ClusterConfig(name="sample"), **sources)


def script(code: str) -> tuple[str, ...]:
    """A command without any shell: this interpreter."""
    return (sys.executable, "-c", code)


def key_file(path: Path, text: str = HEX, mode: int = 0o600) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def failure(found: ClusterConfig, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        read_keks(found, environ or {})
    (line,) = caught.value.problems
    assert HEX not in line
    return line


def noted(found: ClusterConfig, environ: dict[str, str] | None = None) -> list[str]:
    problems = Problems(Path("gw1.toml"))
    check_keks(found, problems, environ or {})
    return [line.removeprefix("gw1.toml: cluster.") for line in problems.lines]


def test_a_file(tmp_path: Path) -> None:
    found = config(kek_file=key_file(tmp_path / "kek"))
    assert read_keks(found).ids == (KEK.kek_id,)
    assert noted(found) == []


def test_a_systemd_credential(tmp_path: Path) -> None:
    service = {CREDENTIALS: str(tmp_path)}
    found = config(kek_credential="standfast.kek")
    assert "no such file" in failure(found, service)
    key_file(tmp_path / "standfast.kek", mode=0o400)
    assert read_keks(found, service).ids == (KEK.kek_id,)
    assert noted(found, service) == []


@pytest.mark.parametrize("name", ["../kek", "a/b", "", ".", "..", "a b"])
def test_a_credentials_name_leads_nowhere_else(name: str, tmp_path: Path) -> None:
    key_file(tmp_path / "kek")
    (tmp_path / "credentials").mkdir()
    service = {CREDENTIALS: str(tmp_path / "credentials")}
    wanted = "the name of a systemd credential" if name else "missing → one of"
    assert wanted in failure(config(kek_credential=name), service)


def test_a_credential_without_systemd() -> None:
    line = failure(config(kek_credential="kek"))
    assert line == (
        "cluster.kek_credential: kek: systemd gave no credentials (CREDENTIALS_DIRECTORY isn't set)"
        " → LoadCredential=kek:… in the service's unit"
    )


def test_a_command_is_run_without_a_shell_and_without_stdin() -> None:
    code = "import sys; assert sys.stdin.read() == ''; assert sys.argv[1] == '$HOME;x'; "
    found = config(kek_command=(*script(code + f"print('{HEX}')"), "$HOME;x"))
    assert read_keks(found).ids == (KEK.kek_id,)
    assert noted(found) == []


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (
            ("/nowhere/kek",),
            "/nowhere/kek: no such file or directory → 64 hex digits on its stdout",
        ),
        (("/",), "/: permission denied →"),
        (
            script("import sys; sys.exit('the vault is\\nlocked')"),
            "exit code 1 (the vault is locked) → 64",
        ),
        (script("import sys; sys.exit(3)"), "exit code 3 → 64 hex digits"),
        (script(f"print('{HEX}'[1:])"), "not a key → 32 octets as 64 hex digits"),
        (script("pass"), "not a key →"),
        (script("print(bytes(range(256)))"), "not a key →"),
    ],
)
def test_a_command_that_gives_no_key_is_one_line(command: tuple[str, ...], line: str) -> None:
    said = failure(config(kek_command=command))
    assert said.startswith("cluster.kek_command: ")
    assert line in said


def test_a_check_looks_a_command_up_and_does_not_run_it(tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    found = config(kek_command=script(f"open({str(trace)!r}, 'w')"))
    assert noted(found) == []
    assert not trace.exists()
    assert noted(config(kek_command=("/nowhere/kek",))) == [
        'kek_command: "/nowhere/kek": no such program → one that prints the key'
    ]


def test_the_next_key_may_come_later(tmp_path: Path) -> None:
    later = tmp_path / "next"
    found = config(kek_file=key_file(tmp_path / "kek"), kek_next_file=str(later))
    assert read_keks(found).ids == (KEK.kek_id,)
    assert noted(found) == []
    key_file(later, "a5" * 32)
    assert read_keks(found).ids == (KEK.kek_id, NEXT.kek_id)
    key_file(later, "a5" * 31)
    assert failure(found).startswith("cluster.kek_next_file: ")
    key_file(later, "a5" * 32, mode=0o644)
    assert "mode 0644" in failure(found)


def test_the_same_key_twice_is_one(tmp_path: Path) -> None:
    file = key_file(tmp_path / "kek")
    assert read_keks(config(kek_file=file, kek_next_file=file)).ids == (KEK.kek_id,)


def test_exactly_one_source_each(tmp_path: Path) -> None:
    file = key_file(tmp_path / "kek")
    every = "kek_file, kek_credential, kek_command"
    assert noted(config()) == [f"kek_file: missing → one of {every}"]
    assert noted(config(kek_file=file, kek_command=(sys.executable,))) == [
        f"kek_command: beside kek_file → only one of {every}"
    ]
    two = config(kek_file=file, kek_next_file=file, kek_next_command=(sys.executable,))
    assert noted(two) == [
        "kek_next_command: beside kek_next_file → only one of kek_next_file, "
        "kek_next_credential, kek_next_command"
    ]


def test_each_key_knows_where_it_is_from(tmp_path: Path) -> None:
    file = key_file(tmp_path / "kek")
    command = script(f"print('{'a5' * 32}')")
    one, two = read_keks(config(kek_file=file, kek_next_command=command))
    assert (one.source, two.source) == (f"kek_file {file}", f"kek_next_command {sys.executable}")
