"""node.eap.desk: conversations by the IKE SA that they belong to."""

import structlog

from node.eap.desk import EapDesk
from node.eap.method import Asked, Conversation, Failure, Reason, Round, Success
from node.metrics import Counts
from node.observe import SparseLog
from proto.secret import Secret
from tests.unit.node.eap.parts import HandClock

SUCCESS = Success("carol", 26, Secret(bytes(64)), classes=(b"staff",))


class Echo:
    """Says what it is told, until that is the end."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.closed = False
        self.told: Failure | None = None

    async def answer(self, packet: bytes) -> Round:
        """The next round."""
        match packet:
            case b"in":
                return Round(b"ok", SUCCESS)
            case b"out":
                return Round(b"no", Failure(Reason.CREDENTIALS, "wrong", "carol"))
            case _:
                return Round(packet or b"hello %d" % self.number, None, self.told)

    def close(self) -> None:
        """Noted."""
        self.closed = True


class Echoes:
    """Implements `Backend`."""

    def __init__(self) -> None:
        self.made: list[Echo] = []

    def converse(self, asked: Asked) -> Conversation:
        """One more."""
        self.made.append(Echo(len(self.made)))
        return self.made[-1]


ASKED = Asked("carol", "192.0.2.1")


class Place:
    """A desk with what is around it."""

    def __init__(self, at_most: int = 3) -> None:
        self.clock, self.backend, self.lines = HandClock(), Echoes(), structlog.testing.LogCapture()
        log = structlog.wrap_logger(None, processors=[self.lines])
        sparse = SparseLog(log, self.clock)
        self.ended = Counts()
        self.desk = EapDesk(
            self.backend, self.clock, sparse, self.ended, at_most=at_most, lifetime_s=30.0
        )


async def test_a_conversation_goes_on_under_its_name() -> None:
    place = Place()
    assert (await place.desk.begin(b"a", ASKED)).packet == b"hello 0"
    assert (await place.desk.begin(b"b", ASKED)).packet == b"hello 1"
    assert (await place.desk.go_on(b"a", b"more")).packet == b"more"
    assert (await place.desk.go_on(b"a", b"in")).result == SUCCESS
    assert len(place.desk) == 1
    assert place.backend.made[0].closed
    assert place.ended.by == {"success": 1}
    (line,) = place.lines.entries
    assert (line["event"], line["identity"]) == ("eap: success", "carol")
    assert (line["method"], line["classes"]) == ("MSCHAPV2", ["7374616666"])
    assert "msk" not in str(line)


async def test_a_client_begins_with_the_gateways_packet() -> None:
    place = Place()
    assert (await place.desk.begin(b"a", ASKED, b"first")).packet == b"first"


async def test_a_failure_is_counted_and_said_elsewhere() -> None:
    place = Place()
    await place.desk.begin(b"a", ASKED)
    assert (await place.desk.go_on(b"a", b"out")).packet == b"no"
    assert place.ended.by == {"credentials": 1}
    assert place.lines.entries == []


async def test_a_verdict_is_said_before_the_peer_has_heard_it_and_once() -> None:
    place = Place()
    await place.desk.begin(b"a", ASKED)
    failure = Failure(Reason.CREDENTIALS, "wrong", "carol")
    place.backend.made[0].told = failure
    assert (await place.desk.go_on(b"a", b"more")).packet == b"more"
    assert place.ended.by == {"credentials": 1}
    assert [line["why"] for line in place.lines.entries] == ["wrong"]
    await place.desk.go_on(b"a", b"more")
    assert (await place.desk.go_on(b"a", b"out")).result == failure
    assert place.ended.by == {"credentials": 1}
    assert len(place.lines.entries) == 1
    assert len(place.desk) == 0


async def test_what_isnt_under_way_doesnt_go_on() -> None:
    place = Place()
    went = await place.desk.go_on(b"a", b"more")
    assert went == Round(b"", Failure(Reason.MALFORMED, "no conversation is under way"))


async def test_an_empty_packet_doesnt_begin_anew() -> None:
    place = Place()
    await place.desk.begin(b"a", ASKED)
    went = await place.desk.go_on(b"a", b"")
    assert went == Round(b"", Failure(Reason.MALFORMED, "an empty packet"))
    assert len(place.desk) == 0


async def test_a_new_beginning_ends_what_was_there() -> None:
    place = Place()
    await place.desk.begin(b"a", ASKED)
    assert (await place.desk.begin(b"a", ASKED)).packet == b"hello 1"
    assert [echo.closed for echo in place.backend.made] == [True, False]


async def test_conversations_have_a_bound_and_a_time() -> None:
    place = Place(at_most=2)
    await place.desk.begin(b"a", ASKED)
    place.clock.now_s += 20
    await place.desk.begin(b"b", ASKED)
    went = await place.desk.begin(b"c", ASKED)
    assert isinstance(went.result, Failure)
    assert went.result.reason is Reason.BUSY
    place.clock.now_s += 10
    assert (await place.desk.begin(b"c", ASKED)).packet == b"hello 2"
    assert place.backend.made[0].closed
    assert (await place.desk.go_on(b"b", b"more")).packet == b"more"


async def test_what_nobody_holds_is_forgotten_quietly() -> None:
    Place().desk.forget(b"a")
