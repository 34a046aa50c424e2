"""The prefix cache: what lies below the lowest trained tensor is computed once for each row, and replayed.

Read in this order: cut (which modules a boundary leaves out), structure (what a module returns, as data), capture (run
the model up to a boundary), replay (the model's own forward with stand-ins below it), proof (replay equals computing),
entry (the recorded rows on disk), shelf (the folder of entries: locks, budget, eviction), survey (what an entry would
be), worth (whether it pays), fill (recording, by all processes together), stock (all of that for one trial), cache
(what a trial uses).
"""
