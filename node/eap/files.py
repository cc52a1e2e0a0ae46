"""Secrets on one line: what a RADIUS server shares with us, a client's password.

Rules: what is secret is readable by its owner alone; what is wrong is one line that names the file
and shows nothing of its content.
"""

from pathlib import Path

from node.eap.mschapv2.crypto import nt_password_hash
from node.toml_strict import ConfigError, file_problem, read_file
from proto.secret import Secret

LINE_OCTETS_MAX = 1024


def read_line(path: str) -> Secret:
    """The first line of a private file, without its end. Raises ConfigError."""
    line = _private(path).partition(b"\n")[0].rstrip(b"\r")
    if not 0 < len(line) <= LINE_OCTETS_MAX:
        raise ConfigError([f"{path}: no first line → a secret of 1 to {LINE_OCTETS_MAX} octets"])
    return Secret(line)


def read_password(path: str) -> Secret:
    """The hash of the password on the first line of a private file. Raises ConfigError."""
    try:
        return nt_password_hash(read_line(path).octets.decode())
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: not UTF-8 → a password, which is UTF-8 text"]) from None


def _private(path: str) -> bytes:
    wrong = file_problem(path, secret=True)
    if wrong is not None:
        raise ConfigError([f"{wrong[0]} → {wrong[1]}"])
    return read_file(Path(path))
