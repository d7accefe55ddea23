"""Measuring a model: what on, with which networks, against what; `training/evaluate.py` is the program."""
