"""Small drills against real processes: one that is kept, and ones that end as they must."""

import os
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path

import msgspec
from rich.console import Console

from cluster import keyring, vault
from cluster.drill.plan import decode_drill
from cluster.drill.promises import State
from cluster.drill.verdict import Result
from cluster.layout import Keys
from cluster.store import Put, Txn
from cluster.store_etcd import EtcdOptions, EtcdStore, EtcdTls
from node.drill.lab import CLUSTER, Lab
from node.drill.report import Report
from node.drill.run import run_drill
from node.drill.store_access import StoreAccess
from node.identity import load_kek
from node.seams import OsClock, OsRng
from proto.secret import Secret

DRILL = """
name = "small"
title = "A small drill"
[topology]
gateways = {gateways}
shards = 16
[topology.every.member]
lease_ttl_s = 4
keep_alive_s = 0.5
[load]
clients = 20
[limits]
start_s = 60
connect_s = 60
recover_s = 40
settle_s = 1
[expect]
promises = {promises}
"""
FAULT = """
[[fault]]
action = "{action}"
target = "{target}"
{when}
"""
RUN = """
import signal
import sys
from pathlib import Path
from node.drill.run import run_drill
# a shell's background job starts with SIGINT ignored, and a drill under it would be as deaf
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(run_drill(Path(sys.argv[1]), Path(sys.argv[2])))
"""
TIMEOUT_S = 240


def drill(
    folder: Path, faults: list[dict[str, str]], gateways: int = 3, promises: str = "[1, 3, 5, 6, 8]"
) -> tuple[int, Report, str]:
    """Run it: exit code, report, and what was printed."""
    file = folder / "small.toml"
    text = DRILL.format(gateways=gateways, promises=promises)
    file.write_text(text + "".join(FAULT.format(**fault) for fault in faults))
    out = StringIO()
    code = run_drill(file, folder / "report", Console(file=out, width=160))
    data = folder / "report" / "report.json"
    assert data.exists(), out.getvalue()
    return code, msgspec.json.decode(data.read_bytes(), type=Report), out.getvalue()


def fault(action: str, target: str, when: str) -> dict[str, str]:
    return {"action": action, "target": target, "when": when}


def test_every_client_of_a_killed_gateway_resumes_at_a_survivor(tmp_path: Path) -> None:
    code, report, said = drill(tmp_path, [fault("kill", "busiest", "at_s = 1")])
    verdict = report.verdict
    assert (code, verdict.result, verdict.reasons) == (0, Result.KEPT, ()), said
    assert verdict.counts.affected == verdict.counts.resumed == verdict.counts.with_ticket
    assert verdict.counts.affected >= 20 // 3
    assert sum(verdict.before.values()) == sum(verdict.after.values()) == 20
    assert verdict.after[verdict.faults[0].target] == 0
    assert all(n.suspected_s is not None for n in verdict.noticed)
    assert all(n.declared_dead_s is not None for n in verdict.noticed)
    assert "KEPT" in said
    assert "BROKEN" not in said


def test_a_cluster_that_forgets_its_ring_is_found_out(tmp_path: Path) -> None:
    faults = [
        fault("replace-ring", "", "at_s = 1"),
        fault("kill", "busiest", 'after = "ring_installed"\ndelay_s = 1'),
    ]
    code, report, said = drill(tmp_path, faults, gateways=2, promises="[1]")
    verdict = report.verdict
    assert (code, verdict.result) == (1, Result.BROKEN), said
    assert verdict.promises[0].state is State.BROKEN
    assert len(verdict.promises[0].breaches) == verdict.counts.affected == 10
    assert verdict.counts.resumed == 0
    assert verdict.counts.rehandshaked == 10
    assert "BROKEN" in said


def test_an_interrupted_drill_leaves_no_process_and_no_file(tmp_path: Path) -> None:
    file = tmp_path / "small.toml"
    text = DRILL.format(gateways=2, promises="[1]")
    file.write_text(text + FAULT.format(**fault("kill", "any", "at_s = 500")))
    command = [sys.executable, "-c", RUN, str(file), str(tmp_path / "report")]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    said: list[str] = []
    for line in process.stdout:
        said.append(line)
        if "steady" in line:
            break
    assert "steady" in said[-1], "".join(said)
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 2, rest
    assert "interrupted" in rest
    assert list(tmp_path.glob("standfast-*")) == []
    assert processes_with(str(tmp_path)) == []


def processes_with(text: str) -> list[str]:
    """Command lines of processes that mention `text`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has ended meanwhile
        if text in line:
            found.append(line)
    return found


async def test_a_drill_reads_sessions_back_and_overwrites_the_ring(tmp_path: Path) -> None:
    text = DRILL.format(gateways=1, promises="[1]") + FAULT.format(**fault("kill", "any", "at_s=1"))
    clock, rng = OsClock(), OsRng()
    lab = Lab(tmp_path / "lab", decode_drill(text, "x"), clock, rng)
    lab.folder.mkdir()
    lab.prepare()
    await lab.start_store()
    assert lab.etcd is not None
    access = StoreAccess(CLUSTER, lab.cluster, lab.etcd.endpoints, clock, rng)
    store = member_store(lab.cluster, lab.etcd.endpoints)
    keys = Keys(CLUSTER)
    try:
        with_record, without, chainless = (rng.bytes(8) for _ in range(3))
        puts = [
            Put(keys.session(rng.bytes(16)), with_record + rng.bytes(16)),
            Put(keys.session(rng.bytes(16)), without + rng.bytes(16)),
            Put(keys.record(3, with_record), b"sealed"),
            Put(keys.record(3, chainless), b"sealed"),
        ]
        await store.commit(Txn(success=tuple(puts)))
        found = await access.find_sessions(
            [with_record.hex(), without.hex(), chainless.hex(), "00" * 8]
        )
        assert found == {
            with_record.hex(): True,
            without.hex(): False,
            chainless.hex(): False,
            "00" * 8: False,
        }
        await access.replace_ring()
        entry = await store.get(keys.ring)
        assert entry is not None
        kek = vault.Kek(load_kek(str(lab.cluster / "kek")))
        ring = keyring.decode(vault.open_sealed(kek, entry.value, keys.ring))
        assert ring.sealing(clock.wall_s()) is not None
        await access.replace_ring()
        again = await store.get(keys.ring)
        assert again is not None
        assert keyring.decode(vault.open_sealed(kek, again.value, keys.ring)) != ring
        assert (await access.version()).startswith("3.")
    finally:
        await access.close()
        await store.close()
        await lab.stop()
        lab.kill_all()


def member_store(folder: Path, endpoints: tuple[str, ...]) -> EtcdStore:
    """The store as gw1 sees it."""
    pki = folder / "pki"
    key = Secret((pki / "gw1.key").read_bytes())
    tls = EtcdTls((pki / "ca.crt").read_bytes(), (pki / "gw1.crt").read_bytes(), key)
    return EtcdStore(EtcdOptions(endpoints, 10.0, 40.0), OsClock(), tls)
