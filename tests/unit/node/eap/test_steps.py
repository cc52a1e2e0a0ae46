"""node.eap.steps and node.eap.build: the core's errands of EAP, carried out."""

import asyncio

import structlog

from node.eap.build import serve_eap
from node.eap.desk import EapDesk
from node.eap.method import Asked, Conversation, Failure, Reason, Round, Success
from node.eap.steps import EapSteps
from node.errands import Errands
from node.metrics import Counts, Metrics
from node.observe import SparseLog
from node.supervisor import Supervisor
from node.trust.path import Anchors
from node.trust.verifier import Trust, TrustSettings
from proto.ike.errands import Result
from proto.ike.proofs import EapAsked, EapDone, EapStep, EapStepped
from proto.secret import Secret
from tests.sim.seams import AtOnce
from tests.unit.node.eap.parts import HandClock, SeededRng
from tests.unit.node.eap.test_check import config

KEY = Secret(bytes(64))
ASKED = EapAsked("guests", "carol", "192.0.2.1", ("tls",))


class Scripted:
    """A back end and its conversations: what they are asked, and what they say."""

    def __init__(self, *rounds: Round) -> None:
        self.rounds = list(rounds)
        self.heard: list[bytes] = []
        self.asked: list[Asked] = []

    def converse(self, asked: Asked) -> Conversation:
        """This one."""
        self.asked.append(asked)
        return self

    async def answer(self, packet: bytes) -> Round:
        """The next one."""
        self.heard.append(packet)
        return self.rounds.pop(0)

    def close(self) -> None:
        """Nothing."""


def steps(backend: Scripted) -> EapSteps:
    clock = HandClock()
    log = SparseLog(structlog.get_logger(), clock)
    return EapSteps(EapDesk(backend, clock, log, Counts(), at_most=9, lifetime_s=9.0))


async def test_rounds_of_a_conversation() -> None:
    backend = Scripted(
        Round(b"one"),
        Round(b"two", Success("c@e", 13, KEY, 60.0, certificate=b"1", expires_wall_s=9.0)),
    )
    made = steps(backend)
    assert await made.step(EapStep(b"spi", b"", ASKED)) == EapStepped(b"one")
    ended = await made.step(EapStep(b"spi", b"more"))
    assert ended == EapStepped(b"two", EapDone("c@e", "tls", KEY, True, 60.0, b"1", 9.0))
    assert backend.heard == [b"", b"more"]
    assert backend.asked == [Asked("carol", "192.0.2.1", ("tls",), "guests")]


async def test_what_cant_stand_alone_says_so() -> None:
    made = steps(Scripted(Round(b"", Success("c", 26, KEY)), Round(b"", Success("c", 99, KEY))))
    for method in ("mschapv2", "type99"):
        ended = await made.step(EapStep(b"spi", b"x", ASKED))
        assert ended.done == EapDone("c", method, KEY, False)


async def test_a_failure_says_why_to_the_core_alone() -> None:
    made = steps(Scripted(Round(b"no", Failure(Reason.CREDENTIALS, "wrong password"))))
    assert await made.step(EapStep(b"spi", b"", ASKED)) == EapStepped(
        b"no", None, "credentials: wrong password"
    )


async def test_a_gateway_carries_errands_of_eap_out() -> None:
    supervisor, metrics = Supervisor(), Metrics()
    errands = Errands(supervisor.contain, AtOnce())
    log = structlog.get_logger()
    trust = Trust(TrustSettings(Anchors(())), HandClock())
    made = serve_eap(errands, config(), HandClock(), SeededRng(), log, metrics, trust)
    told: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
    errands.begin(EapStep(b"spi", b"", ASKED), told.set_result)
    result = await told
    assert isinstance(result, EapStepped)
    assert result.why == "no-method: no method in common; the peer wants nothing (carol)"
    assert metrics.eap.by == {"no-method": 1}
    made.close()
    await supervisor.stop()
