"""Additional key exchanges (RFC 9370) in IKE_INTERMEDIATE (RFC 9242), of groups that both have."""

from tests.interop.pairs import Pair
from tests.interop.play import CHARON_CLIENT, CHARON_GATEWAY, CHARONS, Trial, play

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
