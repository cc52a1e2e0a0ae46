"""The pledge machine: rule by rule, and every interleaving of a small cluster."""

import copy
import itertools

import msgspec

from cluster.failsafe.frames import PledgeAnswer, PledgeAsk, PledgeQuery, PledgeWord
from cluster.failsafe.pledge import Given, Phase, Pledges, View

NAMES = ("a", "b", "c")
MEMBERS = {name: f"{name}1" for name in NAMES}
DEADLINE_S, LEAD_S = 10.0, 1.0
LATE_S = 9.5
"""So near the deadline that failsafe may begin."""


def machine(name: str, life: int = 1, given: dict[str, Given] | None = None) -> Pledges:
    return Pledges(name, f"{name}{life}", lead_s=LEAD_S, given=given)


def view(answers: bool, now_s: float = LATE_S, members: dict[str, str] | None = None) -> View:
    return View(now_s, answers, DEADLINE_S, MEMBERS if members is None else members)


def pledge_of(name: str, to: Pledges, ask: PledgeAsk) -> None:
    to.answered(name, machine(name).asked("a", ask, view(False)))


def asking() -> tuple[Pledges, PledgeAsk]:
    a = machine("a")
    sent = a.look(view(False, 5.0))
    assert [name for name, _ in sent] == ["b", "c"]
    ask = sent[0][1]
    assert isinstance(ask, PledgeAsk)
    return a, ask


def test_failsafe_needs_the_pledge_of_every_other_member():
    a, ask = asking()
    pledge_of("b", a, ask)
    a.look(view(False))
    assert a.phase is Phase.ASKING
    pledge_of("c", a, ask)
    a.look(view(False))
    assert a.phase is Phase.FAILSAFE
    assert a.roster == MEMBERS


def test_it_begins_shortly_before_the_deadline_and_not_at_the_first_silence():
    a, ask = asking()
    pledge_of("b", a, ask)
    pledge_of("c", a, ask)
    a.look(view(False, 8.9))
    assert a.phase is Phase.ASKING
    a.look(view(False, 9.1))
    assert a.phase is Phase.FAILSAFE


def test_past_the_deadline_it_does_not_begin_whoever_has_pledged():
    """Who slept over it, or knows of nobody else: others may have joined and taken the shards."""
    a, ask = asking()
    pledge_of("b", a, ask)
    pledge_of("c", a, ask)
    a.look(view(False, DEADLINE_S))
    assert a.phase is Phase.ASKING
    alone = machine("a")
    alone.look(view(False, DEADLINE_S + 60.0, members={"a": "a1"}))
    assert alone.phase is Phase.ASKING
    a.look(view(True))  # the lease was renewed
    a.look(view(False))
    assert a.phase is Phase.ASKING


def test_who_has_pledged_is_not_asked_again():
    a, ask = asking()
    pledge_of("b", a, ask)
    assert [name for name, _ in a.look(view(False))] == ["c"]


def test_a_member_that_only_a_pledger_knows_must_pledge_too():
    a, ask = asking()
    for name in ("b", "c"):
        knows_d = view(False, members={**MEMBERS, "d": "d1"})
        a.answered(name, machine(name).asked("a", ask, knows_d))
    assert a.look(view(False)) == [("d", ask)]
    assert a.phase is Phase.ASKING
    a.answered("d", PledgeAnswer("a1", ask.round, True, "", {"d": "d1"}))
    a.look(view(False))
    assert a.roster == {**MEMBERS, "d": "d1"}


def test_a_pledge_is_taken_back_by_a_later_no():
    a, ask = asking()
    pledge_of("b", a, ask)
    a.answered("b", machine("b").asked("a", ask, view(True)))
    pledge_of("c", a, ask)
    a.look(view(False))
    assert (a.phase, a.missing) == (Phase.ASKING, ("b",))


