"""What a run leaves in its output folder.

Read in this order: folder (where things are), summary (what there is to tell), whole_file (files that are whole or not
there), writing (all outputs, in order), result (result.json), then what tells it to others: trial_table (a row for each
epoch), model_card (with markdown) and report. Of the report: report_view (what it shows), wording (in which words),
plots, search_plots and confusion_plot (on axes, drawn by svg), templates.
"""
