"""Rows: read once, split, prepared into a memory-mapped store, and put into batches.

Read in this order: tables, splitting, store, batches, dealing.
"""
