"""node.rpc: a server that stops leaves no call half-ended; one that can't listen says why."""

import asyncio
import logging
import socket
from pathlib import Path

import msgspec
import pytest

from node.config import load_gateway
from node.etcd_child import free_ports
from node.rpc import RpcServer
from node.sample import Sample, write_sample
from node.seams import OsClock, OsRng
from node.supervisor import Supervisor
from tests.unit.node.test_admin import FakeView

PEERS = ("gw1", "gw2", "gw3")
PATIENCE_S = 30.0
"""Only so that a hang fails."""


def test_streams_that_nobody_ends_have_ended_when_the_server_has_stopped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """gRPC logs a call that the end of the loop strikes as an error, with a traceback; one that had
    ended before isn't mentioned.
    """
    write_sample(tmp_path / "all", Sample(), OsRng(), OsClock().wall_s())
    files = {name: load_gateway(tmp_path / "all" / f"{name}.toml") for name in PEERS}
    member = msgspec.structs.replace(
        files["gw1"].member, rpc_listen=f"127.0.0.1:{free_ports(1)[0]}"
    )
    config = msgspec.structs.replace(files["gw1"], member=member)

    async def main() -> tuple[int, int]:
        supervisor = Supervisor()
        server = RpcServer(config, supervisor.spawn)
        await server.start(FakeView("gw1", ()))
        for name in PEERS[1:]:
            link = RpcServer(files[name], supervisor.spawn).link  # it dials, and is not served
            link.set_peers({"gw1": member.rpc_listen})
        async with asyncio.timeout(PATIENCE_S):
            while server.calls.under_way < len(PEERS) - 1:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        before = server.calls.under_way
        await server.stop()
        return before, server.calls.under_way

    with caplog.at_level(logging.WARNING):
        assert asyncio.run(main()) == (len(PEERS) - 1, 0)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("address", "why"),
    [("127.0.0.1:{}", "Address already in use"), ("192.0.2.1:{}", "Cannot assign requested")],
)
async def test_who_cannot_listen_says_where_and_why(tmp_path: Path, address: str, why: str) -> None:
    write_sample(tmp_path / "all", Sample(), OsRng(), OsClock().wall_s())
    config = load_gateway(tmp_path / "all" / "gw1.toml")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = address.format(taken.getsockname()[1])
        member = msgspec.structs.replace(config.member, rpc_listen=where)
        supervisor = Supervisor()
        server = RpcServer(msgspec.structs.replace(config, member=member), supervisor.spawn)
        with pytest.raises(OSError, match=f"member.rpc_listen: {where}: {why}"):
            await server.start(FakeView("gw1", ()))
        await server.stop()
