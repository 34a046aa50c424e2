"""One trial: the loop, and what it is made of.

Read in this order: trial (the loop), optimizer, learning_rate, distributed, evaluation, checkpoint, randomness.
"""