def test_a_pledge_of_an_earlier_round_or_to_another_process_is_worth_nothing():
    a, ask = asking()
    a.look(view(True))
    a.look(view(False))
    for old in (ask, PledgeAsk("a0", ask.round + 1)):
        pledge_of("b", a, old)
        pledge_of("c", a, old)
    a.look(view(False))
    assert a.phase is Phase.ASKING


def test_no_pledge_while_the_store_answers_nor_unjoined_nor_to_one_that_is_gone():
    ask = PledgeAsk("a1", 1)
    b = machine("b")
    assert b.asked("a", ask, view(True)).why == "the store answers me"
    assert not b.asked("a", ask, view(False, members={"a": "a1"})).given
    assert not b.asked("a", ask, view(False, members={"b": "b1"})).given
    assert not b.asked("a", PledgeAsk("a0", 1), view(False)).given
    assert b.given == {}


def test_a_pledge_ends_by_the_pledgees_word_alone():
    b = machine("b")
    assert b.asked("a", PledgeAsk("a1", 3), view(False)).given
    assert b.look(view(True)) == [("a", PledgeQuery("a1"))]
    assert not b.word("a", PledgeWord("a1", 3, needed=True, roster=MEMBERS))
    assert b.needed_by == {"a": MEMBERS}
    assert not b.word("a", PledgeWord("a1", 2, needed=False))  # it speaks of an earlier round
    assert not b.word("c", PledgeWord("a1", 3, needed=False))
    assert b.given == {"a": Given("a1", 3)}
    assert b.word("a", PledgeWord("a1", 3, needed=False))
    assert (b.given, b.needed_by) == ({}, {})


def test_a_restarted_pledgee_needs_nothing_any_more():
    b = machine("b", given={"a": Given("a1", 7)})
    word = machine("a", life=2).queried(PledgeQuery("a1"))
    assert b.word("a", word)


def test_an_operator_may_write_a_pledgee_off():
    b = machine("b", given={"a": Given("a1", 7)})
    assert b.write_off("a")
    assert not b.write_off("a")
    assert b.given == {}


def test_the_stores_answer_ends_asking_and_not_failsafe():
    a, ask = asking()
    assert [(name, word.needed) for name, word in a.look(view(True))] == []  # nobody had pledged
    a, ask = asking()
    pledge_of("b", a, ask)
    assert [name for name, _ in a.look(view(True))] == ["b"]
    assert a.phase is Phase.IDLE
    a, ask = asking()
    pledge_of("b", a, ask)
    pledge_of("c", a, ask)
    a.look(view(False))
    a.look(view(True))
    assert a.phase is Phase.FAILSAFE
    assert [name for name, _ in a.over()] == ["b", "c"]
    assert a.phase is Phase.IDLE


def in_failsafe() -> Pledges:
    a, ask = asking()
    pledge_of("b", a, ask)
    pledge_of("c", a, ask)
    a.look(view(False))
    assert (a.phase, a.began) == (Phase.FAILSAFE, 1)
    return a


def test_who_has_stopped_and_finds_the_store_silent_again_needs_new_pledges_of_everybody():
    a = in_failsafe()
    stopped = msgspec.structs.replace(view(False), stopped=True)
    assert a.look(view(False)) == []  # it goes on: it needs no others
    (name, ask), (_, same) = a.look(stopped)
    assert (name, ask, same) == ("b", PledgeAsk("a1", 2), ask)
    assert (a.failsafe, a.began, a.round_over) == (True, 1, 1)
    pledge_of("b", a, ask)
    a.look(stopped)
    assert a.began == 1
    pledge_of("c", a, ask)
    a.look(msgspec.structs.replace(stopped, now_s=DEADLINE_S))
    assert (a.failsafe, a.began) == (True, 1)
    a.look(stopped)
    assert (a.phase, a.began, a.round_over) == (Phase.FAILSAFE, 2, 2)


