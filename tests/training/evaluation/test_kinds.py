"""training.evaluation.kinds: figures of drawings by artists and by untrained hands."""

import csv
import json

import pytest
import torch
from PIL import Image

from psp_hub import PSPModel
from psp_hub.images.preprocessing import prepare_tensor
from training.evaluate import main, parse_args
from training.evaluation.attributes import AttributeReader
from training.evaluation.baselines import at_256
from training.evaluation.kinds import agreement
from training.evaluation.strokes import ATTRIBUTES, read_drawings

LINES = [[4, 60, 40, 60, 200], [6, 60, 40, 190, 60, 190, 210], [3, 90, 150, 150, 150]]


@pytest.fixture
def drawings_file(tmp_path):
    """Two drawings, which say all that can be said at once."""
    path = tmp_path / "drawings.json"
    says = (["bald", "man", "glasses", "smile"], ["woman", "long hair", "hat", "beard", "moustache", "open mouth"])
    rows = [
        {"name": name, "hand": "mouse", "says": said, "page": [256, 256], "strokes": LINES[: 2 + i]}
        for i, (name, said) in enumerate(zip(("first", "second"), says, strict=True))
    ]
    path.write_text(json.dumps(rows))
    return path


def read_csv(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@torch.no_grad()
def test_untrained_drawings(model_dir, drawings_file, tmp_path):
    """The report counts what the reader sees in the answers."""
    model, reader = PSPModel.from_pretrained(model_dir), AttributeReader.from_file()
    drawings = read_drawings(drawings_file)
    answers = [at_256(model(prepare_tensor(drawing.render(), "drawing")).images) for drawing in drawings]
    first, second = (reader.read(answer)[0] for answer in answers)
    options = [str(model_dir), "--untrained_drawings", str(drawings_file), "--output_dir", str(tmp_path / "report")]
    report = main(parse_args(options))["untrained"]
    hits = [first[name] for name in drawings[0].says] + [second[name] for name in drawings[1].says]
    assert report["count"] == 2 and report["said"] == 10 and report["found"] == sum(hits) / 10
    assert list(report["by_attribute"]) == list(ATTRIBUTES)
    for name, seen, other in (("man", first, second), ("hat", second, first)):
        assert report["by_attribute"][name] == {"count": 1, "found": seen[name], "elsewhere": other[name]}
    assert report["by_attribute"]["short hair"]["found"] is None
    rows = read_csv(tmp_path / "report" / "untrained.csv")
    assert [row["drawing"] for row in rows] == ["first", "second"] and rows[1]["hat"] == str(second["hat"])
    assert rows[0]["hat"] == "" and rows[0]["also_seen"] == ", ".join(
        name for name in ATTRIBUTES if first[name] and name not in drawings[0].says
    )
    assert Image.open(tmp_path / "report" / "untrained.png").size == (2 * 256, 2 * 256)


@pytest.mark.slow
@torch.no_grad()
def test_drawings_by_artists(model_dir, artists_dir, recogniser_file, tmp_path):
    options = ["--drawings_dir", str(artists_dir), "--recogniser", str(recogniser_file)]
    report = main(parse_args([str(model_dir), *options, "--output_dir", str(tmp_path)]))["artists"]
    assert report["count"] == 2 and {"identity_matched", "identity_shuffled", "rank_1", "seconds"} <= report.keys()
    model, reader = PSPModel.from_pretrained(model_dir), AttributeReader.from_file()
    right = {"gender": [], "smile": []}
    for name in ("1-0009", "2-0019"):  # both are women who do not smile
        sketch = Image.open(artists_dir / "sketches" / f"{name}.png")
        (seen,) = reader.read(at_256(model(prepare_tensor(sketch, "drawing")).images))
        right["gender"].append(seen["woman"])
        right["smile"].append(not seen["smile"])
    for figure, values in right.items():
        assert report[figure]["agreement"] == sum(values) / 2 and 0 <= report[figure]["of_the_photos"] <= 1
    assert report["glasses"].keys() == {"count", "found", "elsewhere"}
    rows = read_csv(tmp_path / "artists.csv")
    assert [row["picture"] for row in rows] == ["1-0009", "2-0019"]
    assert [row["gender"] for row in rows] == [str(one) for one in right["gender"]]
    assert Image.open(tmp_path / "artists.png").size == (2 * 256, 3 * 256)


def test_a_share_of_nothing_is_none():
    seen = [{"hat": True}, {"hat": False}, {"hat": True}]
    assert agreement("hat", [{"hat": True}] * 2 + [{"hat": False}], seen) == {
        "count": 2,
        "found": 0.5,
        "elsewhere": 1.0,
    }
    assert agreement("hat", [{"hat": False}] * 3, seen)["found"] is None


def test_a_folder_without_drawings_that_measure(model_dir, artists_dir, tmp_path):
    for part in ("sketches", "photos"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "1-0001.png").symlink_to(artists_dir / part / "1-0001.png")
    (tmp_path / "attributes.jsonl").write_text((artists_dir / "attributes.jsonl").read_text())
    options = ["--drawings_dir", str(tmp_path), "--output_dir", str(tmp_path / "report")]
    with pytest.raises(ValueError, match="no drawings to measure on: none of the names ends in 9"):
        main(parse_args([str(model_dir), *options]))


def test_drawings_by_hand_are_for_sketch(labels_dir, drawings_file, tmp_path):
    options = ["--untrained_drawings", str(drawings_file), "--output_dir", str(tmp_path / "report")]
    with pytest.raises(
        ValueError, match="--drawings_dir and --untrained_drawings are for the task sketch, this is segmentation"
    ):
        main(parse_args([str(labels_dir), *options]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--drawings_dir", "nowhere"], "no such folder: nowhere"),
        (["--untrained_drawings", "x.json", "--refinement_steps", "3"], "are compared on DATA"),
    ],
)
def test_bad_commands(tmp_path, capsys, options, message):
    with pytest.raises(SystemExit):
        parse_args(["sketch", *options, "--output_dir", str(tmp_path)])
    assert message in capsys.readouterr().err
