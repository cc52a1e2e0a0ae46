"""Bytecode instructions, counted one by one: a cost that other work on a machine doesn't disturb.

Rules: what C does isn't counted; the interpreter is slowed down many times meanwhile, so nothing is
timed with it. Two counts compare only on one minor version of Python.
"""

import sys
from collections.abc import Callable
from types import FrameType

Trace = Callable[[FrameType, str, object], "Trace | None"]


def counted(work: Callable[[], object]) -> int:
    """How many instructions `work` takes, with all that it calls, on this thread."""
    count = 0

    def step(_frame: FrameType, event: str, _arg: object) -> Trace:
        nonlocal count
        if event == "opcode":
            count += 1
        return step

    def enter(frame: FrameType, _event: str, _arg: object) -> Trace:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return step

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        work()
    finally:
        sys.settrace(before)
    return count
