"""Each invariant finds what it is there to find; the mutants try them against broken gateways."""

import asyncio
import hashlib

import msgspec
import pytest

from cluster.failsafe.frames import Claim, Held, Hold
from cluster.layout import Keys, MemberRecord, ShardRecord
from cluster.store import Compare, Delete, Put, Target, Txn
from cluster.store_memory import MemoryStore
from proto.ike.effects import Path
from proto.ike.enums import FLAG_INITIATOR, FLAG_RESPONSE, ExchangeType, NotifyType
from proto.ike.message import encode_clear
from proto.ike.payloads import NotifyPayload
from proto.ike.reference import encode_state, seal_reference
from proto.ike.ticket import ClientTicket, TicketBody, open_ticket, seal
from proto.secret import Secret
from tests.sim.invariants import AllKeys
from tests.sim.ledger import Ledger, applied
from tests.sim.loop import SimLoop, run
from tests.sim.machine import CLUSTER, KEK
from tests.sim.net import Weather
from tests.sim.plays.store_away import store_away
from tests.sim.scenarios import Scenario, run_scenario
from tests.sim.seams import SeededRng, SimClock
from tests.sim.world import PSK_HEX, Size, World

KEYS = Keys(CLUSTER)
SMALL = Size(gateways=1, clients=1)


def _shard(owner: str, fence: int) -> Put:
    return Put(KEYS.shard(3), msgspec.json.encode(ShardRecord(owner, f"life of {owner}", fence)))


def _member(name: str) -> Put:
    record = MemberRecord(name, f"life of {name}", "", "", "", (), 0, 0.0, "")
    return Put(KEYS.member(name), msgspec.json.encode(record))


def _ledger_finds(*commits: tuple[Put | Delete, ...]) -> list[str]:
    async def main(loop: SimLoop):
        ledger = Ledger(MemoryStore(SimClock(loop)), CLUSTER, KEK, SimClock(loop))
        for writes in commits:
            await ledger.commit(Txn(success=writes))
        return ledger.findings

    return run(main)


def test_i1_a_shard_is_claimed_from_nobody_and_from_who_is_gone():
    gone = Delete(KEYS.member("gw1"))
    assert _ledger_finds((_member("gw1"), _shard("gw1", 1)), (gone,), (_shard("gw2", 2),)) == []
    assert _ledger_finds((_shard("gw1", 1),), (_shard("", 1),), (_shard("gw2", 2),)) == []


def test_i1_a_fence_that_does_not_rise_is_found():
    assert _ledger_finds((_shard("gw1", 2),), (_shard("gw2", 2),)) == [
        "I1, promise 5: shard 3: fence 2 after 2"
    ]


def test_i1_a_shard_taken_from_a_member_that_is_there_is_found():
    (finding,) = _ledger_finds((_member("gw1"), _shard("gw1", 1)), (_shard("gw2", 2),))
    assert finding == "I1, promise 5: gw2 took shard 3 from gw1, which is there"


def test_what_a_commit_wrote_is_read_from_the_branch_it_took():
    async def main(loop: SimLoop):
        store = MemoryStore(SimClock(loop))
        nested = Txn((Compare(b"a", Target.VERSION, 1),), (Put(b"x", b""),), (Put(b"y", b""),))
        txn = Txn(success=(Put(b"b", b""), nested))
        return list(applied(txn, await store.commit(txn)))

    assert [op.key for op in run(main)] == [b"b", b"y"]


def _play(sabotage, size: Size = SMALL) -> tuple[str, ...]:
    async def play(world: World) -> None:
        await world.begin()
        await world.connect_all()
        await asyncio.sleep(1)
        await sabotage(world)

    return run_scenario(Scenario(play, size=size, weather=Weather()), 1).findings


def test_nothing_is_found_where_nothing_is_wrong():
    async def nothing(world: World) -> None:
        assert world.ledger.durable_replies

    assert _play(nothing) == ()


def test_i2_an_answer_that_no_record_holds_is_found():
    async def forget(world: World) -> None:
        (gateway,), (client,) = world.gateways, world.clients
        reply = next(d for d in world.invariants.heard if d in world.ledger.durable_replies)
        assert len(reply) == hashlib.sha256().digest_size
        spi_i = client.all("established")[-1]["spi_i"]
        head = spi_i + client.spi_r + bytes([46, 0x20, 35, 0x20])
        iv = bytes([0, 0, 1]) + bytes(5)
        gateway.spoke(gateway, head + bytes(4) + bytes(8) + iv + bytes(24))

    (finding,) = _play(forget)
    assert "answered IKE_AUTH" in finding
    assert "before it was durable" in finding


