"""`data.clean`: what is done to the rows of all sources before they are split.

Read in this order: frames (the rows of a job's sources, and what a step says of them), condition, values, texts,
minhash, duplicates (the steps, by what they are about), run (one after the other, counted).
"""
