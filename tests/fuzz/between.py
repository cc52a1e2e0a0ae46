"""Targets for what a member makes of other members' frames: forwarded datagrams, filters of spent
tickets, relayed calls, pledges.

Rules: who sends them is a member, of another release perhaps, or gone mad: nothing it says ends
this one, and what is kept of it is bounded.
"""

from collections.abc import Callable

from cluster.failsafe.frames import PledgeAnswer, PledgeAsk, PledgeQuery, PledgeWord
from cluster.failsafe.pledge import Phase, Pledges, View
from cluster.frames import decode_frame, encode_frame
from cluster.layout import Keys
from cluster.link import Forward, Frame, Relay, Return, Spent, SpentFilter, SpentSince
from cluster.relay_wire import (
    UNFINISHED_MAX,
    Assembly,
    CommitCall,
    Failed,
    GetCall,
    decode_answer,
    decode_call,
    error_of,
    pieces,
    within,
)
from cluster.spent import FORM, WINDOW_S, WINDOWS_MAX, SpentTickets
from cluster.store import Delete, Put, Txn
from cluster.store_memory import MemoryStore
from proto.ike.effects import Now, Path
from tests.fuzz import samples
from tests.fuzz.sealed import gateway
from tests.fuzz.target import Choices, Target, block
from tests.pair.parts import CLIENT, GATEWAY, WALL_S
from tests.unit.cluster.fakes import T0, HandClock

KEYS = Keys("sample")
FRAMES_MAX = 24
PEERS = ("gw2", "gw3")
LIVES = {"gw1": "01", "gw2": "02", "gw3": "03"}
DEADLINE_S, STEP_S = 15.0, 1.0


class Wire:
    """A link that keeps what was said."""

    def __init__(self) -> None:
        self.sent: list[Frame] = []

    def send(self, member: str, frame: Frame) -> bool:
        """It is kept."""
        self.sent.append(frame)
        return True

    def on_frame(self, handler: Callable[[str, Frame], None]) -> None:
        """Nothing comes but by a target's hand."""

    def set_peers(self, addresses: dict[str, str]) -> None:
        """Nobody is dialled."""

    async def close(self) -> None:
        """Nothing to end."""


def forwarded(data: bytes) -> None:
    """A datagram that another member says it has got, and from where, is served as any other: one
    answer at most, to where it came from.
    """
    frame = decode_frame(data)
    if not isinstance(frame, Forward | Return):
        return
    assert all(0 <= address[1] < 1 << 16 for address in (frame.local, frame.remote))
    path = Path(frame.local, frame.remote, "gw2")
    outcome = gateway().receive(frame.data, path, Now(100.0, WALL_S))
    assert [datagram.path for datagram in outcome.send] in ([], [path])
    assert outcome.persist is None


