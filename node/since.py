"""For how long each of several things has held, for a member's lines in `status`."""

from collections.abc import Iterable, Iterator

from cluster.seams import Clock


class Since:
    """See the module. Told at every look what holds, not only when somebody asks for how long."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began_boot_s: dict[str, float] = {}

    def note(self, holding: Iterable[str]) -> None:
        """These hold now, and no others."""
        now_s, before = self._clock.boot_s(), self._began_boot_s
        self._began_boot_s = {name: before.get(name, now_s) for name in holding}

    def items(self) -> Iterator[tuple[str, float]]:
        """What held when that was last noted, in that order, and for how long until now."""
        now_s = self._clock.boot_s()
        for name, began_s in self._began_boot_s.items():
            yield name, now_s - began_s
