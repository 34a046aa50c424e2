"""One trial: the loop, and what it is made of.

Read in this order: trial (the loop), stage (a phase or a turn put into effect), optimizer, learning_rate, distributed,
sharding, evaluation, checkpoint, randomness.
"""
