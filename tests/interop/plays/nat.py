"""A NAT between client and gateway, one that forgets, and UDP encapsulation without any.

Rules: the NAT is the kernel's own, and gives every flow another port. Who is behind it goes on at
port 4500; its way out changes as if the NAT had been restarted with another address.
"""

from tests.interop import stage
from tests.interop.pairs import Pair
from tests.interop.play import CHARON_CLIENT, CHARON_GATEWAY, CHARONS, Trial, play
from tests.interop.strongswan import LIBIPSEC
from tests.interop.world import expect, until

ENCAP = "ESP in UDP asked for, without a NAT: user-space ESP"
BEHIND = "behind a NAT: port 4500, rekeys of both SAs"
REBOUND = "behind a NAT whose address changes: followed"


def behind(trial: Trial, part: str) -> None:
    """The client is inside."""
    ours_inside = part == CHARON_GATEWAY
    trial.stage.behind_nat(ours_inside)
    pair = Pair(trial, part)
    if ours_inside:
        pair.connection()
    else:
        pair.connection(local_addrs=["%any"])
    outer = {nat[1] for nat in stage.NATS}
    with trial.row(BEHIND):
        ike = pair.up()
        sa = pair.charon.one_sa()
        expect((sa["local-port"], sa["nat-any"]) == ("4500", "yes"), f"at charon: {sa}")
        spi = pair.spi()
        pair.charon.rekey(child="c-net")
        pair.another_child(spi)
        pair.charon.rekey(ike_id=ike)
        pair.another_ike(ike)
    with trial.row(REBOUND):
        trial.stage.way_out(1)
        if ours_inside:
            until(
                lambda: pair.charon.one_sa()["remote-host"] == stage.NATS[1][1],
                f"charon follows to {stage.NATS[1][1]}, one of {sorted(outer)}",
            )
        spi = pair.spi()
        pair.charon.rekey(child="c-net")
        pair.another_child(spi)
        pair.down()


def encapsulated(trial: Trial, part: str) -> None:
    """charon pretends a NAT, as it must for its own user-space ESP."""
    pair = Pair(trial, part, esp=LIBIPSEC)
    pair.connection(encap="yes")
    with trial.row(ENCAP):
        pair.up()
        expect(pair.charon.one_child()["encap"] == "yes", "charon's ESP isn't in UDP")
        spi = pair.spi()
        pair.charon.rekey(child="c-net")
        pair.another_child(spi)
        pair.down()


@play(CHARON_CLIENT, "NAT", CHARONS, BEHIND, REBOUND)
def client_inside(trial: Trial) -> None:
    """strongSwan is inside."""
    behind(trial, CHARON_CLIENT)


@play(CHARON_GATEWAY, "NAT", CHARONS, BEHIND, REBOUND)
def ours_inside(trial: Trial) -> None:
    """Our client is inside."""
    behind(trial, CHARON_GATEWAY)


@play(CHARON_CLIENT, "encap", CHARONS, ENCAP)
def client_encapsulates(trial: Trial) -> None:
    """strongSwan as client."""
    encapsulated(trial, CHARON_CLIENT)


@play(CHARON_GATEWAY, "encap", CHARONS, ENCAP)
def gateway_encapsulates(trial: Trial) -> None:
    """strongSwan as gateway."""
    encapsulated(trial, CHARON_GATEWAY)
