"""Drills for real: processes, faults, progress on the terminal, and the report left behind."""
