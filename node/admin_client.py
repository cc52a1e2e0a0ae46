"""Asks members what administrators want to know, over gRPC with mutual TLS.

Rules: every call has a deadline; whatever goes wrong becomes an AdminError of one line. Any of the
addresses will do; the first that answers is kept.
"""

import asyncio
import enum
import os
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Sequence
from pathlib import Path
from types import TracebackType
from typing import NoReturn, TypeVar

import grpc
import grpc.aio
import msgspec

from node.admin_view import (
    ClusterStatus,
    KeyInfo,
    PoolInfo,
    Redirect,
    Redirected,
    RevocationInfo,
    Revoke,
    Revoked,
    RotationStep,
    SessionInfo,
    ShardInfo,
)
from node.admin_wire import (
    decode_key,
    decode_pool,
    decode_redirected,
    decode_revocation,
    decode_revoked,
    decode_session,
    decode_shard,
    decode_status,
    decode_step,
    encode_redirect,
    encode_revoke,
)
from node.identity import parse_address
from proto.rpc import admin_pb2, admin_pb2_grpc

CONNECT_TIMEOUT_S = 2.0
CALL_TIMEOUT_S = 5.0
LIST_TIMEOUT_S = 30.0
ROTATE_TIMEOUT_S = 600.0
Reply = TypeVar("Reply")


class AdminError(Exception):
    """What was asked was refused or failed: one line that says why."""


class Unreachable(AdminError):
    """Nobody could be asked."""


class NotFound(AdminError):
    """There is no such session."""


class SessionList(msgspec.Struct, frozen=True):
    """Sessions, and the members whose sessions are missing from them."""

    sessions: tuple[SessionInfo, ...]
    unreachable: tuple[str, ...]


def load_credentials(ca_file: str, cert_file: str, key_file: str) -> grpc.ChannelCredentials:
    """What a client shows and whom it believes. Raises OSError."""
    return grpc.ssl_channel_credentials(
        root_certificates=Path(ca_file).read_bytes(),
        private_key=Path(key_file).read_bytes(),
        certificate_chain=Path(cert_file).read_bytes(),
    )


