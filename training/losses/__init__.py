"""Losses, one small module each, and their weighted sum."""

from training.losses.build import build_losses
from training.losses.total import Drawing, LossNetworks, TrainingLosses
from training.losses.w_error import WError

__all__ = ["Drawing", "LossNetworks", "TrainingLosses", "WError", "build_losses"]
