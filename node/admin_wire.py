"""Administration values to protobuf and back: the one place where both shapes are known.

Rules: the fields of `node.admin_view` and of `proto/rpc/admin.proto` have the same names, so that
each conversion is a copy by name; a field that only one side knows is an error in the tests.
"""

from typing import TypeVar

import msgspec
from google.protobuf.message import Message

from node.admin_view import (
    ClusterStatus,
    KeyInfo,
    MemberInfo,
    PoolInfo,
    Redirect,
    Redirected,
    RevocationInfo,
    Revoke,
    Revoked,
    RotationStep,
    SessionInfo,
    ShardInfo,
    StoreConditionInfo,
)
from proto.rpc import admin_pb2

S = TypeVar("S", bound=msgspec.Struct)


def encode_status(status: ClusterStatus) -> admin_pb2.StatusReply:
    """The status as a message."""
    fields = msgspec.structs.asdict(status)
    fields["members"] = [
        admin_pb2.Member(**msgspec.structs.asdict(member)) for member in status.members
    ]
    fields["store_conditions"] = [
        admin_pb2.StoreCondition(**msgspec.structs.asdict(each)) for each in status.store_conditions
    ]
    return admin_pb2.StatusReply(**fields)


def decode_status(message: admin_pb2.StatusReply) -> ClusterStatus:
    """The message as a status."""
    members = tuple(_decode(MemberInfo, member) for member in message.members)
    conditions = tuple(_decode(StoreConditionInfo, each) for each in message.store_conditions)
    return msgspec.structs.replace(
        _decode(ClusterStatus, message), members=members, store_conditions=conditions
    )


def encode_session(session: SessionInfo) -> admin_pb2.Session:
    """A session as a message."""
    return admin_pb2.Session(**msgspec.structs.asdict(session))


def decode_session(message: admin_pb2.Session) -> SessionInfo:
    """The message as a session."""
    return _decode(SessionInfo, message)


def encode_redirect(
    what: Redirect, *, local_only: bool, asked_by: str
) -> admin_pb2.RedirectRequest:
    """What is to be redirected as a message."""
    fields = msgspec.structs.asdict(what)
    return admin_pb2.RedirectRequest(local_only=local_only, asked_by=asked_by, **fields)


def decode_redirect(message: admin_pb2.RedirectRequest) -> Redirect:
    """The message as what is to be redirected."""
    return _decode(Redirect, message)


def encode_redirected(done: Redirected) -> admin_pb2.RedirectReply:
    """How many were sent away as a message."""
    return admin_pb2.RedirectReply(**msgspec.structs.asdict(done))


def decode_redirected(message: admin_pb2.RedirectReply) -> Redirected:
    """The message as how many were sent away."""
    return _decode(Redirected, message)


def encode_shard(shard: ShardInfo) -> admin_pb2.Shard:
    """A shard as a message."""
    return admin_pb2.Shard(**msgspec.structs.asdict(shard))


def decode_shard(message: admin_pb2.Shard) -> ShardInfo:
    """The message as a shard."""
    return _decode(ShardInfo, message)


def encode_pool(pool: PoolInfo) -> admin_pb2.Pool:
    """A pool as a message."""
    return admin_pb2.Pool(**msgspec.structs.asdict(pool))


def decode_pool(message: admin_pb2.Pool) -> PoolInfo:
    """The message as a pool."""
    return _decode(PoolInfo, message)


def encode_key(key: KeyInfo) -> admin_pb2.Key:
    """A key's description as a message."""
    return admin_pb2.Key(**msgspec.structs.asdict(key))


def decode_key(message: admin_pb2.Key) -> KeyInfo:
    """The message as a key's description."""
    return _decode(KeyInfo, message)


def encode_step(step: RotationStep) -> admin_pb2.RotationStep:
    """A step of a rotation as a message."""
    return admin_pb2.RotationStep(**msgspec.structs.asdict(step))


def decode_step(message: admin_pb2.RotationStep) -> RotationStep:
    """The message as a step of a rotation."""
    return _decode(RotationStep, message)


def encode_revoke(what: Revoke) -> admin_pb2.RevokeRequest:
    """What is to be revoked as a message."""
    return admin_pb2.RevokeRequest(**msgspec.structs.asdict(what))


def decode_revoke(message: admin_pb2.RevokeRequest) -> Revoke:
    """The message as what is to be revoked."""
    return _decode(Revoke, message)


def encode_revoked(done: Revoked) -> admin_pb2.RevokeReply:
    """What a revocation hit as a message."""
    return admin_pb2.RevokeReply(**msgspec.structs.asdict(done))


def decode_revoked(message: admin_pb2.RevokeReply) -> Revoked:
    """The message as what a revocation hit."""
    return _decode(Revoked, message)


def encode_revocation(revocation: RevocationInfo) -> admin_pb2.Revocation:
    """A revocation as a message."""
    return admin_pb2.Revocation(**msgspec.structs.asdict(revocation))


def decode_revocation(message: admin_pb2.Revocation) -> RevocationInfo:
    """The message as a revocation."""
    return _decode(RevocationInfo, message)


def _decode(cls: type[S], message: Message) -> S:
    values: dict[str, object] = {}
    for name in cls.__struct_fields__:
        value = getattr(message, name)
        if name in _OPTIONAL and not message.HasField(name):
            value = None
        values[name] = tuple(value) if name in _REPEATED else value
    return cls(**values)


_REPEATED = ("members", "ike_addresses", "store_conditions", "unreachable")
_OPTIONAL = ("heartbeat_age_s", "sessions_here", "found")
