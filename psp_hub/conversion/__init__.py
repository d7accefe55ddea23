"""Checkpoints of other projects become models of this one."""

from psp_hub.conversion.converter import Conversion, convert

__all__ = ["Conversion", "convert"]
