"""What a drill prints at its end: tables of what was measured, and the verdict."""

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cluster.drill.promises import State
from cluster.drill.verdict import Result, Verdict

BREACHES_SHOWN = 5
STYLES = {Result.KEPT: "green", Result.BROKEN: "red", Result.INCONCLUSIVE: "yellow"}
STATES = {State.KEPT: "green", State.BROKEN: "bold red", State.NOT_TESTED: "dim"}


def show(console: Console, verdict: Verdict, page: str) -> None:
    """Print everything; `page`: where the report is."""
    console.print()
    console.print(_sessions(verdict))
    console.print(_outcomes(verdict))
    if verdict.noticed:
        console.print(_noticed(verdict))
    console.print(_promises(verdict))
    for promise in verdict.promises:
        for breach in promise.breaches[:BREACHES_SHOWN]:
            line = f"  promise {promise.number}: {breach.t_s:+8.3f} s  {breach.who}: {breach.why}"
            console.print(line, style="red", highlight=False, markup=False, soft_wrap=True)
        left = len(promise.breaches) - BREACHES_SHOWN
        if left > 0:
            console.print(f"  promise {promise.number}: {left} more in the report", style="red")
    style = STYLES[verdict.result]
    text = Text(verdict.result.value.upper(), style=f"bold {style}")
    for reason in verdict.reasons:
        text.append(f"\n{reason}", style="default")
    text.append(f"\nreport: {page}", style="dim")
    console.print(Panel(text, title="verdict", border_style=style, expand=False))


def _sessions(verdict: Verdict) -> Table:
    table = Table(title="Sessions in service", title_justify="left")
    table.add_column("gateway")
    table.add_column("before", justify="right")
    table.add_column("after", justify="right")
    for name, before in verdict.before.items():
        table.add_row(name, str(before), str(verdict.after.get(name, 0)))
    table.add_section()
    table.add_row("all", str(sum(verdict.before.values())), str(sum(verdict.after.values())))
    return table


def _outcomes(verdict: Verdict) -> Table:
    counts, spread = verdict.counts, verdict.without_service
    table = Table(title="Affected sessions, and their time without service", title_justify="left")
    for name in ("affected", "kept", "resumed", "re-handshaked", "lost"):
        table.add_column(name, justify="right")
    for name in ("p50", "p99", "max"):
        table.add_column(name, justify="right")
    times = [spread.p50_s, spread.p99_s, spread.max_s] if spread else [None] * 3
    numbers = (counts.affected, counts.kept, counts.resumed, counts.rehandshaked, counts.lost)
    table.add_row(*map(str, numbers), *map(_seconds, times))
    return table


def _noticed(verdict: Verdict) -> Table:
    table = Table(title="When it was noticed", title_justify="left")
    table.add_column("fault")
    table.add_column("by")
    table.add_column("suspected after", justify="right")
    table.add_column("declared dead after", justify="right")
    for row in verdict.noticed:
        table.add_row(row.fault, row.by, _seconds(row.suspected_s), _seconds(row.declared_dead_s))
    return table


def _promises(verdict: Verdict) -> Table:
    table = Table(title="Promises", title_justify="left")
    table.add_column("no.", justify="right")
    table.add_column("promise")
    table.add_column("state")
    table.add_column("what was put to the test")
    for promise in verdict.promises:
        state = Text(promise.state.value, style=STATES[promise.state])
        table.add_row(str(promise.number), promise.title, state, promise.tested)
    return table


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} s"
