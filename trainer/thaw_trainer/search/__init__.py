"""The search: what to try next, when to give a trial up, and a journal that survives any crash.

Read in this order: journal (the truth on disk), points (values to try), stopping (rungs), ranking (which is best),
ledger (the decisions), tuning (Ray Tune's adapters).
"""
