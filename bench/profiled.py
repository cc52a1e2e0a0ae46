"""A gateway with a sampling profiler: `python -m bench.profiled PROFILE CONFIG`, until SIGTERM.

Rules: SIGUSR2 begins to sample and ends it again, so that a profile is of one kind of work alone.
A sample is taken whenever the process has used some milliseconds of CPU time, so what waits doesn't
count, and what is measured is hardly slowed down (a tracing profiler doubles what many small calls
cost, and counts the time that other processes take). A thread of gRPC's counts for whatever the
main thread does meanwhile.
"""

import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

import msgspec

from node.cli import main as standfast

INTERVAL_S = 0.001
"""Asked for; the kernel gives what its own tick allows."""


class Profile(msgspec.Struct, frozen=True):
    """Samples by function: in itself, and in what it called; and in which modules of ours."""

    samples: int
    own: dict[str, int]
    whole: dict[str, int]
    module: dict[str, int]
    """The innermost function of ours decides; what it called elsewhere counts for it."""


class Sampler:
    """Turned on and off by SIGUSR2, driven by SIGPROF."""

    def __init__(self) -> None:
        self._own: Counter[str] = Counter()
        self._whole: Counter[str] = Counter()
        self._module: Counter[str] = Counter()
        self._on = False

    def switch(self, *_: object) -> None:
        """Begin, or end."""
        self._on = not self._on
        interval_s = INTERVAL_S if self._on else 0.0
        signal.setitimer(signal.ITIMER_PROF, interval_s, interval_s)

    def sample(self, _: int, frame: FrameType | None) -> None:
        """Count one stack."""
        if frame is None:
            return
        self._own[_name(frame)] += 1
        seen: dict[str, None] = {}
        module = ""
        while frame is not None:
            seen[_name(frame)] = None
            module = module or _module(frame)
            frame = frame.f_back
        self._whole.update(seen.keys())
        self._module[module or "elsewhere"] += 1

    def profile(self) -> Profile:
        """What was counted."""
        own, whole, module = (dict(c.most_common()) for c in (self._own, self._whole, self._module))
        return Profile(self._own.total(), own, whole, module)


def _name(frame: FrameType) -> str:
    code = frame.f_code
    return f"{'/'.join(code.co_filename.split('/')[-2:])}:{code.co_qualname}"


def _module(frame: FrameType) -> str:
    """The module of a frame, if it is one of ours."""
    name = str(frame.f_globals.get("__name__", ""))
    return name if name.split(".", maxsplit=1)[0] in ("proto", "cluster", "node") else ""


def main() -> int:
    """The gateway's exit code; the profile is written when it has ended."""
    path, config = sys.argv[1:]
    sampler = Sampler()
    signal.signal(signal.SIGUSR2, sampler.switch)
    signal.signal(signal.SIGPROF, sampler.sample)
    try:
        return standfast(["gateway", "--config", config])
    finally:
        Path(path).write_bytes(msgspec.json.encode(sampler.profile()))


if __name__ == "__main__":
    sys.exit(main())
