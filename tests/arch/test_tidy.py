"""The whole source keeps the house's rules, and each rule catches what it is there to catch."""

import importlib.util
from pathlib import Path

import pytest

from tests.arch.tidy import (
    FILE_LINES_MAX,
    FUNCTION_LINES_MAX,
    PACKAGES,
    ROOT,
    RULES,
    Rule,
    asserts,
    banned_calls,
    broad_excepts,
    dead_modules,
    docstrings,
    leftovers,
    parse,
    patched_tests,
    prints,
    sizes,
    sources,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_source_keeps_the_rule(rule: Rule):
    findings = [finding for source in sources() for finding in rule(source)]
    assert not findings, "\n" + "\n".join(findings)


def test_every_module_is_imported_or_an_entry_point():
    findings = dead_modules(sources())
    assert not findings, "\n" + "\n".join(findings)


@pytest.mark.parametrize("package", PACKAGES)
def test_the_import_packages_are_this_repository_s(package: str):
    """Another distribution has a top-level `proto` too; whoever installs both must learn of it."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).resolve() == ROOT / package / "__init__.py"


PLANTED = [
    (sizes, "node/a.py", "x = 1\n" * (FILE_LINES_MAX + 1)),
    (sizes, "node/a.py", "def f():\n" + "    x = 1\n" * FUNCTION_LINES_MAX),
    (banned_calls, "proto/ike/a.py", "import os\nos.urandom(8)"),
    (banned_calls, "proto/ike/a.py", "import time\ntime.monotonic()"),
    (banned_calls, "proto/ike/a.py", "x25519.X25519PrivateKey.generate()"),
    (banned_calls, "proto/ike/a.py", "ec.generate_private_key(curve)"),
    (banned_calls, "proto/ike/a.py", "datetime.datetime.now()"),
    (banned_calls, "cluster/a.py", "asyncio.to_thread(f)"),
    (banned_calls, "cluster/a.py", "asyncio.get_running_loop().run_in_executor(None, f)"),
    (banned_calls, "cluster/a.py", "asyncio.open_connection('h', 1)"),
    (banned_calls, "cluster/a.py", "asyncio.create_task(f())"),
    (banned_calls, "node/a.py", "asyncio.ensure_future(f())"),
    (banned_calls, "tests/a.py", "eval('1')"),
    (prints, "node/gateway.py", "print('hello')"),
    (broad_excepts, "cluster/a.py", "try:\n    f()\nexcept Exception:\n    pass"),
    (broad_excepts, "tests/a.py", "try:\n    f()\nexcept:\n    pass"),
    (broad_excepts, "node/a.py", "try:\n    f()\nexcept (OSError, BaseException):\n    pass"),
    (asserts, "proto/ike/a.py", "assert x"),
    (docstrings, "cluster/a.py", "x = 1"),
    (leftovers, "cluster/a.py", "x = 1  # TO" + "DO: two"),
    (leftovers, "cluster/a.py", "# FIX" + "ME later"),
    (patched_tests, "tests/a.py", "from unittest import mock"),
    (patched_tests, "tests/a.py", "from unittest.mock import patch"),
    (patched_tests, "tests/a.py", "def test(monkeypatch): pass"),
    (patched_tests, "tests/a.py", "@pytest.mark.skip\ndef test(): pass"),
]


@pytest.mark.parametrize(("rule", "path", "text"), PLANTED)
def test_a_planted_violation_is_found(rule: Rule, path: str, text: str):
    assert len(list(rule(parse(path, text)))) == 1


ALLOWED = [
    (sizes, "node/a.py", "def f():\n" + "    x = 1\n" * (FUNCTION_LINES_MAX - 1)),
    (banned_calls, "node/a.py", "import os\nos.urandom(8)"),
    (banned_calls, "node/supervisor.py", "asyncio.create_task(f())"),
    (banned_calls, "proto/ike/a.py", "KeyExchange.generate(group, rng)\nlifetime.total()"),
    (prints, "node/cli/status.py", "print('hello')"),
    (broad_excepts, "node/supervisor.py", "try:\n    f()\nexcept Exception:\n    pass"),
    (asserts, "tests/a.py", "assert x"),
    (docstrings, "tests/__init__.py", ""),
    (docstrings, "cluster/a.py", '"""A job."""'),
]


@pytest.mark.parametrize(("rule", "path", "text"), ALLOWED)
def test_what_is_allowed_is_not_found(rule: Rule, path: str, text: str):
    assert list(rule(parse(path, text))) == []


def test_a_module_that_only_a_test_imports_is_dead():
    files = [
        parse("cluster/used.py", ""),
        parse("cluster/unused.py", "from . import used"),
        parse("tests/test_unused.py", "from cluster import unused\nfrom tests.helper import f"),
        parse("tests/helper.py", ""),
        parse("node/cli.py", "import cluster.used"),
    ]
    assert [line.split(":")[0] for line in dead_modules(files)] == ["cluster/unused.py"]
