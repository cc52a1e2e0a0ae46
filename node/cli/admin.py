"""`status`, `sessions` and `keys`: commands that ask a member of the cluster."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import msgspec

# gRPC's C core writes its own lines about a refused handshake; ours says it once
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from cluster.vault import Kek
from node.admin_client import AdminClient, AdminError, Unreachable, load_credentials
from node.admin_view import ClusterStatus, RotationStep, SessionInfo
from node.cli.failure import ExitCode, Failed, unless_sure
from node.cli.files import KINDS, gateway_config, kind_of, operator_config
from node.cli.output import Output, print_json, print_json_line, print_table, visible, when
from node.identity import format_address, load_kek, parse_address
from node.toml_strict import ConfigError

T = TypeVar("T")

SESSION_COLUMNS = ("SPI_R", "IDENTITY", "PEER", "HOW", "MEMBER", "GEN", "ESTABLISHED", "EXPIRES")


class Reach(msgspec.Struct, frozen=True):
    """Whom to ask, and what to show."""

    addresses: tuple[str, ...]
    ca_file: str
    cert_file: str
    key_file: str
    member: str = ""
    """Not empty: a gateway's own certificate is shown, which may ask only that gateway."""


def reach(config: Path | None, address: str, ca: str, cert: str, key: str) -> Reach:
    """From the options of a command. Raises Failed."""
    try:
        found = Reach((), "", "", "") if config is None else _from_file(config)
    except ConfigError as error:
        raise Failed(ExitCode.COULD_NOT_RUN, error.problems) from None
    except OSError as error:
        raise Failed(ExitCode.COULD_NOT_RUN, [f"{error.filename}: {error.strerror}"]) from None
    if bool(cert) != bool(key):
        given, missing = ("--cert", "--key") if cert else ("--key", "--cert")
        right = f"{missing} too: a certificate and its key belong together"
        raise Failed(ExitCode.COULD_NOT_RUN, [f"{given} alone → {right}"])
    if address:
        try:
            parse_address(address)
        except ValueError as error:
            raise Failed(ExitCode.COULD_NOT_RUN, [f"--address: {address} → {error}"]) from None
        found = msgspec.structs.replace(found, addresses=(address,))
    if cert or key:
        found = msgspec.structs.replace(found, cert_file=cert, key_file=key, member="")
    if ca:
        found = msgspec.structs.replace(found, ca_file=ca)
    if not (found.addresses and found.ca_file and found.cert_file and found.key_file):
        right = "--config FILE (or STANDFAST_CONFIG), or --address with --ca, --cert and --key"
        raise Failed(ExitCode.COULD_NOT_RUN, [f"whom to ask is missing → {right}"])
    return found


def status(whom: Reach, output: Output) -> None:
    """Print the cluster."""
    found = ask(whom, lambda client: client.status())
    if output is Output.JSON:
        print_json(found)
        return
    without = found.shards - found.shards_owned
    print(f"cluster    {found.cluster}, {found.mode}, epoch {found.epoch}")
    why = f" ({visible(found.state_why)})" if found.state_why else ""
    print(f"asked      {found.member}, {found.state}{why}")
    print(f"store      {found.store_kind}, {found.store_state}")
    for each in found.store_conditions:
        print(f"           {each.name}: {visible(each.detail)} → {each.fix}")
    print(f"shards     {found.shards}" + (f", {without} without an owner" if without else ""))
    print(f"sessions   {sum(member.sessions for member in found.members)}")
    print(f"key ring   revision {found.ring_revision}")
    print()
    columns = ("MEMBER", "HOST", "STATE", "SHARDS", "SESSIONS", "RING", "HEARD", "IKE", "RPC")
    print_table((*columns, "RELEASE"), _member_rows(found))


def sessions_list(whom: Reach, output: Output) -> None:
    """Print the sessions of all members."""
    found = ask(whom, lambda client: client.sessions(local_only=bool(whom.member)))
    if output is Output.JSON:
        print_json(found)
    else:
        print_table(SESSION_COLUMNS, map(_session_row, found.sessions))
        print(f"{len(found.sessions)} session{'' if len(found.sessions) == 1 else 's'}")
    if found.unreachable:
        names = ", ".join(found.unreachable)
        raise Failed(ExitCode.REFUSED, [f"incomplete: {names} did not answer"])


def sessions_show(whom: Reach, spi: str, output: Output) -> None:
    """Print one session."""
    octets = _spi(spi)
    found = ask(whom, lambda client: client.show(octets, local_only=bool(whom.member)))
    if output is Output.JSON:
        print_json(found)
        return
    rows = [
        ("spi_i", found.spi_i.hex()),
        ("spi_r", found.spi_r.hex()),
        ("identity", found.identity),
        ("peer", found.peer_address),
        ("member", found.member),
        ("how", found.how),
        ("suite", found.suite),
        ("chain", found.chain.hex()),
        ("generation", str(found.generation)),
        ("established", when(found.established_wall_s)),
        ("expires", when(found.expires_wall_s)),
    ]
    for name, value in rows:
        print(f"{name:<12} {visible(value)}")


def sessions_terminate(whom: Reach, spi: str, output: Output) -> None:
    """End one session."""
    octets = _spi(spi)
    owner = ask(whom, lambda client: client.terminate(octets, local_only=bool(whom.member)))
    if output is Output.JSON:
        print_json({"spi": spi, "member": owner})
    else:
        print(f"{spi}: ended at {owner}")


