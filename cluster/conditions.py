"""What is wrong with the store, by name: each with since when, the words of the failure, and a fix.

Rules: a condition is entered by what calls to the store meet, and left by a call that doesn't meet
it any more; nothing is measured that isn't done anyway. Told once per change. Names are for
`status`, the metric and the log, and never change between releases.
"""

import enum
from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec

from cluster.errors import Trouble
from cluster.seams import Clock

SLOW_S = 0.25
"""A commit that takes longer is slow; etcd's own bound for a disk that is too slow is 25 ms."""
SLOW_COMMITS = 3
"""So many slow commits in a row make the store slow, so many quick ones make it well again."""
SHOWN_FOR_S = 60.0
"""How long what happens in a moment is shown: a lost history, a lost answer to a write."""


class Condition(enum.Enum):
    """See the module."""

    NO_ANSWER = "no-answer"
    NO_LEADER = "no-leader"
    SLOW = "slow"
    COMPACTED = "compacted"
    UNKNOWN_OUTCOME = "unknown-outcome"
    NO_SPACE = "no-space"
    DENIED = "permission-denied"
    ETCD_CERTIFICATE = "etcd-certificate-refused"
    CERTIFICATE = "certificate-expired"
    CERTIFICATE_SOON = "certificate-expires-soon"
    OTHER_CLUSTER = "wrong-cluster-id"
    REWOUND = "store-rewound"


FIXES: Mapping[Condition, str] = MappingProxyType(
    {
        Condition.NO_ANSWER: "is etcd running, and is store.endpoints reachable from here?",
        Condition.NO_LEADER: "etcd has lost its majority: start its other members",
        Condition.SLOW: "look at the disks and the load of the etcd members",
        Condition.COMPACTED: "nothing: what was missed was read anew",
        Condition.UNKNOWN_OUTCOME: (
            "nothing: a write was sent and its answer is lost; whether it was carried out is found "
            "out before anything is built on it, and it counts once"
        ),
        Condition.NO_SPACE: (
            "etcd is full and takes no writes: `etcdctl compact`, `etcdctl defrag`, then "
            "`etcdctl alarm disarm`; running sessions are answered, new ones wait"
        ),
        Condition.DENIED: "give this member's etcd user the rights to the cluster's keys",
        Condition.ETCD_CERTIFICATE: (
            "renew etcd's certificates, or name their authority in store.ca_file; if etcd refuses "
            "ours, store.cert_file must be of the authority that etcd trusts"
        ),
        Condition.CERTIFICATE: "renew the certificate that is named, and restart this member",
        Condition.CERTIFICATE_SOON: "renew the certificate that is named, and restart this member",
        Condition.OTHER_CLUSTER: (
            "store.endpoints lead to another etcd; or `standfast store accept-restore`, if it was "
            "put in the former's place"
        ),
        Condition.REWOUND: (
            "put the newest data back; or `standfast store accept-restore`, which ends every "
            "session, if this is the newest"
        ),
    }
)


class Present(msgspec.Struct, frozen=True):
    """A condition that holds."""

    condition: Condition
    since_boot_s: float
    detail: str

    @property
    def line(self) -> str:
        """One line for a person."""
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.condition.value}{detail} → {FIXES[self.condition]}"


_OF_TROUBLE = {
    Trouble.NO_ANSWER: Condition.NO_ANSWER,
    Trouble.NO_LEADER: Condition.NO_LEADER,
    Trouble.NO_SPACE: Condition.NO_SPACE,
    Trouble.DENIED: Condition.DENIED,
    Trouble.CERTIFICATE: Condition.ETCD_CERTIFICATE,
}
_ENDED_BY_AN_ANSWER = (
    Condition.NO_ANSWER,
    Condition.NO_LEADER,
    Condition.DENIED,
    Condition.ETCD_CERTIFICATE,
)


class Conditions:
    """Those of one member's way to the store."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._present: dict[Condition, Present] = {}
        self._slow = 0
        self._quick = 0
        self._shown_until_s: dict[Condition, float] = {}
        """Those that nothing ends but time."""
        self.compactions = 0
        """How often a watch found its history gone."""
        self.on_changed: list[Callable[[Condition, Present | None], None]] = []
        """Told (condition, how it is now); None: it is over."""

    def present(self) -> tuple[Present, ...]:
        """What holds now, by name."""
        now_s = self._clock.boot_s()
        for condition, until_s in list(self._shown_until_s.items()):
            if now_s > until_s:
                del self._shown_until_s[condition]
                self.leave(condition)
        return tuple(sorted(self._present.values(), key=lambda each: each.condition.value))

    def enter(self, condition: Condition, detail: str) -> None:
        """It holds from now on."""
        if condition not in self._present:
            found = Present(condition, self._clock.boot_s(), detail)
            self._present[condition] = found
            self._tell(condition, found)

    def put(self, condition: Condition, detail: str) -> None:
        """It holds with these words, which may be others than before; empty: it doesn't."""
        former = self._present.get(condition)
        if not detail:
            self.leave(condition)
        elif former is None:
            self.enter(condition, detail)
        elif former.detail != detail:
            self._present[condition] = found = msgspec.structs.replace(former, detail=detail)
            self._tell(condition, found)

    def leave(self, condition: Condition) -> None:
        """It holds no more; it needn't have."""
        if self._present.pop(condition, None) is not None:
            self._tell(condition, None)

    def failed(self, trouble: Trouble, detail: str) -> None:
        """A call met this."""
        condition = _OF_TROUBLE.get(trouble)
        if condition is None:
            return
        told = [each for each in _ENDED_BY_AN_ANSWER if each in self._present]
        if condition is Condition.NO_ANSWER and told:
            return  # a name that tells more stands already
        if condition in _ENDED_BY_AN_ANSWER:
            self.leave(Condition.NO_ANSWER)
        self.enter(condition, detail)

    @property
    def unanswered(self) -> bool:
        """Whether something holds that any answer would end."""
        return any(each in self._present for each in _ENDED_BY_AN_ANSWER)

    def answered(self) -> None:
        """A call was answered."""
        if self._present:
            for condition in _ENDED_BY_AN_ANSWER:
                self.leave(condition)

    def committed(self, took_s: float) -> None:
        """A commit was carried out, and it took so long."""
        if took_s > SLOW_S:
            self._slow, self._quick = self._slow + 1, 0
            if self._slow >= SLOW_COMMITS:
                self.enter(Condition.SLOW, f"a commit took {took_s:.2f} s")
        else:
            self._slow, self._quick = 0, self._quick + 1
            if self._present and self._quick >= SLOW_COMMITS:
                self.leave(Condition.SLOW)

    def wrote(self) -> None:
        """A commit that puts something was carried out."""
        if self._present:
            self.leave(Condition.NO_SPACE)

    def compacted(self, detail: str) -> None:
        """A watch's history was gone."""
        self.compactions += 1
        self.leave(Condition.COMPACTED)
        self._show(Condition.COMPACTED, detail)

    def in_doubt(self, detail: str) -> None:
        """Whether a write was carried out isn't known: its answer is lost."""
        self._show(Condition.UNKNOWN_OUTCOME, detail)

    def _show(self, condition: Condition, detail: str) -> None:
        self._shown_until_s[condition] = self._clock.boot_s() + SHOWN_FOR_S
        self.enter(condition, detail)

    def _tell(self, condition: Condition, how: Present | None) -> None:
        for listener in self.on_changed:
            listener(condition, how)
