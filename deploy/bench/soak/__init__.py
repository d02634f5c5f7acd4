"""A seeded soak: requests beside random loads, unloads, pins and sessions, checked throughout.

asking.py      the requests; every answer is compared, every refusal must be a clear one
acting.py      what an operator does meanwhile, and since when what is pinned
checks.py      what must hold, from the event log and the residency: pure functions
run.py         all of it together
"""
