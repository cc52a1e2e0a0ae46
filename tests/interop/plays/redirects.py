"""REDIRECT (RFC 5685): our gateways send strongSwan elsewhere; strongSwan sends our client."""

from tests.interop import ours, stage
from tests.interop.pairs import Pair
from tests.interop.play import CHARON_CLIENT, CHARON_GATEWAY, CHARONS, Trial, play
from tests.interop.world import expect, until

SINCE_6 = CHARONS[1:]
"""5.9.8 crashes when it is redirected with the answer to IKE_AUTH (seen: SIGSEGV in charon)."""
OTHER_IP, OTHER_PEER_IP = "192.0.2.2", "192.0.2.101"
AT_INIT = "redirected with the answer to IKE_SA_INIT"
AT_AUTH = "redirected with the answer to IKE_AUTH"
ACTIVE = "redirected on an established IKE SA"


def lands_elsewhere(pair: Pair) -> None:
    """charon's one IKE SA is with the other gateway in the end, and none is being deleted."""
    pair.charon.vici.call("initiate", {"child": "c-net", "timeout": "-1"})
    until(
        lambda: (
            [sa["remote-host"] for sa in pair.charon.established()] == [OTHER_IP]
            and len(pair.charon.sas()) == 1
        ),
        f"an IKE SA with {OTHER_IP}; charon: {pair.charon.complaints()}",
    )
    pair.charon.one_child()
    pair.charon.terminate(ike="c")
    until(lambda: not pair.charon.sas(), "no IKE SA at charon after the Delete")


@play(CHARON_CLIENT, "redirects", CHARONS, AT_INIT)
def at_init(trial: Trial) -> None:
    """One gateway at two addresses, that sends away whom it meets at one of them."""
    at = trial.stage
    at.flat()
    at.world.address(at.left, f"{OTHER_IP}/24")
    at.captures[-1][1].append(OTHER_IP)
    listen = [f"{stage.OUR_IP}:500", f"{OTHER_IP}:500"]
    first = {"listen": listen, "redirect": OTHER_IP, "redirect_at": [stage.OUR_IP]}
    pair = Pair(trial, CHARON_CLIENT, tables={"ike": first})
    with trial.row(AT_INIT):
        pair.connection()
        lands_elsewhere(pair)


@play(CHARON_CLIENT, "redirects later", SINCE_6, AT_AUTH)
def at_auth(trial: Trial) -> None:
    """A gateway that sends a client away once it knows who that is, and another one."""
    at = trial.stage
    at.flat()
    at.world.address(at.left, f"{OTHER_IP}/24")
    at.captures[-1][1].append(OTHER_IP)
    away = {"name": "away", "identity": [f"fqdn:{ours.CLIENT_NAME}"], "redirect": OTHER_IP}
    pair = Pair(trial, CHARON_CLIENT, tables={"connection": [away]})
    at.gateway(f"{OTHER_IP}:500", name="gw2")
    with trial.row(AT_AUTH):
        pair.connection()
        lands_elsewhere(pair)


@play(CHARON_GATEWAY, "redirects", CHARONS, ACTIVE)
def theirs_redirect(trial: Trial) -> None:
    """charon has two addresses, and sends our client from one to the other."""
    at = trial.stage
    at.flat()
    at.world.address(at.right, f"{OTHER_PEER_IP}/24")
    pair = Pair(trial, CHARON_GATEWAY)
    pair.connection(local_addrs=[stage.THEIR_IP, OTHER_PEER_IP])
    with trial.row(ACTIVE):
        pair.up(f"{stage.THEIR_IP}:500", f"{OTHER_PEER_IP}:500")
        redirect = {"ike": "c", "gateway": OTHER_PEER_IP}
        pair.charon.vici.call("redirect", redirect)
        until(
            lambda: [sa["local-host"] for sa in pair.charon.established()] == [OTHER_PEER_IP],
            f"our client at {OTHER_PEER_IP}; it recorded {pair.ours.events('redirected')}",
        )
        pair.charon.one_child()
        expect(len(pair.ours.events("established")) == 2, "our client came twice")
        pair.down()
