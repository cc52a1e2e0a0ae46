"""Asks, answers and remembers pledges as the store comes and goes, and says when failsafe holds.

Rules: what decides is `cluster.failsafe.pledge`; this gives it time, frames and a disk. While a
pledge of mine stands, nothing of that member is claimed (`may_claim_from`). Nor is it of a member
that is in failsafe, or that one in failsafe has in its roster: who came when the pledges had been
given holds to them like those that gave them. Failsafe ends by `over`, which is called when the
store has everything that was done without it.

What is done without the store is lost with those that keep it, if all of them end: what a member
answers for, and what others answer, which may end SAs of its own. So that it keeps anything is on
the disk before it does (`alone`), until the store has everything.
The next life finds it there (`lives`): it claims nothing that the former one owned, and lets others
hold to their pledges, until that is buried (`cluster.failsafe.bury`).

What can't be written isn't promised: no pledge is given, and nothing is kept. What has ended and
can't be taken back on the disk costs a restart some asking; it is tried again at each look.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from cluster.dispatch import Dispatch
from cluster.errors import UNREADABLE, Incompatible
from cluster.failsafe.frames import PledgeAnswer, PledgeAsk, PledgeQuery, PledgeWord
from cluster.failsafe.pledge import ENDED, Addressed, Given, Pledges, View
from cluster.link import PeerLink
from cluster.member import Membership
from cluster.seams import Clock
from cluster.standing import State

PATIENCE_S = 2.0
"""How long, once the store answers, a pledgee that isn't heard may still speak: so long nothing is
committed that it might rely on."""
LOOK_S = 0.1
"""Between two looks at whether the store answers; also between two asks."""

LIFE = "/"
"""Begins the key under which the book has a life of this member's own: it is in no name."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Given]).decode


class PledgeBook(Protocol):
    """A few octets that outlive the process; implementers: `node.pledge_book`, `MemoryBook`."""

    def read(self) -> bytes:
        """What was written last; empty if nothing ever was."""
        ...

    def write(self, octets: bytes) -> None:
        """Replace it; it is on the disk when this returns. Raises OSError: it may be, or not."""
        ...


class MemoryBook:
    """For a member that has no disk: what it pledged ends with it."""

    def __init__(self) -> None:
        self._octets = b""

    def read(self) -> bytes:
        """See `PledgeBook.read`."""
        return self._octets

    def write(self, octets: bytes) -> None:
        """See `PledgeBook.write`."""
        self._octets = octets


