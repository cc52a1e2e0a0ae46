"""The rules of the house that a program can check, as functions from a parsed file to findings.

Rules: a finding is `path:line: what and why`. A rule that no planted example can break isn't a
rule; `test_tidy` plants one for each.
"""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("proto", "cluster", "node")
FOLDERS = (*PACKAGES, "tests", "tools", "bench")

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60

SUPERVISOR = "node/supervisor.py"
"""The one place that may catch everything and may make tasks."""

ENTRY_POINTS = ("node.cli", "tests.arch.tidy")
"""Modules that need no importer: what pyproject.toml names, besides every __main__ and test."""

FOUND_BY_FOLDER = (
    "tools/",
    "tests/sim/script_",
    "tests/sim/plays/",
    "tests/sim/faults/",
    "tests/interop/plays/",
    "tests/interop/script_",
)
"""Files that are run by name, or that a package finds by looking into its own folder."""

MAY_PRINT = (
    "node/cli",
    "tools/",
    "bench/",
    "tests/fuzz/__main__.py",
    "tests/interop/__main__.py",
    "tests/mutants/__main__.py",
    "tests/sim/__main__.py",
    "tests/sim/script_",
    "tests/interop/script_",
)

Words = dict[str, str]

BANNED_EVERYWHERE: Words = {
    "eval": "runs what it is given",
    "exec": "runs what it is given",
    "pickle.loads": "runs what it is given",
}
BANNED_IN_PACKAGES: Words = {
    "asyncio.create_task": "tasks are made by the supervisor, which holds them and fails loudly",
    "asyncio.ensure_future": "tasks are made by the supervisor, which holds them and fails loudly",
    "random.random": "unpredictable octets come from the Rng seam",
    "random.randbytes": "unpredictable octets come from the Rng seam",
}
BANNED_IN_CORE: Words = {
    "os.urandom": "randomness is an argument: a seed must reproduce the core",
    "datetime.now": "time is an argument",
    "datetime.utcnow": "time is an argument",
    "generate()": "keys are made from octets of the Rng: a seed must reproduce the core",
    "generate_private_key": "keys are made from octets of the Rng: a seed must reproduce the core",
    "generate_key": "keys are made from octets of the Rng: a seed must reproduce the core",
    "time.*": "time is an argument",
}
BANNED_IN_CLUSTER: Words = {
    "to_thread": "no threads: the simulator must be able to run this",
    "run_in_executor": "no threads: the simulator must be able to run this",
    "open_connection": "sockets belong to the two adapters and to node",
    "create_connection": "sockets belong to the two adapters and to node",
    "create_datagram_endpoint": "sockets belong to the two adapters and to node",
    "start_server": "sockets belong to the two adapters and to node",
    "datetime.now": "time comes from the Clock seam",
    "os.urandom": "randomness comes from the Rng seam",
    "time.*": "time comes from the Clock seam",
}


class Source(NamedTuple):
    """One parsed file; `path` is relative to the root, with slashes."""

    path: str
    text: str
    tree: ast.Module


Rule = Callable[[Source], Iterator[str]]


def parse(path: str, text: str) -> Source:
    """A Source from its text."""
    return Source(path, text, ast.parse(text, path))


def sources() -> list[Source]:
    """Every Python file of the project that a person wrote."""
    files = (f for folder in FOLDERS for f in sorted((ROOT / folder).rglob("*.py")))
    return [
        parse(f.relative_to(ROOT).as_posix(), f.read_text("utf-8"))
        for f in files
        if not re.search(r"_pb2(_grpc)?\.py$", f.name)
    ]


def _in_packages(source: Source) -> bool:
    return source.path.split("/")[0] in PACKAGES


def _dotted(node: ast.expr) -> str:
    """`a.b.c` of a call's function; parts that aren't names are left out."""
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}".lstrip(".")
    return node.id if isinstance(node, ast.Name) else ""


def _is_banned(call: ast.Call, called: str, pattern: str) -> bool:
    if pattern.endswith("()"):  # only without arguments: with an Rng it is fine
        return not call.args and not call.keywords and _is_banned(call, called, pattern[:-2])
    if pattern.endswith(".*"):
        return called.startswith(pattern[:-1])
    return called == pattern or called.endswith("." + pattern)


def sizes(source: Source) -> Iterator[str]:
    """Files and functions fit into a head."""
    lines = source.text.count("\n")
    if lines > FILE_LINES_MAX:
        yield f"{source.path}:1: {lines} lines, at most {FILE_LINES_MAX}: split it"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                yield (
                    f"{source.path}:{node.lineno}: {node.name} has {length} lines, "
                    f"at most {FUNCTION_LINES_MAX}"
                )


