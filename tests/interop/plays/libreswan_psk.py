"""libreswan with tickets, in both roles, with a pre-shared key: full, suspended, resumed, refused.

Rules: libreswan signs and checks the first message alone on resumption, so our client is set to
that form, and our gateway takes it by default. Its suspend sends a Delete and keeps the ticket.
"""

from tests.interop import stage
from tests.interop.libreswan import Pluto
from tests.interop.play import PLUTO_CLIENT, PLUTO_GATEWAY, PLUTOS, Trial, play
from tests.interop.stage import Stage
from tests.interop.world import expect

FULL, RESUMED = "full handshake, with a ticket", "suspended, and resumed"
AGAIN = "resumed once more, with the ticket of the resumption"
AT_FIRST = "full handshake at one of three gateways"
ELSEWHERE = "resumed at another gateway, after the first was killed"
AT_NEXT = "and again at the next one, with a ticket of the second"
NACK = "a refused ticket leads to a full handshake at once"
NAME = "net"
RESUMES = "initiator processed IKE_SESSION_RESUME"
REFUSED = "received TICKET_NACK"


def connection(gateway_is_pluto: bool, **more: str) -> dict[str, str]:
    """Their section: left is the gateway, whoever that is."""
    theirs, our = stage.THEIR_IP, stage.OUR_IP
    return {
        "keyexchange": "ikev2",
        "left": theirs if gateway_is_pluto else our,
        "right": "%any" if gateway_is_pluto else theirs,
        "leftid": "@gw.example.com",
        "rightid": "@client.example.com",
        "leftsubnet": "10.1.0.0/16",
        "rightsubnet": "10.2.0.0/16",
        "authby": "secret",
        "ike": "aes_gcm256-sha2_256-dh31",
        "esp": "aes_gcm256",
        "session-resumption": "yes",
        "auto": "add" if gateway_is_pluto else "ignore",
        "leftupdown": "/bin/true",
        "rightupdown": "/bin/true",
        "mobike": "no",
        "rekey": "no",
        **more,
    }


def suspend_and_resume(pluto: Pluto) -> None:
    """Down with a Delete, and up again by the ticket."""
    pluto.whack("--suspend", "--name", NAME)
    pluto.initiate(NAME, RESUMES)


@play(PLUTO_CLIENT, "PSK", PLUTOS, FULL, RESUMED, AGAIN, NACK)
def as_client(trial: Trial) -> None:
    """At one gateway of ours, which is started anew at the end and then knows no key."""
    at = trial.stage
    at.flat()
    gateway = at.gateway()
    pluto = at.pluto({NAME: connection(gateway_is_pluto=False)})
    with trial.row(FULL):
        pluto.initiate(NAME)
        pluto.says("received v2N_TICKET_LT_OPAQUE")
    with trial.row(RESUMED):
        suspend_and_resume(pluto)
        gateway.records("sa_established", how="resumed")
    with trial.row(AGAIN):
        suspend_and_resume(pluto)
        gateway.records("sa_established", more_than=1, how="resumed")
    with trial.row(NACK):
        pluto.whack("--suspend", "--name", NAME)
        gateway.running.kill()
        gateway.start()
        pluto.whack("--initiate", "--name", NAME)
        pluto.says(REFUSED)
        gateway.records("sa_established", more_than=1, how="full")


@play(PLUTO_GATEWAY, "PSK", PLUTOS, FULL, RESUMED, AGAIN, NACK)
def as_gateway(trial: Trial) -> None:
    """Our client is killed and started again, its ticket on disk; pluto too, in the end."""
    at = trial.stage
    at.flat()
    pluto = at.pluto({NAME: connection(gateway_is_pluto=True)})
    client = at.client(client={"resume_auth": "first-message"})
    with trial.row(FULL):
        client.up()
        client.records("ticket")
    with trial.row(RESUMED):
        restart(at)
        client.up("resumed")
    with trial.row(AGAIN):
        restart(at)
        client.up("resumed", more_than=1)
    with trial.row(NACK):
        client.running.kill()
        pluto.program.kill()
        pluto.start()
        client.start()
        client.records("ticket_refused")
        client.up("full", more_than=1)
        expect(client.running.end() == 0, "our client ended badly")


@play(PLUTO_CLIENT, "cluster", PLUTOS, AT_FIRST, ELSEWHERE, AT_NEXT)
def at_another_member(trial: Trial) -> None:
    """Three members behind one address; whoever has it is killed, and another one gets it."""
    at = trial.stage
    cluster = at.cluster()
    first, second, third = cluster.gateways
    pluto = at.pluto({NAME: connection(gateway_is_pluto=False)})
    with trial.row(AT_FIRST):
        pluto.initiate(NAME)
        first.records("sa_established", how="full")
    with trial.row(ELSEWHERE):
        first.running.kill()
        cluster.move(0, 1)
        at.right.ip("neigh flush all")
        suspend_and_resume(pluto)
        second.records("sa_established", how="resumed")
    with trial.row(AT_NEXT):
        second.running.kill()
        cluster.move(1, 2)
        at.right.ip("neigh flush all")
        suspend_and_resume(pluto)
        third.records("sa_established", how="resumed")


def restart(at: Stage) -> None:
    """Our client dies without a word, and comes back."""
    (client,) = at.clients
    client.records("ticket")
    client.running.kill()
    client.start()
