"""Who has pledged what to whom, as a machine: messages and time in, frames out. Pure.

A pledge says: "the store doesn't answer me either, and I claim nothing of yours until you release
me". Whoever holds one of *every* other member of its roster is in failsafe: nobody can take its
shards, so it may go on without the store.

Rules:
- A pledge is given only by a member that the store doesn't answer, and only to a process that
  stands in its roster: what has gone from there may have been claimed already.
- It is sticky. It is on the disk before it is given (`given` goes to the disk first, the answer
  after), and only the pledgee's word or an operator ends it. A restarted member asks.
- A pledge counts for the round in which it was asked for; a round ends when the store answers.
- Failsafe begins before the lease's deadline or not at all: after it, who is known to nobody that
  pledged may have joined, and taken the shards. A member that slept finds itself there.
- Every member that any pledger knows of must have pledged: one that joined unseen is found so.
- Who is in failsafe, has stopped as the store was back, and finds it silent once more asks in a new
  round, under the same rules. The pledges that it has still keep its shards; to go on it needs the
  new ones.
- Failsafe ends with the episode, not with the store's first answer: `over`.
"""

import enum
from collections.abc import Mapping

import msgspec

from cluster.failsafe.frames import PledgeAnswer, PledgeAsk, PledgeQuery, PledgeWord

ENDED = (1 << 62) - 1
"""The round named for a process that is no more: all of its rounds are over."""

Addressed = tuple[str, PledgeAsk | PledgeQuery | PledgeWord]


class Phase(enum.Enum):
    """Where this member stands."""

    IDLE = "idle"
    ASKING = "asking"
    FAILSAFE = "failsafe"
    AGAIN = "again"
    """In failsafe, stopped, and asking anew."""


class Given(msgspec.Struct, frozen=True):
    """A pledge: to which process, and for which of its rounds."""

    incarnation: str
    round: int
    rpc_address: str = ""
    """Where it was: a restarted member must find it to ask."""


class View(msgspec.Struct, frozen=True):
    """What a member sees at an instant."""

    now_s: float
    store_answers: bool
    deadline_s: float
    """Of its lease, on the same clock."""
    members: Mapping[str, str]
    """The last installed roster, this member included: name → incarnation."""
    addresses: Mapping[str, str] = {}
    """Where they are."""
    stopped: bool = False
    """In failsafe this member carries nothing out any more: the store was back."""


