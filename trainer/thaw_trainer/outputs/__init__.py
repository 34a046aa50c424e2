"""What a run leaves in its output folder.

Read in this order: folder (where things are), summary (what there is to tell), result (result.json), then trial_table,
model_card and report, which tell it to others.
"""
