"""Who begins conversations: a gateway with its own methods or with RADIUS servers, and a client.

Rules: a conversation is held by the gateway itself or by RADIUS, never by both. What the files say
has been checked (`node.eap.check`); they are read once, when the process starts. How a peer is
told from another one: `node.eap.method.Asked`.
"""

from collections.abc import Iterator, Sequence
from functools import partial

import msgspec

from cluster.seams import Rng
from node.eap.local import LocalServer, MakeMethod
from node.eap.method import Asked, Conversation, PeerMethod
from node.eap.mschapv2.peer import MschapV2Peer
from node.eap.mschapv2.server import MschapV2Server
from node.eap.peer import EapPeer
from node.eap.radius.relay import RadiusRelay, RadiusServers
from node.eap.tls.means import TlsMeans
from node.eap.tls.peer import TlsPeer
from node.eap.tls.server import TlsServer
from node.eap.users import Users
from proto.secret import Secret

MSCHAPV2, TLS, RADIUS = "mschapv2", "tls", "radius"


class Means(msgspec.Struct, frozen=True):
    """What the configured methods work with; None: that method isn't there."""

    users: Users | None = None
    tls: TlsMeans | None = None
    radius: RadiusServers | None = None


class EapBackend:
    """Implements `node.eap.method.Backend`."""

    def __init__(
        self,
        methods: Sequence[str],
        means: Means,
        name: str,
        rng: Rng,
        *,
        ask: bool = False,
    ) -> None:
        """`methods`: in the order in which they are proposed. `name`: the gateway's, as its peers
        know it. `ask`: for the identity, before all else.
        """
        self._methods = tuple(methods)
        self._means = means
        self._name = name
        self._rng = rng
        self._ask = ask

    @property
    def radius(self) -> RadiusServers | None:
        """The servers, where there are any."""
        return self._means.radius

    def converse(self, asked: Asked) -> Conversation:
        """See `Backend.converse`."""
        methods = asked.methods or self._methods
        first = self._rng.bytes(1)[0]
        if RADIUS in methods and self._means.radius is not None:
            return RadiusRelay(self._means.radius, asked, first)
        local = list(self._local(methods, asked.connection))
        return LocalServer(local, asked.identity, first, ask=self._ask)

    def close(self) -> None:
        """Give sockets back."""
        if self._means.radius is not None:
            self._means.radius.close()

    def _local(self, methods: Sequence[str], connection: str) -> Iterator[MakeMethod]:
        for method in methods:
            if method == MSCHAPV2 and self._means.users is not None:
                yield partial(_mschapv2, self._means.users, self._name, self._rng)
            elif method == TLS and self._means.tls is not None:
                yield partial(_tls, self._means.tls, connection)


class EapClient:
    """Implements `node.eap.method.Backend` for a client: its conversations are one user's."""

    def __init__(
        self,
        identity: str,
        rng: Rng,
        *,
        nt_hash: Secret | None = None,
        tls: TlsMeans | None = None,
        servers: Sequence[str] = (),
    ) -> None:
        """`identity`: empty: the one that IKE names. A method is done that has what it needs.
        `servers`: names of which the certificate of EAP-TLS must have one; none: any will do.
        """
        self._identity = identity
        self._rng = rng
        self._nt_hash = nt_hash
        self._tls = tls
        self._servers = tuple(servers)

    def converse(self, asked: Asked) -> Conversation:
        """See `Backend.converse`."""
        identity = self._identity or asked.identity
        methods: list[PeerMethod] = []
        if self._tls is not None:
            shared, trust = self._tls.context(""), self._tls.trust("")
            methods.append(TlsPeer(shared, identity, self._servers, trust))
        if self._nt_hash is not None:
            methods.append(MschapV2Peer(identity, self._nt_hash, self._rng))
        return EapPeer(identity, methods)


def _mschapv2(users: Users, name: str, rng: Rng, _claimed: str) -> MschapV2Server:
    return MschapV2Server(users, name, rng)


def _tls(means: TlsMeans, connection: str, claimed: str) -> TlsServer:
    return TlsServer(means.context(connection), claimed, means.trust(connection))