def test_the_stores_answer_ends_asking_again_and_no_pledge():
    a = in_failsafe()
    a.look(msgspec.structs.replace(view(False), stopped=True))
    assert a.look(view(True)) == []
    assert (a.phase, a.round_over) == (Phase.FAILSAFE, 2)
    assert a.queried(PledgeQuery("a1")) == PledgeWord("a1", 2, True, MEMBERS)
    assert [word for _, word in a.over()] == [PledgeWord("a1", 2, needed=False)] * 2


def test_one_that_is_alone_needs_nobody():
    a = machine("a")
    a.look(view(False, members={"a": "a1"}))
    assert a.phase is Phase.FAILSAFE


class Small:
    """Two members, everything that may happen to them, frames that may overtake each other and come
    twice, or never (they stay in flight)."""

    def __init__(self) -> None:
        self.machines = {name: machine(name) for name in ("a", "b")}
        self.lives = {"a": 1, "b": 1}
        self.answers = {"a": True, "b": True}
        self.flight: tuple[tuple[str, str, msgspec.Struct], ...] = ()

    def seen_by(self, name: str) -> View:
        members = {other: f"{other}{life}" for other, life in self.lives.items()}
        return view(self.answers[name], members=members)

    def send(self, sender: str, frames: list[tuple[str, msgspec.Struct]]) -> None:
        for receiver, frame in frames:
            if (sender, receiver, frame) not in self.flight:
                self.flight += ((sender, receiver, frame),)

    def steps(self):
        for name in self.machines:
            if name == "a" or self.answers[name]:  # only one asks: the other would do the same
                yield "look", name
            yield "store", name
            if self.lives[name] == 1 and self.answers[name]:
                yield "restart", name
            if self.machines[name].phase is Phase.FAILSAFE and all(self.answers.values()):
                yield "over", name
        for number in range(len(self.flight)):
            yield "arrive", str(number)

    def take(self, kind: str, what: str) -> None:
        if kind == "look":
            self.send(what, self.machines[what].look(self.seen_by(what)))
        elif kind == "store":
            self.answers[what] = not self.answers[what]
        elif kind == "restart":  # it joins anew; what it pledged is on its disk
            self.lives[what] = 2
            self.machines[what] = machine(what, 2, self.machines[what].given)
        elif kind == "over":
            self.send(what, self.machines[what].over())
        else:
            self.arrive(*self.flight[int(what)])

    def arrive(self, sender: str, receiver: str, frame: msgspec.Struct) -> None:
        to = self.machines[receiver]
        match frame:
            case PledgeAsk():
                self.send(receiver, [(sender, to.asked(sender, frame, self.seen_by(receiver)))])
            case PledgeAnswer():
                to.answered(sender, frame)
            case PledgeQuery():
                self.send(receiver, [(sender, to.queried(frame))])
            case PledgeWord():
                to.word(sender, frame)

    def key(self) -> str:
        parts = [
            (m.given, m.phase, m.round, sorted(m._received), sorted(m.refused))
            for m in self.machines.values()
        ]
        return repr((parts, self.lives, self.answers, sorted(map(repr, self.flight))))

    def check(self) -> None:
        for name, other in itertools.permutations(self.machines):
            if self.machines[name].phase is Phase.FAILSAFE:
                held = self.machines[other].given.get(name)
                assert held is not None, f"{name} is in failsafe and {other} is free"
                assert held.incarnation == f"{name}{self.lives[name]}"


def test_in_every_interleaving_whoever_is_in_failsafe_holds_everybodys_pledge():
    """Breadth first, as deep as two rounds of asking need, one member restarting in between."""
    seen, layer, failsafes = set(), [Small()], 0
    for _ in range(13):
        deeper = []
        for small in layer:
            for step in small.steps():
                after = copy.deepcopy(small)
                after.take(*step)
                key = after.key()
                if key in seen:
                    continue
                seen.add(key)
                after.check()
                failsafes += any(m.phase is Phase.FAILSAFE for m in after.machines.values())
                deeper.append(after)
        layer = deeper
    assert failsafes > 100
