from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StatusReply(_message.Message):
    __slots__ = ("cluster", "member", "state", "mode", "epoch", "store_kind", "store_state", "ring_revision", "shards", "shards_owned", "members", "state_why", "store_conditions")
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    STORE_KIND_FIELD_NUMBER: _ClassVar[int]
    STORE_STATE_FIELD_NUMBER: _ClassVar[int]
    RING_REVISION_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    SHARDS_OWNED_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    STATE_WHY_FIELD_NUMBER: _ClassVar[int]
    STORE_CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    cluster: str
    member: str
    state: str
    mode: str
    epoch: int
    store_kind: str
    store_state: str
    ring_revision: int
    shards: int
    shards_owned: int
    members: _containers.RepeatedCompositeFieldContainer[Member]
    state_why: str
    store_conditions: _containers.RepeatedCompositeFieldContainer[StoreCondition]
    def __init__(self, cluster: _Optional[str] = ..., member: _Optional[str] = ..., state: _Optional[str] = ..., mode: _Optional[str] = ..., epoch: _Optional[int] = ..., store_kind: _Optional[str] = ..., store_state: _Optional[str] = ..., ring_revision: _Optional[int] = ..., shards: _Optional[int] = ..., shards_owned: _Optional[int] = ..., members: _Optional[_Iterable[_Union[Member, _Mapping]]] = ..., state_why: _Optional[str] = ..., store_conditions: _Optional[_Iterable[_Union[StoreCondition, _Mapping]]] = ...) -> None: ...

class StoreCondition(_message.Message):
    __slots__ = ("name", "detail", "fix", "since_s")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    FIX_FIELD_NUMBER: _ClassVar[int]
    SINCE_S_FIELD_NUMBER: _ClassVar[int]
    name: str
    detail: str
    fix: str
    since_s: float
    def __init__(self, name: _Optional[str] = ..., detail: _Optional[str] = ..., fix: _Optional[str] = ..., since_s: _Optional[float] = ...) -> None: ...

class AcceptRestoreRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WriteOffMemberRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class Member(_message.Message):
    __slots__ = ("name", "host", "incarnation", "state", "ike_addresses", "rpc_address", "shards", "sessions", "ring_revision", "heartbeat_age_s", "release")
    NAME_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    IKE_ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    RPC_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    RING_REVISION_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_AGE_S_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    name: str
    host: str
    incarnation: str
    state: str
    ike_addresses: _containers.RepeatedScalarFieldContainer[str]
    rpc_address: str
    shards: int
    sessions: int
    ring_revision: int
    heartbeat_age_s: float
    release: str
    def __init__(self, name: _Optional[str] = ..., host: _Optional[str] = ..., incarnation: _Optional[str] = ..., state: _Optional[str] = ..., ike_addresses: _Optional[_Iterable[str]] = ..., rpc_address: _Optional[str] = ..., shards: _Optional[int] = ..., sessions: _Optional[int] = ..., ring_revision: _Optional[int] = ..., heartbeat_age_s: _Optional[float] = ..., release: _Optional[str] = ...) -> None: ...

class ListSessionsRequest(_message.Message):
    __slots__ = ("local_only",)
    LOCAL_ONLY_FIELD_NUMBER: _ClassVar[int]
    local_only: bool
    def __init__(self, local_only: bool = ...) -> None: ...

class SessionBatch(_message.Message):
    __slots__ = ("sessions", "unreachable")
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    UNREACHABLE_FIELD_NUMBER: _ClassVar[int]
    sessions: _containers.RepeatedCompositeFieldContainer[Session]
    unreachable: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, sessions: _Optional[_Iterable[_Union[Session, _Mapping]]] = ..., unreachable: _Optional[_Iterable[str]] = ...) -> None: ...

class Session(_message.Message):
    __slots__ = ("spi_i", "spi_r", "chain", "generation", "identity", "peer_address", "how", "suite", "established_wall_s", "expires_wall_s", "member")
    SPI_I_FIELD_NUMBER: _ClassVar[int]
    SPI_R_FIELD_NUMBER: _ClassVar[int]
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    PEER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    HOW_FIELD_NUMBER: _ClassVar[int]
    SUITE_FIELD_NUMBER: _ClassVar[int]
    ESTABLISHED_WALL_S_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_WALL_S_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    spi_i: bytes
    spi_r: bytes
    chain: bytes
    generation: int
    identity: str
    peer_address: str
    how: str
    suite: str
    established_wall_s: float
    expires_wall_s: float
    member: str
    def __init__(self, spi_i: _Optional[bytes] = ..., spi_r: _Optional[bytes] = ..., chain: _Optional[bytes] = ..., generation: _Optional[int] = ..., identity: _Optional[str] = ..., peer_address: _Optional[str] = ..., how: _Optional[str] = ..., suite: _Optional[str] = ..., established_wall_s: _Optional[float] = ..., expires_wall_s: _Optional[float] = ..., member: _Optional[str] = ...) -> None: ...