class AdminClient:
    """A connection to one member of the cluster; an async context manager.

    `asked_by`, where a call has it: the operator for whom a member asks; nobody else is believed.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        credentials: grpc.ChannelCredentials,
        server: str = "",
    ) -> None:
        """`server`: the one name (`cluster.identity.server_name`) that the answering member must
        have proven; empty: any member of the cluster whose certificate fits the address."""
        self._addresses = tuple(addresses)
        self._credentials = credentials
        self._options = (("grpc.ssl_target_name_override", server),) if server else ()
        self._channel: grpc.aio.Channel | None = None

    async def __aenter__(self) -> "AdminClient":
        reached: dict[str, _Reached] = {}
        for address in self._addresses:
            channel = grpc.aio.secure_channel(address, self._credentials, options=self._options)
            reached[address] = await _reach(channel)
            if reached[address] is _Reached.READY:
                self._channel = channel
                self._stub = admin_pb2_grpc.AdminStub(channel)
                return self
            await channel.close(None)
        where = ", ".join([f"{one} ({await _why_not(one, how)})" for one, how in reached.items()])
        raise Unreachable(f"no member answers at {where}")

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._channel is not None:
            await self._channel.close(None)

    async def status(self) -> ClusterStatus:
        """The cluster as the member sees it. Raises AdminError."""
        reply = await _answer(self._stub.Status(admin_pb2.StatusRequest(), timeout=CALL_TIMEOUT_S))
        return decode_status(reply)

    async def sessions(self, *, local_only: bool = False) -> SessionList:
        """The cluster's sessions, or only those that the member owns. Raises AdminError."""
        request = admin_pb2.ListSessionsRequest(local_only=local_only)
        sessions: list[SessionInfo] = []
        unreachable: list[str] = []
        try:
            async for batch in self._stub.ListSessions(request, timeout=LIST_TIMEOUT_S):
                sessions += [decode_session(message) for message in batch.sessions]
                unreachable += batch.unreachable
        except grpc.aio.AioRpcError as error:
            _fail(error)
        return SessionList(tuple(sessions), tuple(unreachable))

    async def show(self, spi: bytes, *, local_only: bool = False) -> SessionInfo:
        """One session by either SPI, 8 octets. Raises NotFound, AdminError."""
        request = admin_pb2.SessionRequest(spi=spi, local_only=local_only)
        reply = await _answer(self._stub.ShowSession(request, timeout=CALL_TIMEOUT_S))
        return decode_session(reply)

    async def terminate(self, spi: bytes, *, local_only: bool = False, asked_by: str = "") -> str:
        """Delete a session by either SPI; the member that owned it. Raises NotFound, AdminError."""
        request = admin_pb2.SessionRequest(spi=spi, local_only=local_only, asked_by=asked_by)
        reply = await _answer(
            self._stub.TerminateSession(request, timeout=CALL_TIMEOUT_S), changes=True
        )
        return str(reply.member)

    async def redirect(
        self, what: Redirect, *, local_only: bool = False, asked_by: str = ""
    ) -> Redirected:
        """Send clients elsewhere; how many. Raises AdminError."""
        request = encode_redirect(what, local_only=local_only, asked_by=asked_by)
        reply = await _answer(
            self._stub.RedirectSessions(request, timeout=LIST_TIMEOUT_S), changes=True
        )
        return decode_redirected(reply)

    async def shards(self) -> tuple[ShardInfo, ...]:
        """Every shard as the member knows it. Raises AdminError."""
        request = admin_pb2.ListShardsRequest()
        reply = await _answer(self._stub.ListShards(request, timeout=CALL_TIMEOUT_S))
        return tuple(decode_shard(message) for message in reply.shards)

    async def pools(self) -> tuple[PoolInfo, ...]:
        """The pools of internal addresses as the member knows them. Raises AdminError."""
        request = admin_pb2.ListPoolsRequest()
        reply = await _answer(self._stub.ListPools(request, timeout=CALL_TIMEOUT_S))
        return tuple(decode_pool(message) for message in reply.pools)

    async def move_shard(
        self, shard: int, member: str, *, local_only: bool = False, asked_by: str = ""
    ) -> str:
        """Hand a shard to `member`; whose it was. Raises AdminError."""
        request = admin_pb2.MoveShardRequest(
            shard=shard, member=member, local_only=local_only, asked_by=asked_by
        )
        reply = await _answer(self._stub.MoveShard(request, timeout=LIST_TIMEOUT_S), changes=True)
        return str(reply.former)

    async def keys(self) -> tuple[KeyInfo, ...]:
        """The keys of the member's ring. Raises AdminError."""
        reply = await _answer(
            self._stub.ListKeys(admin_pb2.ListKeysRequest(), timeout=CALL_TIMEOUT_S)
        )
        return tuple(decode_key(message) for message in reply.keys)

    def rotate(self, *, force: bool = False) -> AsyncIterator[RotationStep]:
        """Rotate the ticket keys, step by step; `force`: without laggards. Raises AdminError."""
        request = admin_pb2.RotateKeysRequest(force=force)
        return _each_step(self._stub.RotateKeys(request, timeout=ROTATE_TIMEOUT_S))

    async def cancel_rotation(self) -> str:
        """Take back an announced key; its id, hex. Raises AdminError."""
        request = admin_pb2.CancelRotationRequest()
        reply = await _answer(
            self._stub.CancelRotation(request, timeout=LIST_TIMEOUT_S), changes=True
        )
        return str(reply.key)

    def revoke_key(self, key: str) -> AsyncIterator[RotationStep]:
        """Revoke the ticket key whose id begins with `key`, step by step. Raises AdminError."""
        request = admin_pb2.RevokeKeyRequest(key=key)
        return _each_step(self._stub.RevokeKey(request, timeout=ROTATE_TIMEOUT_S))

    async def read_keks(self) -> tuple[bytes, ...]:
        """The ids of the key-encryption keys that the member holds now. Raises AdminError."""
        reply = await _answer(
            self._stub.ReadKeks(admin_pb2.ReadKeksRequest(), timeout=LIST_TIMEOUT_S)
        )
        return tuple(reply.kek_ids)

    async def revoke(self, what: Revoke) -> Revoked:
        """Make sessions and tickets void everywhere; what that hit. Raises AdminError."""
        reply = await _answer(
            self._stub.Revoke(encode_revoke(what), timeout=LIST_TIMEOUT_S), changes=True
        )
        return decode_revoked(reply)

    async def concerned(self, what: Revoke) -> int:
        """How many IKE SAs of the member a revocation would end. Raises AdminError."""
        reply = await _answer(
            self._stub.CountConcerned(encode_revoke(what), timeout=CALL_TIMEOUT_S)
        )
        return int(reply.sessions)

    async def revocations(self) -> tuple[RevocationInfo, ...]:
        """The revocations in force. Raises AdminError."""
        request = admin_pb2.ListRevocationsRequest()
        reply = await _answer(self._stub.ListRevocations(request, timeout=CALL_TIMEOUT_S))
        return tuple(decode_revocation(message) for message in reply.revocations)

    def rewrap(self, kek_id: bytes) -> AsyncIterator[RotationStep]:
        """Change the key-encryption key to that of id `kek_id`, step by step. Raises AdminError."""
        request = admin_pb2.RewrapKeysRequest(kek_id=kek_id)
        return _each_step(self._stub.RewrapKeys(request, timeout=ROTATE_TIMEOUT_S))

    def write_off(self, name: str) -> AsyncIterator[RotationStep]:
        """Say that a member won't come back, step by step. Raises AdminError."""
        request = admin_pb2.WriteOffMemberRequest(name=name)
        return _each_step(self._stub.WriteOffMember(request, timeout=ROTATE_TIMEOUT_S))

    def accept_restore(self) -> AsyncIterator[RotationStep]:
        """Accept a store that was put back, step by step. Raises AdminError."""
        request = admin_pb2.AcceptRestoreRequest()
        return _each_step(self._stub.AcceptRestore(request, timeout=ROTATE_TIMEOUT_S))


