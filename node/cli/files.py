"""`init` and `config check`: commands that only touch files."""

import shutil
from collections.abc import Collection
from pathlib import Path

from cluster.drill.plan import decode_drill
from node.certificates import client_problems, gateway_problems, operator_problems
from node.cli.failure import ExitCode, Failed
from node.cli.output import Output, print_json
from node.config import load_client, load_gateway, load_operator
from node.identity import load_psks
from node.sample import InitError, Ports, Sample, ports_from, write_sample
from node.seams import OsClock, OsRng
from node.sections import ClientConfig, GatewayConfig, OperatorConfig
from node.toml_strict import ConfigError, read_file, read_toml

KINDS = {
    "gateway": "a gateway's configuration",
    "client": "a client's configuration",
    "operator": "an operator's configuration",
    "psk": "pre-shared keys",
    "drill": "a drill",
}
"""What a file may be, and what it is called."""
MARKS = {"operator": "operator", "client": "client", "psk": "psk", "fault": "drill"}
"""A table that only one kind of file has; a gateway's have none of them."""
GATEWAY_TABLES = ("cluster", "member", "ike")


def init_sample(folder: Path, gateways: int, name: str, base_port: int, output: Output) -> int:
    """Make a sample cluster and say what was made and what comes next."""
    try:
        ports = ports_from(base_port) if base_port else Ports()
        sample = Sample(name, gateways, ports)
        made = write_sample(folder, sample, OsRng(), OsClock().wall_s())
    except InitError as error:
        raise Failed(ExitCode.REFUSED, [str(error)]) from None
    except OSError as error:
        raise Failed(ExitCode.COULD_NOT_RUN, [f"{error.filename}: {error.strerror}"]) from None
    root = folder.absolute()
    if output is Output.JSON:
        print_json({"folder": str(root), "files": [str(path) for path in made]})
        return ExitCode.DONE
    print(f"Made in {root}:")
    print(f"  gw1.toml{f' to gw{gateways}.toml' if gateways > 1 else ''}  one file per gateway")
    print("  client.toml, operator.toml  for a client, and for the commands below")
    print("  kek, psk.toml, client-psk.toml  secrets (mode 0600): who holds them is in")
    print("  pki/  authority and certificates; move pki/ca.key away from a real cluster")
    print("  etcd.yml  one etcd for trying out; a real cluster has three")
    print("Next, each in a terminal of its own:")
    if shutil.which("etcd") is None:
        print("  (no etcd on PATH: in a clone, $(python tools/get_etcd.py) instead of etcd)")
    print(f"  etcd --config-file {root}/etcd.yml")
    for number in range(1, gateways + 1):
        print(f"  standfast gateway --config {root}/gw{number}.toml")
    print(f"  standfast client --config {root}/client.toml")
    print(f"  standfast status --config {root}/operator.toml")
    return ExitCode.DONE


def check_config(file: Path, output: Output) -> int:
    """Load the file as what it is; print each problem."""
    problems: tuple[str, ...] = ()
    kind = "gateway"
    try:
        kind = kind_of(file)
        _check(file, kind)
    except ConfigError as error:
        problems = error.problems
    except OSError as error:
        problems = (f"{error.filename}: {error.strerror}",)
    if output is Output.JSON:
        print_json({"file": str(file), "kind": kind, "ok": not problems, "problems": problems})
    elif problems:
        raise Failed(ExitCode.REFUSED, problems)
    else:
        print(f"{file}: {KINDS[kind]}, and it fits")
    return ExitCode.REFUSED if problems else ExitCode.DONE


def kind_of(file: Path) -> str:
    """What a file is (one of KINDS), told by its tables. Raises ConfigError."""
    tables = read_toml(file)
    kinds = _kinds_in(tables)
    if tables and not kinds:
        found = ", ".join(list(tables)[:3])
        right = "[cluster], [member] and [ike] for a gateway; [client]; [operator]"
        raise ConfigError([f"{file}: nothing known here, only {found} → {right}"])
    return kinds[0] if kinds else "gateway"


def problems_as(kind: str, file: Path, error: ConfigError) -> tuple[str, ...]:
    """What is wrong with `file` as one of `kind`: a single line, if it is of another kind."""
    try:
        kinds = _kinds_in(read_toml(file))
    except ConfigError:
        return error.problems
    if not kinds or kind in kinds:
        return error.problems
    return (f"{file}: {KINDS[kinds[0]]} → {KINDS[kind]}",)


def _kinds_in(tables: Collection[str]) -> list[str]:
    """Which of KINDS these tables are of; a gateway's last, for others have some of them too."""
    kinds = [kind for table, kind in MARKS.items() if table in tables]
    return [*kinds, "gateway"] if any(table in tables for table in GATEWAY_TABLES) else kinds


def gateway_config(file: Path) -> GatewayConfig:
    """A gateway's configuration whose certificates fit it, too. Raises ConfigError, OSError."""
    config = load_gateway(file)
    if problems := gateway_problems(file, config, OsClock().wall_s()):
        raise ConfigError(problems)
    return config


def client_config(file: Path) -> ClientConfig:
    """A client's configuration whose certificates fit it. Raises ConfigError."""
    config = load_client(file)
    if problems := client_problems(file, config, OsClock().wall_s()):
        raise ConfigError(problems)
    return config


def operator_config(file: Path) -> OperatorConfig:
    """An operator's configuration whose certificate fits it. Raises ConfigError, OSError."""
    config = load_operator(file)
    if problems := operator_problems(file, config, OsClock().wall_s()):
        raise ConfigError(problems)
    return config


def _check(file: Path, kind: str) -> None:
    """Load the file as what it is. Raises ConfigError, OSError."""
    if kind == "gateway":
        gateway_config(file)
    elif kind == "client":
        client_config(file)
    elif kind == "operator":
        operator_config(file)
    elif kind == "psk":
        load_psks(str(file))
    else:
        try:
            decode_drill(read_file(file).decode(), str(file))
        except ValueError as error:
            raise ConfigError([str(error)]) from None
