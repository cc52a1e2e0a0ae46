"""Clusters of real processes for the end-to-end tests: one per module, one of a test's own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.e2e.cluster import Cluster


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """Three gateways that run, for tests that leave them as they were."""
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        await made.start()
        yield made
    finally:
        await made.stop()


@pytest_asyncio.fixture
async def own(tmp_path: Path) -> AsyncIterator[Cluster]:
    """Three gateways that nobody has started, for one test that hurts them."""
    made = Cluster(tmp_path)
    yield made
    await made.stop()