class Outage:
    """One member's pledges. `listen` and `run` make it live."""

    def __init__(
        self, link: PeerLink, clock: Clock, membership: Membership, book: PledgeBook
    ) -> None:
        """Reads what was pledged before. Raises Incompatible if that can't be read."""
        self.hears: Callable[[str, str], bool] = lambda _name, _incarnation: False
        """Whether that process has been heard lately; set when the parts are joined."""
        self.in_failsafe: Callable[[], Mapping[str, str]] = dict
        """Processes heard lately that are in failsafe; set likewise."""
        self.listens: Callable[[], bool] = lambda: False
        """Whether such a process may yet turn up; set likewise."""
        self.stopped: Callable[[], bool] = lambda: False
        """Whether nothing is carried out here without the store now; set likewise."""
        self._rosters: dict[str, dict[str, str]] = {}
        """Of those that hold no pledge of mine, as they said."""
        self._needless: dict[str, str] = {}
        """Those that said that they need no pledge any more, and will soon be heard to: name →
        incarnation. As soon as they are, they are forgotten: they may go into failsafe again."""
        self._link = link
        self._clock = clock
        self._membership = membership
        self._book = book
        me = membership.me
        usable_s = me.usable_s()
        remembered = read_pledges(book)
        self.lives = {g.incarnation: g for key, g in remembered.items() if key.startswith(LIFE)}
        """Former lives of this member that kept what was done without the store, and ended before
        it had everything: incarnation → the same."""
        self.alone = False
        """This life keeps something that the store doesn't have yet."""
        self.unwritable = ""
        """Why the book couldn't be written last; empty: it could."""
        self.on_unwritable: Callable[[str], None] = lambda _why: None
        """Told of it once, as it begins."""
        self._quiet_s = me.keep_alive_s + (usable_s - me.keep_alive_s) / 3
        """After that long without an answer the store doesn't answer me. A third of what a lease
        leaves is then over; another third is for the others to find out, and to ask them."""
        self.pledges = Pledges(
            me.name,
            membership.incarnation,
            lead_s=(usable_s - me.keep_alive_s) / 3,
            given={name: g for name, g in remembered.items() if not name.startswith(LIFE)},
        )
        self._kept_for = {name: given.incarnation for name, given in self.pledges.given.items()}
        """Whose doings former lives of this member may have kept, and forgotten: those that they
        had pledged to, for as long as these pledges stand."""
        self._silent_boot_s = clock.boot_s()
        """When the store was last found not to answer."""
        self._told_began = 0
        self.on_failsafe: list[Callable[[bool], None]] = []
        """Told as failsafe begins, also once more by new pledges, and ends."""
        self.on_look: list[Callable[[], None]] = []
        """Called at each look."""

    @property
    def failsafe(self) -> bool:
        """Whether this member goes on without the store, by everybody's pledge."""
        return self.pledges.failsafe

    @property
    def given(self) -> Mapping[str, Given]:
        """Whom this member has pledged to: member → what."""
        return self.pledges.given

    def pledgees(self) -> dict[str, str]:
        """Where those are whom this member has pledged to: they are to be reached, in the roster
        or not."""
        return {name: given.rpc_address for name, given in self.pledges.given.items()}

    def restrained(self) -> bool:
        """Whether nothing may be committed, because somebody may rely on my pledge now, or goes on
        by the pledges of others."""
        if self.listens() or self._unpledged():
            return True
        given = self.pledges.given
        if not given:
            return False
        if self._clock.boot_s() - self._silent_boot_s < PATIENCE_S:
            return True
        return any(self.hears(name, g.incarnation) for name, g in given.items())

    @property
    def bereft(self) -> bool:
        """Whether a former life may have kept what is forgotten here, and whose that was hasn't
        come back to the store yet, nor was written off."""
        return bool(self._kept_for)

    def episode(self) -> dict[str, str]:
        """The roster of members that go on without the store, or did: name → incarnation. Empty:
        nobody does that I know of."""
        pledges = self.pledges
        if self.failsafe:
            return dict(pledges.roster)
        return next((dict(pledges.needed_by[name]) for name in sorted(pledges.needed_by)), {})

    def may_claim_from(self, owner: str) -> bool:
        """Whether no pledge stands against claiming what `owner` owned."""
        if self.failsafe or owner in self.pledges.given:
            return False
        if self.lives and owner == self._membership.me.name:
            return False
        return not any(owner in {name, *self._rosters.get(name, ())} for name in self.in_failsafe())

    def listen(self, dispatch: Dispatch) -> None:
        """Have the others' frames."""
        dispatch.on(PledgeAsk, self._asked)
        dispatch.on(PledgeAnswer, self.pledges.answered)
        dispatch.on(PledgeQuery, self._queried)
        dispatch.on(PledgeWord, self._word)

    async def run(self) -> None:
        """Look for ever."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """Time has passed."""
        if self._needless:
            found, needless = self.in_failsafe(), self._needless
            self._needless = {n: life for n, life in needless.items() if found.get(n) == life}
        if self._kept_for:
            given, kept_for = self.given, self._kept_for.items()
            self._kept_for = {
                name: life
                for name, life in kept_for
                if name in given and given[name].incarnation == life
            }
        if self.unwritable:
            self._save()
        answers = self.store_answers()
        if not (answers and self.pledges.at_rest):
            self._send(self.pledges.look(self._view()))
        if answers:
            self._ask_the_others()
        else:
            self._silent_boot_s = self._clock.boot_s()
        self._tell()
        for listener in self.on_look:
            listener()

    def over(self, *, alone: bool = False) -> None:
        """The store has all that was answered here: failsafe ends, and who pledged is released.
        `alone`: something of others is kept on. That stays noted, or is as soon as it can be."""
        if alone != self.alone:
            self.alone = alone
            self._save()
        self._send(self.pledges.over())
        self._tell()

    def set_alone(self, alone: bool) -> bool:
        """Whether this life keeps what the store doesn't have; True: so it is on the disk. If not
        it must keep nothing, and may ask again."""
        if alone and self.unwritable:
            return False  # until a look finds that it can be written
        if alone == self.alone:
            return True
        self.alone = alone
        saved = self._save()
        self.alone = alone and saved
        return saved

    def buried(self) -> None:
        """What former lives have left is gone: others may have what is left of theirs."""
        self.lives = {}
        self._save()

    def write_off(self, name: str, incarnation: str) -> None:
        """That process of `name` won't come back, the cluster has agreed on."""
        given = self.pledges.given.get(name)
        if given is not None and incarnation in ("", given.incarnation):
            self.pledges.write_off(name)
            self._save()

    def store_answers(self) -> bool:
        """Whether the store, asked by me or through a relay, has answered of late. One that went
        back answers: nobody does without it, an operator decides (`cluster.guard`)."""
        member = self._membership
        if member.standing.holds(State.STORE_REWOUND):
            return True
        return member.store_ok and self._clock.boot_s() - member.answered_boot_s < self._quiet_s

    def _unpledged(self) -> dict[str, str]:
        """Those in failsafe that hold no pledge of mine: name → incarnation."""
        found = self.in_failsafe()
        if not found:
            return {}
        given, needless = self.pledges.given, self._needless
        return {
            name: life
            for name, life in found.items()
            if name not in given and needless.get(name) != life
        }

    def _ask_the_others(self) -> None:
        """Whom do those rely on that hold no pledge of mine?"""
        found = self.in_failsafe()
        if not found:
            self._rosters.clear()
            return
        given = self.pledges.given
        # who needs none is asked as well: its word may have been of before
        others = {name: life for name, life in found.items() if name not in given}
        self._rosters = {name: self._rosters.get(name, {}) for name in others}
        for name, incarnation in others.items():
            self._link.send(name, PledgeQuery(incarnation))

    def _view(self) -> View:
        member = self._membership
        members = {name: record.incarnation for name, record in member.members.items()}
        addresses = {name: record.rpc_address for name, record in member.members.items()}
        if members.get(member.me.name) != member.incarnation:
            members.pop(member.me.name, None)  # not joined, or not any more
        return View(
            self._clock.boot_s(),
            self.store_answers(),
            member.deadline_boot_s,
            members,
            addresses,
            self.stopped(),
        )

    def _asked(self, sender: str, ask: PledgeAsk) -> None:
        before = dict(self.pledges.given)
        answer = self.pledges.asked(sender, ask, self._view())
        if self.pledges.given != before and not self._save():  # before it is given
            self.pledges.given = before
            answer = msgspec.structs.replace(answer, given=False, why="its disk can't be written")
        self._link.send(sender, answer)

    def _queried(self, sender: str, query: PledgeQuery) -> None:
        if query.incarnation in self.lives:
            word = PledgeWord(query.incarnation, ENDED, needed=True)
        else:
            word = self.pledges.queried(query)
        self._link.send(sender, word)

    def _word(self, sender: str, word: PledgeWord) -> None:
        if not word.needed:
            self._needless[sender] = word.incarnation
            self._rosters.pop(sender, None)
        else:
            self._needless.pop(sender, None)
            if sender in self._rosters:
                self._rosters[sender] = word.roster
        if self.pledges.word(sender, word):
            self._save()

    def _save(self) -> bool:
        """Write down what is promised, and what is kept; whether it is on the disk."""
        lives = dict(self.lives)
        if self.alone:
            me = self._membership.incarnation
            lives[me] = Given(me, 0)
        own = {LIFE + incarnation: life for incarnation, life in lives.items()}
        try:
            self._book.write(_encode(dict(sorted({**self.pledges.given, **own}.items()))))
        except OSError as error:
            if not self.unwritable:
                self.on_unwritable(str(error))
            self.unwritable = str(error) or type(error).__name__
        else:
            self.unwritable = ""
        return not self.unwritable

    def _send(self, frames: list[Addressed]) -> None:
        for name, frame in frames:
            self._link.send(name, frame)

    def _tell(self) -> None:
        standing, failsafe = self._membership.standing, self.failsafe
        began = self.pledges.began
        if failsafe == standing.holds(State.FAILSAFE) and began == self._told_began:
            return
        self._told_began = began
        if failsafe:
            standing.enter(State.FAILSAFE, f"pledged by all of {', '.join(self.pledges.roster)}")
        else:
            standing.leave(State.FAILSAFE)
        for listener in self.on_failsafe:
            listener(failsafe)


def read_pledges(book: PledgeBook) -> dict[str, Given]:
    """What `book` says was pledged: member → what. Raises Incompatible."""
    octets = book.read()
    if not octets:
        return {}
    try:
        return _decode(octets)
    except UNREADABLE as error:
        raise Incompatible(
            f"the pledges in the data directory can't be read ({error}): this member may have "
            "promised others to leave their shards alone; remove the file `pledges` only if they "
            "are all back to normal"
        ) from error