def test_i2_an_sa_without_its_record_is_found():
    async def lose(world: World) -> None:
        records = (await world.store.scan(Keys(CLUSTER).records)).entries
        await world.ledger.commit(Txn(success=tuple(Delete(entry.key) for entry in records)))
        await world.check_records()

    assert _play(lose)[-1].endswith(": no record of its SA")


def test_i9_an_sa_that_does_not_get_its_turn_is_found():
    async def deaf_to_time(world: World) -> None:
        (gateway,), (client,) = world.gateways, world.clients
        client.vanish()
        shell = gateway.node.gateway
        shell.lane.carry_out(shell.endpoint.probe(client.spi_r, shell.now()))
        shell.close()
        gateway.process.pause()
        await asyncio.sleep(5)
        assert world.findings == []  # it stands still
        gateway.process.go_on()
        await asyncio.sleep(3)

    first, *_ = _play(deaf_to_time)
    assert first.startswith("I9, promise 1: gw1: what was due ")


def test_i9_who_is_not_answered_while_the_store_is_away_is_found():
    async def play(world: World) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(4, lambda: world.net.cut(world.clients[0].local[0], world.gateways[0].host))
        await store_away(world)

    first, *_ = run_scenario(Scenario(play, size=Size(gateways=1, clients=2)), 1).findings
    assert first.startswith("I9, promise 2: ")
    assert first.endswith("c0000@example.com was not answered while the store was away")


def test_i6_a_record_that_no_chain_names_is_found():
    async def stray(world: World) -> None:
        (entry,) = (await world.store.scan(Keys(CLUSTER).records)).entries
        key = entry.key.rpartition(b"/")[0] + b"/" + b"ee" * 8
        await world.ledger.commit(Txn(success=(Put(key, entry.value),)))
        await world.check_records()

    assert f"I6, promise 3: record {'ee' * 8} is no chain's" in _play(stray)


def test_i5_a_ticket_under_a_key_that_does_not_seal_is_found():
    async def save(world: World) -> None:
        stray = b"\x01" + b"\xee" * 8 + bytes(60)
        ticket = ClientTicket(stray, 0.0, (0, 0, 0, 0, 0), Secret(bytes(32)), 0, b"", 0, b"", "")
        world.invariants.ticket_saved(ticket)

    assert _play(save) == (
        f"I5, promise 4: a ticket was sealed under key {'ee' * 8}, which is gone",
    )


def _without_record(world: World) -> TicketBody:
    """What the ticket holds of a session that was begun without the store and flushed for its lost
    owner: the store has its chain, and never had a record.
    """
    (client,), ledger = world.clients, world.ledger
    keys = AllKeys(ledger.rings)
    body = open_ticket(client.tickets.load().ticket, keys, CLUSTER.encode(), 0.0, float("inf"))
    body = msgspec.structs.replace(body, chain=b"without a record")
    ledger.sessions[body.chain], ledger.generations[body.chain] = None, body.generation
    return body


def _refuse(world: World, ticket: bytes, bent: bytes | None = None) -> None:
    """A client shows that ticket, somebody bends it on its way, and its gateway refuses one."""
    gateway, path = world.gateways[0], Path(("10.1.0.1", 500), ("10.0.0.1", 500))
    head = b"a client", bytes(8), ExchangeType.IKE_SESSION_RESUME

    def request(octets: bytes) -> bytes:
        shown = NotifyPayload(NotifyType.TICKET_OPAQUE, octets)
        return encode_clear(*head, FLAG_INITIATOR, 0, (shown,))

    world.invariants.asked(request(ticket), path)
    if bent is not None:
        world.net.inject(request(bent), path)
    nack = NotifyPayload(NotifyType.TICKET_NACK)
    gateway.spoke(gateway, encode_clear(*head, FLAG_RESPONSE, 0, (nack,)))


def _refusal(
    *,
    by_reference: bool,
    revoked: bool = False,
    spent: bool = False,
    bent: bool = False,
    given: bool = False,
) -> tuple[str, ...]:
    """What is found when a ticket of a session without a record is refused; `revoked`: all sessions
    of whoever it is were; `spent`: its chain has gone on; `bent`: altered it was shown, too;
    `given`: its generation is another SA's."""

    async def show(world: World) -> None:
        body, ledger = _without_record(world), world.ledger
        key = ledger.rings[-1].tickets.current
        ledger.kept[body.chain] = encode_state(body)
        sealed = seal_reference if by_reference else seal
        ledger.stored[body.chain] = body.generation + spent
        ledger.stands[body.chain] = b"another " if given else body.spi_r
        if revoked:
            ledger.revoked_identities[body.identity] = body.authenticated_wall_s + 1
        ticket = sealed(body, key, CLUSTER.encode(), SeededRng(1, "a ticket"))
        _refuse(world, ticket, ticket[:-1] + b"?" if bent else None)

    return _play(show)


