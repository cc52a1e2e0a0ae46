"""`gateway`, `client` and `drill run`: commands that stay."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

# gRPC's C core writes lines of its own among ours; what they say, ours say of store and members
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from cluster.errors import ClusterError
from node.cli.failure import ExitCode, Failed
from node.cli.files import client_config, gateway_config, problems_as
from node.observe import configure_logging
from node.sections import LogConfig
from node.toml_strict import ConfigError


def gateway(file: Path) -> int:
    """Run a gateway; the exit code."""
    try:
        config = gateway_config(file)
    except ConfigError as error:
        raise Failed(ExitCode.COULD_NOT_RUN, problems_as("gateway", file, error)) from None
    except OSError as error:
        raise Failed(ExitCode.COULD_NOT_RUN, [f"{error.filename}: {error.strerror}"]) from None
    from node.process import run_gateway  # noqa: PLC0415  a client doesn't need it

    return _run(config.log, lambda: run_gateway(config))


def client(file: Path) -> int:
    """Run a client; the exit code."""
    try:
        config = client_config(file)
    except ConfigError as error:
        raise Failed(ExitCode.COULD_NOT_RUN, problems_as("client", file, error)) from None
    from node.client import run_client  # noqa: PLC0415  a gateway doesn't need it

    return _run(config.log, lambda: run_client(config))


def drill(file: Path, report: Path, keep: bool) -> int:
    """Run a drill; the exit code is its verdict."""
    from node.drill.run import run_drill  # noqa: PLC0415  only a drill needs it

    return run_drill(file, report, keep=keep)


def _run(log: LogConfig, main: Callable[[], Awaitable[int]]) -> int:
    configure_logging(log.level, log.format)

    async def run() -> int:
        return await main()

    try:
        return asyncio.run(run())
    except ConfigError as error:
        raise Failed(ExitCode.COULD_NOT_RUN, error.problems) from None
    except ClusterError as error:
        raise Failed(ExitCode.REFUSED, [str(error)]) from None
    except OSError as error:
        what = f"{error.filename}: " if error.filename else ""
        raise Failed(ExitCode.COULD_NOT_RUN, [f"{what}{error.strerror or error}"]) from None
    except KeyboardInterrupt:
        return ExitCode.DONE
