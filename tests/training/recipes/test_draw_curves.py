"""training/recipes/draw_curves.py: what each way reaches, against its seconds."""

import json

import pytest
from PIL import Image

from training.recipes.draw_curves import Curves, gather, main, read_methods


def figures(seconds: float, mse: float, identity: float) -> dict[str, float]:
    return {"mse": mse, "psnr": 1.0, "identity": identity, "seconds": seconds}


METHODS = {
    "mean_face": figures(0.0, 0.4, 0.0),
    "encoder": figures(0.1, 0.1, 0.3),
    "passes 2": figures(0.1, 0.1, 0.3),
    "passes 1": figures(0.05, 0.2, 0.2),
    "runs/other": figures(0.2, 0.15, 0.25),
    "refined 40": figures(4.0, 0.03, 0.6),
    "refined 10": figures(1.0, 0.05, 0.5),
    "w+ 100": figures(30.0, 0.02, 0.5),
    "w+ 100 from the encoder": figures(31.0, 0.01, 0.6),
}


def test_rows_are_gathered_by_their_way():
    ways = gather(METHODS)
    assert {way: [point.length for point in points] for way, points in ways.items()} == {
        "passes of the encoder": [1, 2],
        "runs/other": [0],
        "refinement of its answer": [10, 40],
        "search in W+": [100],
        "search in W+, from its answer": [100],
    }
    assert [point.figures["seconds"] for point in ways["refinement of its answer"]] == [1.0, 4.0]
    assert "encoder" in gather({"encoder": METHODS["encoder"]})


@pytest.mark.parametrize("left_out", [(), ("identity",)], ids=["with a recogniser", "without"])
def test_the_picture(tmp_path, left_out):
    methods = {way: {name: row[name] for name in row if name not in left_out} for way, row in METHODS.items()}
    report, output = tmp_path / "report.json", tmp_path / "curves.webp"
    report.write_text(json.dumps({"task": "inversion", "optimization": {"set": "faces", "count": 1, **methods}}))
    main(Curves(report, output))
    with Image.open(output) as picture:
        colours = picture.convert("RGB").quantize(64).getcolors()
        assert picture.width > 2 * picture.height and len(colours) > 20
    first = output.read_bytes()
    methods["refined 40"]["mse"] /= 2
    report.write_text(json.dumps({"optimization": methods}))
    main(Curves(report, output))
    assert output.read_bytes() != first


def test_a_report_that_compares_nothing_is_told(tmp_path):
    (tmp_path / "report.json").write_text(json.dumps({"task": "inversion", "faces": {"mse": 0.1}}))
    with pytest.raises(ValueError, match="compares nothing, expected a report of"):
        read_methods(tmp_path / "report.json")