class SessionRequest(_message.Message):
    __slots__ = ("spi", "local_only", "asked_by")
    SPI_FIELD_NUMBER: _ClassVar[int]
    LOCAL_ONLY_FIELD_NUMBER: _ClassVar[int]
    ASKED_BY_FIELD_NUMBER: _ClassVar[int]
    spi: bytes
    local_only: bool
    asked_by: str
    def __init__(self, spi: _Optional[bytes] = ..., local_only: bool = ..., asked_by: _Optional[str] = ...) -> None: ...

class TerminateReply(_message.Message):
    __slots__ = ("member",)
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    member: str
    def __init__(self, member: _Optional[str] = ...) -> None: ...

class RedirectRequest(_message.Message):
    __slots__ = ("to", "identity", "member", "local_only", "asked_by")
    TO_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    LOCAL_ONLY_FIELD_NUMBER: _ClassVar[int]
    ASKED_BY_FIELD_NUMBER: _ClassVar[int]
    to: str
    identity: str
    member: str
    local_only: bool
    asked_by: str
    def __init__(self, to: _Optional[str] = ..., identity: _Optional[str] = ..., member: _Optional[str] = ..., local_only: bool = ..., asked_by: _Optional[str] = ...) -> None: ...

class RedirectReply(_message.Message):
    __slots__ = ("told", "there", "unable", "busy", "unreachable")
    TOLD_FIELD_NUMBER: _ClassVar[int]
    THERE_FIELD_NUMBER: _ClassVar[int]
    UNABLE_FIELD_NUMBER: _ClassVar[int]
    BUSY_FIELD_NUMBER: _ClassVar[int]
    UNREACHABLE_FIELD_NUMBER: _ClassVar[int]
    told: int
    there: int
    unable: int
    busy: int
    unreachable: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, told: _Optional[int] = ..., there: _Optional[int] = ..., unable: _Optional[int] = ..., busy: _Optional[int] = ..., unreachable: _Optional[_Iterable[str]] = ...) -> None: ...

class ListShardsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListShardsReply(_message.Message):
    __slots__ = ("shards",)
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    shards: _containers.RepeatedCompositeFieldContainer[Shard]
    def __init__(self, shards: _Optional[_Iterable[_Union[Shard, _Mapping]]] = ...) -> None: ...

class Shard(_message.Message):
    __slots__ = ("shard", "owner", "fence", "home", "sessions_here")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    HOME_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_HERE_FIELD_NUMBER: _ClassVar[int]
    shard: int
    owner: str
    fence: int
    home: str
    sessions_here: int
    def __init__(self, shard: _Optional[int] = ..., owner: _Optional[str] = ..., fence: _Optional[int] = ..., home: _Optional[str] = ..., sessions_here: _Optional[int] = ...) -> None: ...

class ListPoolsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListPoolsReply(_message.Message):
    __slots__ = ("pools",)
    POOLS_FIELD_NUMBER: _ClassVar[int]
    pools: _containers.RepeatedCompositeFieldContainer[Pool]
    def __init__(self, pools: _Optional[_Iterable[_Union[Pool, _Mapping]]] = ...) -> None: ...

class Pool(_message.Message):
    __slots__ = ("name", "first", "last", "size", "used", "free_here")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    FREE_HERE_FIELD_NUMBER: _ClassVar[int]
    name: str
    first: str
    last: str
    size: int
    used: int
    free_here: int
    def __init__(self, name: _Optional[str] = ..., first: _Optional[str] = ..., last: _Optional[str] = ..., size: _Optional[int] = ..., used: _Optional[int] = ..., free_here: _Optional[int] = ...) -> None: ...

class MoveShardRequest(_message.Message):
    __slots__ = ("shard", "member", "local_only", "asked_by")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    LOCAL_ONLY_FIELD_NUMBER: _ClassVar[int]
    ASKED_BY_FIELD_NUMBER: _ClassVar[int]
    shard: int
    member: str
    local_only: bool
    asked_by: str
    def __init__(self, shard: _Optional[int] = ..., member: _Optional[str] = ..., local_only: bool = ..., asked_by: _Optional[str] = ...) -> None: ...

class MoveShardReply(_message.Message):
    __slots__ = ("former",)
    FORMER_FIELD_NUMBER: _ClassVar[int]
    former: str
    def __init__(self, former: _Optional[str] = ...) -> None: ...

class ListKeysRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListKeysReply(_message.Message):
    __slots__ = ("keys", "ring_revision")
    KEYS_FIELD_NUMBER: _ClassVar[int]
    RING_REVISION_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedCompositeFieldContainer[Key]
    ring_revision: int
    def __init__(self, keys: _Optional[_Iterable[_Union[Key, _Mapping]]] = ..., ring_revision: _Optional[int] = ...) -> None: ...

class Key(_message.Message):
    __slots__ = ("id", "purpose", "state", "created_wall_s", "seal_until_wall_s", "open_until_wall_s")
    ID_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CREATED_WALL_S_FIELD_NUMBER: _ClassVar[int]
    SEAL_UNTIL_WALL_S_FIELD_NUMBER: _ClassVar[int]
    OPEN_UNTIL_WALL_S_FIELD_NUMBER: _ClassVar[int]
    id: str
    purpose: str
    state: str
    created_wall_s: float
    seal_until_wall_s: float
    open_until_wall_s: float
    def __init__(self, id: _Optional[str] = ..., purpose: _Optional[str] = ..., state: _Optional[str] = ..., created_wall_s: _Optional[float] = ..., seal_until_wall_s: _Optional[float] = ..., open_until_wall_s: _Optional[float] = ...) -> None: ...

class RotateKeysRequest(_message.Message):
    __slots__ = ("force",)
    FORCE_FIELD_NUMBER: _ClassVar[int]
    force: bool
    def __init__(self, force: bool = ...) -> None: ...

class CancelRotationRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CancelRotationReply(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: str
    def __init__(self, key: _Optional[str] = ...) -> None: ...

class RevokeKeyRequest(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: str
    def __init__(self, key: _Optional[str] = ...) -> None: ...

class ReadKeksRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReadKeksReply(_message.Message):
    __slots__ = ("kek_ids",)
    KEK_IDS_FIELD_NUMBER: _ClassVar[int]
    kek_ids: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, kek_ids: _Optional[_Iterable[bytes]] = ...) -> None: ...

class RewrapKeysRequest(_message.Message):
    __slots__ = ("kek_id",)
    KEK_ID_FIELD_NUMBER: _ClassVar[int]
    kek_id: bytes
    def __init__(self, kek_id: _Optional[bytes] = ...) -> None: ...

class RevokeRequest(_message.Message):
    __slots__ = ("kind", "chain", "identity", "before_wall_s")
    KIND_FIELD_NUMBER: _ClassVar[int]
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    BEFORE_WALL_S_FIELD_NUMBER: _ClassVar[int]
    kind: str
    chain: bytes
    identity: str
    before_wall_s: float
    def __init__(self, kind: _Optional[str] = ..., chain: _Optional[bytes] = ..., identity: _Optional[str] = ..., before_wall_s: _Optional[float] = ...) -> None: ...

class RevokeReply(_message.Message):
    __slots__ = ("id", "sessions", "found", "unreachable")
    ID_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    FOUND_FIELD_NUMBER: _ClassVar[int]
    UNREACHABLE_FIELD_NUMBER: _ClassVar[int]
    id: str
    sessions: int
    found: bool
    unreachable: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[str] = ..., sessions: _Optional[int] = ..., found: bool = ..., unreachable: _Optional[_Iterable[str]] = ...) -> None: ...

class CountConcernedReply(_message.Message):
    __slots__ = ("sessions",)
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    sessions: int
    def __init__(self, sessions: _Optional[int] = ...) -> None: ...

class ListRevocationsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListRevocationsReply(_message.Message):
    __slots__ = ("revocations",)
    REVOCATIONS_FIELD_NUMBER: _ClassVar[int]
    revocations: _containers.RepeatedCompositeFieldContainer[Revocation]
    def __init__(self, revocations: _Optional[_Iterable[_Union[Revocation, _Mapping]]] = ...) -> None: ...

class Revocation(_message.Message):
    __slots__ = ("id", "kind", "about", "before_wall_s", "created_wall_s", "expires_wall_s")
    ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ABOUT_FIELD_NUMBER: _ClassVar[int]
    BEFORE_WALL_S_FIELD_NUMBER: _ClassVar[int]
    CREATED_WALL_S_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_WALL_S_FIELD_NUMBER: _ClassVar[int]
    id: str
    kind: str
    about: str
    before_wall_s: float
    created_wall_s: float
    expires_wall_s: float
    def __init__(self, id: _Optional[str] = ..., kind: _Optional[str] = ..., about: _Optional[str] = ..., before_wall_s: _Optional[float] = ..., created_wall_s: _Optional[float] = ..., expires_wall_s: _Optional[float] = ...) -> None: ...

class RotationStep(_message.Message):
    __slots__ = ("line",)
    LINE_FIELD_NUMBER: _ClassVar[int]
    line: str
    def __init__(self, line: _Optional[str] = ...) -> None: ...
