"""The options that several commands have."""

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
