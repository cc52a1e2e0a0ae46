"""node.eap.users: the file of names and passwords."""

from pathlib import Path

import pytest

from node.eap.mschapv2.crypto import nt_password_hash
from node.eap.users import USERS_MAX, load_users
from node.toml_strict import ConfigError

HASH = nt_password_hash("clientPass")
GOOD = f"""
[[eap_user]]
identity = "carol@example.com"
password = "Grüße"

[[eap_user]]
identity = 'OFFICE\\dave'
nt_hash = "{HASH.octets.hex().upper()}"

[[eap_user]]
identity = "dave"
password = "other"
"""


def written(folder: Path, text: str, mode: int = 0o600) -> str:
    file = folder / "users.toml"
    file.write_text(text)
    file.chmod(mode)
    return str(file)


def test_users_are_found_by_name(tmp_path: Path) -> None:
    users = load_users(written(tmp_path, GOOD))
    assert len(users) == 3
    carol = users.find("carol@example.com")
    assert carol is not None
    assert carol.nt_hash == nt_password_hash("Grüße")
    assert users.find("Carol@example.com") is None
    assert users.find("") is None


def test_a_domain_is_looked_at_first_and_left_out_then(tmp_path: Path) -> None:
    users = load_users(written(tmp_path, GOOD))
    office, plain, elsewhere = (
        users.find(name) for name in ("OFFICE\\dave", "dave", "ELSEWHERE\\dave")
    )
    assert office is not None
    assert office.nt_hash == HASH
    assert plain is not None
    assert plain == elsewhere
    assert plain.nt_hash != HASH


def problems(folder: Path, text: str, mode: int = 0o600) -> str:
    with pytest.raises(ConfigError) as caught:
        load_users(written(folder, text, mode))
    assert "geheim" not in str(caught.value)
    return str(caught.value).replace(str(folder), "")


A, GEHEIM = 'identity = "a"', 'password = "geheim"'


def one(*lines: str) -> str:
    return "\n".join(("[[eap_user]]", *lines, ""))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "eap_user: missing → 1 to 10000 [[eap_user]] tables with identity and password"),
        ("[user]\n", "user: unknown key → [[eap_user]] tables only"),
        ("eap_user = 3", "eap_user: missing →"),
        (one(A), "eap_user 1: neither → either password or nt_hash, not empty"),
        (one(GEHEIM), "eap_user 1.identity: missing → a printable text of 1 to 253"),
        (one(A, GEHEIM, 'nt_hash = "00"'), "both password and nt_hash"),
        (one(A, 'nt_hash = "geheim"'), "nt_hash: not a hash (not shown) → 32 hex"),
        (one(A, 'nt_hash = "0011"'), "nt_hash: not a hash (not shown) → 32 hex"),
        (one(A, f'password = "{"x" * 257}"'), "password: too long (not shown)"),
        (one(A, "password = 12"), "eap_user 1: not a table of texts"),
        (one('identity = "a\\nb"', GEHEIM), 'eap_user 1.identity: "a\\nb" → a print'),
        (one(f'identity = "{"x" * 254}"', GEHEIM), "identity:"),
        (one(A, GEHEIM) + one(A, GEHEIM), "once"),
        (one(A, GEHEIM, 'pass_word = "geheim"'), "did you mean password?"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(tmp_path: Path, text: str, problem: str) -> None:
    assert problem in problems(tmp_path, text)


def test_a_file_that_others_read_is_refused(tmp_path: Path) -> None:
    assert "mode 0640 → mode 0600" in problems(tmp_path, GOOD, 0o640)


def test_users_have_a_bound(tmp_path: Path) -> None:
    table = '[[eap_user]]\nidentity = "u{}"\npassword = "p"\n'
    text = "".join(map(table.format, range(USERS_MAX + 1)))
    assert "1 to 10000" in problems(tmp_path, text)
