"""The member's gRPC server: the others' streams and the operators' calls, on one mTLS port.

Rules: every client shows a certificate of the cluster's authority; what its role may do is checked
where the call arrives (`cluster.link_grpc`, `node.admin`). A gateway without `member.rpc_listen`
has no peers and no administration. gRPC cancels what is under way when its time is over and doesn't
wait for it; `stop` does, or the loop's end would strike calls half-ended, each with a traceback.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from cluster.identity import MEMBER, Identity
from cluster.link import Frame
from cluster.link_grpc import SERVER_OPTIONS, GrpcLink, TlsPem, server_credentials
from cluster.seams import Spawn
from node.admin import AdminService, add_admin
from node.admin_client import load_credentials
from node.admin_view import NodeView
from node.identity import parse_address
from node.sections import GatewayConfig
from node.udp import family_of
from proto.secret import Secret

if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]

GRACE_S = 0.5
"""How long calls under way may go on at the end."""
END_S = 2.0
"""How long they may take to end once they were cancelled."""


class NoLink:
    """For a gateway that is alone: implements `cluster.link.PeerLink`, reaches nobody."""

    def send(self, member: str, frame: Frame) -> bool:
        """Dropped: there is nobody."""
        return False

    def on_frame(self, handler: Callable[[str, Frame], None]) -> None:
        """Nothing ever arrives."""

    def set_peers(self, addresses: dict[str, str]) -> None:
        """Nobody is dialled."""

    async def close(self) -> None:
        """Nothing was opened."""


class Calls(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # none when it runs
    """Knows each call that is under way, by the task that gRPC has made for it."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[object], None] = {}

    async def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], Awaitable[Handler]]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler":
        """Called once as each call begins."""
        task = asyncio.current_task()
        if task is not None:
            self._tasks[task] = None
            task.add_done_callback(self._forget)
        return await continuation(handler_call_details)

    def _forget(self, task: asyncio.Task[object]) -> None:
        self._tasks.pop(task, None)

    @property
    def under_way(self) -> int:
        """How many."""
        return len(self._tasks)

    async def ended(self) -> None:
        """Wait until none is under way, which was ended before."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=END_S)
            await asyncio.sleep(0)  # for gRPC's own, which waits for the same


class RpcServer:
    """Serves link and administration. Make it where a loop runs."""

    def __init__(self, config: GatewayConfig, spawn: Spawn) -> None:
        """Read the certificates. Raises OSError."""
        member = config.member
        self._config = config
        self._spawn = spawn
        tls = TlsPem(
            Path(member.ca_file).read_bytes(),
            Path(member.cert_file).read_bytes(),
            Secret(Path(member.key_file).read_bytes()),
        )
        self._credentials = server_credentials(tls)
        self.calls = Calls()
        self._server = grpc.aio.server(interceptors=(self.calls,), options=SERVER_OPTIONS)
        me = Identity(config.cluster.name, MEMBER, member.name)
        self.link = GrpcLink(me, tls, spawn=spawn)
        self.link.register(self._server)

    async def start(self, view: NodeView) -> None:
        """Listen; `view` answers the operators. Raises OSError when the port is taken."""
        member = self._config.member
        service = AdminService(
            view,
            self._config.cluster.name,
            load_credentials(member.ca_file, member.cert_file, member.key_file),
            self._spawn,
        )
        add_admin(self._server, service)
        try:
            self._server.add_secure_port(member.rpc_listen, self._credentials)
        except RuntimeError as error:
            why = _why_not(member.rpc_listen)
            raise OSError(f"member.rpc_listen: {member.rpc_listen}: {why}") from error
        await self._server.start()
        self.link.start()

    async def stop(self) -> None:
        """Hang up; every call has ended then."""
        await self._server.stop(GRACE_S)
        await self.calls.ended()


def _why_not(address: str) -> str:
    """Why nobody can listen at `address`, which gRPC doesn't say."""
    local = parse_address(address)
    with socket.socket(family_of(local[0])) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(local)
        except OSError as error:
            return error.strerror or str(error)
    return "can't be bound"
