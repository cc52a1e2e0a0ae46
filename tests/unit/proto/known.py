"""Loads the known answers of tests/vectors."""

import json
from pathlib import Path
from typing import Any

from proto.secret import Secret

VECTORS = Path(__file__).parents[2] / "vectors"
LIBRESWAN = sorted(path.stem for path in (VECTORS / "libreswan").glob("*.json"))


def load(name: str) -> Any:
    """The JSON of one vector file."""
    return json.loads((VECTORS / name).read_text())


def octets(text: str) -> bytes:
    """Hex, spaces allowed."""
    return bytes.fromhex(text)


def secret(text: str) -> Secret:
    """Hex as a Secret."""
    return Secret(bytes.fromhex(text))
