"""The commands and their options.

Rules: a command imports what it needs when it is called, so that `--help` is quick. Exit codes: 0
done, 1 refused or failed, 2 could not run or wrongly called. An error is a line, never a traceback.
"""

# imports inside functions are the rule of this file; each command pays for what it uses
# ruff: noqa: PLC0415

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from node.cli.app_keys import keys_app
from node.cli.failure import ExitCode, Failed
from node.cli.options import ConfigOption, OutputOption, asking
from node.cli.output import Output

if TYPE_CHECKING:
    from node.cli.admin import Reach

app = typer.Typer(
    name="standfast",
    help="An IKEv2 gateway cluster whose sessions survive the loss of a gateway.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
config_app = typer.Typer(no_args_is_help=True, help="Look at configuration files.")
sessions_app = typer.Typer(no_args_is_help=True, help="The sessions of the cluster.")
drill_app = typer.Typer(no_args_is_help=True, help="Rehearse a failure.")
app.add_typer(config_app, name="config")
app.add_typer(sessions_app, name="sessions")
app.add_typer(keys_app, name="keys")
shards_app = typer.Typer(no_args_is_help=True, help="Who owns which shard.")
app.add_typer(shards_app, name="shards")
app.add_typer(drill_app, name="drill")
revoke_app = typer.Typer(no_args_is_help=True, help="Make sessions and tickets void, everywhere.")
revocations_app = typer.Typer(no_args_is_help=True, help="What was made void.")
app.add_typer(revoke_app, name="revoke")
app.add_typer(revocations_app, name="revocations")
store_app = typer.Typer(no_args_is_help=True, help="The store that the cluster agrees in.")
app.add_typer(store_app, name="store")
member_app = typer.Typer(no_args_is_help=True, help="The gateways of the cluster.")
app.add_typer(member_app, name="member")

CHECKED = "A gateway's, client's or operator's, pre-shared keys, or a drill."
SpiArgument = Annotated[
    str, typer.Argument(metavar="SPI", help="Either SPI of the IKE SA, 16 hex digits.")
]


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"standfast {version('standfast')}")
        raise typer.Exit


