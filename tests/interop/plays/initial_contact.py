"""INITIAL_CONTACT: who has lost everything and comes again leaves no old session behind."""

from tests.interop import ours
from tests.interop.pairs import FAST, Pair
from tests.interop.play import CHARON_CLIENT, CHARON_GATEWAY, CHARONS, Trial, play
from tests.interop.world import expect, until

AGAIN = "INITIAL_CONTACT ends what was there before"


@play(CHARON_CLIENT, "initial contact", CHARONS, AGAIN)
def charon_again(trial: Trial) -> None:
    """charon is killed, and connects again when it is back."""
    pair = Pair(trial, CHARON_CLIENT)
    pair.connection(unique="no")
    with trial.row(AGAIN):
        pair.up()
        pair.charon.program.kill()
        pair.charon = trial.stage.charon(settings=FAST, name="charon2")
        pair.charon.secret("IKE", ours.PSK)
        pair.connection(unique="no")
        pair.up()
        gateway = pair.ours
        until(lambda: len(gateway.events("sa_ended")) == 1, "the first session ended at ours")
        expect(len(gateway.events("sa_established")) == 2, "two sessions in all")
        pair.down()


@play(CHARON_GATEWAY, "initial contact", CHARONS, AGAIN)
def ours_again(trial: Trial) -> None:
    """Our client is killed, its ticket lost, and connects again."""
    pair = Pair(trial, CHARON_GATEWAY)
    pair.connection(unique="no")
    with trial.row(AGAIN):
        former = pair.up()
        pair.ours.running.kill()
        again = pair.up()
        expect(again != former, "another IKE SA")
        pair.charon.says("destroying duplicate|INITIAL_CONTACT|INIT_CONTACT|N.INIT_CONT")
        pair.down()
