"""`thaw models`: what to start from, without torch and without reading any model.

Read in this order: shape (a model as counts), catalogue (models of the hub), work (what is trained on what), cost (work
and memory of a model), device (what a machine computes), manifest (a job as work), proposals (all of it together).
"""
