"""Trials that train nothing but the head, from the cache: several of them in each step.

Read in this order: kin (which trials may share a step), heads (the heads of several trials as one computation), group
(their epochs, kept until each trial's turn comes).
"""