@pytest.mark.parametrize("by_reference", [False, True])
def test_i5_a_valid_ticket_refused_is_found(by_reference: bool):
    (finding,) = _refusal(by_reference=by_reference)
    assert finding.startswith("I5, promise 4: gw1 refused a valid ticket of chain ")


@pytest.mark.parametrize("by_reference", [False, True])
def test_i5_a_ticket_of_somebody_revoked_may_be_refused(by_reference: bool):
    assert _refusal(by_reference=by_reference, revoked=True) == ()


@pytest.mark.parametrize("by_reference", [False, True])
def test_i5_a_refusal_may_be_of_the_ticket_that_was_bent_on_its_way(by_reference: bool):
    assert _refusal(by_reference=by_reference, bent=True) == ()


@pytest.mark.parametrize("by_reference", [False, True])
def test_i5_a_ticket_whose_chain_went_on_without_a_record_may_be_refused(by_reference: bool):
    assert _refusal(by_reference=by_reference, spent=True) == ()


@pytest.mark.parametrize("by_reference", [False, True])
def test_i5_a_ticket_whose_generation_is_another_sas_may_be_refused(by_reference: bool):
    assert _refusal(by_reference=by_reference, given=True) == ()


def _keep(world: World, body: TicketBody, ticket: bytes | None) -> None:
    """A former life of gw1 writes to a chain without the store, and gw2 keeps that."""
    of = body.chain, body.generation, b"the spi ", 3
    life, expires_wall_s = "a former life", body.expires_wall_s
    claim = Claim(bytes(16), *of, "gw1", life, expires_wall_s, b"", ticket, (), False)
    world.without_store.frame("gw1", Hold(claim))
    world.without_store.frame("gw2", Held(claim.op_id, True))


async def _store(world: World, body: TicketBody) -> None:
    """The store has what tickets by reference of that chain's generation point to."""
    key = KEYS.ticket(body.chain)
    sealed = world.ledger.vault.seal_record(encode_state(body), key)
    await world.ledger.commit(Txn(success=(Put(key, sealed),)))


def _unresolved(
    ticket: bytes | None = b"sealed", *, keeper: str = "killed", stored: bool = False
) -> tuple[str, ...]:
    """What is found when gw1 refuses a ticket by reference, as the store has what the generation
    before pointed to. `ticket`: what was kept without the store; `keeper`: what became of gw2, who
    kept it; `stored`: the store once had it."""

    async def show(world: World) -> None:
        body, ledger = _without_record(world), world.ledger
        ledger.stored[body.chain] = body.generation
        _keep(world, body, ticket)
        if stored:
            await _store(world, body)
        await _store(world, msgspec.structs.replace(body, generation=body.generation - 1))
        if keeper == "killed":
            await world.gateways[1].kill()
        elif keeper == "asleep":
            world.gateways[1].process.pause()
        elif keeper == "cut off":
            world.links.cut("gw1", "gw2", both=False)
        key = ledger.rings[-1].tickets.current
        _refuse(world, seal_reference(body, key, CLUSTER.encode(), SeededRng(1, "a ticket")))

    return _play(show, Size(gateways=2, clients=1))


@pytest.mark.parametrize("keeper", ["killed", "asleep", "cut off"])
def test_i5_what_a_ticket_points_to_may_be_out_of_reach_with_all_that_kept_it(keeper):
    assert _unresolved(keeper=keeper) == ()


@pytest.mark.parametrize(
    "how",
    [{"keeper": "there"}, {"stored": True}, {"ticket": None}],
    ids=["who kept it is there", "the store had it", "nobody kept it"],
)
def test_i5_a_ticket_that_points_to_nothing_is_found(how):
    (finding,) = _unresolved(**how)
    assert finding == f"I5, promise 4: nothing is kept for chain {b'without a record'.hex()}"


def test_i7_a_secret_in_store_log_or_events_is_found():
    async def leak(world: World) -> None:
        (gateway,) = world.gateways
        await world.ledger.commit(Txn(success=(Put(b"leak", KEK.secret.octets),)))
        gateway.log.info("look", key=PSK_HEX)
        gateway.node.events.write("look", key=world.ledger.rings[-1].qcd.keys[0].secret.octets)

    findings = _play(leak)
    assert findings[:2] == ("I7: the PSK stands in the logs", "I7: the KEK stands in the store")
    assert findings[2].endswith("of the ring stands in the events")
