"""The commands of `keys` and their options; the rules are those of `node.cli.app`."""

# ruff: noqa: PLC0415

from pathlib import Path
from typing import Annotated

import typer

from node.cli.options import (
    AddressOption,
    CaOption,
    CertOption,
    KeyOption,
    OutputOption,
    ReachOption,
)
from node.cli.output import Output

keys_app = typer.Typer(no_args_is_help=True, help="The key ring of the cluster.")


@keys_app.command("list")
def keys_list(
    config: ReachOption = None,
    address: AddressOption = "",
    ca: CaOption = "",
    cert: CertOption = "",
    key: KeyOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """List the keys of the ring.

    What for, where in their life, until when. Never the keys themselves.
    """
    from node.cli import admin

    admin.keys_list(admin.reach(config, address, ca, cert, key), output)


@keys_app.command("rotate")
def keys_rotate(
    force: Annotated[
        bool, typer.Option("--force", help="Don't wait for members that lag; they are named.")
    ] = False,
    config: ReachOption = None,
    address: AddressOption = "",
    ca: CaOption = "",
    cert: CertOption = "",
    key: KeyOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Replace the ticket key.

    The new one seals once every live member has it; no valid ticket is refused.
    """
    from node.cli import admin

    admin.keys_rotate(admin.reach(config, address, ca, cert, key), output, force=force)


@keys_app.command("cancel")
def keys_cancel(
    config: ReachOption = None,
    address: AddressOption = "",
    ca: CaOption = "",
    cert: CertOption = "",
    key: KeyOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Take a rotation back.

    Only before the new key seals: what was announced goes, all else stays as it was.
    """
    from node.cli import admin

    admin.keys_cancel(admin.reach(config, address, ca, cert, key), output)


@keys_app.command("revoke")
def keys_revoke(
    ticket_key: Annotated[
        str, typer.Argument(metavar="KEY", help="The ticket key, as the list of keys shows it.")
    ],
    yes: Annotated[
        bool, typer.Option("--yes", help="Its tickets become useless, and that is wanted.")
    ] = False,
    config: ReachOption = None,
    address: AddressOption = "",
    ca: CaOption = "",
    cert: CertOption = "",
    key: KeyOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a ticket key useless at once, everywhere.

    Clients whose tickets it sealed do a full handshake. If it was the sealing key, another one is
    brought into use.
    """
    from node.cli import admin

    whom = admin.reach(config, address, ca, cert, key)
    admin.keys_revoke(whom, ticket_key, output, yes=yes)


@keys_app.command("rewrap")
def keys_rewrap(
    new_kek: Annotated[
        Path,
        typer.Option("--new-kek", help="A file with the new key: it is read here, and not sent."),
    ],
    config: ReachOption = None,
    address: AddressOption = "",
    ca: CaOption = "",
    cert: CertOption = "",
    key: KeyOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Change the key-encryption key.

    Every gateway must hold the new one before, as its kek_next_file (or another source).
    """
    from node.cli import admin

    admin.keys_rewrap(admin.reach(config, address, ca, cert, key), new_kek, output)
