"""Additional key exchanges (RFC 9370) of groups that both have: in IKE_INTERMEDIATE (RFC 9242), and
in IKE_FOLLOWUP_KE when either side or both at once rekey.
"""

import re

from tests.interop.pairs import Pair
from tests.interop.play import CHARON_CLIENT, CHARON_GATEWAY, CHARONS, Trial, play
from tests.interop.plays.rekeys import BY_US, SECTION, SOON_S, child_crosses, ike_crosses
from tests.interop.world import expect

SINCE_6 = CHARONS[1:]
"""5.9.8 knows neither RFC."""
ROWS = {
    "X25519, and P-384 on top": "aes256gcm16-prfsha256-x25519-ke1_ecp384",
    "P-256, and X25519, MODP-2048 on top": "aes256gcm16-prfsha384-ecp256-ke1_x25519-ke2_modp2048",
}


@play(CHARON_CLIENT, "additional key exchanges", SINCE_6, *ROWS)
def of_charon(trial: Trial) -> None:
    """charon wants them."""
    pair = Pair(trial, CHARON_CLIENT, tables={"ike": {"proposals": list(ROWS.values())}})
    for number, (row, ike) in enumerate(ROWS.items()):
        with trial.row(row):
            pair.connection(f"c{number}", ike)
            pair.up()
            pair.down()


@play(CHARON_GATEWAY, "additional key exchanges", SINCE_6, *ROWS)
def of_ours(trial: Trial) -> None:
    """Our client wants them."""
    pair = Pair(trial, CHARON_GATEWAY)
    pair.connection(proposals=list(ROWS.values()))
    for row, ike in ROWS.items():
        with trial.row(row):
            pair.up(client={"proposals": [ike]})
            pair.down()


# -- and in rekeys (IKE_FOLLOWUP_KE) --------------------------------------------------------------

HYBRID = "aes256gcm16-prfsha256-x25519-ke1_ecp384-ke2_modp2048"
HYBRID_ESP = "aes256gcm16-x25519-ke1_ecp384-ke2_modp2048"
CHILD_BY_PEER = "IKE_FOLLOWUP_KE: Child SA rekeyed by strongSwan"
IKE_BY_PEER = "IKE_FOLLOWUP_KE: IKE SA rekeyed by strongSwan"
CHILD_BY_US, IKE_BY_US = "IKE_FOLLOWUP_KE: Child SA rekeyed by us", "IKE_FOLLOWUP_KE: IKE SA by us"
CHILD_AT_ONCE = "IKE_FOLLOWUP_KE: Child SA rekeyed by both at once"
IKE_AT_ONCE = "IKE_FOLLOWUP_KE: IKE SA rekeyed by both at once"
ROUNDS = 2
"""IKE_FOLLOWUP_KE exchanges of a rekey."""


def by_hybrid(trial: Trial, part: str, **tables: object) -> Pair:
    """Both have these algorithms, and no others."""
    pair = Pair(trial, part, tables={SECTION[part]: {"proposals": [HYBRID], **tables}})
    pair.connection(ike=HYBRID, esp=HYBRID_ESP)
    return pair


def followed(pair: Pair, more_than: int = 0) -> int:
    """How many IKE_FOLLOWUP_KE responses charon has seen or made; there must be `more_than` at
    least.
    """
    seen = len(re.findall(r"(?:generating|parsed) IKE_FOLLOWUP_KE response", pair.charon.log))
    expect(seen >= more_than, f"{seen} IKE_FOLLOWUP_KE, expected {more_than}")
    return seen


def rekeyed_by_peer(trial: Trial, part: str) -> None:
    """charon begins."""
    pair = by_hybrid(trial, part)
    ike = pair.up()
    spi = pair.spi()
    with trial.row(CHILD_BY_PEER):
        pair.charon.rekey(child="c-net")
        pair.another_child(spi)
        followed(pair, ROUNDS)
    with trial.row(IKE_BY_PEER):
        pair.charon.rekey(ike_id=ike)
        pair.another_ike(ike)
        followed(pair, 2 * ROUNDS)
        pair.down()


def rekeyed_by_us(trial: Trial, part: str) -> None:
    """Our side begins: the Child SA first, then the IKE SA."""
    pair = by_hybrid(trial, part, **BY_US)
    ike = pair.up()
    spi = pair.spi()
    with trial.row(CHILD_BY_US):
        pair.another_child(spi)
        followed(pair, ROUNDS)
    with trial.row(IKE_BY_US):
        pair.another_ike(ike)
        followed(pair, 2 * ROUNDS)
        pair.down()


def child_at_once(trial: Trial, part: str) -> None:
    """Both rekey the Child SA."""
    child_crosses(trial, by_hybrid(trial, part, child_rekey_s=SOON_S), CHILD_AT_ONCE)


def ike_at_once(trial: Trial, part: str) -> None:
    """Both rekey the IKE SA."""
    ike_crosses(trial, by_hybrid(trial, part, ike_rekey_s=SOON_S), IKE_AT_ONCE)


@play(CHARON_CLIENT, "followup by strongSwan", SINCE_6, CHILD_BY_PEER, IKE_BY_PEER)
def gateway_answers(trial: Trial) -> None:
    """Our gateway only answers."""
    rekeyed_by_peer(trial, CHARON_CLIENT)


@play(CHARON_GATEWAY, "followup by strongSwan", SINCE_6, CHILD_BY_PEER, IKE_BY_PEER)
def client_answers(trial: Trial) -> None:
    """Our client only answers."""
    rekeyed_by_peer(trial, CHARON_GATEWAY)


@play(CHARON_CLIENT, "followup by us", SINCE_6, CHILD_BY_US, IKE_BY_US)
def gateway_begins(trial: Trial) -> None:
    """Our gateway begins."""
    rekeyed_by_us(trial, CHARON_CLIENT)


@play(CHARON_GATEWAY, "followup by us", SINCE_6, CHILD_BY_US, IKE_BY_US)
def client_begins(trial: Trial) -> None:
    """Our client begins."""
    rekeyed_by_us(trial, CHARON_GATEWAY)


@play(CHARON_CLIENT, "followup at once, child", SINCE_6, CHILD_AT_ONCE)
def gateway_child_crosses(trial: Trial) -> None:
    """Our gateway and strongSwan."""
    child_at_once(trial, CHARON_CLIENT)


@play(CHARON_GATEWAY, "followup at once, child", SINCE_6, CHILD_AT_ONCE)
def client_child_crosses(trial: Trial) -> None:
    """Our client and strongSwan."""
    child_at_once(trial, CHARON_GATEWAY)


@play(CHARON_CLIENT, "followup at once, IKE", SINCE_6, IKE_AT_ONCE)
def gateway_ike_crosses(trial: Trial) -> None:
    """Our gateway and strongSwan."""
    ike_at_once(trial, CHARON_CLIENT)


@play(CHARON_GATEWAY, "followup at once, IKE", SINCE_6, IKE_AT_ONCE)
def client_ike_crosses(trial: Trial) -> None:
    """Our client and strongSwan."""
    ike_at_once(trial, CHARON_GATEWAY)
