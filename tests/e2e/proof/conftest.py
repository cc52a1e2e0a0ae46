"""A cluster with an etcd of three members, its clients, and the record of what is done to it."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from tests.e2e.cluster import Cluster
from tests.e2e.proof.account import Faults
from tests.e2e.proof.load import Load

STEADY, WALKING = 24, 8
FIGURES = pytest.StashKey[list[str]]()


class Stage(msgspec.Struct, frozen=True):
    """What a proof plays on."""

    cluster: Cluster
    load: Load
    faults: Faults
    figures: list[str]
    """Shown at the end of the run."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what was measured."""
    for text in terminalreporter.config.stash.get(FIGURES, []):
        terminalreporter.write_line(text)


@pytest_asyncio.fixture
async def stage(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """Everything runs, and every client has been served."""
    cluster = Cluster(tmp_path, etcd_members=3)
    figures = request.config.stash.setdefault(FIGURES, [])
    try:
        await cluster.start()
        load = Load(cluster, STEADY, WALKING)
        try:
            await load.start()
            yield Stage(cluster, load, Faults(cluster), figures)
        finally:
            await load.stop()
    finally:
        await cluster.stop()
