"""What happens is counted each time, and logged now and then."""

from node.metrics import Metrics
from node.observe import STRANGERS_LINES_MAX, EventLog, SparseLog
from node.reporter import Reporter
from proto.ike.events import Ended, Established, Failed
from tests.unit.cluster.fakes import HandClock


class Lines:
    """A logger that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[dict[str, object]] = []

    def info(self, message: str, **fields: object) -> None:
        """Keep it."""
        self.lines.append({"message": message, **fields})


def test_a_flood_of_forged_requests_is_counted_whole_and_logged_in_part() -> None:
    clock, log, metrics = HandClock(), Lines(), Metrics()
    sparse = SparseLog(log, clock)
    reporter = Reporter(metrics, EventLog("", "gw1", clock), sparse, lambda chain, spi: None)
    failed = Failed(b"", False, "no proposal chosen", "192.0.2.7")
    for _ in range(1000):
        reporter(failed)
    assert metrics.handshakes.by == {"failed": 1000}
    whole = {"message": "no IKE SA", "why": failed.why, "resumed": False, "remote": "192.0.2.7"}
    assert log.lines == [whole] * STRANGERS_LINES_MAX
    clock.advance(1)
    reporter(failed)
    reporter(failed)
    assert log.lines[STRANGERS_LINES_MAX:] == [
        {**whole, "left_out": 1000 - STRANGERS_LINES_MAX},
        whole,
    ]


def test_the_log_tells_a_failover_and_a_flood_does_not_silence_it() -> None:
    clock, log = HandClock(), Lines()
    sparse = SparseLog(log, clock)
    reporter = Reporter(Metrics(), EventLog("", "gw1", clock), sparse, lambda chain, spi: None)
    for _ in range(1000):
        reporter(Failed(b"", False, "no proposal chosen"))
    log.lines.clear()
    spi, chain = bytes(range(8)), bytes(16)
    reporter(Established(spi, bytes(8), spi, chain, 2, True, "fqdn:a.example", b""))
    reporter(Ended(spi, chain, "deleted by the peer"))
    assert log.lines == [
        {
            "message": "session up",
            "how": "resumed",
            "identity": "fqdn:a.example",
            "spi": spi.hex(),
            "generation": 2,
        },
        {"message": "session ended", "spi": spi.hex(), "why": "deleted by the peer"},
    ]
