"""Internal addresses of both families, with DNS servers and routes, from either side's pools."""

from tests.interop.pairs import Pair
from tests.interop.play import CHARON_CLIENT, CHARON_GATEWAY, CHARONS, Trial, play
from tests.interop.world import expect

FROM_US = "virtual IPs of both families and DNS from our pools"
NARROWED = "traffic selectors narrowed to virtual IPs and routes"
SAME = "virtual IPs kept by a rekeyed IKE SA, and free after the end"
FROM_PEER = "virtual IPs of both families and DNS from strongSwan's pools"
POOL4, POOL6, DNS4, DNS6 = "10.3.0.0/24", "fd00:3::/64", "10.1.0.53", "fd00:1::53"
NET4, NET6 = "10.1.0.0/16", "fd00:1::/64"
POOLS = [
    {"name": "four", "addresses": POOL4, "dns": [DNS4], "subnets": [NET4]},
    {"name": "six", "addresses": POOL6, "dns": [DNS6], "subnets": [NET6]},
]


@play(CHARON_CLIENT, "pools", CHARONS, FROM_US, NARROWED, SAME)
def ours(trial: Trial) -> None:
    """charon asks for everything, and for all traffic."""
    ike = {"pools": ["four", "six"], "local_ts": [NET4, NET6], "remote_ts": ["0.0.0.0/0", "::/0"]}
    pair = Pair(trial, CHARON_CLIENT, tables={"ike": ike, "pool": POOLS})
    everything = {"local_ts": ["dynamic"], "remote_ts": ["0.0.0.0/0", "::/0"]}
    pair.connection(vips=["0.0.0.0", "::"], child=everything)
    first: list[str] = []
    with trial.row(FROM_US):
        former = pair.up()
        first = vips(pair)
        expect(
            [ip.rpartition(s)[0] for ip, s in zip(first, ".:", strict=True)]
            == ["10.3.0", "fd00:3:"],
            f"charon got {first}",
        )
        servers = (pair.charon.folder / "resolv.conf").read_text()
        expect(DNS4 in servers and DNS6 in servers, f"charon was told of {servers!r}")
    with trial.row(NARROWED):
        child = pair.charon.one_child()
        mine = [f"{first[0]}/32", f"{first[1]}/128"]
        expect(child["local-ts"] == mine, f"charon's side is {child['local-ts']}")
        expect(child["remote-ts"] == [NET4, NET6], f"our side is {child['remote-ts']}")
    with trial.row(SAME):
        pair.charon.rekey(ike="c")
        pair.another_ike(former)
        expect(vips(pair) == first, f"after the rekey charon has {vips(pair)}")
        pair.down()
        pair.up()
        expect(len(vips(pair)) == 2, "charon gets addresses again")
        pair.down()


def vips(pair: Pair) -> list[str]:
    """charon's internal addresses, IPv4 first."""
    found = pair.charon.one_sa().get("local-vips", [])
    expect(isinstance(found, list) and len(found) == 2, f"charon's virtual IPs are {found}")
    return sorted((str(ip) for ip in found), key=lambda ip: ":" in ip)


@play(CHARON_GATEWAY, "pools", CHARONS, FROM_PEER)
def theirs(trial: Trial) -> None:
    """Our client asks for one address of each family."""
    anywhere = ["0.0.0.0/0", "::/0"]
    asking = {"request_addresses": [4, 6], "local_ts": anywhere, "remote_ts": anywhere}
    pair = Pair(trial, CHARON_GATEWAY, tables={"client": asking})
    pair.charon.pool("four", addrs=POOL4, dns=[DNS4], subnet=[NET4])
    pair.charon.pool("six", addrs=POOL6, dns=[DNS6])
    nets = {"local_ts": [NET4, NET6], "remote_ts": ["dynamic"]}
    pair.connection(pools=["four", "six"], child=nets)
    with trial.row(FROM_PEER):
        pair.up()
        given = pair.charon.one_sa().get("remote-vips")
        seen = pair.ours.records("configured")
        expect(given and seen["addresses"] == given, f"charon gave {given}, our client has {seen}")
        expect(seen["dns"] == [DNS4, DNS6], f"our client has {seen}")
        expect(seen["subnets"] == [NET4], f"our client has {seen}")
        pair.down()
