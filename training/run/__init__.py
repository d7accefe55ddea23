"""One run of `training/train.py`: settings, loop, checkpoints, what is exported and published."""