def banned_calls(source: Source) -> Iterator[str]:
    """What a layer may not call, with the reason."""
    banned = dict(BANNED_EVERYWHERE)
    if _in_packages(source) and source.path != SUPERVISOR:
        banned |= BANNED_IN_PACKAGES
    if source.path.startswith("proto/ike/"):
        banned |= BANNED_IN_CORE
    if source.path.startswith("cluster/"):
        banned |= BANNED_IN_CLUSTER
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call):
            called = _dotted(node.func)
            for pattern, why in banned.items():
                if _is_banned(node, called, pattern):
                    yield f"{source.path}:{node.lineno}: {called}(): {why}"


def prints(source: Source) -> Iterator[str]:
    """Only the command line prints; everything else logs or returns."""
    if source.path.startswith(MAY_PRINT):
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and _dotted(node.func) == "print":
            yield f"{source.path}:{node.lineno}: print(): log it or return it"


def broad_excepts(source: Source) -> Iterator[str]:
    """A handler names what it expects; only the supervisor catches everything."""
    if source.path == SUPERVISOR:
        return
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        for name in caught:
            if name is None or _dotted(name) in ("Exception", "BaseException"):
                yield f"{source.path}:{node.lineno}: catches everything: name what is expected"


def asserts(source: Source) -> Iterator[str]:
    """`python -O` removes asserts, so nothing that must hold in production may be one."""
    if _in_packages(source):
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Assert):
                yield f"{source.path}:{node.lineno}: assert: raise instead"


def docstrings(source: Source) -> Iterator[str]:
    """Every module says its job; empty package markers need not."""
    if source.text.strip() and not ast.get_docstring(source.tree):
        yield f"{source.path}:1: no docstring that says this file's job"


def leftovers(source: Source) -> Iterator[str]:
    """What is left to do is an issue, not a comment."""
    for number, line in enumerate(source.text.splitlines(), 1):
        if re.search(r"#.*\b(TO" r"DO|FIX" r"ME|XX" r"X)\b", line):
            yield f"{source.path}:{number}: unfinished: finish it or write it down elsewhere"


def patched_tests(source: Source) -> Iterator[str]:
    """A test that needs to patch has found a missing seam; a skipped one proves nothing."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom | ast.Import):
            names = [a.name for a in node.names] + [getattr(node, "module", None) or ""]
            if any("mock" in name.split(".") for name in names):
                yield f"{source.path}:{node.lineno}: mock: pass a seam in instead"
        if isinstance(node, ast.arg) and node.arg in ("monkeypatch", "mocker"):
            yield f"{source.path}:{node.lineno}: {node.arg}: pass a seam in instead"
        if isinstance(node, ast.Attribute):
            name = _dotted(node)
            if name.startswith("pytest.") and name.split(".")[-1] in ("skip", "skipif", "xfail"):
                yield f"{source.path}:{node.lineno}: {name}: a skipped test proves nothing"


RULES: tuple[Rule, ...] = (
    sizes,
    banned_calls,
    prints,
    broad_excepts,
    asserts,
    docstrings,
    leftovers,
    patched_tests,
)


def module_of(path: str) -> str:
    """`a/b.py` → `a.b`; a package's __init__ is the package."""
    return path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")


def imports_of(source: Source) -> Iterator[str]:
    """Every module (or name in a module) that the file imports."""
    package = module_of(source.path).split(".")
    if not source.path.endswith("__init__.py"):
        package = package[:-1]
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def dead_modules(files: list[Source]) -> list[str]:
    """Modules that nothing imports and that aren't entry points. A test's import keeps nothing
    alive but what lies in tests/."""
    alive: dict[str, None] = dict.fromkeys(ENTRY_POINTS)
    for source in files:
        importer = module_of(source.path)
        for name in imports_of(source):
            if name != importer and (
                not importer.startswith("tests.") or name.startswith("tests.")
            ):
                alive[name] = None
    return [
        f"{source.path}:1: nothing imports this module: remove it or wire it"
        for source in files
        if module_of(source.path) not in alive
        and not source.path.endswith(("__init__.py", "__main__.py", "conftest.py"))
        and not source.path.startswith(FOUND_BY_FOLDER)
        and not re.search(r"/test_[^/]*\.py$", source.path)
    ]
