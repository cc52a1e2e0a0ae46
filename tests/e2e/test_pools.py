"""Internal addresses with real processes: given, kept at another gateway, shown, given back."""

from typing import Any

from tests.e2e.cluster import Cluster, until

POOLS = [
    {"name": "inner", "addresses": "10.77.0.0/28", "dns": ["10.77.0.1"], "subnets": ["10.0.0.0/8"]},
    {"name": "six", "addresses": "fd77::/64"},
]
PATIENCE = {"liveness_interval_s": 0.2, "retransmit_initial_s": 0.2, "retransmit_tries": 6}


async def pools(cluster: Cluster) -> dict[str, dict[str, Any]]:
    """What `standfast pools` shows, by name."""
    shown = (await cluster.run("pools", "-o", "json")).json()
    return {pool["name"]: pool for pool in shown["pools"]}


async def test_a_resumed_session_keeps_its_addresses_and_its_end_gives_them_back(
    own: Cluster,
) -> None:
    for name in own.gateways:
        changed = own.gateway(name, name, POOLS, ike={"pools": ["inner", "six"]})
        own.gateways[name] = changed
    await own.start()
    client = own.client("roadwarrior", request_addresses=[4, 6], **PATIENCE)
    client.child.start()
    first = await client.records("configured")
    assert first["addresses"][0].startswith("10.77.0.")
    assert first["addresses"][1].startswith("fd77::")
    assert (first["dns"], first["subnets"]) == (["10.77.0.1"], ["10.0.0.0/8"])

    async def used(count: int) -> bool:
        return [pool["used"] for pool in (await pools(own)).values()] == [count, count]

    await until(lambda: used(1), "both addresses to be seen")
    (session,) = await own.sessions_of("roadwarrior")
    own.gateways[session["member"]].child.kill()
    again = await client.records("configured", more_than=1)
    assert (await client.records("established", more_than=1))["how"] == "resumed"
    assert again["addresses"] == first["addresses"]
    await until(lambda: used(1), "the same addresses, and no others")
    table = await own.run("pools")
    assert (table.code, "10.77.0.1-10.77.0.14" in table.out) == (0, True), table
    client.child.kill()
    (session,) = await own.sessions_of("roadwarrior")
    assert (await own.run("sessions", "terminate", session["spi_r"])).code == 0
    await until(lambda: used(0), "the addresses to be free")
