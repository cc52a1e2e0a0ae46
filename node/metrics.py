"""The process's figures for Prometheus.

Rules: the hot path adds to plain integers and takes no lock; names and labels are put on when
somebody scrapes. The number of label values is bounded. Names: `standfast_<what>_<unit>`.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from cluster.conditions import Condition
from cluster.mirror import MirrorCounts
from cluster.standing import State

LABEL_VALUES_MAX = 32
"""Distinct outcomes or reasons per figure; what comes after them is counted as `other`."""

COMMIT_BOUNDS_S = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.008, 0.012, 0.02, 0.05, 0.1, 0.25, 1, 5)
"""Upper bounds of the commit latency's buckets: fine where a healthy etcd answers, coarse above."""

RADIUS_FIGURES = {
    "requests": "Requests to a RADIUS server",
    "repeats": "Requests sent once more",
    "timeouts": "Requests that were given up",
    "bad_replies": "Datagrams of a RADIUS server that were no valid reply",
}

STORE_STATES = ("connecting", "ok", "unavailable", "memory")


class Counts:
    """A counter by one label."""

    __slots__ = ("by",)

    def __init__(self) -> None:
        self.by: dict[str, int] = {}

    def add(self, label: str, n: int = 1) -> None:
        """Count `n` more under `label`."""
        if label in self.by:
            self.by[label] += n
        elif len(self.by) < LABEL_VALUES_MAX:
            self.by[label] = n
        else:
            self.by["other"] = self.by.get("other", 0) + n

    def items(self) -> list[tuple[str, int]]:
        """A copy in label order: the scraping thread must not see the table grow."""
        return sorted(self.by.copy().items())


