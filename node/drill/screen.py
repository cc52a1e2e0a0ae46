"""What a drill shows while it runs: lines that stay, and on a terminal a picture that moves below.

Rules: nothing is decided here. Where output isn't a terminal only the lines are printed, so that a
log of it reads well.
"""

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cluster.drill.events import Event
from node.drill.recorder import Recorder

REFRESH_PER_S = 8
BAR_WIDTH = 44
COLOURS = ("blue", "dark_orange3", "green", "magenta", "cyan", "yellow")

NOTABLE = {
    "suspected": "suspects {member}",
    "unsuspected": "hears {member} again",
    "declared_dead": "declares {member} dead",
    "member_joined": "sees {member} join",
    "stopped": "has stopped in order",
    "ring_installed": "has installed ring revision {revision}",
}
"""Gateways' events that are worth a line once the first fault has come."""


class Screen:
    """Lines and the live picture."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._origin_t: float | None = None
        self.phase = ""
        self.goal = 0
        """What the upper bar counts up to; 0: no bar."""
        self.done = 0
        self.unit = ""

    def __enter__(self) -> "Screen":
        if self._console.is_terminal:
            self._live = Live(
                console=self._console, refresh_per_second=REFRESH_PER_S, transient=True
            )
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def line(self, text: str, style: str = "") -> None:
        """A line that stays."""
        self._console.print(
            text, style=style or None, highlight=False, markup=False, soft_wrap=True
        )

    def begin(self, phase: str, goal: int = 0, unit: str = "") -> None:
        """A new part of the drill, counted up to `goal`."""
        self.phase, self.goal, self.done, self.unit = phase, goal, 0, unit
        self.line(f"• {phase}")

    def fault(self, t: float, what: str) -> None:
        """A fault was carried out; the first one starts the stopwatch."""
        if self._origin_t is None:
            self._origin_t = t
        self.line(f"  {t - self._origin_t:+7.2f} s  {what}", style="bold red")

    def events(self, events: list[Event]) -> None:
        """Lines for what is worth one."""
        if self._origin_t is None:
            return
        for event in events:
            if event.kind in NOTABLE:
                said = NOTABLE[event.kind].format(member=event.member, revision=event.revision)
                self.line(f"  {event.t - self._origin_t:+7.2f} s  {event.who} {said}")

    def draw(self, recorder: Recorder, down: set[str], clients: int) -> None:
        """The picture as things stand; `down`: gateways that a fault took away."""
        if self._live is not None:
            self._live.update(self._picture(recorder, down, clients))

    def _picture(self, recorder: Recorder, down: set[str], clients: int) -> RenderableType:
        rows: list[RenderableType] = [Text(self.phase, style="bold")]
        table = Table.grid(padding=(0, 2))
        if self.goal:
            bar = ProgressBar(total=self.goal, completed=self.done, width=BAR_WIDTH)
            table.add_row(self.unit, bar, f"{self.done}/{self.goal}")
        for number, (name, sessions) in enumerate(recorder.per_gateway().items()):
            colour = COLOURS[number % len(COLOURS)]
            filled = round(BAR_WIDTH * sessions / max(clients, 1))
            held = Text("█" * filled, style="red" if name in down else colour)
            state = "down" if name in down else f"{recorder.gateways[name].shards} shards"
            table.add_row(name, held, f"{sessions} sessions, {state}")
        rows.append(table)
        return Group(*rows)
