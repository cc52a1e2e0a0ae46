"""What an operator wants, done to strongSwan: a limit of sessions over all members, and a redirect
of sessions that are up."""

import json
from typing import Any

from tests.interop import ours
from tests.interop.ours import MEMBER_IPS, Cluster
from tests.interop.pairs import FAST, client_connection
from tests.interop.play import CHARON_CLIENT, CHARONS, Trial, play
from tests.interop.strongswan import Charon
from tests.interop.world import CaseFailed, expect, until

LIMITED = "one session too many is refused, at another member too"
REDIRECTED = "redirected by our operator while it is up"


def with_members(trial: Trial, **tables: Any) -> tuple[Cluster, Charon]:
    """Three members, and charon."""
    made = trial.stage.cluster(**tables)
    charon = trial.stage.charon(settings=FAST)
    charon.secret("IKE", ours.PSK)
    charon.connection("c", **client_connection())
    return made, charon


@play(CHARON_CLIENT, "sessions limited", CHARONS, LIMITED)
def limited(trial: Trial) -> None:
    """One identity comes to two members, and may have one session."""
    _, charon = with_members(trial, ike={"sessions_max": 1})
    again = {**client_connection("d"), "remote_addrs": [MEMBER_IPS[1]]}
    charon.connection("d", **again)
    with trial.row(LIMITED):
        charon.initiate("c-net")
        refused = False
        try:
            charon.initiate("d-net")
        except CaseFailed:
            refused = True
        expect(refused, "the second one was let in")
        expect("AUTHENTICATION_FAILED" in charon.log, f"charon: {charon.complaints()}")
        expect(len(charon.sas()) == 1, f"charon has {charon.sas()}")
        charon.terminate(ike="c")
        until(lambda: not charon.sas(), "no IKE SA at charon after the Delete")
        charon.initiate("d-net")
        charon.terminate(ike="d")
        until(lambda: not charon.sas(), "no IKE SA at charon after the second Delete")


@play(CHARON_CLIENT, "redirected by us", CHARONS, REDIRECTED)
def redirected(trial: Trial) -> None:
    """charon is at one member's address, and is sent to another one's."""
    made, charon = with_members(trial)
    with trial.row(REDIRECTED):
        charon.initiate("c-net")
        some = ("--identity", f"fqdn:{ours.CLIENT_NAME}", "--to", MEMBER_IPS[1])
        told = json.loads(made.operate("sessions", "redirect", *some, "-o", "json"))
        expect(told["told"] == 1, f"it says {told}")
        until(
            lambda: [sa["remote-host"] for sa in charon.established()] == [MEMBER_IPS[1]],
            f"an IKE SA with {MEMBER_IPS[1]}; charon: {charon.complaints()}",
        )
        charon.one_child()
        charon.terminate(ike="c")
        until(lambda: not charon.sas(), "no IKE SA at charon after the Delete")
