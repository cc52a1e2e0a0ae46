"""Who a certificate says its holder is: how names are written into it, and how they are read out.

Rules: a name counts only if it stands in a certificate that the cluster's own authority signed, so
what is read here comes from a finished TLS handshake and never from a message. A certificate bears
exactly one identity, as the URI `standfast://<cluster>/<role>/<name>`. A member's certificate
also bears `server_name(...)` as a DNS name: a dialler can ask gRPC for that one name, and so never
talks to another member that happens to listen at the address.
"""

from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

import msgspec

SCHEME = "standfast"
MEMBER = "member"
"""The role of a gateway."""
OPERATOR = "operator"
"""The role of a person or tool that administers the cluster."""

SAN = "x509_subject_alternative_name"
"""The property of a gRPC auth context that holds the certificate's alternative names."""


class Identity(msgspec.Struct, frozen=True):
    """Whom a certificate names."""

    cluster: str
    role: str
    name: str


def uri(identity: Identity) -> str:
    """The alternative name (type URI) that a certificate of `identity` bears."""
    return f"{SCHEME}://{identity.cluster}/{identity.role}/{identity.name}"


def server_name(identity: Identity) -> str:
    """The alternative name (type DNS) by which a dialler asks for `identity`; ends in a name that
    no public DNS will ever hold (RFC 2606)."""
    return f"{identity.name}.{identity.role}.{identity.cluster}.standfast.invalid".lower()


def parse_uri(text: str) -> Identity | None:
    """The identity in `text`, or None if it isn't one of ours."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    path = parts.path.split("/")
    if parts.scheme != SCHEME or len(path) != 3 or parts.query or parts.fragment:
        return None
    cluster, role, name = parts.netloc, path[1], path[2]
    if not (cluster and role and name):
        return None
    return Identity(cluster=cluster, role=role, name=name)


def peer_identity(auth_context: Mapping[str, Iterable[bytes]]) -> Identity | None:
    """Whom the peer of a gRPC call has proven to be; None without exactly one identity of ours.

    `auth_context` is what `ServicerContext.auth_context()` returns.
    """
    found: Identity | None = None
    for name in auth_context.get(SAN, ()):
        identity = parse_uri(name.decode("utf-8", "replace"))
        if identity is None:
            continue
        if found is not None:
            return None
        found = identity
    return found
