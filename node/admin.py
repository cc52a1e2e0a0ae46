"""Serves `proto/rpc/admin.proto` beside the members' link: who may ask, and where the answer is.

Rules: who the caller is stands in its certificate (`cluster.identity`), never in a message. An
operator may call everything; a member only what can't be asked on again (`local_only`), so that no
question goes in circles. For which operator a member asks, it says itself, and is believed. What
the process knows comes through `NodeView`; failures of the cluster layer become one line.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import TypeVar

import grpc
import grpc.aio

from cluster.errors import ClusterError, Conflict
from cluster.identity import MEMBER, OPERATOR, Identity, peer_identity, server_name
from node.admin_client import AdminClient, AdminError, NotFound
from node.admin_refusals import Context, check_spi, not_found, outcome, refuse
from node.admin_view import (
    ClusterStatus,
    Command,
    KeyInfo,
    MemberInfo,
    NodeView,
    Redirected,
    Revoked,
    RotationStep,
    SessionInfo,
    key_infos,
)
from node.admin_wire import (
    decode_redirect,
    decode_revoke,
    encode_key,
    encode_pool,
    encode_redirected,
    encode_revocation,
    encode_revoked,
    encode_session,
    encode_shard,
    encode_status,
    encode_step,
)
from node.redirects import checked, in_all
from node.revoking import ENDS_SAS, SESSION, concerned_at
from proto.rpc import admin_pb2, admin_pb2_grpc

__all__ = [
    "AdminService",
    "ClusterStatus",
    "KeyInfo",
    "MemberInfo",
    "NodeView",
    "RotationStep",
    "SessionInfo",
    "add_admin",
    "key_infos",
]

BATCH_SESSIONS = 256
"""Sessions per message: well below gRPC's 4 MiB, and between two the loop serves others."""
STEPS_MAX = 1024
"""Steps of a rotation kept for an operator who reads slowly or has gone; later ones are dropped."""

T = TypeVar("T")
Job = Callable[[Callable[[str], None]], Awaitable[None]]
"""Something that takes a while and says its steps to what it is given."""
Spawn = Callable[[Coroutine[object, object, object], str], object]


def add_admin(server: grpc.aio.Server, service: "AdminService") -> None:
    """Serve administration on `server`, which must demand clients' certificates."""
    admin_pb2_grpc.add_AdminServicer_to_server(service, server)


