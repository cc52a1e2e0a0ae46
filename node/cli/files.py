"""`init` and `config check`: commands that only touch files."""

from pathlib import Path

from node.cli.failure import ExitCode, Failed
from node.cli.output import Output, print_json
from node.config import load_client, load_gateway, load_operator
from node.sample import InitError, Ports, Sample, ports_from, write_sample
from node.seams import OsClock, OsRng
from node.toml_strict import ConfigError, read_toml


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
        load = {"gateway": load_gateway, "client": load_client, "operator": load_operator}[kind]
        load(file)
    except ConfigError as error:
        problems = error.problems
    if output is Output.JSON:
        print_json({"file": str(file), "kind": kind, "ok": not problems, "problems": problems})
    elif problems:
        raise Failed(ExitCode.REFUSED, problems)
    else:
        print(f"{file}: a {kind}'s configuration, and it fits")
    return ExitCode.REFUSED if problems else ExitCode.DONE


def kind_of(file: Path) -> str:
    """Whose configuration a file is, told by its tables. Raises ConfigError."""
    tables = read_toml(file)
    for kind in ("operator", "client"):
        if kind in tables:
            return kind
    return "gateway"
