"""Drills as values: a drill file becomes a plan, recorded events become a verdict. No I/O in
here.
"""
