"""Every scenario by its name: `plays/kill_one.py` has the `SCENARIO` that is called `kill-one`."""

import importlib
import pkgutil

from tests.sim import plays
from tests.sim.scenario import Result, Scenario, run_scenario

__all__ = ["SCENARIOS", "Result", "Scenario", "run_scenario", "run_seed"]

SCENARIOS: dict[str, Scenario] = {
    found.name.replace("_", "-"): importlib.import_module(f"{plays.__name__}.{found.name}").SCENARIO
    for found in pkgutil.iter_modules(plays.__path__)
}


def run_seed(name: str, seed: int, *, keep: bool = False) -> Result:
    """Play scenario `name` with `seed`; `keep`: with every event of the trace as text."""
    return run_scenario(SCENARIOS[name], seed, keep=keep)
