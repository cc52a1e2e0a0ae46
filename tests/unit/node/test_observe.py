"""node.observe and node.metrics: what leaves the process, and what never does."""

import io
import json
import logging
import os
import stat
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import structlog

from node.metrics import LABEL_VALUES_MAX, Counts, Metrics, MetricsServer
from node.observe import EVENT_LINE_OCTETS_MAX, EventLog, configure_logging
from proto.secret import Secret

CANARY = b"CANARY-octets-of-a-key-0123456789"


class FakeClock:
    def boot_s(self) -> float:
        return 12.5

    def wall_s(self) -> float:
        return 1_700_000_000.25


class Holder(msgspec.Struct, frozen=True):
    octets: bytes
    text: str


@pytest.fixture(params=["json", "console"])
def out(request: pytest.FixtureRequest) -> io.StringIO:
    stream = io.StringIO()
    configure_logging("debug", request.param, stream)
    return stream


def leaks(text: str) -> bool:
    return CANARY.decode() in text or CANARY.hex() in text


@pytest.mark.parametrize(
    "value",
    [
        Secret(CANARY),
        CANARY,
        bytearray(CANARY),
        memoryview(CANARY),
        [CANARY],
        {"inner": {"deep": (Secret(CANARY), CANARY)}},
        Holder(CANARY, CANARY.decode()),
        [[[[[CANARY.decode()]]]]],
    ],
    ids=lambda value: type(value).__name__,
)
def test_key_material_never_reaches_a_log_line(out: io.StringIO, value: object) -> None:
    structlog.get_logger().info("something", value=value, spi="aa55")
    assert "something" in out.getvalue()
    assert "refused" in out.getvalue()
    assert "aa55" in out.getvalue()
    assert not leaks(out.getvalue())


def test_a_traceback_shows_no_local_variables(out: io.StringIO) -> None:
    def fails(key: bytes) -> None:
        raise ValueError(f"{len(key)} octets are too many")

    try:
        fails(CANARY)
    except ValueError:
        structlog.get_logger().exception("went wrong")
    assert "33 octets are too many" in out.getvalue()
    assert not leaks(out.getvalue())


def test_plain_values_pass() -> None:
    stream = io.StringIO()
    configure_logging("info", "json", stream)
    structlog.get_logger().info("m", a=1, b=1.5, c=None, d=True, e=["x", {"y": 2}], f=Path("/p"))
    line = json.loads(stream.getvalue())
    assert line["level"] == "info"
    assert line["event"] == "m"
    assert line["e"] == ["x", {"y": 2}]
    assert (line["a"], line["b"], line["c"], line["d"], line["f"]) == (1, 1.5, None, True, "/p")


def test_lower_levels_are_silent_and_libraries_speak_the_same_format() -> None:
    stream = io.StringIO()
    configure_logging("warning", "json", stream)
    structlog.get_logger().info("quiet")
    logging.getLogger("somelib").info("quiet too")
    logging.getLogger("somelib").warning("loud %s", "enough")
    line = json.loads(stream.getvalue())
    assert (line["event"], line["logger"]) == ("loud enough", "somelib")


@pytest.fixture
def events(tmp_path: Path) -> Iterator[tuple[EventLog, Path]]:
    path = tmp_path / "events.jsonl"
    log = EventLog(str(path), "gw1", FakeClock())
    yield log, path
    log.close()


def test_an_event_is_one_line(events: tuple[EventLog, Path]) -> None:
    log, path = events
    log.write("sa_established", spi=b"\x01\xff", generation=2, how="resumed")
    log.write("stopping")
    first, second = path.read_text().splitlines()
    assert json.loads(first) == {
        "t": 12.5,
        "wall": 1_700_000_000.25,
        "who": "gw1",
        "kind": "sa_established",
        "spi": "01ff",
        "generation": 2,
        "how": "resumed",
    }
    assert json.loads(second)["kind"] == "stopping"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_writers_share_a_file(events: tuple[EventLog, Path]) -> None:
    log, path = events
    other = EventLog(str(path), "gw2", FakeClock())
    log.write("a")
    other.write("b")
    log.write("c")
    other.close()
    kinds = [(json.loads(line)["who"], json.loads(line)["kind"]) for line in path.open()]
    assert kinds == [("gw1", "a"), ("gw2", "b"), ("gw1", "c")]


def test_an_event_refuses_a_secret_and_a_page_of_text(events: tuple[EventLog, Path]) -> None:
    log, path = events
    with pytest.raises(TypeError, match="key is a Secret"):
        log.write("bad", key=Secret(CANARY))
    with pytest.raises(TypeError):
        log.write("bad", keys=[Secret(CANARY)])
    with pytest.raises(ValueError, match="octets"):
        log.write("bad", text="x" * EVENT_LINE_OCTETS_MAX)
    assert path.read_bytes() == b""


def test_a_full_disk_loses_the_event_and_not_the_gateway() -> None:
    if not os.path.exists("/dev/full"):
        pytest.fail("this system has no /dev/full")
    log = EventLog("/dev/full", "gw1", FakeClock())
    log.write("stopping")
    assert log.lost == 1
    log.close()


def test_no_path_no_record() -> None:
    log = EventLog("", "gw1", FakeClock())
    log.write("stopping")
    log.close()
    assert log.lost == 0


def scrape(metrics: Metrics) -> str:
    server = MetricsServer(metrics, "127.0.0.1", 0)
    try:
        url = f"http://127.0.0.1:{server.port}/metrics"
        with urllib.request.urlopen(url, timeout=5) as answer:
            return str(answer.read().decode())
    finally:
        server.close()


def test_a_scrape_shows_every_figure() -> None:
    metrics = Metrics()
    metrics.resumptions.add("accepted")
    metrics.resumptions.add("accepted", 2)
    metrics.resumptions.add("spent")
    metrics.handshakes.add("accepted")
    metrics.dropped.add("garbage", 7)
    metrics.commit.add(0.0025)
    metrics.commit.add(99.0)
    metrics.datagrams_in = 11
    metrics.sessions = 300
    metrics.store_state = "unavailable"
    lines = scrape(metrics).splitlines()
    assert 'standfast_resumptions_total{outcome="accepted"} 3.0' in lines
    assert 'standfast_resumptions_total{outcome="spent"} 1.0' in lines
    assert 'standfast_handshakes_total{outcome="accepted"} 1.0' in lines
    assert 'standfast_datagrams_dropped_total{reason="garbage"} 7.0' in lines
    assert "standfast_datagrams_in_total 11.0" in lines
    assert "standfast_sessions 300.0" in lines
    assert 'standfast_store_state{state="unavailable"} 1.0' in lines
    assert 'standfast_store_state{state="ok"} 0.0' in lines
    assert 'standfast_commit_seconds_bucket{le="0.002"} 0.0' in lines
    assert 'standfast_commit_seconds_bucket{le="0.003"} 1.0' in lines
    assert 'standfast_commit_seconds_bucket{le="+Inf"} 2.0' in lines
    assert "standfast_commit_seconds_count 2.0" in lines
    assert "standfast_commit_seconds_sum 99.0025" in lines


def test_label_values_are_bounded() -> None:
    counts = Counts()
    for number in range(LABEL_VALUES_MAX + 10):
        counts.add(f"reason {number}")
    counts.add("reason 0")
    assert len(counts.by) == LABEL_VALUES_MAX + 1
    assert counts.by["other"] == 10
    assert counts.by["reason 0"] == 2
