"""Ten thousand connects and disconnects, driven over vici, and not one of them lost.

Rules: charon begins them, `WINDOW` at a time, and ends each as soon as it is up. Lost is whatever
charon doesn't tell the end of, and whatever our gateway counts otherwise than charon. The capture
is read for the first packets alone.
"""

from tests.interop.pairs import Pair
from tests.interop.play import CHARON_CLIENT, CHARONS, Trial, play
from tests.interop.world import CaseFailed, expect, until

COUNT = 10_000
WINDOW = 24
PACKETS = 400
ROW = "ten thousand connects and disconnects, none lost"
SETTINGS = """
  reuse_ikesa = no
  dos_protection = no
  block_threshold = 0
  cookie_threshold = 0
  init_limit_half_open = 0
  ikesa_table_size = 256
  ikesa_table_segments = 16
  keep_alive = 0
  retransmit_timeout = 5
"""


@play(CHARON_CLIENT, "storm", CHARONS, ROW)
def storm(trial: Trial) -> None:
    """One gateway, one charon."""
    trial.stage.flat(PACKETS)
    pair = Pair(trial, CHARON_CLIENT, settings=SETTINGS, quiet=True)
    pair.connection()
    with trial.row(ROW):
        connect_all(pair)
        gateway = pair.ours
        until(lambda: len(gateway.events("sa_ended")) >= COUNT, "every session ended at ours", 60)
        for kind in ("sa_established", "sa_ended"):
            counted = len(gateway.events(kind))
            expect(counted == COUNT, f"our gateway recorded {counted} {kind}")


def connect_all(pair: Pair) -> None:
    """Begin and end them. Raises CaseFailed when charon tells of nothing for long."""
    commands, events = pair.charon.vici, pair.charon.talk()
    events.register("ike-updown")
    wanted = {"child": f"{pair.name}-net", "timeout": "-1"}
    begun = ended = 0
    while ended < COUNT:
        while begun < COUNT and begun - ended < WINDOW:
            commands.call("initiate", wanted)
            begun += 1
        try:
            event = events.event()
        except TimeoutError:
            raise CaseFailed(f"{begun} begun, {ended} ended, and silence") from None
        up = event.get("up") == "yes"
        for sa in event.values():
            if isinstance(sa, dict) and up:
                commands.call("terminate", {"ike-id": str(sa["uniqueid"]), "timeout": "-1"})
        ended += not up
