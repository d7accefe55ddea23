"""The systems that the paper compares pSp with, small and from their papers' equations.

`training/train_baseline.py` is the program. They translate pictures directly: no pretrained generator, no styles.
"""
