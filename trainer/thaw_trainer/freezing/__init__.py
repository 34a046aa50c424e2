"""Freezing: which tensors are trained when.

Read in this order: layout (the model as stem < blocks < head), selectors (names for sets of tensors), presets
(schedules by name), rates and rotation (inside a phase), schedule (all of it resolved to phases), triggers and progress
(when a phase ends), switch (a phase put into effect on a module).
"""
