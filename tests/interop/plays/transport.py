"""Transport mode, asked for by either."""

from typing import Any

from tests.interop.pairs import Pair
from tests.interop.play import CHARON_CLIENT, CHARON_GATEWAY, CHARONS, Trial, play
from tests.interop.world import expect

MODE = "transport mode"
HOSTS: dict[str, Any] = {
    "mode": "transport",
    "local_ts": ["dynamic"],
    "remote_ts": ["dynamic"],
    "esp_proposals": ["aes256gcm16"],
}


def _is_transport(pair: Pair) -> None:
    child = pair.charon.one_child()
    expect(child["mode"] == "TRANSPORT", f"charon has a Child SA in mode {child['mode']}")


@play(CHARON_CLIENT, "transport mode", CHARONS, MODE)
def as_client(trial: Trial) -> None:
    """charon asks; our gateway grants it to the connection that has it, and a rekey keeps it."""
    granted = {"name": "hosts", "identity": ["*"], "mode": "transport"}
    pair = Pair(trial, CHARON_CLIENT, tables={"connection": [granted]})
    pair.connection(child=HOSTS)
    with trial.row(MODE):
        pair.up()
        _is_transport(pair)
        former = pair.spi()
        pair.charon.rekey(child=f"{pair.name}-net")
        pair.another_child(former)
        _is_transport(pair)
        pair.down()


@play(CHARON_GATEWAY, "transport mode", CHARONS, MODE)
def as_gateway(trial: Trial) -> None:
    """Our client asks, and charon grants it."""
    pair = Pair(trial, CHARON_GATEWAY)
    pair.connection(child=HOSTS)
    with trial.row(MODE):
        pair.up(client={"mode": "transport"})
        _is_transport(pair)
        pair.down()