class AdminService(admin_pb2_grpc.AdminServicer):
    """Answers for this member, and asks the others where the question is about the cluster."""

    def __init__(
        self, view: NodeView, cluster: str, credentials: grpc.ChannelCredentials, spawn: Spawn
    ) -> None:
        """`credentials`: this member's own, to ask other members with."""
        self._view = view
        self._cluster = cluster
        self._credentials = credentials
        self._spawn = spawn
        self._rotating = False

    async def Status(  # noqa: N802  gRPC's name
        self, request: admin_pb2.StatusRequest, context: Context
    ) -> admin_pb2.StatusReply:
        """See admin.proto."""
        await self._admit(context, member=True)
        return encode_status(self._view.status())

    async def ListSessions(  # noqa: N802  gRPC's name
        self, request: admin_pb2.ListSessionsRequest, context: Context
    ) -> AsyncIterator[admin_pb2.SessionBatch]:
        """See admin.proto."""
        await self._admit(context, member=request.local_only)
        own = self._view.sessions()
        for start in range(0, len(own), BATCH_SESSIONS):
            batch = own[start : start + BATCH_SESSIONS]
            yield admin_pb2.SessionBatch(sessions=[encode_session(one) for one in batch])
        if request.local_only:
            return
        for name, address in sorted(self._view.peers().items()):
            try:
                async with self._peer(name, address) as peer:
                    theirs = (await peer.sessions(local_only=True)).sessions
            except AdminError:
                yield admin_pb2.SessionBatch(unreachable=[name])
                continue
            for start in range(0, len(theirs), BATCH_SESSIONS):
                batch = theirs[start : start + BATCH_SESSIONS]
                yield admin_pb2.SessionBatch(sessions=[encode_session(one) for one in batch])

    async def ShowSession(  # noqa: N802  gRPC's name
        self, request: admin_pb2.SessionRequest, context: Context
    ) -> admin_pb2.Session:
        """See admin.proto."""
        await self._admit(context, member=request.local_only)
        await check_spi(request.spi, context)
        found = self._own(request.spi)
        if found is not None:
            return encode_session(found)
        return encode_session(
            await self._elsewhere(
                request, context, lambda peer: peer.show(request.spi, local_only=True)
            )
        )

    async def TerminateSession(  # noqa: N802  gRPC's name
        self, request: admin_pb2.SessionRequest, context: Context
    ) -> admin_pb2.TerminateReply:
        """See admin.proto."""
        who = await self._admit(context, member=request.local_only, behalf=request.asked_by)
        await check_spi(request.spi, context)
        own = self._own(request.spi)
        async with self._said(context, Command.TERMINATE, who, spi=request.spi.hex()) as about:
            if own is not None and await self._view.terminate(own.spi_r):
                owner = self._view.status().member
            else:
                owner = await self._elsewhere(
                    request,
                    context,
                    lambda peer: peer.terminate(request.spi, local_only=True, asked_by=who),
                )
            about["member"] = owner
        return admin_pb2.TerminateReply(member=owner)

    async def RedirectSessions(  # noqa: N802  gRPC's name
        self, request: admin_pb2.RedirectRequest, context: Context
    ) -> admin_pb2.RedirectReply:
        """See admin.proto."""
        who = await self._admit(context, member=request.local_only, behalf=request.asked_by)
        what, me = decode_redirect(request), self._view.status().member
        peers = {} if request.local_only else self._view.peers()
        try:
            checked(what)
        except ValueError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        if what.member and what.member not in (me, *peers):
            await context.abort(grpc.StatusCode.ABORTED, f"no live member {what.member}")

        async def elsewhere(name: str, address: str) -> Redirected:
            try:
                async with self._peer(name, address) as peer:
                    return await peer.redirect(what, local_only=True, asked_by=who)
            except AdminError:
                return Redirected(unreachable=(name,))

        asked = [
            elsewhere(name, address)
            for name, address in sorted(peers.items())
            if what.member in ("", name)
        ]
        if what.member in ("", me):
            asked.append(self._view.redirect(what, who))
        return encode_redirected(in_all(await asyncio.gather(*asked)))

    async def ListShards(  # noqa: N802  gRPC's name
        self, request: admin_pb2.ListShardsRequest, context: Context
    ) -> admin_pb2.ListShardsReply:
        """See admin.proto."""
        await self._admit(context, member=False)
        shards = [encode_shard(one) for one in self._view.shards()]
        return admin_pb2.ListShardsReply(shards=shards)

    async def ListPools(  # noqa: N802  gRPC's name
        self, request: admin_pb2.ListPoolsRequest, context: Context
    ) -> admin_pb2.ListPoolsReply:
        """See admin.proto."""
        await self._admit(context, member=False)
        return admin_pb2.ListPoolsReply(pools=[encode_pool(one) for one in self._view.pools()])

    async def MoveShard(  # noqa: N802  gRPC's name
        self, request: admin_pb2.MoveShardRequest, context: Context
    ) -> admin_pb2.MoveShardReply:
        """See admin.proto."""
        who = await self._admit(context, member=request.local_only, behalf=request.asked_by)
        shards, me = self._view.shards(), self._view.status().member
        if request.shard >= len(shards):
            text = f"no shard {request.shard:04x}: they go up to {len(shards) - 1:04x}"
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, text)
        owner = shards[request.shard].owner
        address = self._view.peers().get(owner)
        about = {"shard": request.shard, "to": request.member}
        async with self._said(context, Command.MOVE, who, **about):
            if owner == me or request.local_only:
                await self._view.move_shard(request.shard, request.member)
            elif address is None:
                raise Conflict(f"shard {request.shard:04x} has no live owner to hand it over")
            else:
                try:
                    async with self._peer(owner, address) as peer:
                        await peer.move_shard(
                            request.shard, request.member, local_only=True, asked_by=who
                        )
                except AdminError as error:
                    raise Conflict(f"{owner}: {error}") from None
        return admin_pb2.MoveShardReply(former=owner)

    async def ListKeys(  # noqa: N802  gRPC's name
        self, request: admin_pb2.ListKeysRequest, context: Context
    ) -> admin_pb2.ListKeysReply:
        """See admin.proto."""
        await self._admit(context, member=True)
        keys = [encode_key(key) for key in self._view.keys()]  # noqa: SIM118  no mapping
        return admin_pb2.ListKeysReply(keys=keys, ring_revision=self._view.status().ring_revision)

    async def RotateKeys(  # noqa: N802  gRPC's name
        self, request: admin_pb2.RotateKeysRequest, context: Context
    ) -> AsyncIterator[admin_pb2.RotationStep]:
        """See admin.proto."""
        who = await self._admit(context, member=False)
        if self._rotating:
            fix = "wait for it, or take it back: keys cancel"
            await context.abort(
                grpc.StatusCode.ABORTED, f"another rotation is under way here → {fix}"
            )

        self._rotating = True

        async def rotate(progress: Callable[[str], None]) -> None:
            try:
                await self._view.rotate(progress, force=request.force)
            finally:
                self._rotating = False

        async for step in self._steps(rotate, context, Command.ROTATE, who, force=request.force):
            yield step

    async def CancelRotation(  # noqa: N802  gRPC's name
        self, request: admin_pb2.CancelRotationRequest, context: Context
    ) -> admin_pb2.CancelRotationReply:
        """See admin.proto."""
        who = await self._admit(context, member=False)
        async with self._said(context, Command.CANCEL, who) as about:
            key = about["key"] = await self._view.cancel_rotation()
        return admin_pb2.CancelRotationReply(key=key)

    async def RevokeKey(  # noqa: N802  gRPC's name
        self, request: admin_pb2.RevokeKeyRequest, context: Context
    ) -> AsyncIterator[admin_pb2.RotationStep]:
        """See admin.proto."""
        who = await self._admit(context, member=False)

        def revoke(progress: Callable[[str], None]) -> Awaitable[None]:
            return self._view.revoke_key(request.key, progress)

        async for step in self._steps(revoke, context, Command.REVOKE_KEY, who, key=request.key):
            yield step

    async def ReadKeks(  # noqa: N802  gRPC's name
        self, request: admin_pb2.ReadKeksRequest, context: Context
    ) -> admin_pb2.ReadKeksReply:
        """See admin.proto."""
        await self._admit(context, member=True)
        try:
            return admin_pb2.ReadKeksReply(kek_ids=await self._view.read_keks())
        except ClusterError as error:
            return await refuse(error, context)

    async def RewrapKeys(  # noqa: N802  gRPC's name
        self, request: admin_pb2.RewrapKeysRequest, context: Context
    ) -> AsyncIterator[admin_pb2.RotationStep]:
        """See admin.proto."""
        who = await self._admit(context, member=False)
        kek = request.kek_id.hex()

        def rewrap(progress: Callable[[str], None]) -> Awaitable[None]:
            return self._view.rewrap(request.kek_id, self._keks_held, progress)

        async for step in self._steps(rewrap, context, Command.REWRAP, who, kek=kek):
            yield step

    async def Revoke(  # noqa: N802  gRPC's name
        self, request: admin_pb2.RevokeRequest, context: Context
    ) -> admin_pb2.RevokeReply:
        """See admin.proto."""
        who = await self._admit(context, member=False)
        what = decode_revoke(request)
        peers = self._view.peers() if what.kind in ENDS_SAS else {}
        others = {name: self._peer(name, address) for name, address in peers.items()}
        elsewhere, unreachable = await concerned_at(others, what)
        async with self._said(context, Command.REVOKE, who, kind=what.kind) as about:
            stands = await self._view.stands(what.chain) if what.kind == SESSION else None
            sessions = about["sessions"] = elsewhere + self._view.concerned(what)
            done = about["revocation"] = await self._view.revoke(what)
        found = None if stands is None else stands or sessions > 0
        return encode_revoked(Revoked(done, sessions, found, unreachable))

    async def CountConcerned(  # noqa: N802  gRPC's name
        self, request: admin_pb2.RevokeRequest, context: Context
    ) -> admin_pb2.CountConcernedReply:
        """See admin.proto."""
        await self._admit(context, member=True)
        try:
            count = self._view.concerned(decode_revoke(request))
        except ClusterError as error:
            return await refuse(error, context)
        return admin_pb2.CountConcernedReply(sessions=count)

    async def ListRevocations(  # noqa: N802  gRPC's name
        self, request: admin_pb2.ListRevocationsRequest, context: Context
    ) -> admin_pb2.ListRevocationsReply:
        """See admin.proto."""
        await self._admit(context, member=False)
        found = [encode_revocation(one) for one in self._view.revocations()]
        return admin_pb2.ListRevocationsReply(revocations=found)

    async def AcceptRestore(  # noqa: N802  gRPC's name
        self, request: admin_pb2.AcceptRestoreRequest, context: Context
    ) -> AsyncIterator[admin_pb2.RotationStep]:
        """See admin.proto."""
        who = await self._let_in(context, member=False)

        def accept(progress: Callable[[str], None]) -> Awaitable[None]:
            return self._view.accept_restore(who, progress)

        async for step in self._steps(accept, context, Command.ACCEPT_RESTORE, who):
            yield step

    async def WriteOffMember(  # noqa: N802  gRPC's name
        self, request: admin_pb2.WriteOffMemberRequest, context: Context
    ) -> AsyncIterator[admin_pb2.RotationStep]:
        """See admin.proto."""
        who = await self._let_in(context, member=False)

        def write_off(progress: Callable[[str], None]) -> Awaitable[None]:
            return self._view.write_off(request.name, who, progress)

        steps = self._steps(write_off, context, Command.WRITE_OFF, who, member=request.name)
        async for step in steps:
            yield step

    async def _keks_held(self) -> dict[str, Sequence[bytes]]:
        """Which key-encryption keys each member that answers holds."""
        held = {self._view.status().member: await self._view.read_keks()}
        for name, address in sorted(self._view.peers().items()):
            with contextlib.suppress(AdminError):  # it isn't in the answer: that says it all
                async with self._peer(name, address) as peer:
                    held[name] = await peer.read_keks()
        return held

    @contextlib.asynccontextmanager
    async def _said(
        self, context: Context, command: Command, who: str, **about: object
    ) -> AsyncIterator[dict[str, object]]:
        """Around what `who` has changed: the log gets what came of it, with what is added to the
        value; a ClusterError ends the call.
        """
        try:
            yield about
        except ClusterError as error:
            end = outcome(error, command)
            self._view.note(command, who, about, str(end))
            await refuse(end, context)
        self._view.note(command, who, about)

    async def _steps(
        self, job: Job, context: Context, command: Command, who: str, **about: object
    ) -> AsyncIterator[admin_pb2.RotationStep]:
        """What `job` says while it runs; a ClusterError of it ends the call. The log gets what came
        of it, and that `who` wanted it.

        The job is a task of its own: an operator who goes away doesn't leave it half-way.
        """
        steps: asyncio.Queue[RotationStep | ClusterError | None] = asyncio.Queue()

        begun = False

        def progress(line: str) -> None:
            nonlocal begun
            begun = True
            if steps.qsize() < STEPS_MAX:
                steps.put_nowait(RotationStep(line))

        async def run() -> None:
            end: ClusterError | None = ClusterError("it ended unexpectedly: see the member's log")
            try:
                await job(progress)
                end = None
                self._view.note(command, who, about)
            except ClusterError as error:
                end = outcome(error, command, begun=begun)
                self._view.note(command, who, about, str(end))
            finally:
                steps.put_nowait(end)

        self._spawn(run(), "change keys")
        while (step := await steps.get()) is not None:
            if isinstance(step, ClusterError):
                await refuse(step, context)
            yield encode_step(step)

    def _own(self, spi: bytes) -> SessionInfo | None:
        for session in self._view.sessions():
            if spi in (session.spi_r, session.spi_i):
                return session
        return None

    async def _elsewhere(
        self,
        request: admin_pb2.SessionRequest,
        context: Context,
        ask: Callable[[AdminClient], Awaitable[T]],
    ) -> T:
        """The first answer of the other members; NOT_FOUND if the session is nowhere."""
        unreachable: list[str] = []
        for name, address in [] if request.local_only else sorted(self._view.peers().items()):
            try:
                async with self._peer(name, address) as peer:
                    return await ask(peer)
            except NotFound:
                continue
            except AdminError:
                unreachable.append(name)
        return await not_found(request.spi, unreachable, context)

    def _peer(self, name: str, address: str) -> AdminClient:
        server = server_name(Identity(cluster=self._cluster, role=MEMBER, name=name))
        return AdminClient((address,), self._credentials, server)

    async def _admit(self, context: Context, *, member: bool, behalf: str = "") -> str:
        """Let an operator of this cluster pass, and a member where `member`, once there is
        something to be told: their name; end the call else. `behalf`: for whom a member asks.
        """
        who = await self._let_in(context, member=member, behalf=behalf)
        try:
            self._view.check_ready()
        except ClusterError as error:
            await refuse(error, context)
        return who

    async def _let_in(self, context: Context, *, member: bool, behalf: str = "") -> str:
        """The name of an operator of this cluster, or of a member where `member`, with the operator
        for whom it asks; end the call else.
        """
        caller = peer_identity(context.auth_context())
        allowed = (OPERATOR, MEMBER) if member else (OPERATOR,)
        if caller is None or caller.cluster != self._cluster or caller.role not in allowed:
            who = f"{caller.role} {caller.name} of {caller.cluster}" if caller else "nobody we know"
            needed = f"an operator's certificate of {self._cluster} is needed"
            await context.abort(
                grpc.StatusCode.PERMISSION_DENIED, f"the certificate shown is of {who}: {needed}"
            )
        if caller is None:
            return ""
        if behalf and caller.role == MEMBER:  # an operator speaks for nobody else
            return f"{behalf} through {caller.name}"
        return caller.name
