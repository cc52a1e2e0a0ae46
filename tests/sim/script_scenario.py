"""Plays one scenario and prints its digest: `python -m tests.sim.script_scenario kill-one 1`.

Run by `test_scenarios` in processes of their own, under different hash seeds.
"""

import sys

from tests.sim.scenarios import run_seed

if __name__ == "__main__":
    print(run_seed(sys.argv[1], int(sys.argv[2])).digest)