@app.callback()
def _standfast(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Empty, or not there yet.")],
    gateways: Annotated[int, typer.Option(help="How many gateways.")] = 3,
    name: Annotated[str, typer.Option(help="The cluster's name.")] = "sample",
    base_port: Annotated[int, typer.Option(help="Use ports from here on (0: the usual ones).")] = 0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a sample cluster in DIR.

    Configuration, keys and certificates for gateways, etcd, a client and an operator, all on this
    machine. Nothing is written over.
    """
    from node.cli.files import init_sample

    raise typer.Exit(init_sample(folder, gateways, name, base_port, output))


@config_app.command("check")
def config_check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=CHECKED)],
    output: OutputOption = Output.TABLE,
) -> None:
    """Check a configuration file.

    A line for each problem: file, key, what was given and what would be right.
    """
    from node.cli.files import check_config

    raise typer.Exit(check_config(file, output))


@app.command()
def gateway(config: ConfigOption) -> None:
    """Run a gateway until SIGTERM."""
    from node.cli.run import gateway as run

    raise typer.Exit(run(config))


@app.command()
def client(config: ConfigOption) -> None:
    """Run a client until SIGTERM.

    It connects to a gateway, and goes on at another one when that is lost.
    """
    from node.cli.run import client as run

    raise typer.Exit(run(config))


@app.command()
@asking
def status(whom: "Reach", output: Output) -> None:
    """Show the cluster.

    Members, shards, sessions, key ring and store, as the member asked sees them.
    """
    from node.cli import admin

    admin.status(whom, output)


@sessions_app.command("list")
@asking
def sessions_list(whom: "Reach", output: Output) -> None:
    """List the sessions of every member."""
    from node.cli import admin

    admin.sessions_list(whom, output)


@sessions_app.command("show")
@asking
def sessions_show(
    whom: "Reach",
    output: Output,
    spi: SpiArgument,
) -> None:
    """Show one session, wherever it is."""
    from node.cli import admin

    admin.sessions_show(whom, spi, output)


@sessions_app.command("terminate")
@asking
def sessions_terminate(
    whom: "Reach",
    output: Output,
    spi: SpiArgument,
) -> None:
    """End one session at its owner, and tell its client."""
    from node.cli import admin

    admin.sessions_terminate(whom, spi, output)


@sessions_app.command("redirect")
@asking
def sessions_redirect(
    whom: "Reach",
    output: Output,
    to: Annotated[str, typer.Option("--to", metavar="GATEWAY", help="Its address, or its name.")],
    identity: Annotated[
        str, typer.Option(metavar="PATTERN", help="Whose: kind:text, with * for any text.")
    ] = "",
    everybody: Annotated[bool, typer.Option("--all", help="Every client.")] = False,
    member: Annotated[str, typer.Option(metavar="NAME", help="Only sessions at this one.")] = "",
) -> None:
    """Send clients to another gateway, with their sessions.

    Those that follow a redirect (RFC 5685). A client with a ticket resumes its session there.
    """
    from node.cli.redirect import redirect

    redirect(whom, to, "*" if everybody else identity, member, output)


@shards_app.command("list")
@asking
def shards_list(whom: "Reach", output: Output) -> None:
    """List the shards with their owners and fences."""
    from node.cli import shards

    shards.listed(whom, output)


@shards_app.command("move")
@asking
def shards_move(
    whom: "Reach",
    output: Output,
    shard: Annotated[str, typer.Argument(metavar="SHARD", help="As the list shows it.")],
    member: Annotated[str, typer.Argument(metavar="MEMBER", help="Who is to have it.")],
) -> None:
    """Hand a shard to another member, with all sessions in it.

    It stays there while that member lives, whatever balancing would do.
    """
    from node.cli import shards

    shards.move(whom, shard, member, output)


@app.command()
@asking
def pools(whom: "Reach", output: Output) -> None:
    """Show how full the pools of internal addresses are."""
    from node.cli.pools import listed

    listed(whom, output)


@revoke_app.command("session")
@asking
def revoke_session(
    whom: "Reach",
    output: Output,
    chain: Annotated[
        str, typer.Argument(metavar="CHAIN", help="The chain, as sessions show tells it.")
    ],
) -> None:
    """Revoke a session.

    Its SA ends wherever it is, and no ticket of it works any more.
    """
    from node.cli import revoke

    revoke.session(whom, chain, output)


@revoke_app.command("identity")
@asking
def revoke_identity(
    whom: "Reach",
    output: Output,
    identity: Annotated[
        str, typer.Argument(metavar="ID", help="kind:text, as the list of sessions shows it.")
    ],
    yes: Annotated[
        bool, typer.Option("--yes", help="All its sessions end, and that is wanted.")
    ] = False,
) -> None:
    """Revoke all sessions of an identity.

    Those authenticated until now. To keep it out, take its pre-shared key away too.
    """
    from node.cli import revoke

    revoke.identity(whom, identity, output, yes=yes)


@revoke_app.command("issued-before")
@asking
def revoke_issued_before(
    whom: "Reach",
    output: Output,
    time: Annotated[str, typer.Argument(metavar="TIME", help="Like 2026-01-31T12:00:00Z.")],
    yes: Annotated[
        bool, typer.Option("--yes", help="Those tickets become useless, and that is wanted.")
    ] = False,
) -> None:
    """Revoke all tickets issued before TIME.

    Running sessions go on; whose ticket is older does a full handshake next time.
    """
    from node.cli import revoke

    revoke.issued_before(whom, time, output, yes=yes)


@revocations_app.command("list")
@asking
def revocations_list(whom: "Reach", output: Output) -> None:
    """List the revocations in force.

    An identity is shown as its keyed hash: whose it is isn't kept anywhere.
    """
    from node.cli import revoke

    revoke.listed(whom, output)


@member_app.command("write-off")
@asking
def member_write_off(
    whom: "Reach",
    output: Output,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The gateway's member.name.")],
    yes: Annotated[bool, typer.Option("--yes", help="It doesn't run any more, surely.")] = False,
) -> None:
    """Say that a gateway which died while etcd was away won't come back.

    What the others pledged to it is released, and the mode is normal again without it.
    """
    from node.cli import admin

    admin.member_write_off(whom, name, output, yes=yes)


@store_app.command("accept-restore")
@asking
def store_accept_restore(
    whom: "Reach",
    output: Output,
    yes: Annotated[
        bool, typer.Option("--yes", help="Every session ends, and that is wanted.")
    ] = False,
) -> None:
    """Make a store that was put back to an older state the one that counts.

    For gateways in the state store-rewound. The epoch is raised: every session ends, every ticket
    becomes useless, all keys are made anew; clients do a full handshake.
    """
    from node.cli import admin

    admin.store_accept_restore(whom, output, yes=yes)


@drill_app.command("run")
def drill_run(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The drill, a TOML file.")],
    report: Annotated[Path, typer.Option(help="The folder for the report.")] = Path("report"),
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the processes' files: configuration, logs, events.")
    ] = False,
) -> None:
    """Carry a drill out.

    Against real processes, with a verdict: exit code 0 if every promise was kept, 1 if one was
    broken, 2 if the drill could not run.
    """
    from node.cli.run import drill as run

    raise typer.Exit(run(file, report, keep))


def main(arguments: Sequence[str] | None = None) -> int:
    """The entry point of `standfast`; `arguments` default to the process's. The exit code.

    Raises SystemExit where typer ends the command itself.
    """
    try:
        app(args=arguments)
    except Failed as failure:
        for line in failure.lines:
            print(f"standfast: {line}", file=sys.stderr)
        return failure.code
    except BrokenPipeError:
        sys.stderr.close()  # the reader has gone; nothing is left to say to anybody
        return ExitCode.REFUSED
    return ExitCode.DONE
