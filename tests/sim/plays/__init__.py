"""What is played in the simulated world, a file each: `SCENARIO` is its size, its weather and its
play. A new file is a new scenario; nothing else names it.
"""
