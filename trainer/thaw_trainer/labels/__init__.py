"""Kinds of labels that a row may have: how they are read, fitted on train, stored, learned and measured.

kind.py says what a kind is; single_label, multi_label and regression are one each; registry finds them by name.
"""
