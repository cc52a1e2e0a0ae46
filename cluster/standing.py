"""Which named state this member is in: the one place where it stands, and who is told.

Rules: each state but `normal` has a cause that comes and goes by itself (the lease's deadline, the
relay, the pledges, a store that went back), and one module that says so. Several causes may hold at
once; the gravest names the state. Nothing is told twice, and nothing that didn't change.

```
store-rewound   the store is behind what this member has seen of it          `cluster.rewind`
failsafe        the store answers nobody, and everybody has pledged
isolated        the lease may not be relied on any more                      `cluster.member`
relayed         my calls go through another member                           `cluster.relay`
normal          none of these
```
"""

import enum
from collections.abc import Callable

from cluster.seams import Clock


class State(enum.Enum):
    """What `status`, heartbeats and the metric call it."""

    NORMAL = "normal"
    RELAYED = "relayed"
    FAILSAFE = "failsafe"
    ISOLATED = "isolated"
    STORE_REWOUND = "store-rewound"


_GRAVEST_FIRST = (State.STORE_REWOUND, State.FAILSAFE, State.ISOLATED, State.RELAYED)
_AGREES = (State.NORMAL, State.RELAYED)


class Standing:
    """This member's state. `enter` and `leave` say what holds; `look` after time has passed."""

    def __init__(self, clock: Clock, lease_holds: Callable[[], bool]) -> None:
        """`lease_holds`: whether the lease may be relied on now; it ends without anybody's word."""
        self._clock = clock
        self._lease_holds = lease_holds
        self._causes: dict[State, str] = {}
        self._told = (State.NORMAL, "")
        self.since_boot_s = clock.boot_s()
        """When the state that was told last began."""
        self.on_changed: list[Callable[[State, str], None]] = []
        """Told (state, why) when either changes."""

    @property
    def state(self) -> State:
        """The gravest that holds now."""
        for state in _GRAVEST_FIRST:
            if state in self._causes:
                return state
            if state is State.ISOLATED and not self._lease_holds():
                return state
        return State.NORMAL

    @property
    def why(self) -> str:
        """A few words on the state's cause; empty for `normal` and `isolated`."""
        return self._causes.get(self.state, "")

    @property
    def agrees(self) -> bool:
        """Whether the store's word can be had: claims, rotations and the like may go on."""
        return self.state in _AGREES

    @property
    def lapsed(self) -> bool:
        """Whether the lease has ended and nobody was told yet, as when the process stood still."""
        return self._told[0] in _AGREES and not self._lease_holds()

    def holds(self, state: State) -> bool:
        """Whether this cause holds, be another one graver or not."""
        return state in self._causes

    def enter(self, state: State, why: str) -> None:
        """`state` holds from now on, or for another reason. Not for `normal` and `isolated`."""
        if state not in _GRAVEST_FIRST or state is State.ISOLATED:
            raise ValueError(f"nobody enters {state.value} by saying so")
        self._causes[state] = why
        self.look()

    def leave(self, state: State) -> None:
        """`state` holds no more; it needn't have."""
        if self._causes.pop(state, None) is not None:
            self.look()

    def look(self) -> None:
        """Tell what changed, by a cause or by time."""
        now = (self.state, self.why)
        if now == self._told:
            return
        if now[0] is not self._told[0]:
            self.since_boot_s = self._clock.boot_s()
        self._told = now
        for listener in self.on_changed:
            listener(*now)
