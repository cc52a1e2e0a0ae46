"""Generates the Python stubs of every .proto file below proto/rpc, beside it.

Rules: the output depends only on the .proto files and the pinned grpcio-tools, so that `--check`
can compare octet by octet. `--check` writes nothing and fails naming each file that differs, is
missing or has lost its .proto.
"""

import argparse
import importlib
import importlib.metadata
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RPC = Path("proto/rpc")
GRPCIO_TOOLS = "1.80.0"
"""Its output loads on every protobuf that pyproject.toml allows; a newer one's doesn't."""

SUFFIXES = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py")


def sources() -> list[Path]:
    """Every .proto below proto/rpc, relative to the tree's root, in order."""
    return sorted(path.relative_to(ROOT) for path in (ROOT / RPC).rglob("*.proto"))


def outputs(source: Path) -> list[Path]:
    """What is generated from `source`."""
    return [source.with_name(source.stem + suffix) for suffix in SUFFIXES]


def generate(files: list[Path], target: Path) -> None:
    """Writes the stubs of `files` below `target`. Raises SystemExit with protoc's message."""
    # imported only here: its version was looked at first, and it has no types
    protoc = importlib.import_module("grpc_tools.protoc")
    arguments = [
        "protoc",
        f"-I{ROOT}",
        f"--python_out={target}",
        f"--pyi_out={target}",
        f"--grpc_python_out={target}",
        *(str(ROOT / path) for path in files),
    ]
    if protoc.main(arguments) != 0:
        raise SystemExit("gen_stubs: protoc failed (its message is above)")


def stale(files: list[Path], fresh: Path) -> list[str]:
    """One line per file of the tree that isn't what `fresh` holds."""
    wanted = [path for source in files for path in outputs(source)]
    lines = []
    for path in wanted:
        if not (ROOT / path).exists():
            lines.append(f"{path}: missing")
        elif (ROOT / path).read_bytes() != (fresh / path).read_bytes():
            lines.append(f"{path}: differs from its .proto")
    present = sorted(p.relative_to(ROOT) for p in (ROOT / RPC).rglob("*_pb2*.py*"))
    lines += [
        f"{path}: has no .proto"
        for path in present
        if path not in wanted and "__pycache__" not in path.parts
    ]
    return lines


def main() -> int:
    """The command line; 0 done or up to date, 1 the tree differs, 2 could not run."""
    parser = argparse.ArgumentParser(description="generate the stubs of proto/rpc/**/*.proto")
    parser.add_argument("--check", action="store_true", help="compare only")
    check = parser.parse_args().check
    found = importlib.metadata.version("grpcio-tools")
    if found != GRPCIO_TOOLS:
        print(f"gen_stubs: needs grpcio-tools {GRPCIO_TOOLS}, found {found}", file=sys.stderr)
        return 2
    files = sources()
    if not check:
        generate(files, ROOT)
        return 0
    with tempfile.TemporaryDirectory() as fresh:
        generate(files, Path(fresh))
        lines = stale(files, Path(fresh))
    for line in lines:
        print(line, file=sys.stderr)
    if lines:
        print("gen_stubs: run tools/gen_stubs.py and commit what it wrote", file=sys.stderr)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
