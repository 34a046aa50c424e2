"""The whole behaviour of the operator, without I/O: what is observed, and the time, to what is wanted.

Read `decide.py` first. `outcome.py` says how an attempt ended and whose error that was, `standing.py` what a phase
means in conditions, `status.py` turns both into the status, `obstacles.py` finds what keeps an attempt from starting.
"""