def spent(data: bytes) -> None:
    """Frames of filters: no more windows than there may be, and what this member itself has spent
    it goes on to know.
    """
    clock = HandClock()
    tickets = SpentTickets(MemoryStore(clock), KEYS, clock, Wire(), lambda: PEERS)
    chain, expires_s = b"a chain's 16 oct", T0 + 100.0
    tickets.add(chain, 1, expires_s)
    choices = Choices(data)
    for _ in range(FRAMES_MAX):
        if not choices:
            break
        match choices.below(4):
            case 0:
                frame = decode_frame(choices.block())
                if isinstance(frame, Spent):
                    tickets.receive("gw2", frame)
                elif isinstance(frame, SpentFilter):
                    tickets.receive_filter("gw2", frame)
                elif isinstance(frame, SpentSince):
                    tickets.receive_since("gw2", frame)
            case 1:
                tickets.receive_filter("gw2", _filter(choices))
            case 2:
                clock.advance(choices.byte() * 10.0)
                tickets.forget()
            case _:
                tickets.add(choices.octets(16), choices.byte(), T0 + choices.byte() * 100.0)
    assert len(tickets.windows) <= WINDOWS_MAX
    if int(expires_s // WINDOW_S) in tickets.windows:
        assert tickets.used(chain, 1, expires_s)


def _filter(choices: Choices) -> SpentFilter:
    """One of the right length, with octets of the fuzzer's anywhere in it."""
    octets = bytearray(_EMPTY)
    place, put = int.from_bytes(choices.octets(3), "big") % len(octets), choices.block()
    octets[place : place + len(put)] = put[: len(octets) - place]
    return SpentFilter(FORM, int(T0 // WINDOW_S) + choices.below(4), bytes(octets))


def _empty() -> bytes:
    """A whole filter's octets, as another member would send them."""
    clock, link = HandClock(), Wire()
    sender = SpentTickets(MemoryStore(clock), KEYS, clock, link, lambda: PEERS)
    sender.add(bytes(16), 1, T0)
    sender.owe("gw2")
    sender._pay()
    (frame,) = link.sent
    assert isinstance(frame, SpentFilter)
    return frame.octets


def relay(data: bytes) -> None:
    """Pieces of calls and answers: what is whole is as long as its pieces, and is a call, an answer
    or nothing; what isn't whole is bounded; an answer's error is one of the store's own.
    """
    choices, assembly, came = Choices(data), Assembly(), 0
    for _ in range(8 * FRAMES_MAX):
        if not choices:
            break
        number, part, parts = choices.below(80), choices.below(4), choices.below(4)
        octets = choices.block()
        came += len(octets)
        whole = assembly.take(Relay(number, part, parts, octets))
        assert len(assembly) <= UNFINISHED_MAX
        if whole is not None:
            assert len(whole) <= came
            _relayed(whole)
    _relayed(data)


def _relayed(octets: bytes) -> None:
    call, answer = decode_call(octets), decode_answer(octets)
    for message in (call, answer):
        if message is not None:
            whole = [Assembly().take(frame) for frame in pieces(1, message, back=False)]
            assert (decode_call if message is call else decode_answer)(whole[-1] or b"") == message
    if isinstance(call, CommitCall) and within(call.txn, KEYS.root):
        assert all(compare.key.startswith(KEYS.root) for compare in call.txn.compares)
    if isinstance(answer, Failed):
        assert str(error_of(answer, "gw2")) or not answer.text


def pledges(data: bytes) -> None:
    """Frames of two members without a store: failsafe only with a pledge of each, and no answer to
    an asker that the store has ended.
    """
    clock = 0.0
    machine, choices = Pledges("gw1", "01", lead_s=5.0), Choices(data)
    answers, given = False, dict.fromkeys(PEERS, False)
    for _ in range(4 * FRAMES_MAX):
        if not choices:
            break
        what, sender = choices.below(4), PEERS[choices.below(len(PEERS))]
        if what == 0:
            answers = bool(choices.below(2))
        elif what == 1:
            clock += STEP_S
        else:
            frame = decode_frame(choices.block())
            view = View(clock, answers, DEADLINE_S, LIVES)
            if _hear(machine, sender, frame, view) and isinstance(frame, PledgeAnswer):
                given[sender] = frame.given
        before = machine.phase
        machine.look(View(clock, answers, DEADLINE_S, LIVES))
        if machine.phase is Phase.FAILSAFE and before is not Phase.FAILSAFE:
            assert all(given.values()), "failsafe without everybody's pledge"
        if machine.phase is not before and machine.phase is not Phase.FAILSAFE:
            given = dict.fromkeys(PEERS, False)


def _hear(machine: Pledges, sender: str, frame: Frame | None, view: View) -> bool:
    """Hand a frame on; whether it was an answer that counts."""
    if isinstance(frame, PledgeAsk):
        answer = machine.asked(sender, frame, view)
        right = not view.store_answers and frame.incarnation == LIVES[sender]
        assert answer.given == right
    elif isinstance(frame, PledgeQuery):
        machine.queried(frame)
    elif isinstance(frame, PledgeWord):
        machine.word(sender, frame)
    elif isinstance(frame, PledgeAnswer):
        machine.answered(sender, frame)
        return frame.incarnation == "01" and machine.phase is Phase.ASKING
    return False


def _forwards() -> list[bytes]:
    own: list[Frame] = [Forward(data, GATEWAY, CLIENT) for data in samples.clear()[:4]]
    six: Frame = Forward(samples.clear()[0], ("2001:db8::1", 500), ("2001:db8::2", 500))
    return [encode_frame(one) for one in (*own, six, Return(b"answer", GATEWAY, CLIENT))]


def _spent_seeds() -> list[bytes]:
    window = int(T0 // WINDOW_S)
    told = encode_frame(Spent(FORM, window, (bytes(16), b"n" * 16)))
    return [
        b"\0" + block(told) + b"\1\0\0\x10" + block(b"\xff" * 64) + b"\1\2\xff\3" + bytes(16),
        b"\2\xff\2\xff" + b"\3" + bytes(18) + b"\1\0\0\0" + block(bytes(16)) + b"\0",
    ]


def _relay_seeds() -> list[bytes]:
    key = KEYS.root + b"key"
    txn = Txn((), (Put(key, b"v"), Txn((), (Delete(key),), ())), ())
    calls = (GetCall(key, 7), CommitCall(txn, 7), Failed("Unavailable", "why", "no-leader"))
    wholes = [frame.octets for call in calls for frame in pieces(1, call, back=False)]
    cut = [b"\1\0\2" + block(w[:9]) + b"\1\1\2" + block(w[9:]) for w in wholes]
    return [*wholes, *[b"\1\0\1" + block(w) for w in wholes], b"".join(cut)]


def _pledge_seeds() -> list[bytes]:
    yes: list[Frame] = [PledgeAnswer("01", 1, True, "", LIVES), PledgeWord("02", 1, True, LIVES)]
    asks: list[Frame] = [
        PledgeAsk("02", 1),
        PledgeQuery("01"),
        PledgeAnswer("01", 1, False, "no", LIVES),
    ]
    said = [b"\2" + bytes((n,)) + block(encode_frame(f)) for f in (*yes, *asks) for n in (0, 1)]
    wait = b"\1\0" * 12
    return [b"\1\0" + b"".join(said[:2]) + wait, b"".join(said) + b"\0\0\1" + b"".join(said)]


_EMPTY = _empty()
TARGETS = (
    Target("forwarded", forwarded, _forwards, 2),
    Target("spent", spent, _spent_seeds),
    Target("relay", relay, _relay_seeds, 2),
    Target("pledges", pledges, _pledge_seeds),
)
