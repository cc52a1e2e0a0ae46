"""What the benchmarks promise to measure, and how figures are shown and compared.

Rules: one flat object, the unit at the end of each name; what is smaller is better but for rates.
"""

from collections.abc import Mapping

from rich.table import Table

Figures = dict[str, float]

WANTED = (
    "handshake_handlers_cpu_us",
    "handshake_udp_cpu_us",
    "handshake_ecdsa_p256_udp_cpu_us",
    "handshake_rsa_2048_udp_cpu_us",
    "handshake_eap_mschapv2_udp_cpu_us",
    "handshake_durable_cpu_us",
    "handshake_durable_per_s",
    "resume_handlers_cpu_us",
    "resume_handlers_instructions",
    "resume_udp_cpu_us",
    "resume_durable_cpu_us",
    "resume_durable_mirror_cpu_us",
    "resume_durable_etcd_cpu_us",
    "resume_durable_load_cpu_us",
    "resume_durable_per_s",
    "resume_durable_batch_ops",
    "resume_p50_ms_1",
    "resume_p99_ms_1",
    "resume_p50_ms_64",
    "resume_p99_ms_64",
    "resume_three_etcd_cpu_us",
    "resume_three_etcd_etcd_cpu_us",
    "resume_three_etcd_load_cpu_us",
    "resume_three_etcd_per_s",
    "resume_three_etcd_batch_ops",
    "ring_change_visible_p99_ms",
    "ring_change_visible_busy_p99_ms",
    "takeover_sessions",
    "takeover_loaded_s",
    "takeover_answered_s",
    "forged_ticket_handlers_cpu_us",
    "liveness_udp_cpu_us",
    "rss_per_session_bytes_1k",
    "rss_per_session_bytes_10k",
)
"""Every figure of a whole run, in the order shown."""

AT_MOST: Figures = {
    "resume_handlers_cpu_us": 60,
    "resume_handlers_instructions": 7200,
    "resume_durable_cpu_us": 150,
    "forged_ticket_handlers_cpu_us": 10,
    "ring_change_visible_p99_ms": 200,
    "ring_change_visible_busy_p99_ms": 200,
    "takeover_answered_s": 2.0,
    "rss_per_session_bytes_10k": 12_000,
}
AT_LEAST: Figures = {
    "resume_three_etcd_per_s": 3000,
}


def shown(figures: Mapping[str, object]) -> Table:
    """A table of what was measured, with the aims."""
    table = Table("figure", title="benchmarks")
    table.add_column("measured", justify="right")
    table.add_column("aim", justify="right")
    for name in (name for name in WANTED if name in figures):
        table.add_row(name, _number(figures[name]), _aim(name))
    return table


def compared(before: Mapping[str, object], after: Mapping[str, object]) -> Table:
    """A table of figures before and after, and what remains of each."""
    table = Table("figure", title="before and after")
    for column in ("before", "after", "ratio"):
        table.add_column(column, justify="right")
    for name in WANTED:
        old, new = before.get(name), after.get(name)
        if isinstance(old, int | float) and isinstance(new, int | float):
            ratio = f"{new / old:.2f}" if old else ""
            table.add_row(name, _number(old), _number(new), ratio)
    return table


def profiled(counts: Mapping[str, int], samples: int, title: str, rows: int) -> Table:
    """A table of the most frequent of `counts`, as parts of all samples."""
    table = Table(title, "share")
    for name, count in list(counts.items())[:rows]:
        table.add_row(name, f"{count / samples:.1%}")
    return table


def _aim(name: str) -> str:
    if name in AT_MOST:
        return f"≤ {AT_MOST[name]:,g}"
    return f"≥ {AT_LEAST[name]:,g}" if name in AT_LEAST else ""


def _number(value: object) -> str:
    return f"{value:,.1f}" if isinstance(value, int | float) else str(value)
