"""What can go wrong in a storm: each fault is a function that does it and undoes it in its time.

Rules: a file of this folder has `FAULTS`, and, if need be, a `calm(world)` that undoes what its
faults have left when the storm ends in the midst of them. A fault chooses by `storm.random` alone.
The function's name is what a trace calls it.
"""

import importlib
import pkgutil
from collections.abc import Callable, Coroutine

from tests.sim.storm import Storm
from tests.sim.world import World

Fault = Callable[[Storm], Coroutine[object, object, None]]

_FILES = [
    importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)
]

FAULTS: tuple[Fault, ...] = tuple(fault for file in _FILES for fault in file.FAULTS)


def calm(world: World) -> None:
    """Undo whatever a fault has left."""
    for file in _FILES:
        if hasattr(file, "calm"):
            file.calm(world)
