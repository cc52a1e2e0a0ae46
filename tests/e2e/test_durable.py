"""What was answered survives: gateways SIGKILLed at any moment under a stream of handshakes."""

import asyncio
import random

from cluster import keyring, vault
from cluster.records import RecordVault
from node.identity import load_kek
from proto.ike import record
from proto.ike.enums import ExchangeType
from proto.ike.message import peek
from tests.e2e.cluster import Cluster, until
from tests.e2e.local import LocalClient

SEED = 6311
ROUNDS = 3
CLIENTS = 40
AT_ONCE = 8
STILL_S = 0.4
NEVER_S = 3600.0
HASTE = {
    "liveness_interval_s": NEVER_S,
    "retransmit_initial_s": 0.3,
    "retransmit_factor": 1.0,
    "retransmit_tries": 3,
}


async def stream(cluster: Cluster, clients: list[LocalClient], rng: random.Random) -> int:
    """Full handshakes at gw1, which dies without a warning in the midst of them; how many had
    their answer by then. For its last moments etcd stands still: what leaves in these isn't kept.
    """
    enough = rng.randrange(5, CLIENTS - 2 * AT_ONCE)
    started = 0

    def established() -> int:
        return sum(client.count("established") for client in clients)

    while established() < enough:
        while started < len(clients) and started - established() < AT_ONCE:
            clients[started].session.start()
            started += 1
        await asyncio.sleep(0)
    etcd = cluster.etcd
    for member in etcd.pids:
        etcd.pause(member)
    for client in clients[started : started + AT_ONCE]:
        client.session.start()
        await asyncio.sleep(rng.random() * STILL_S / AT_ONCE)
    cluster.gateways["gw1"].child.kill()
    for member in etcd.pids:
        etcd.resume(member)
    return established()


def last_answer(client: LocalClient) -> bytes:
    """The IKE_AUTH response that set up the client's SA."""
    found = [data for data in client.wire.received if peek(data).exchange == ExchangeType.IKE_AUTH]
    return found[-1]


async def stored_records(cluster: Cluster) -> dict[bytes, record.Record]:
    """Every session that the store holds whole: chain → the record that it names, opened."""
    stored = await cluster.stored()
    kek = vault.Kek(load_kek(str(cluster.files / "kek")))
    sealed_ring = stored[cluster.keys.ring].value
    ring = keyring.decode(vault.open_sealed(kek, sealed_ring, cluster.keys.ring))
    opener = RecordVault(lambda: ring, cluster.clock, cluster.rng)
    keys = [key for key in stored if key.startswith(cluster.keys.records)]
    records = {key.rpartition(b"/")[2]: key for key in keys}
    found: dict[bytes, record.Record] = {}
    for key, entry in stored.items():
        if not key.startswith(cluster.keys.sessions):
            continue
        at = records.get(entry.value[:8].hex().encode())
        if at is not None:
            chain = bytes.fromhex(key.rpartition(b"/")[2].decode())
            found[chain] = record.decode(opener.open_record(stored[at].value, at))
    return found


async def test_a_response_that_left_is_a_record_that_can_be_read_back(own: Cluster) -> None:
    await own.start()
    rng = random.Random(SEED)
    answered = 0
    for number in range(ROUNDS):
        clients = [
            LocalClient(own.client_file(f"r{number}c{n}", ("gw1",), **HASTE))
            for n in range(CLIENTS)
        ]
        answered += await stream(own, clients, rng)
        held = {one.spi_r: (chain, one) for chain, one in (await stored_records(own)).items()}
        for client in clients:
            for report in client.of("established"):
                chain, kept = held[report["spi_r"]]
                assert kept.last_reply == last_answer(client)
                assert (kept.chain, kept.generation, kept.spi_i) == (chain, 1, report["spi_i"])
                assert kept.identity == f"rfc822:{kept.idi.decode()}"
            client.close()
        own.gateways["gw1"].child.start()
        await own.settled()
    assert answered >= 5 * ROUNDS


async def test_every_session_of_a_gateway_killed_under_load_resumes(own: Cluster) -> None:
    await own.start()
    rng = random.Random(SEED + 1)
    # as hasty, some would take their heir's first steps under all of them for silence
    curious = HASTE | {"liveness_interval_s": 0.2, "retransmit_tries": 20}
    files = [own.client_file(f"c{n}", ("gw1", "gw2", "gw3"), **curious) for n in range(CLIENTS)]
    clients = [LocalClient(file) for file in files]
    await stream(own, clients, rng)
    for client in clients:
        if not client.count("connecting"):
            client.session.start()
    had_ticket = [client for client in clients if client.count("established", how="full")]

    def up_again() -> bool:
        return all(client.session.gateway != own.addresses["gw1"] for client in clients) and all(
            client.session.established for client in clients
        )

    await until(up_again, "every client at a survivor")
    for client in had_ticket:
        assert client.count("established", how="resumed") >= 1, client.reports
        assert client.count("ticket_refused") == client.count("failed", how="resumed") == 0
    assert had_ticket
    for client in clients:
        client.close()