async def _answer(call: Awaitable[Reply], *, changes: bool = False) -> Reply:
    """What the member answers; `changes`: it was asked to change something. Raises AdminError."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        _fail(error, changes=changes)


async def _each_step(
    call: AsyncIterable[admin_pb2.RotationStep],
) -> AsyncIterator[RotationStep]:
    try:
        async for message in call:
            yield decode_step(message)
    except grpc.aio.AioRpcError as error:
        _fail(error, changes=True)


class _Reached(enum.Enum):
    """What came of connecting a channel."""

    READY = "ready"
    FAILED = "failed"
    """Refused, by TCP or by TLS."""
    SILENT = "silent"
    """Nothing came back in time."""


async def _reach(channel: grpc.aio.Channel) -> _Reached:
    """Connect the channel; gives up at the first failure, for others are waiting."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            state = channel.get_state(try_to_connect=True)
            while state is not grpc.ChannelConnectivity.READY:
                if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                    return _Reached.FAILED
                await channel.wait_for_state_change(state)
                state = channel.get_state(try_to_connect=True)
    except TimeoutError:
        return _Reached.SILENT
    return _Reached.READY


async def _why_not(address: str, reached: _Reached) -> str:
    """Why no channel to `address` came about; asked once it has failed, for people."""
    host, port = parse_address(address)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return "no answer"
    except OSError as error:
        return (os.strerror(error.errno) if error.errno else str(error)).lower()
    writer.close()
    if reached is _Reached.SILENT:
        return "somebody listens and does not answer: a process that stands still, or no gateway"
    return "somebody listens, but certificates don't fit: another authority's, or out of their time"


def _fail(error: grpc.aio.AioRpcError, *, changes: bool = False) -> NoReturn:
    details = " ".join((error.details() or "").split())
    code = error.code()
    if code is grpc.StatusCode.NOT_FOUND:
        raise NotFound(details) from None
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        unknown = "; it may have been carried out, or not" if changes else ""
        raise AdminError(f"the member did not answer in time{unknown}") from None
    if code is grpc.StatusCode.UNIMPLEMENTED:
        what = "what answers is no gateway, or one of another release"
        raise AdminError(f"{what} ({details}) → a gateway's rpc_listen") from None
    raise AdminError(details or code.name.lower()) from None
