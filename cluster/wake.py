"""Waits for an event or for time, whichever comes first, without an exception for the second.

Rules: a loop that mostly wakes up by time pays for a timer and no more; `asyncio.timeout` would
cancel its task each time.
"""

import asyncio


async def woken(event: asyncio.Event, at_most_s: float) -> None:
    """Returns when `event` is set, or after `at_most_s`; the event isn't set then."""
    timer = asyncio.get_running_loop().call_later(at_most_s, event.set)
    try:
        await event.wait()
    finally:
        timer.cancel()
    event.clear()
