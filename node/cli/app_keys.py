"""The commands of `keys` and their options; the rules are those of `node.cli.app`."""

# ruff: noqa: PLC0415

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from node.cli.options import asking
from node.cli.output import Output

if TYPE_CHECKING:
    from node.cli.admin import Reach

keys_app = typer.Typer(no_args_is_help=True, help="The key ring of the cluster.")


@keys_app.command("list")
@asking
def keys_list(whom: "Reach", output: Output) -> None:
    """List the keys of the ring.

    What for, where in their life, until when. Never the keys themselves.
    """
    from node.cli import admin

    admin.keys_list(whom, output)


@keys_app.command("rotate")
@asking
def keys_rotate(
    whom: "Reach",
    output: Output,
    force: Annotated[
        bool, typer.Option("--force", help="Don't wait for members that lag; they are named.")
    ] = False,
) -> None:
    """Replace the ticket key.

    The new one seals once every live member has it; no valid ticket is refused.
    """
    from node.cli import admin

    admin.keys_rotate(whom, output, force=force)


@keys_app.command("cancel")
@asking
def keys_cancel(whom: "Reach", output: Output) -> None:
    """Take a rotation back.

    Only before the new key seals: what was announced goes, all else stays as it was.
    """
    from node.cli import admin

    admin.keys_cancel(whom, output)


@keys_app.command("revoke")
@asking
def keys_revoke(
    whom: "Reach",
    output: Output,
    ticket_key: Annotated[
        str, typer.Argument(metavar="KEY", help="The ticket key, as the list of keys shows it.")
    ],
    yes: Annotated[
        bool, typer.Option("--yes", help="Its tickets become useless, and that is wanted.")
    ] = False,
) -> None:
    """Make a ticket key useless at once, everywhere.

    Clients whose tickets it sealed do a full handshake. If it was the sealing key, another one is
    brought into use.
    """
    from node.cli import admin

    admin.keys_revoke(whom, ticket_key, output, yes=yes)


@keys_app.command("rewrap")
@asking
def keys_rewrap(
    whom: "Reach",
    output: Output,
    new_kek: Annotated[
        Path,
        typer.Option("--new-kek", help="A file with the new key: it is read here, and not sent."),
    ],
) -> None:
    """Change the key-encryption key.

    Every gateway must hold the new one before, as its kek_next_file (or another source).
    """
    from node.cli import admin

    admin.keys_rewrap(whom, new_kek, output)
