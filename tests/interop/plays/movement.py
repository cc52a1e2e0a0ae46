"""Clients whose address changes, and that keep their SAs (MOBIKE, RFC 4555)."""

from tests.interop import stage
from tests.interop.pairs import Pair
from tests.interop.play import CHARON_CLIENT, CHARON_GATEWAY, CHARONS, Trial, play
from tests.interop.world import Net, expect, until

MOVED = "MOBIKE: the client's address changes, the SAs stay"
SECOND_IP = "192.0.2.77"


def moves(pair: Pair, net: Net, former: str, end: str, who: str) -> None:
    """What is in `net` loses the address `former` for another one; charon sees that at its `end`,
    and the IKE SA stays.
    """
    ike = pair.up()
    net.ip(f"addr add {SECOND_IP}/24 dev v0", f"addr del {former}/24 dev v0")
    until(
        lambda: pair.charon.one_sa()[end] == SECOND_IP,
        f"{who} at {SECOND_IP}; charon says {pair.charon.complaints()}",
    )
    expect(pair.charon.one_sa()["uniqueid"] == ike, f"{who} began anew")
    spi = pair.spi()
    pair.charon.rekey(child="c-net")
    pair.another_child(spi)
    pair.down()


@play(CHARON_CLIENT, "MOBIKE", CHARONS, MOVED)
def charon_moves(trial: Trial) -> None:
    """charon gets another address, and loses the first."""
    pair = Pair(trial, CHARON_CLIENT)
    pair.connection(mobike="yes", local_addrs=["%any"])
    with trial.row(MOVED):
        moves(pair, trial.stage.right, stage.THEIR_IP, "local-host", "charon")


@play(CHARON_GATEWAY, "MOBIKE", CHARONS, MOVED)
def ours_moves(trial: Trial) -> None:
    """Our client gets another address, and loses the first."""
    pair = Pair(trial, CHARON_GATEWAY)
    pair.connection(mobike="yes")
    trial.stage.captures[-1][1].append(SECOND_IP)
    with trial.row(MOVED):
        moves(pair, trial.stage.left, stage.OUR_IP, "remote-host", "our client")
