"""Rekeys of IKE and Child SAs, by either side and by both at once; a second Child SA.

Rules: each end rekeys by itself when something is due, so the end under test has a short age and
the other one never begins. Both at once: the peer hears nothing of ours until its own request is on
the way too.
"""

from tests.interop.pairs import Pair
from tests.interop.play import CHARON_CLIENT, CHARON_GATEWAY, CHARONS, Trial, play
from tests.interop.vici import Value
from tests.interop.world import until

SOON_S = 3.0
CHILD_BY_PEER = "Child SA rekeyed by strongSwan"
PFS_BY_PEER = "Child SA rekeyed by strongSwan, with PFS"
IKE_BY_PEER = "IKE SA rekeyed by strongSwan"
SECOND = "another Child SA by strongSwan, and its Delete"
CHILD_BY_US, IKE_BY_US = "Child SA rekeyed by us, with PFS", "IKE SA rekeyed by us"
CHILD_AT_ONCE, IKE_AT_ONCE = "Child SA rekeyed by both at once", "IKE SA rekeyed by both at once"
BY_US = {"child_rekey_s": SOON_S, "ike_rekey_s": 2.2 * SOON_S}
"""Our side begins, first with the Child SA."""
SECTION = {CHARON_CLIENT: "ike", CHARON_GATEWAY: "client"}
QUIET = {"client": {"liveness_interval_s": 60.0}}
"""No sign of life in between: what is lost is the rekey."""


def by_peer(trial: Trial, part: str) -> None:
    """charon begins."""
    pair = Pair(trial, part)
    pair.connection()
    ike = pair.up()
    spi = pair.spi()
    with trial.row(CHILD_BY_PEER):
        pair.charon.rekey(child="c-net")
        spi = pair.another_child(spi)
    with trial.row(SECOND):
        narrower: dict[str, Value] = {"local_ts": ["10.2.9.0/24"], "remote_ts": ["10.1.9.0/24"]}
        if part == CHARON_GATEWAY:
            narrower = {"local_ts": ["10.1.9.0/24"], "remote_ts": ["10.2.9.0/24"]}
        pair.connection(more={"c-more": narrower})
        pair.charon.initiate("c-more")
        until(lambda: len(pair.charon.children()) == 2, "two Child SAs")
        newest = max(pair.charon.children(), key=lambda child: int(str(child["uniqueid"])))
        pair.charon.terminate(child_id=str(newest["uniqueid"]))
        pair.charon.one_child()
    with trial.row(IKE_BY_PEER):
        pair.charon.rekey(ike_id=ike)
        pair.another_ike(ike)
        pair.down()
    with trial.row(PFS_BY_PEER):
        pair.charon.vici.call("unload-conn", {"name": "c"})
        pair.connection("pfs", esp="aes256gcm16-ecp256-x25519")
        pair.up()
        spi = pair.spi()
        pair.charon.rekey(child="pfs-net")
        pair.another_child(spi)
        pair.down()


def by_us(trial: Trial, part: str) -> None:
    """Our side begins: the Child SA first, then the IKE SA, and again."""
    pair = Pair(trial, part, tables={SECTION[part]: BY_US})
    pair.connection(esp="aes256gcm16-x25519")
    ike = pair.up()
    spi = pair.spi()
    with trial.row(CHILD_BY_US):
        pair.another_child(spi)
    with trial.row(IKE_BY_US):
        pair.another_ike(ike)
        pair.down()


def crossed(pair: Pair, **rekey: str) -> None:
    """Ours doesn't arrive until charon has begun its own; then ours does, and its answer later."""
    there = pair.stage.right
    there.cut()
    until(lambda: there.missed() > 0, "a rekey by us")
    pair.charon.rekey(**rekey)
    pair.charon.says(r"generating CREATE_CHILD_SA request")
    there.cut(responses_only=True)
    pair.charon.says(r"parsed CREATE_CHILD_SA request")
    there.mend()


def child_crosses(trial: Trial, pair: Pair, row: str) -> None:
    """Both rekey the Child SA. Our side's must be due `SOON_S` after it is made."""
    pair.up(**QUIET)
    spi = pair.spi()
    with trial.row(row):
        crossed(pair, child="c-net")
        pair.another_child(spi)
        pair.down()


def ike_crosses(trial: Trial, pair: Pair, row: str) -> None:
    """Both rekey the IKE SA, likewise."""
    ike = pair.up(**QUIET)
    with trial.row(row):
        crossed(pair, ike="c")
        pair.another_ike(ike)
        pair.down()


def child_at_once(trial: Trial, part: str) -> None:
    """Without a key exchange."""
    pair = Pair(trial, part, tables={SECTION[part]: {"child_rekey_s": SOON_S, "child_pfs": False}})
    pair.connection()
    child_crosses(trial, pair, CHILD_AT_ONCE)


def ike_at_once(trial: Trial, part: str) -> None:
    """With one."""
    pair = Pair(trial, part, tables={SECTION[part]: {"ike_rekey_s": SOON_S}})
    pair.connection()
    ike_crosses(trial, pair, IKE_AT_ONCE)


@play(
    CHARON_CLIENT, "rekeys by strongSwan", CHARONS, CHILD_BY_PEER, SECOND, IKE_BY_PEER, PFS_BY_PEER
)
def gateway_answers(trial: Trial) -> None:
    """Our gateway only answers."""
    by_peer(trial, CHARON_CLIENT)


@play(
    CHARON_GATEWAY, "rekeys by strongSwan", CHARONS, CHILD_BY_PEER, SECOND, IKE_BY_PEER, PFS_BY_PEER
)
def client_answers(trial: Trial) -> None:
    """Our client only answers."""
    by_peer(trial, CHARON_GATEWAY)


@play(CHARON_CLIENT, "rekeys by us", CHARONS, CHILD_BY_US, IKE_BY_US)
def gateway_begins(trial: Trial) -> None:
    """Our gateway begins."""
    by_us(trial, CHARON_CLIENT)


@play(CHARON_GATEWAY, "rekeys by us", CHARONS, CHILD_BY_US, IKE_BY_US)
def client_begins(trial: Trial) -> None:
    """Our client begins."""
    by_us(trial, CHARON_GATEWAY)


@play(CHARON_CLIENT, "child rekeys at once", CHARONS, CHILD_AT_ONCE)
def gateway_child_crosses(trial: Trial) -> None:
    """Our gateway and strongSwan."""
    child_at_once(trial, CHARON_CLIENT)


@play(CHARON_GATEWAY, "child rekeys at once", CHARONS, CHILD_AT_ONCE)
def client_child_crosses(trial: Trial) -> None:
    """Our client and strongSwan."""
    child_at_once(trial, CHARON_GATEWAY)


@play(CHARON_CLIENT, "IKE rekeys at once", CHARONS, IKE_AT_ONCE)
def gateway_ike_crosses(trial: Trial) -> None:
    """Our gateway and strongSwan."""
    ike_at_once(trial, CHARON_CLIENT)


@play(CHARON_GATEWAY, "IKE rekeys at once", CHARONS, IKE_AT_ONCE)
def client_ike_crosses(trial: Trial) -> None:
    """Our client and strongSwan."""
    ike_at_once(trial, CHARON_GATEWAY)
