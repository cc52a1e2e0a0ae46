"""`revoke` and `revocations`: what an operator declares void, and what is in force."""

import datetime

import msgspec

from node.admin_view import Revoke, Revoked
from node.cli.admin import Reach, ask
from node.cli.failure import ExitCode, Failed, unless_sure
from node.cli.output import Output, print_json, print_table, when
from node.identity import one_identity

CHAIN_OCTETS = 16


def session(whom: Reach, chain: str, output: Output) -> None:
    """Revoke one session by its chain."""
    try:
        octets = bytes.fromhex(chain)
    except ValueError:
        octets = b""
    if len(octets) != CHAIN_OCTETS:
        right = "32 hex digits, as `standfast sessions show SPI` tells them"
        raise Failed(ExitCode.COULD_NOT_RUN, [f"CHAIN: {chain} → {right}"])
    done = _revoke(whom, Revoke("session", chain=octets), output)
    if done.found is False:
        unsaid = f" ({_names(done)} did not answer)" if done.unreachable else ""
        what = f"no session of chain {chain}{unsaid}: nothing is void by that but what may come yet"
        raise Failed(ExitCode.REFUSED, [what])


def identity(whom: Reach, text: str, output: Output, *, yes: bool) -> None:
    """Revoke what an identity has now."""
    try:
        one_identity(text)
    except ValueError as error:
        raise Failed(ExitCode.COULD_NOT_RUN, [f"ID: {text} → {error}"]) from None
    what = "every session that it has ends, its tickets become useless, and nothing takes that back"
    unless_sure(yes, f"{text}: {what}")
    _revoke(whom, Revoke("identity", identity=text), output)


def issued_before(whom: Reach, text: str, output: Output, *, yes: bool) -> None:
    """Revoke the tickets issued before a time."""
    try:
        at = datetime.datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        right = "a date and time with its zone, like 2026-01-31T12:00:00Z"
        raise Failed(ExitCode.COULD_NOT_RUN, [f"TIME: {text} → {right}"])
    what = (
        f"every client's tickets issued before {text} become useless, and nothing takes that back"
    )
    unless_sure(yes, what)
    _revoke(whom, Revoke("issued-before", before_wall_s=at.timestamp()), output)


def listed(whom: Reach, output: Output) -> None:
    """Print what is in force."""
    found = ask(whom, lambda client: client.revocations())
    if output is Output.JSON:
        print_json({"revocations": found})
        return
    print_table(
        ("REVOCATION", "BY", "WHAT", "UNTIL THEN", "MADE", "NEEDED UNTIL"),
        (
            (
                one.id,
                one.kind,
                one.about,
                when(one.before_wall_s),
                when(one.created_wall_s),
                when(one.expires_wall_s),
            )
            for one in found
        ),
    )


def _revoke(whom: Reach, what: Revoke, output: Output) -> Revoked:
    done = ask(whom, lambda client: client.revoke(what))
    if output is Output.JSON:
        fields = msgspec.structs.asdict(done)
        print_json({"revocation": fields.pop("id"), **fields})
        return done
    print(f"revoked: {done.id}")
    if what.kind != "issued-before":
        unsaid = f"; how many at {_names(done)} isn't known" if done.unreachable else ""
        print(f"live sessions that end: {done.sessions}{unsaid}")
    return done


def _names(done: Revoked) -> str:
    return ", ".join(done.unreachable)
