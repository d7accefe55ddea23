"""A blind study: pairs of answers, a page that asks which is better, votes, and what they say.

`training/study.py` is the program.
"""
