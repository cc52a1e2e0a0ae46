"""The kept seeds pass, a seed repeats exactly, and each promise that is broken is found out."""

import asyncio
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from cluster.store import Txn
from node.client import NoKeys
from tests.sim.__main__ import main as command
from tests.sim.__main__ import parse_seeds
from tests.sim.net import Weather
from tests.sim.plays.kill_one import kill_one
from tests.sim.plays.one_ticket_twice import one_ticket_twice
from tests.sim.scenarios import SCENARIOS, Result, Scenario, run_scenario, run_seed
from tests.sim.story import story
from tests.sim.world import Size, World


def seeds() -> list[tuple[str, int]]:
    """Those that are kept."""
    lines = (Path(__file__).parent / "seeds.txt").read_text().splitlines()
    kept = (line.split(maxsplit=2) for line in lines if line and not line.startswith("#"))
    return [(scenario, int(seed)) for scenario, seed, _ in kept]


@pytest.mark.parametrize(("scenario", "seed"), seeds())
def test_a_kept_seed_passes(scenario: str, seed: int):
    assert run_seed(scenario, seed).findings == ()


def _digest_in_a_process(scenario: str, seed: int, hash_seed: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.sim.script_scenario", scenario, str(seed)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    return ended.stdout.strip()


@pytest.mark.parametrize("scenario", sorted(SCENARIOS))
def test_the_same_seed_gives_the_same_trace_under_two_hash_seeds(scenario: str):
    first = _digest_in_a_process(scenario, 5, "1")
    assert len(first) == 64
    assert first == _digest_in_a_process(scenario, 5, "2")


def test_another_seed_gives_another_trace():
    assert run_seed("one-ticket-twice", 1).digest != run_seed("one-ticket-twice", 2).digest


# -- with the safeguard removed, the run fails ----------------------------------------------------


def test_gateways_that_forget_their_ring_are_found_out():
    async def play(world: World) -> None:
        def forget() -> None:
            for gateway in world.gateways:
                gateway.node.gateway.endpoint.tickets = NoKeys()

        world.on_begun.append(forget)
        await kill_one(world)

    findings = run_scenario(Scenario(play, size=Size(clients=6)), 1).findings
    assert any("['full', 'full'] instead of ['full', 'resumed']" in line for line in findings)


def _without_compares(txn: Txn) -> Txn:
    success = tuple(_without_compares(op) if isinstance(op, Txn) else op for op in txn.success)
    return msgspec.structs.replace(txn, compares=(), success=success)


def test_a_ticket_that_works_twice_is_found_out():
    async def play(world: World) -> None:
        def lose_compares() -> None:
            for gateway in world.gateways:
                gateway.store.twist = _without_compares

        world.on_begun.append(lose_compares)
        await one_ticket_twice(world)

    findings = run_scenario(Scenario(play, size=Size(clients=4)), 1).findings
    assert any("one ticket gave ['resumed', 'resumed']" in line for line in findings)


def test_a_client_that_is_left_without_service_is_found_out():
    async def cut_off(world: World) -> None:
        await world.begin()
        for gateway in world.gateways:
            world.net.cut(world.clients[0].local[0], gateway.host)
        await world.connect_all()

    findings = run_scenario(Scenario(cut_off, size=Size(clients=2)), 1).findings
    assert "not every client got connected within 60 s" in findings


def test_a_task_that_dies_is_found_out():
    async def die() -> None:
        raise LookupError("planted")

    async def play(world: World) -> None:
        await world.begin()
        world.gateways[0].supervisor.spawn(die(), "planted")
        await asyncio.sleep(1)

    (finding,) = run_scenario(Scenario(play, size=Size(clients=0), weather=Weather()), 1).findings
    assert finding == "gw1: task planted died: LookupError('planted')"


# -- the command ----------------------------------------------------------------------------------


def test_the_command_names_each_failing_seed_and_counts(capsys: pytest.CaptureFixture[str]):
    def play(scenario: str, seed: int, *, keep: bool) -> Result:
        findings = ("something broke",) if seed == 2 else ()
        return Result(findings, "", 0, 0.0, ("a line",) if keep else ())

    kept: list[tuple[str, ...]] = []

    def keep(scenario: str, seed: int, result: Result) -> Path:
        kept.append((scenario, str(seed), *result.lines))
        return Path("a/trace")

    def main(arguments: list[str], *how) -> int:
        return command(arguments, *how, pool=ThreadPoolExecutor(1))

    assert main(["--seeds", "1-3", "--scenario", "kill-one"], play, keep) == 1
    line, hours, last = capsys.readouterr().out.splitlines()
    assert line.startswith("seed 2 of kill-one failed at ")
    assert line.endswith(": something broke (a/trace)")
    assert (hours, last) == ("0.0 simulated hours", "2 passed, 1 failed")
    assert kept == [("kill-one", "2", "a line")]
    assert main(["--seeds", "1,3", "--scenario", "kill-one", "--trace"], play, keep) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["a line", "a line"]


def test_the_command_stops_when_asked_to_at_the_first_failure_or_when_time_is_up(
    capsys: pytest.CaptureFixture[str],
):
    def play(scenario: str, seed: int, *, keep: bool) -> Result:
        return Result(("broken",) if seed == 2 else (), "", 0, 0.0, ())

    def keep(scenario: str, seed: int, result: Result) -> Path:
        return Path("a/trace")

    asked = ["--seeds", "1-9", "--scenario", "storm"]
    assert command([*asked, "--first"], play, keep, ThreadPoolExecutor(1)) == 1
    assert capsys.readouterr().out.endswith("1 passed, 1 failed\n")
    assert command([*asked, "--minutes", "1e-9"], play, keep, ThreadPoolExecutor(1)) == 0
    assert capsys.readouterr().out.endswith("0 passed, 0 failed\n")


def test_the_command_runs_seeds_in_processes_of_their_own(capsys: pytest.CaptureFixture[str]):
    assert command(["--seeds", "1-3", "--scenario", "one-ticket-twice", "--jobs", "2"]) == 0
    assert capsys.readouterr().out.endswith("\n3 passed, 0 failed\n")


@pytest.mark.parametrize("turns", [True, False], ids=["the loop turns", "the loop stands still"])
def test_a_run_that_spins_is_ended_and_says_where(turns: bool):
    async def play(world: World) -> None:
        while True:
            if turns:
                await asyncio.sleep(1e-6)

    spinning = Scenario(play, size=Size(clients=0))
    (finding,) = run_scenario(spinning, 1, cpu_max_s=0.2).findings
    assert finding.startswith("stuck: 0.2 s of processor time are over, at ")
    assert turns or "test_scenarios.py:" in finding


def test_a_play_that_dies_is_a_finding():
    async def play(world: World) -> None:
        raise LookupError("planted")

    (finding,) = run_scenario(Scenario(play, size=Size(clients=0)), 1).findings
    assert finding.startswith("the play failed: LookupError('planted'), test_scenarios.py:")


def test_the_story_of_a_run_ends_with_its_first_finding_and_leaves_other_traffic_out():
    async def play(world: World) -> None:
        await world.begin()
        await world.connect_all()
        world.findings.broken("I1", f"look at {world.clients[0].spi_r.hex()}")
        world.findings.append("more")

    result = run_scenario(Scenario(play, size=Size(clients=4), weather=Weather()), 1, keep=True)
    told = story(result.lines)
    assert told[-1].split()[1:5] == ["FINDING", "I1,", "promise", "5:"]
    spi = told[-1].split()[-1]
    traffic = [line for line in told if " sent " in line]
    assert traffic
    assert all(spi in line for line in traffic)
    assert len(told) < len(result.lines) / 2
    assert story(("   1.000000 start        gw1",)) == ()


def test_seeds_are_ranges_and_lists():
    assert parse_seeds("1-3,7") == [1, 2, 3, 7]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--seeds", "5-1"], "--seeds: '5-1' → numbers and ranges that go up, such as 1-20"),
        (["--seeds", "1-"], "--seeds: '1-' → numbers and ranges"),
        (["--seeds", "-3"], "--seeds: '-3' → numbers and ranges"),
        (["--seeds", "abc"], "--seeds: 'abc' → numbers and ranges"),
        (
            ["--drill", "none.toml"],
            "--drill: none.toml: No such file or directory → a drill's file",
        ),
        (["--drill", "README.md"], "--drill: README.md: not TOML: "),
    ],
)
def test_what_would_run_nothing_is_refused_in_a_line(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as ended:
        command(arguments)
    assert ended.value.code == 2
    assert line in capsys.readouterr().err.splitlines()[-1]
