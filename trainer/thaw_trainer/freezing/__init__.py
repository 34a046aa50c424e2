"""Freezing: which tensors are trained when.

Read in this order: layout (the model as stem < blocks < head), selectors (names for sets of tensors), schedule (presets
and phases), progress (when a phase ends), switch (a phase put into effect on a module).
"""
