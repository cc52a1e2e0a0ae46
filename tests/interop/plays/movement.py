"""Clients whose address changes, and that keep their SAs (MOBIKE, RFC 4555)."""

from tests.interop import stage
from tests.interop.pairs import Pair
from tests.interop.play import CHARON_CLIENT, CHARON_GATEWAY, CHARONS, Trial, play
from tests.interop.world import expect, until

MOVED = "MOBIKE: the client's address changes, the SAs stay"
SECOND_IP = "192.0.2.77"


@play(CHARON_CLIENT, "MOBIKE", CHARONS, MOVED)
def charon_moves(trial: Trial) -> None:
    """charon gets another address, and loses the first."""
    pair = Pair(trial, CHARON_CLIENT)
    pair.connection(mobike="yes", local_addrs=["%any"])
    with trial.row(MOVED):
        ike = pair.up()
        there = trial.stage.right
        there.ip(f"addr add {SECOND_IP}/24 dev v0", f"addr del {stage.THEIR_IP}/24 dev v0")
        until(
            lambda: pair.charon.one_sa()["local-host"] == SECOND_IP,
            f"charon at {SECOND_IP}; it says {pair.charon.complaints()}",
        )
        expect(pair.charon.one_sa()["uniqueid"] == ike, "charon began anew")
        spi = pair.spi()
        pair.charon.rekey(child="c-net")
        pair.another_child(spi)
        pair.down()


@play(CHARON_GATEWAY, "MOBIKE", CHARONS, MOVED)
def ours_moves(trial: Trial) -> None:
    """Our client gets another address, and loses the first."""
    pair = Pair(trial, CHARON_GATEWAY)
    pair.connection(mobike="yes")
    trial.stage.captures[-1][1].append(SECOND_IP)
    with trial.row(MOVED):
        ike = pair.up()
        here = trial.stage.left
        here.ip(f"addr add {SECOND_IP}/24 dev v0", f"addr del {stage.OUR_IP}/24 dev v0")
        until(
            lambda: pair.charon.one_sa()["remote-host"] == SECOND_IP,
            f"our client at {SECOND_IP}; it wrote {pair.ours.last_lines()}",
        )
        expect(pair.charon.one_sa()["uniqueid"] == ike, "our client began anew")
        spi = pair.spi()
        pair.charon.rekey(child="c-net")
        pair.another_child(spi)
        pair.down()
