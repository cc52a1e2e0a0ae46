"""The member's gRPC server: the others' streams and the operators' calls, on one mTLS port.

Rules: every client shows a certificate of the cluster's authority; what its role may do is checked
where the call arrives (`cluster.link_grpc`, `node.admin`). A gateway without `member.rpc_listen`
has no peers and no administration.
"""

from collections.abc import Callable
from pathlib import Path

import grpc
import grpc.aio

from cluster.identity import MEMBER, Identity
from cluster.link import Frame
from cluster.link_grpc import SERVER_OPTIONS, GrpcLink, TlsPem, server_credentials
from cluster.seams import Spawn
from node.admin import AdminService, add_admin
from node.admin_client import load_credentials
from node.admin_view import NodeView
from node.config import GatewayConfig
from proto.secret import Secret

GRACE_S = 0.5


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
        self._server = grpc.aio.server(options=SERVER_OPTIONS)
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
            raise OSError(f"member.rpc_listen: {member.rpc_listen} can't be bound") from error
        await self._server.start()
        self.link.start()

    async def stop(self) -> None:
        """Hang up."""
        await self._server.stop(GRACE_S)