def keys_list(whom: Reach, output: Output) -> None:
    """Print the keys of the ring."""
    found = ask(whom, lambda client: client.keys())
    if output is Output.JSON:
        print_json({"keys": found})
        return
    print_table(
        ("KEY", "FOR", "STATE", "MADE", "SEALS UNTIL", "OPENS UNTIL"),
        (
            (
                key.id,
                key.purpose,
                key.state,
                when(key.created_wall_s),
                "" if key.state == "opening" else when(key.seal_until_wall_s),
                when(key.open_until_wall_s),
            )
            for key in found
        ),
    )


def keys_rotate(whom: Reach, output: Output, *, force: bool) -> None:
    """Rotate the ticket keys, a line per step."""
    _steps(whom, output, lambda client: client.rotate(force=force))


def keys_cancel(whom: Reach, output: Output) -> None:
    """Take back a rotation that has not got through."""
    key = ask(whom, lambda client: client.cancel_rotation())
    if output is Output.JSON:
        print_json({"cancelled": key})
    else:
        print(f"cancelled: key {key}")


def keys_revoke(whom: Reach, key: str, output: Output, *, yes: bool) -> None:
    """Make a ticket key useless, a line per step."""
    wanted = key.lower()
    if not re.fullmatch(r"[0-9a-f]{8,16}", wanted):
        right = "its id as the list of keys shows it, 8 hex digits or more"
        raise Failed(ExitCode.COULD_NOT_RUN, [f"KEY: {key} → {right}"])
    unless_sure(
        yes, f"every ticket under key {wanted} becomes useless, its clients do a full handshake"
    )
    _steps(whom, output, lambda client: client.revoke_key(wanted))


def keys_rewrap(whom: Reach, new_kek: Path, output: Output) -> None:
    """Change the key-encryption key, a line per step. The key itself isn't sent anywhere."""
    try:
        kek_id = Kek(load_kek(str(new_kek))).kek_id
    except ConfigError as error:
        raise Failed(ExitCode.COULD_NOT_RUN, error.problems) from None
    _steps(whom, output, lambda client: client.rewrap(kek_id))


def member_write_off(whom: Reach, name: str, output: Output, *, yes: bool) -> None:
    """Say that a gateway won't come back, a line per step."""
    what = f"if {name} still runs where nobody sees it, two gateways may serve one session"
    unless_sure(yes, what, "if it is gone for good")
    _steps(whom, output, lambda client: client.write_off(name))


def store_accept_restore(whom: Reach, output: Output, *, yes: bool) -> None:
    """Accept a store that was put back, a line per step."""
    unless_sure(yes, "every session ends, every ticket becomes useless, all keys are made anew")
    _steps(whom, output, lambda client: client.accept_restore())


def _steps(
    whom: Reach, output: Output, start: Callable[[AdminClient], AsyncIterator[RotationStep]]
) -> None:
    async def show(client: AdminClient) -> None:
        async for step in start(client):
            if output is Output.JSON:
                print_json_line(step)
            else:
                print(step.line, flush=True)

    ask(whom, show)


def _from_file(file: Path) -> Reach:
    kind = kind_of(file)
    if kind not in ("operator", "gateway"):
        right = "an operator's or a gateway's configuration"
        raise ConfigError([f"{file}: {KINDS[kind]} → {right}"])
    if kind == "operator":
        operator = operator_config(file)
        return Reach(operator.addresses, operator.ca_file, operator.cert_file, operator.key_file)
    member = gateway_config(file).member
    if not member.rpc_listen:
        raise ConfigError([f"{file}: member.rpc_listen: missing → ADDRESS:PORT, to be asked there"])
    host, port = parse_address(member.rpc_listen)
    nearest = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  compared only
    address = format_address((nearest, port))
    return Reach((address,), member.ca_file, member.cert_file, member.key_file, member.name)


def ask(whom: Reach, question: Callable[[AdminClient], Awaitable[T]]) -> T:
    """The answer of the first member that is there. Raises Failed."""
    if whom.member:
        print(
            f"standfast: asking with {whom.member}'s own certificate, which may only look, and only"
            f" at {whom.member}'s own sessions; an operator's file may do everything",
            file=sys.stderr,
        )

    async def answer() -> T:
        credentials = load_credentials(whom.ca_file, whom.cert_file, whom.key_file)
        async with AdminClient(whom.addresses, credentials) as client:
            return await question(client)

    try:
        return asyncio.run(answer())
    except Unreachable as error:
        raise Failed(ExitCode.COULD_NOT_RUN, [str(error)]) from None
    except AdminError as error:
        raise Failed(ExitCode.REFUSED, [str(error)]) from None
    except OSError as error:
        raise Failed(ExitCode.COULD_NOT_RUN, [f"{error.filename}: {error.strerror}"]) from None


def _spi(text: str) -> bytes:
    try:
        octets = bytes.fromhex(text)
    except ValueError:
        octets = b""
    if len(octets) != 8:
        raise Failed(ExitCode.COULD_NOT_RUN, [f"SPI: {text} → 16 hex digits"])
    return octets


def _member_rows(found: ClusterStatus) -> list[tuple[object, ...]]:
    return [
        (
            member.name,
            member.host,
            member.state,
            member.shards,
            member.sessions,
            member.ring_revision,
            "" if member.heartbeat_age_s is None else f"{member.heartbeat_age_s:.1f} s ago",
            " ".join(member.ike_addresses),
            member.rpc_address,
            member.release,
        )
        for member in found.members
    ]


def _session_row(session: SessionInfo) -> tuple[object, ...]:
    return (
        session.spi_r.hex(),
        session.identity,
        session.peer_address,
        session.how,
        session.member,
        session.generation,
        when(session.established_wall_s),
        when(session.expires_wall_s),
    )
