"""Where a gateway gets its key-encryption keys from: a file, a systemd credential or a command.

Rules: exactly one source for the key in use, at most one for the next, to which the cluster is
being changed (`standfast keys rewrap`). A next key whose file isn't there yet is no error. What is
wrong is one line, and never shows what might be a key. A command is run without a shell, with
nothing on its stdin and within `COMMAND_TIMEOUT_S`.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from typing import Protocol

import msgspec

from cluster.vault import Kek, Keks
from node.identity import load_kek, parse_kek
from node.toml_strict import ConfigError, Problems, show
from proto.secret import Secret

COMMAND_TIMEOUT_S = 10.0
"""How long a command that prints a key may take: asking a key service or a TPM takes a second."""
WORDS_SHOWN_MAX = 80
"""How much of a failed command's complaint is shown."""
CREDENTIALS = "CREDENTIALS_DIRECTORY"
"""Where systemd puts a service's credentials (systemd.exec, LoadCredential=)."""
Environ = Mapping[str, str]
KINDS = ("file", "credential", "command")


class KekConfig(Protocol):
    """The keys of `[cluster]` that name sources; empty: not this one."""

    @property
    def kek_file(self) -> str: ...
    @property
    def kek_credential(self) -> str: ...
    @property
    def kek_command(self) -> tuple[str, ...]: ...
    @property
    def kek_next_file(self) -> str: ...
    @property
    def kek_next_credential(self) -> str: ...
    @property
    def kek_next_command(self) -> tuple[str, ...]: ...


class KekSource(msgspec.Struct, frozen=True):
    """One of them that is set."""

    key: str
    """Its name in the file."""
    kind: str
    value: str | tuple[str, ...]
    optional: bool

    @property
    def shown(self) -> str:
        """What it names: a path, a credential, or a program without its arguments."""
        return self.value if isinstance(self.value, str) else self.value[0]


def kek_sources(config: KekConfig) -> tuple[KekSource, ...]:
    """What is set, the key in use first."""
    found = []
    for prefix in ("kek_", "kek_next_"):
        for kind in KINDS:
            value = getattr(config, prefix + kind)
            if value:
                found.append(KekSource(prefix + kind, kind, value, prefix == "kek_next_"))
    return tuple(found)


def check_keks(config: KekConfig, problems: Problems, environ: Environ = os.environ) -> None:
    """Note what is wrong with the sources; commands are looked up and not run."""
    sources = kek_sources(config)
    for prefix, optional in (("kek_", False), ("kek_next_", True)):
        keys = [source.key for source in sources if source.optional is optional]
        every = ", ".join(prefix + kind for kind in KINDS)
        if len(keys) > 1:
            problems.add(f"cluster.{keys[1]}", f"beside {keys[0]}", f"only one of {every}")
        elif not keys and not optional:
            problems.add("cluster.kek_file", "missing", f"one of {every}")
    for source in sources:
        try:
            if source.kind == "command":
                _check_program(source)
            else:
                _read(source, environ)
        except ConfigError as error:
            problems.lines += [
                f"{problems.path}: cluster.{source.key}: {line}" for line in error.problems
            ]


def read_keks(config: KekConfig, environ: Environ = os.environ) -> Keks:
    """The key-encryption keys, read now; a command may take its time. Raises ConfigError."""
    found: list[Kek] = []
    for source in kek_sources(config):
        try:
            secret = _read(source, environ)
        except ConfigError as error:
            lines = [f"cluster.{source.key}: {line}" for line in error.problems]
            raise ConfigError(lines) from None
        if secret is not None:
            found.append(Kek(secret, f"{source.key} {source.shown}"))
    if not found:
        raise ConfigError([f"cluster.kek_file: missing → one of {', '.join(KINDS)}"])
    return Keks(found)


def _read(source: KekSource, environ: Environ) -> Secret | None:
    """None: the next key isn't there yet."""
    if not isinstance(source.value, str):
        return _run(source.value)
    path = source.value if source.kind == "file" else _credential(source.value, environ)
    if source.optional and not os.path.exists(path):
        return None
    return load_kek(path)


def _credential(name: str, environ: Environ) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", name):
        raise ConfigError([f"{show(name)} → the name of a systemd credential"])
    folder = environ.get(CREDENTIALS)
    if not folder:
        right = f"LoadCredential={name}:… in the service's unit"
        raise ConfigError(
            [f"{name}: systemd gave no credentials ({CREDENTIALS} isn't set) → {right}"]
        )
    return os.path.join(folder, name)


def _check_program(source: KekSource) -> None:
    if shutil.which(source.value[0]) is None:
        raise ConfigError([f"{show(source.value[0])}: no such program → one that prints the key"])


def _run(command: tuple[str, ...]) -> Secret:
    name = command[0]
    right = f"64 hex digits on its stdout within {COMMAND_TIMEOUT_S:g} s"
    try:
        done = subprocess.run(  # noqa: S603  the operator's own command, without a shell
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ConfigError([f"{name}: took too long → {right}"]) from None
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise ConfigError([f"{name}: {reason} → {right}"]) from None
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split())[:WORDS_SHOWN_MAX]
        why = f"exit code {done.returncode}" + (f" ({said})" if said else "")
        raise ConfigError([f"{name}: {why} → {right}"])
    return parse_kek(done.stdout, f"what {name} printed")
