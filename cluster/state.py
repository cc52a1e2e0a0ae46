"""The cluster's state key: made by the first member, agreed on and watched by all.

Rules: it is created by compare-and-create, so that two first members agree on one number of
shards. What stands there wins over what a member's file says. A newer format is never installed:
every batch of the journal compares this key's revision, so a member that can't read it can't commit
either.
"""

import asyncio
from collections.abc import Callable

import msgspec

from cluster.errors import UNREADABLE, Conflict, Incompatible, Unknown
from cluster.follow import follow
from cluster.layout import FORMAT, NORMAL, ClusterState, Keys
from cluster.seams import Clock
from cluster.store import Compare, Entry, Put, Store, Target, Txn

EPOCH_FIRST = 0
SHARDS_MAX = 4096

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(ClusterState).decode


def decode_state(value: bytes) -> ClusterState:
    """Raises Incompatible if another release or a foreign hand wrote it."""
    try:
        state = _decode(value)
    except UNREADABLE as error:
        raise Incompatible(f"cluster state can't be read ({error}): update this member") from error
    if state.format > FORMAT:
        raise Incompatible(
            f"cluster state has format {state.format}, this release knows {FORMAT}: "
            "update this member"
        )
    return state


class StateKeeper:
    """Holds the installed state and its revision; `load_or_create` comes first, then `run`."""

    def __init__(self, store: Store, keys: Keys, clock: Clock) -> None:
        self._store = store
        self._key = keys.state
        self._clock = clock
        self._state: ClusterState | None = None
        self.revision = 0
        """The store's revision of what is installed: the journal compares it."""
        self.synced = asyncio.Event()
        self.on_changed: list[Callable[[ClusterState], None]] = []
        self.on_incompatible: list[Callable[[Incompatible], None]] = []
        """Told when a state appears that can't be installed; the installed one stays."""

    @property
    def state(self) -> ClusterState:
        """What is installed. Raises Incompatible before `load_or_create` has been through."""
        if self._state is None:
            raise Incompatible("the cluster's state was not loaded yet")
        return self._state

    async def load_or_create(self, shards: int) -> ClusterState:
        """What stands in the store, made with `shards` shards if nothing does.

        Raises ValueError, Incompatible, Unavailable.
        """
        if not 1 <= shards <= SHARDS_MAX or shards & (shards - 1):
            raise ValueError(f"shards: {shards} → a power of two, 1 to {SHARDS_MAX}")
        fresh = ClusterState(
            format=FORMAT,
            mode=NORMAL,
            epoch=EPOCH_FIRST,
            shards=shards,
            created_wall_s=self._clock.wall_s(),
        )
        create = Txn(
            compares=(Compare(self._key, Target.VERSION, 0),),
            success=(Put(self._key, _encode(fresh)),),
        )
        while (entry := await self._store.get(self._key)) is None:
            try:
                await self._store.commit(create)
            except Unknown:
                continue  # the next read tells
        self._state = decode_state(entry.value)
        self.revision = entry.mod_revision
        return self._state

    async def change(self, before: ClusterState, state: ClusterState, *only_if: Compare) -> None:
        """Put `state` in place of `before`, from which it was made, and install it.

        Raises Conflict if another one is installed here or stored by now, or a compare of `only_if`
        fails; Unavailable, Unknown.
        """
        if self._state is not before:
            raise Conflict("the cluster's state has changed meanwhile")
        result = await self._store.commit(
            Txn(
                compares=(Compare(self._key, Target.MOD_REVISION, self.revision), *only_if),
                success=(Put(self._key, _encode(state)),),
            )
        )
        if not result.succeeded:
            raise Conflict("the cluster's state, or what it was made from, has changed")
        self._install(state, result.revision)

    async def run(self) -> None:
        """Follow for ever."""
        await follow(self._store, self._key, self._changed, self.synced.set)

    def _changed(self, key: bytes, entry: Entry | None, revision: int) -> None:
        if key != self._key or entry is None or revision <= self.revision:
            return  # gone: what is installed stays, and every commit fails its compare
        try:
            state = decode_state(entry.value)
        except Incompatible as error:
            for refused in self.on_incompatible:
                refused(error)
            return
        self._install(state, revision)

    def _install(self, state: ClusterState, revision: int) -> None:
        if revision <= self.revision:
            return
        self._state = state
        self.revision = revision
        for changed in self.on_changed:
            changed(state)
