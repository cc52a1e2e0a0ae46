"""Sends the clients of live sessions to another gateway, by an operator's word (RFC 5685 5).

Rules: only who has said that it follows, and doesn't talk to that address already. A client whose
window is full is told a little later, or counted as busy. The session stays until the client has
another one: by its ticket if it has one, which then replaces it (RFC 5723 4.3.4).
"""

import asyncio

from node.admin_view import Redirect, Redirected
from node.gateway import Gateway
from node.identity import normal_pattern
from proto.ike.connection import is_like
from proto.ike.redirect import Target, parse_target

AT_ONCE = 256
"""Clients that are told in one go; then the loop serves others."""
PAUSE_S = 0.02
PATIENCE_S = 5.0
"""How long those are tried that are busy."""
EVERYBODY = "*"


def checked(what: Redirect) -> tuple[Target, str]:
    """The target, and the pattern as identities are spelled. Raises ValueError saying what is
    right.
    """
    target = parse_target(what.to)
    return target, what.identity if what.identity == EVERYBODY else normal_pattern(what.identity)


def in_all(done: list[Redirected]) -> Redirected:
    """The sum of what several members did."""
    return Redirected(
        sum(one.told for one in done),
        sum(one.there for one in done),
        sum(one.unable for one in done),
        sum(one.busy for one in done),
        tuple(name for one in done for name in one.unreachable),
    )


async def redirect(gateway: Gateway, what: Redirect) -> Redirected:
    """Tell them; how many. Raises ValueError, see `checked`."""
    target, pattern = checked(what)
    there = unable = told = 0
    waiting: list[bytes] = []
    for core, path in gateway.endpoint.established():
        if not is_like(core.identity, pattern):
            continue
        if path.local[0] == target.text:
            there += 1
        elif not core.follows:
            unable += 1
        else:
            waiting.append(core.spi)
    until_s = gateway.now().boot_s + PATIENCE_S
    while waiting:
        busy = []
        for number, spi in enumerate(waiting, 1):
            if gateway.redirect(spi, target):
                told += 1
            elif gateway.endpoint.find(spi) is not None:
                busy.append(spi)
            if number % AT_ONCE == 0:
                await asyncio.sleep(PAUSE_S)
        waiting = busy
        if gateway.now().boot_s >= until_s:
            break
        await asyncio.sleep(PAUSE_S)
    return Redirected(told, there, unable, len(waiting))