class Pledges:
    """See the module."""

    def __init__(
        self, me: str, incarnation: str, *, lead_s: float, given: Mapping[str, Given] | None = None
    ) -> None:
        """`given`: what the disk remembers. `lead_s`: failsafe begins that long before the lease's
        deadline, not at the first silence: most of those are short.
        """
        self._me = me
        self._incarnation = incarnation
        self._lead_s = lead_s
        self.given = dict(given or {})
        """Member → what was pledged to it."""
        self.phase = Phase.IDLE
        self.roster: dict[str, str] = {}
        """The frozen roster, while in failsafe: name → incarnation, this member included."""
        self.needed_by: dict[str, dict[str, str]] = {}
        """Members in failsafe that hold a pledge of mine, and their rosters, as they said."""
        self.round = 0
        """Counts how often pledges were asked for: once in each silence."""
        self.began = 0
        """The round by whose pledges failsafe began last."""
        self._received: dict[str, dict[str, str]] = {}
        self.refused: dict[str, str] = {}
        """Members that didn't pledge in this round, and why."""

    @property
    def missing(self) -> tuple[str, ...]:
        """Whose pledge is known to be needed and not there; only while asking."""
        if not self.asking:
            return ()
        return tuple(sorted(set(self.refused) - set(self._received)))

    @property
    def at_rest(self) -> bool:
        """Nothing was asked for or promised: while the store answers there is nothing to do."""
        return self.phase is Phase.IDLE and not self.given and not self.needed_by

    @property
    def asking(self) -> bool:
        """Whether failsafe may yet begin in this round."""
        return self.phase in (Phase.ASKING, Phase.AGAIN)

    @property
    def failsafe(self) -> bool:
        """Whether everybody's pledge is held."""
        return self.phase in (Phase.FAILSAFE, Phase.AGAIN)

    @property
    def round_over(self) -> int:
        """The last round that failsafe can't begin in any more, or is in."""
        return self.round - 1 if self.asking else self.round

    def look(self, view: View) -> list[Addressed]:
        """Time has passed: what is to be sent now. May enter failsafe."""
        out: list[Addressed] = []
        if not view.store_answers:
            self._perhaps_ask(view)
        elif self.phase is Phase.ASKING:
            out += self._release()
        elif self.phase is Phase.AGAIN:
            self.phase = Phase.FAILSAFE
        if self.asking:
            wanted = self._wanted(view)
            if all(name in self._received for name in wanted):
                if 0 < view.deadline_s - view.now_s <= self._lead_s:
                    self.phase = Phase.FAILSAFE
                    self.began = self.round
                    self.roster = dict(sorted({**wanted, self._me: self._incarnation}.items()))
            else:
                ask = PledgeAsk(self._incarnation, self.round)
                out += [(name, ask) for name in wanted if name not in self._received]
        if view.store_answers:
            out += [
                (name, PledgeQuery(self.given[name].incarnation)) for name in sorted(self.given)
            ]
        return out

    def _perhaps_ask(self, view: View) -> None:
        if self.phase is Phase.IDLE:
            self.phase = Phase.ASKING
        elif self.phase is Phase.FAILSAFE and view.stopped:
            self.phase = Phase.AGAIN
        else:
            return
        self.round += 1
        self._received.clear()
        self.refused.clear()

    def _wanted(self, view: View) -> dict[str, str]:
        """Everybody whose pledge is needed: whom I know, and whom a pledger knows."""
        known = dict(view.members)
        for roster in self._received.values():
            for name, incarnation in roster.items():
                known.setdefault(name, incarnation)
        known.pop(self._me, None)
        return dict(sorted(known.items()))

    def asked(self, sender: str, ask: PledgeAsk, view: View) -> PledgeAnswer:
        """Somebody asks for my pledge. If `given` has changed, it goes to the disk before the
        answer leaves.
        """
        why = ""
        if view.store_answers:
            why = "the store answers me"
        elif self._me not in view.members:
            why = "I have not joined"
        elif view.members.get(sender) != ask.incarnation:
            why = "the store told me that you are gone"
        if not why:
            address = view.addresses.get(sender, "")
            self.given[sender] = Given(ask.incarnation, ask.round, address)
        return PledgeAnswer(ask.incarnation, ask.round, not why, why, dict(view.members))

    def answered(self, sender: str, answer: PledgeAnswer) -> None:
        """An answer to my asking."""
        mine = answer.incarnation == self._incarnation and answer.round == self.round
        if not self.asking or not mine:
            return
        if answer.given:
            self._received[sender] = answer.roster
            self.refused.pop(sender, None)
        else:
            self._received.pop(sender, None)
            self.refused[sender] = answer.why

    def queried(self, query: PledgeQuery) -> PledgeWord:
        """Somebody that pledged, and that the store answers, wants to know."""
        if query.incarnation != self._incarnation:
            return PledgeWord(query.incarnation, ENDED, needed=False)
        needed = self.phase is not Phase.IDLE
        return PledgeWord(query.incarnation, self.round, needed, self.roster)

    def word(self, sender: str, word: PledgeWord) -> bool:
        """The pledgee has spoken; whether `given` has changed."""
        given = self.given.get(sender)
        if given is None or given.incarnation != word.incarnation or word.round < given.round:
            return False  # about another process, or overtaken by a newer ask
        if word.needed:
            if word.roster:
                self.needed_by[sender] = word.roster
            return False
        self.needed_by.pop(sender, None)
        del self.given[sender]
        return True

    def write_off(self, name: str) -> bool:
        """An operator says that `name` won't come back; whether a pledge ended by it."""
        self.needed_by.pop(name, None)
        return self.given.pop(name, None) is not None

    def over(self) -> list[Addressed]:
        """All is as the store says again: failsafe ends, whoever pledged is released. Who needs a
        pledge of mine yet says so anew.
        """
        self.needed_by.clear()
        return self._release() if self.failsafe else []

    def _release(self) -> list[Addressed]:
        names = sorted({*self._received, *self.refused, *self.roster} - {self._me})
        self.phase = Phase.IDLE
        self.roster = {}
        self._received.clear()
        self.refused.clear()
        word = PledgeWord(self._incarnation, self.round, needed=False)
        return [(name, word) for name in names]
