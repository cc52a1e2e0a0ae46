"""A gateway's metrics, scraped as Prometheus does."""

import asyncio
import urllib.request

from tests.e2e.cluster import Cluster


async def scrape(cluster: Cluster, gateway: str) -> dict[str, float]:
    """Name with labels → value. In a thread, so that the test's own client isn't held up."""
    return await asyncio.to_thread(_figures, cluster.ports.metrics + int(gateway[2:]))


def _figures(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    pairs = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
    return {name: float(value) for name, value in pairs}
