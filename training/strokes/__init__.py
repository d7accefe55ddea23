"""Drawings as untrained people make them, written as strokes: from what is known of a face, not from its pixels.

`facts` says where the parts of a face are, `hand` how somebody draws a line, `features`, `hair` and `wear` which
symbols stand for which part, `page` brings the strokes to paper, and `writing` puts them together.
"""

from training.strokes.facts import ATTRIBUTES, Face, Facts
from training.strokes.writing import write_drawing

__all__ = ["ATTRIBUTES", "Face", "Facts", "write_drawing"]
