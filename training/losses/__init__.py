"""Losses, one small module each."""

from training.losses.w_error import WError

__all__ = ["WError"]
