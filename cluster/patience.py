"""Who still waits for an operation that couldn't be carried out at once: pure but for the clock.

An operation that begins a generation spends the ticket before it. If it was kept waiting, whoever
asked for it may have given up, and be somewhere else with that very ticket by now. Who still waits
asks again: protocols of this kind repeat their requests.

```
waited less than STALE_S, or asked for within STALE_S      carried out
else                                                       held back until it is asked for again
not asked for in GIVE_UP_S, or by nobody any more,
or another one of its chain waits behind it                never carried out
```

Rules: what has been sent to the store, and may have been carried out, is never dropped: how it
ended must be found out. Operations of other kinds spend nothing, and don't wait for anybody.
"""

import enum
from collections.abc import Callable

from cluster.batch import BEGINS, Op, Pending

STALE_S = 0.5
"""Far longer than a commit takes while all is well, and shorter than any client's patience."""
GIVE_UP_S = 60.0
"""Longer than the pauses between a patient client's last repeats."""
HELD_LOOK_S = 0.05
"""Between two looks at whether something held back was asked for again."""

Asked = Callable[[Op], float | None]
"""When (boot seconds) whoever waits for the operation's answer asked last; None: nobody does any
more. Infinity: it is wanted whoever asks."""


class Wait(enum.Enum):
    """What becomes of an operation now."""

    GO = "go"
    HOLD = "hold"
    DROP = "drop"


def look(pending: Pending, asked: Asked | None, behind: bool, now_s: float) -> Wait:
    """What becomes of `pending`; `behind`: another operation of its chain waits for its end."""
    if asked is None or pending.op.kind not in BEGINS or now_s - pending.submitted_s < STALE_S:
        return Wait.GO
    asked_s = asked(pending.op)
    if asked_s is not None and now_s - asked_s < STALE_S:
        return Wait.GO
    if asked_s is None or behind or now_s - asked_s >= GIVE_UP_S:
        return Wait.GO if pending.doubtful else Wait.DROP
    return Wait.HOLD
