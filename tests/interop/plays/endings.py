"""Signs of life and Deletes, by either side; a killed gateway whose sessions go on elsewhere."""

import json

from tests.interop import ours
from tests.interop.pairs import Pair, client_connection
from tests.interop.play import CHARON_CLIENT, CHARON_GATEWAY, CHARONS, Trial, play
from tests.interop.world import expect, until

LIFE = "signs of life asked for by strongSwan"
OUR_LIFE = "signs of life asked for by us"
RETURNS = "Delete by strongSwan: our client connects again"
OPERATOR = "Delete by our operator"
ADOPTED = "gateway killed: goes on at another one, without a handshake"
ASKED_EVERY_S = "1s"


def probes(pair: Pair) -> None:
    """charon asks three times, and is answered."""
    until(lambda: pair.charon.log.count("sending DPD request") >= 3, "three probes by charon")
    expect("retransmit" not in pair.charon.log, "charon had to repeat something")


@play(CHARON_CLIENT, "signs of life", CHARONS, LIFE)
def of_gateway(trial: Trial) -> None:
    """Of our gateway."""
    pair = Pair(trial, CHARON_CLIENT)
    pair.connection(dpd_delay=ASKED_EVERY_S)
    with trial.row(LIFE):
        pair.up()
        probes(pair)
        pair.down()


@play(CHARON_GATEWAY, "signs of life", CHARONS, LIFE, OUR_LIFE, RETURNS)
def of_client(trial: Trial) -> None:
    """Of our client, which asks too, and comes back when it is sent away."""
    pair = Pair(trial, CHARON_GATEWAY)
    pair.connection(dpd_delay=ASKED_EVERY_S)
    with trial.row(LIFE):
        pair.up(client={"liveness_interval_s": 20.0})
        probes(pair)
        pair.down()
    with trial.row(OUR_LIFE):
        pair.up()
        until(lambda: len(pair.ours.events("answered")) >= 3, "three answers of charon's")
    with trial.row(RETURNS):
        former = str(pair.charon.one_sa()["uniqueid"])
        pair.charon.terminate(ike="c")
        pair.another_ike(former)
        pair.down()


@play(CHARON_CLIENT, "cluster", CHARONS, OPERATOR, ADOPTED)
def cluster(trial: Trial) -> None:
    """Three members behind one address."""
    at = trial.stage
    made = at.cluster()
    charon = at.charon(
        settings="retransmit_timeout = 1\nretransmit_base = 1.2\nretransmit_tries = 20"
    )
    charon.secret("IKE", ours.PSK)
    charon.connection("c", **client_connection())
    with trial.row(OPERATOR):
        charon.initiate("c-net")
        sessions = json.loads(made.operate("sessions", "list", "-o", "json"))["sessions"]
        expect(len(sessions) == 1, f"our cluster has {sessions}")
        made.operate("sessions", "terminate", sessions[0]["spi_r"])
        until(lambda: not charon.sas(), f"no IKE SA at charon; it has {charon.sas()}")
    with trial.row(ADOPTED):
        charon.initiate("c-net")
        ike = str(charon.one_sa()["uniqueid"])
        spi = charon.one_child()["spi-in"]
        made.gateways[0].running.kill()
        made.move(0, 1)
        at.right.ip("neigh flush all")
        charon.rekey(child="c-net")
        until(
            lambda: [c["spi-in"] != spi for c in charon.children()] == [True],
            f"a Child SA by the next gateway; charon: {charon.complaints()}",
        )
        expect(list(charon.sas()) == [ike], "the IKE SA is another one")