class Latency:
    """A histogram of seconds."""

    __slots__ = ("counts", "total_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(COMMIT_BOUNDS_S) + 1)
        self.total_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one observation."""
        self.counts[bisect_left(COMMIT_BOUNDS_S, seconds)] += 1
        self.total_s += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """(upper bound, observations up to it), the last one unbounded."""
        seen = 0.0
        found: list[tuple[str, float]] = []
        for bound, count in zip((*map(str, COMMIT_BOUNDS_S), "+Inf"), self.counts, strict=True):
            seen += count
            found.append((bound, seen))
        return found


class RadiusFigures(Protocol):
    """What there is to count of one RADIUS server. Implementer: `node.eap.radius.server`."""

    @property
    def name(self) -> str:
        """As configured."""
        ...

    @property
    def figures(self) -> Mapping[str, int]:
        """By the name of the figure."""
        ...


class Metrics:
    """Every figure of one process: add to the counters, assign the gauges."""

    def __init__(self) -> None:
        self.resumptions = Counts()
        """By outcome: `accepted`, or why refused."""
        self.handshakes = Counts()
        """Full ones, by outcome."""
        self.rekeys = Counts()
        """SAs that took over from another one: `ike`, `child`."""
        self.adoptions = Counts()
        """SAs found in shards that were gained: `adopted`, or why not."""
        self.dropped = Counts()
        """Datagrams not answered, by reason."""
        self.revocation = Counts()
        """What came of looking whether peers' certificates were taken back."""
        self.over_limit = Counts()
        """Sessions of peers that had too many: `refused`, or the oldest one `ended`."""
        self.eap = Counts()
        """EAP conversations, by outcome."""
        self.radius: Sequence[RadiusFigures] = ()
        self.commit = Latency()
        """From handing a write over until it is durable."""
        self.datagrams_in = 0
        self.datagrams_out = 0
        self.datagrams_unsent = 0
        self.shards_handed_over = 0
        self.moves = 0
        self.redirects = 0
        self.without_ppk = 0
        self.task_crashes = 0
        self.sessions = 0
        self.half_open = 0
        self.ring_revision = 0
        self.ticket_key_seals_for_s = 0.0
        self.shards_owned = 0
        self.peers_suspected = 0
        self.store_state = "connecting"
        self.unwritten = 0
        self.pledges = 0
        self.clock_off = False
        self.standing = State.ISOLATED.value
        self.store_conditions: tuple[str, ...] = ()
        """Names of `cluster.conditions.Condition`."""
        self.store_compactions = 0
        self.mirrors = MirrorCounts()
        self.pools: Mapping[str, tuple[int, int]] = {}
        """Name → (addresses that sessions have, all)."""


class _Scrape(Collector):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        m = self._metrics
        yield _counter("resumptions", "Session resumptions by outcome", "outcome", m.resumptions)
        yield _counter("handshakes", "Full handshakes by outcome", "outcome", m.handshakes)
        yield _counter("rekeys", "SAs rekeyed", "what", m.rekeys)
        yield _counter("adoptions", "Sessions of gained shards by outcome", "outcome", m.adoptions)
        yield _counter("datagrams_dropped", "Datagrams not answered", "reason", m.dropped)
        yield _counter("revocation", "Looks for revoked certificates", "outcome", m.revocation)
        limit = "Sessions of peers that had too many"
        yield _counter("sessions_over_limit", limit, "outcome", m.over_limit)
        yield _counter("eap_conversations", "EAP conversations by outcome", "outcome", m.eap)
        yield from _radius(m.radius)
        yield HistogramMetricFamily(
            "standfast_commit_seconds",
            "Time until a write was durable",
            buckets=m.commit.buckets(),
            sum_value=m.commit.total_s,
        )
        plain = {
            "datagrams_in": ("Datagrams received", m.datagrams_in),
            "datagrams_out": ("Datagrams sent", m.datagrams_out),
            "datagrams_unsent": ("Datagrams that the kernel didn't take", m.datagrams_unsent),
            "store_compactions": (
                "Times that history a watch wanted was gone from the store",
                m.store_compactions,
            ),
            "mirror_differences": ("Copies found different", m.mirrors.differences),
            "mirror_repaired_records": ("Records put right out of the store", m.mirrors.repaired),
            "without_ppk": ("Sessions set up without the PPK that there was", m.without_ppk),
            "moves": ("Sessions whose client changed its address", m.moves),
            "redirects": ("Clients sent to other gateways", m.redirects),
            "shards_handed_over": ("Shards handed to other members", m.shards_handed_over),
            "task_crashes": ("Tasks that died of an unexpected exception", m.task_crashes),
        }
        for name, (text, count) in plain.items():
            yield CounterMetricFamily(f"standfast_{name}", text, value=count)
        yield from _gauges(m)


def _counter(name: str, text: str, label: str, counts: Counts) -> CounterMetricFamily:
    family = CounterMetricFamily(f"standfast_{name}", text, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family


def _radius(servers: Sequence[RadiusFigures]) -> Iterator[Metric]:
    for figure, text in RADIUS_FIGURES.items():
        family = CounterMetricFamily(f"standfast_radius_{figure}", text, labels=["server"])
        for server in servers:
            family.add_metric([server.name], server.figures[figure])
        yield family


def _gauges(m: Metrics) -> Iterator[Metric]:
    gauges: Mapping[str, tuple[str, float]] = {
        "sessions": ("IKE SAs this member owns", m.sessions),
        "half_open_sessions": ("IKE SAs not yet authenticated", m.half_open),
        "ring_revision": ("Revision of the key ring installed here", m.ring_revision),
        "ticket_key_seals_for_seconds": (
            "How long tickets can be issued before the key must be replaced",
            m.ticket_key_seals_for_s,
        ),
        "shards_owned": ("Shards this member owns", m.shards_owned),
        "mirrored_records": ("Records held for other members", m.mirrors.held),
        "mirrors": ("Shards of other members of which a copy is held", m.mirrors.copies),
        "mirrors_whole": ("Those of them that are known to be right", m.mirrors.whole),
        "failsafe_unwritten": ("Chains that the store doesn't have yet", m.unwritten),
        "pledges": ("Members that this one has pledged to", m.pledges),
        "clock_off": ("1: this clock is off, and no ticket is issued here", float(m.clock_off)),
        "peers_suspected": ("Members whose heartbeats are missing", m.peers_suspected),
    }
    for name, (text, value) in gauges.items():
        yield GaugeMetricFamily(f"standfast_{name}", text, value=value)
    state = GaugeMetricFamily("standfast_store_state", "1 for the store's state", labels=["state"])
    for name in STORE_STATES:
        state.add_metric([name], float(name == m.store_state))
    yield state
    standing = GaugeMetricFamily("standfast_state", "1 for the named state", labels=["state"])
    for each in State:
        standing.add_metric([each.value], float(each.value == m.standing))
    yield standing
    wrong = GaugeMetricFamily(
        "standfast_store_condition", "1 for what is wrong with the store", labels=["condition"]
    )
    for condition in Condition:
        wrong.add_metric([condition.value], float(condition.value in m.store_conditions))
    yield wrong
    if m.pools:
        used = GaugeMetricFamily(
            "standfast_pool_used", "Internal addresses that sessions have", labels=["pool"]
        )
        size = GaugeMetricFamily("standfast_pool_size", "Internal addresses", labels=["pool"])
        for pool, (taken, whole) in m.pools.items():
            used.add_metric([pool], taken)
            size.add_metric([pool], whole)
        yield used
        yield size


class MetricsServer:
    """Answers HTTP scrapes from a thread of its own."""

    def __init__(self, metrics: Metrics, host: str, port: int) -> None:
        """Listen at once; port 0 takes a free one. Raises OSError."""
        registry = CollectorRegistry()
        registry.register(_Scrape(metrics))
        self._server, self._thread = start_http_server(port, addr=host, registry=registry)
        self.port: int = self._server.server_port

    def close(self) -> None:
        """Stop listening, and wait for the thread."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
