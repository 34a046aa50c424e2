"""Slots: gangs of workers that live for the whole search and take trial after trial.

Read in this order: assignment (what a gang is given), exchange (who holds what: leases, lock-step), gang (the worker's
side), worker (the gang's processes), launch (Ray Train runs that hold the gangs).
"""
