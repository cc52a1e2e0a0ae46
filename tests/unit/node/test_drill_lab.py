"""A drill's processes and files: configured as the drill says, watched, and always ended."""

import signal
import stat
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from cluster.drill.plan import Drill, decode_drill
from node.config import load_gateway
from node.drill.child import Child, CouldNotRun
from node.drill.lab import Lab
from node.drill.recorder import Recorder
from node.drill.run import run_drill
from node.seams import OsClock, OsRng
from node.swarm import SwarmConfig

DRILL = """
name = "lab"
title = "Lab"
[topology]
gateways = 2
shards = 8
[topology.every.member]
lease_ttl_s = 4
[topology.only.gw2.ike]
proposals = ["aes128gcm16-prfsha256-x25519"]
[load]
clients = 7
[[fault]]
action = "kill"
target = "any"
at_s = 1
"""
GATEWAYS = {"127.0.0.1:5001": "gw1", "127.0.0.1:5002": "gw2"}


@pytest.fixture
def plan() -> Drill:
    return decode_drill(DRILL, "lab.toml")


@pytest.fixture
def lab(tmp_path: Path, plan: Drill) -> Lab:
    made = Lab(tmp_path, plan, OsClock(), OsRng())
    made.prepare()
    return made


def test_every_gateway_is_configured_as_the_drill_says(lab: Lab, tmp_path: Path) -> None:
    configs = [load_gateway(tmp_path / "cluster" / f"gw{n}.toml") for n in (1, 2)]
    assert lab.etcd is not None
    for name, config in zip(("gw1", "gw2"), configs, strict=True):
        assert config.store.endpoints == lab.etcd.endpoints
        assert config.cluster.shards == 8
        assert config.member.lease_ttl_s == 4
        assert lab.addresses[config.ike.listen[0]] == name
        assert config.events.file == str(tmp_path / "events" / f"{name}.jsonl")
    assert configs[0].ike.proposals != configs[1].ike.proposals
    assert configs[1].ike.proposals == ("aes128gcm16-prfsha256-x25519",)


def test_the_clients_are_told_what_the_drill_says(lab: Lab, tmp_path: Path) -> None:
    octets = (tmp_path / "swarm.json").read_bytes()
    swarm = msgspec.json.decode(octets, type=SwarmConfig, strict=True)
    assert (swarm.clients, swarm.liveness_interval_s) == (7, 0.2)
    assert swarm.gateways == tuple(lab.addresses)
    assert stat.S_IMODE(Path(swarm.psk_file).stat().st_mode) == 0o600


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Child]:
    made = child(tmp_path, "import time; print('here', flush=True); time.sleep(600)")
    yield made
    made.kill()


def child(folder: Path, code: str) -> Child:
    return Child("it", [sys.executable, "-c", code], folder / "it.log")


async def test_a_process_that_ends_by_itself_is_told_with_its_last_words(tmp_path: Path) -> None:
    short = child(tmp_path, "import sys; print('disk on fire'); sys.exit(3)")
    short.start()
    await short.ended(30)
    with pytest.raises(CouldNotRun, match="it ended by itself") as problem:
        short.check()
    assert str(problem.value).endswith("(exit status 3):\n    disk on fire")


async def test_a_process_ended_on_purpose_is_no_complaint(sleeper: Child) -> None:
    sleeper.start()
    sleeper.check()
    sleeper.signal(signal.SIGKILL)
    assert await sleeper.ended(30) == -signal.SIGKILL
    sleeper.check()
    assert not sleeper.running


async def test_a_stopped_process_ends_in_order_all_the_same(sleeper: Child) -> None:
    sleeper.start()
    sleeper.signal(signal.SIGSTOP)
    assert await sleeper.stop(30) == -signal.SIGTERM


async def test_a_process_that_will_not_end_is_ended(tmp_path: Path) -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True)"
    deaf = child(tmp_path, code + "\ntime.sleep(600)")
    deaf.start()
    while "up" not in deaf.tail():
        assert await deaf.ended(0.05) is None
    assert await deaf.stop(0.2) is None
    assert not deaf.running


async def test_a_program_that_is_not_there_could_not_be_run(tmp_path: Path) -> None:
    absent = Child("it", [str(tmp_path / "absent")], tmp_path / "it.log")

    async def run() -> None:  # with setpriv it starts, and then ends by itself
        absent.start()
        await absent.ended(30)
        absent.check()

    with pytest.raises(CouldNotRun, match="it "):
        await run()


def line(who: str, t: float, kind: str, **fields: object) -> bytes:
    return msgspec.json.encode({"t": t, "who": who, "kind": kind} | fields) + b"\n"


def test_the_record_is_read_while_it_is_written(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, GATEWAYS)
    assert recorder.poll() == []
    file = tmp_path / "swarm.jsonl"
    up = line("c1", 1.0, "established", gateway="127.0.0.1:5002", how="full", spi_r="aa")
    answered = line("c1", 2.0, "answered")
    file.write_bytes(up + answered[:10])
    assert [event.kind for event in recorder.poll()] == ["established"]
    assert recorder.in_service() == 0
    with file.open("ab") as more:
        more.write(answered[10:] + b"no event\n")
    assert [event.kind for event in recorder.poll()] == ["answered"]
    assert recorder.per_gateway() == {"gw1": 0, "gw2": 1}
    assert recorder.unreadable == 1
    with file.open("ab") as more:
        more.write(line("c1", 3.0, "unanswered", gateway="127.0.0.1:5002"))
    recorder.poll()
    assert recorder.in_service() == 0
    assert [event.t for event in recorder.since(1.0, "answered")] == [2.0]
    assert list(recorder.since(2.0, "answered")) == []
    with file.open("ab") as more:
        more.write(up)
    recorder.poll()
    assert recorder.in_service() == 1
    with file.open("ab") as more:
        more.write(line("c1", 4.0, "ended", gateway="127.0.0.1:5002", why="malformed"))
    recorder.poll()
    assert recorder.in_service() == 0


def test_shards_are_counted_per_gateway_and_anew_after_a_restart(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, GATEWAYS)
    (tmp_path / "gw1.jsonl").write_bytes(
        line("gw1", 1.0, "started", incarnation="00")
        + line("gw1", 1.1, "shards_gained", count=8, why="claimed")
        + line("gw1", 1.2, "shards_lost", count=3, why="handed over")
    )
    recorder.poll()
    assert recorder.gateways["gw1"].shards == 5
    with (tmp_path / "gw1.jsonl").open("ab") as more:
        more.write(line("gw1", 2.0, "started", incarnation="01"))
    recorder.poll()
    assert (recorder.gateways["gw1"].started, recorder.gateways["gw1"].shards) == (2, 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "no such file"), ("name = 1", "Expected `str`, got `int`"), ("[[", "not TOML")],
)
def test_a_drill_file_that_is_none_could_not_be_run(
    tmp_path: Path, text: str | None, said: str
) -> None:
    file = tmp_path / "drill.toml"
    if text is not None:
        file.write_text(text)
    out = StringIO()
    code = run_drill(file, tmp_path / "report", Console(file=out, width=200))
    assert code == 2
    assert said in out.getvalue()
    assert not (tmp_path / "report").exists()


def test_a_report_that_could_not_be_written_is_said_before_the_drill(tmp_path: Path) -> None:
    taken = tmp_path / "report"
    taken.write_text("a file, where a folder is to be")
    out = StringIO()
    code = run_drill(Path("deploy/drills/kill-one.toml"), taken, Console(file=out, width=200))
    assert code == 2
    assert out.getvalue() == f"standfast: {taken}: file exists\n"
