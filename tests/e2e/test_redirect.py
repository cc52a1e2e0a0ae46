"""`standfast sessions redirect` with real processes: sessions go on elsewhere."""

from tests.e2e.cluster import Cluster, until
from tests.e2e.test_admin import scrape
from tests.e2e.test_sessions import connect

THERE = "127.0.0.2"


async def test_clients_are_sent_to_another_gateway_and_resume_there(own: Cluster) -> None:
    elsewhere = f"{THERE}:{own.addresses['gw2'].rpartition(':')[2]}"
    own.addresses["gw2"] = elsewhere
    own.gateways["gw2"] = own.gateway("gw2", "gw2", ike={"listen": [elsewhere]})
    await own.start()
    alice = await connect(own, "alice", "gw1", "gw2")
    bob = await connect(own, "bob", "gw1", "gw2")
    carol = await connect(own, "carol", "gw2")
    for arguments, said in (
        (("--to", THERE), "whose sessions is missing → --identity PATTERN, or --all"),
        (("--all", "--to", "no where"), "→ an address, or a name such as gw2.example.com"),
    ):
        wrong = await own.run("sessions", "redirect", *arguments)
        assert (wrong.code, said in wrong.err) == (2, True), wrong
    some = ("--identity", "rfc822:a*@example.com", "--to", THERE)
    told = (await own.run("sessions", "redirect", *some, "-o", "json")).json()
    assert told.pop("there") <= 1, "who was told may be there before gw2 is asked"
    assert told == {"told": 1, "unable": 0, "busy": 0, "unreachable": []}
    await alice.records("redirected")
    assert (await alice.records("established", how="resumed"))["gateway"] == elsewhere
    assert bob.recorded("redirected") == []

    async def at_gw2() -> bool:
        return [s["member"] for s in await own.sessions_of("alice")] == ["gw2"]

    await until(at_gw2, "one session of alice, at gw2")
    gateway = own.gateways["gw1"]
    await gateway.records("sa_redirected")
    assert [e["target"] for e in gateway.recorded("sa_redirected")] == [THERE]
    assert (await scrape(own, "gw1"))["standfast_redirects_total"] == 1

    async def all_there() -> bool:
        shown = await own.run("sessions", "redirect", "--all", "--member", "gw1", "--to", THERE)
        assert shown.code == 0, shown
        return shown.out.startswith("told         0\n")

    await until(all_there, "nobody left to be told at gw1")
    await bob.records("established", how="resumed")
    assert carol.recorded("redirected") == alice.recorded("failed") == bob.recorded("failed") == []
