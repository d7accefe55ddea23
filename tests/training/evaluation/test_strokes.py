"""training.evaluation.strokes: drawings kept as strokes, and the forty of tests/untrained_drawings.json."""

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from training.evaluation.strokes import ATTRIBUTES, StrokeDrawing, read_drawings, smooth

UNTRAINED = Path(__file__).parents[2] / "untrained_drawings.json"
LINE = {"name": "line", "hand": "mouse", "says": ["bald"], "page": [60, 40], "strokes": [[4, 10, 20, 50, 20]]}


def drawing(**changes) -> StrokeDrawing:
    return StrokeDrawing(**{"name": "a", "hand": "mouse", "says": ("hat",), "page": (60, 40)} | changes)


def test_a_stroke_is_as_wide_and_long_as_it_says():
    page = np.asarray(drawing(strokes=((4, 10, 20, 50, 20),), ink=10, paper=250).render())
    assert page.shape == (40, 60)
    assert page[19:22, 12:48].max() == 10 and page[:18].min() == 250 and page[23:].min() == 250
    assert (page[20] < 130).sum() == pytest.approx(44, abs=1)  # 40, and half a width at both ends


def test_ruled_paper():
    page = np.asarray(drawing(page=(80, 120), strokes=((2, 5, 5, 9, 9),), lined=True).render())
    assert [int(y) for y in np.nonzero(page[:, 60] < 230)[0]] == [64, 96]


def test_a_corner_becomes_round_and_the_ends_stay():
    curve = smooth([0, 0, 10, 0, 10, 10])
    assert curve[0] == (0, 0) and curve[-1] == (10, 10) and (10, 5) in curve
    assert all(point != (10, 0) for point in curve)
    assert smooth([0, 0, 7, 3]) == [(0, 0), (7, 3)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"says": []}, "line says nothing, expected some of glasses, bald"),
        ({"says": ["bald", "elf"]}, "line says ['elf'], expected some of"),
        ({"says": ["bald", "long hair"]}, "line says bald and long hair, expected one of them"),
        ({"strokes": [[4, 10, 20]]}, "line: a stroke is [width, x, y, x, y, ...]"),
        ({"strokes": []}, "line: a stroke is [width, x, y, x, y, ...]"),
        ({"colour": 3}, "is not a file of drawings"),
        ({"page": [9]}, "line has a page of (9,), expected (width, height)"),
        ({"strokes": 3}, "is not a file of drawings"),
    ],
)
def test_bad_files(tmp_path, changes, message):
    path = tmp_path / "drawings.json"
    path.write_text(json.dumps([LINE | changes]))
    with pytest.raises(ValueError, match=re.escape(message)):
        read_drawings(path)


def test_names_are_told_apart(tmp_path):
    path = tmp_path / "drawings.json"
    path.write_text(json.dumps([LINE, LINE]))
    with pytest.raises(ValueError, match="each with a name of its own"):
        read_drawings(path)
    with pytest.raises(ValueError, match="nowhere.json is not a file of drawings"):
        read_drawings(tmp_path / "nowhere.json")


def test_the_forty_say_everything_often_enough_and_in_many_ways():
    drawings = read_drawings(UNTRAINED)
    assert len(drawings) == 40
    said = Counter(name for one in drawings for name in one.says)
    assert set(said) == set(ATTRIBUTES) and min(said.values()) >= 6
    assert min(said[name] for name in ("glasses", "bald", "long hair", "hat", "beard")) >= 8
    assert len({frozenset(one.says) for one in drawings}) > 30
    assert {one.hand for one in drawings} == {"mouse", "finger", "pencil"}
    for one in drawings:
        ink = (np.asarray(one.render()) < one.paper - 60).mean()
        assert 0.004 < ink < 0.2, one.name
