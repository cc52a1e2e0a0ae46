"""The options that several commands have."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from node.cli.output import Output

OutputOption = Annotated[Output, typer.Option("-o", "--output", help="How to print.")]
ConfigOption = Annotated[
    Path, typer.Option("--config", envvar="STANDFAST_CONFIG", help="Its configuration file.")
]
ReachOption = Annotated[
    Path | None,
    typer.Option(
        "--config", envvar="STANDFAST_CONFIG", help="An operator's file, or any gateway's."
    ),
]
AddressOption = Annotated[
    str, typer.Option("--address", help="Ask the member at ADDRESS:PORT, not those of the file.")
]
CaOption = Annotated[str, typer.Option("--ca", help="The cluster's authority, a PEM file.")]
CertOption = Annotated[str, typer.Option("--cert", help="The certificate to show, a PEM file.")]
KeyOption = Annotated[str, typer.Option("--key", help="Its key, a PEM file.")]


def asking(command: Callable[..., None]) -> Callable[..., None]:
    """`command(whom to ask, how to print, …)`, which gets the first two by the options for that,
    beside its own.
    """

    @functools.wraps(command, assigned=("__module__", "__name__", "__qualname__", "__doc__"))
    def asked(
        config: ReachOption = None,
        address: AddressOption = "",
        ca: CaOption = "",
        cert: CertOption = "",
        key: KeyOption = "",
        output: OutputOption = Output.TABLE,
        **given: object,
    ) -> None:
        from node.cli import admin  # noqa: PLC0415 - `--help` needs none of it

        command(admin.reach(config, address, ca, cert, key), output, **given)

    own = list(inspect.signature(command).parameters.values())[2:]
    shared = list(inspect.signature(asked, follow_wrapped=False).parameters.values())[:-1]
    asked.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
    asked.__annotations__ = {each.name: each.annotation for each in (*own, *shared)}
    return asked
