"""The command line, `standfast`: it parses, calls, prints and exits, and decides nothing."""

from node.cli.app import main

__all__ = ["main"]
