"""A limit of sessions per peer, with real processes: refused elsewhere too, until one has ended."""

from tests.e2e.cluster import Cluster, until
from tests.e2e.local import LocalClient
from tests.e2e.test_admin import scrape

REFUSED = 'standfast_sessions_over_limit_total{outcome="refused"}'


async def test_one_session_per_peer_wherever_it_asks(own: Cluster) -> None:
    for name in own.gateways:
        own.gateways[name] = own.gateway(name, name, ike={"sessions_max": 1})
    await own.start()
    first = LocalClient(own.client_file("alice", ("gw1",)))
    await first.connected()
    async with (
        LocalClient(own.client_file("alice", ("gw2",))) as second,
        LocalClient(own.client_file("bob", ("gw2",))) as bob,
    ):
        await bob.connected()
        second.session.start()
        failed = await second.told("failed")
        assert failed["why"] == "the gateway answered AUTHENTICATION_FAILED"
        assert len(await own.sessions_of("alice")) == 1
        gateway = own.gateways["gw2"]

        async def counted() -> bool:
            return (await scrape(own, "gw2")).get(REFUSED, 0) >= 1

        await until(counted, "the refusal in the metrics")
        said = "rfc822:alice@example.com has 1 sessions; sessions_max of [ike]"
        await until(lambda: said in gateway.log, "the refusal in the log")
        first.session.close()
        await second.told("established")
        await until(lambda: first.count("closed"), "the first one closed")

        async def one() -> bool:
            return [s["member"] for s in await own.sessions_of("alice")] == ["gw2"]

        await until(one, "one session of alice, at gw2")
    first.close()
