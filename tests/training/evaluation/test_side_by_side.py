"""training/compare.py: systems side by side, their figures against naive ones, and what is written."""

import json
from itertools import combinations
from pathlib import Path

import pytest
import torch
from PIL import Image

from psp_hub import PSPModel
from training import compare as program
from training.evaluation.examples import PairExamples, SourceMaker
from training.evaluation.figures import translate
from training.evaluation.metric_networks import MetricNetworks
from training.evaluation.report import as_markdown
from training.evaluation.side_by_side import compare_systems, diversity
from training.evaluation.systems import FolderSystem, ModelSystem, check_complete
from training.networks.perceptual import PerceptualDistance
from training.settings.comparison import column_name
from training.voting.pairs import Study


@pytest.fixture(scope="module")
def answers_dir(faces_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An outside system: the mirror images of the faces, smaller and in another format."""
    folder = tmp_path_factory.mktemp("outside") / "mirror"
    folder.mkdir()
    for path in faces_dir.glob("*.*"):
        if path.suffix != ".txt":
            with Image.open(path) as image:
                image.resize((128, 128)).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / f"{path.stem}.webp")
    return folder


def words(*more: object) -> list[str]:
    return [*map(str, more)]


@pytest.mark.slow
def test_the_program(model_dir, answers_dir, faces_dir, alex_file, recogniser_file, tmp_path, capsys):
    """Both kinds of system on photos; what it writes is a study as it is."""
    given = ["--task", "sketch", "--models", model_dir, "--answers_dirs", answers_dir, "--faces_dir", faces_dir]
    given += [
        "--lpips_net",
        "alex",
        "--lpips_trunk",
        alex_file,
        "--recogniser",
        recogniser_file,
        "--frechet_net",
        "recogniser",
    ]
    given += ["--num_faces", 3, "--num_varied", 1, "--num_variations", 2, "--output_dir", tmp_path / "out"]
    program.main(program.parse_args(words(*given)))
    report = json.loads((tmp_path / "out/report.json").read_text())
    ours, theirs = (report["systems"][name] for name in (model_dir.name, "mirror"))
    assert report["count"] == 3 and list(report["systems"]) == [model_dir.name, "mirror"]
    assert (
        ours.keys()
        == theirs.keys()
        >= {*("mean_iou", "pixel_accuracy", "identity", "lpips", "frechet", "diversity", "seconds", "parameters")}
    )
    assert theirs["seconds"] is theirs["diversity"] is theirs["parameters"] is None
    assert ours["seconds"] > 0 and ours["diversity"] > 0 and isinstance(ours["parameters"], int)
    table = (tmp_path / "out/table.md").read_text()
    assert table in capsys.readouterr().out + "\n" and "| mirror | " in table and table.count(" - |") == 3
    with Image.open(tmp_path / "out/figure.png") as figure:
        assert figure.size == (4 * 256, 3 * 256 + 28)
    study = Study([tmp_path / "out/sketch"])
    assert len(study.pairs) == 3 and study.pairs[0].systems == tuple(sorted(("mirror", model_dir.name)))


def test_figures_against_a_loop(model_dir, pairs_dir, alex_file):
    model, distance = PSPModel.from_pretrained(model_dir), PerceptualDistance(alex_file, "alex")
    examples = PairExamples(pairs_dir, 2, SourceMaker(program.get_task("sketch"), 0))
    networks = MetricNetworks(distances={"perceptual": distance})
    found = compare_systems(
        {"ours": ModelSystem(model)}, "sketch", examples, networks, torch.device("cpu"), 1, 3, seed=5
    )
    outputs = [translate(model, example.input)[0] for example in examples]
    targets = [example.image for example in examples]
    assert torch.equal(found.pictures["ours"], torch.stack(outputs)) and found.names == examples.names
    with torch.no_grad():
        errors = [float(distance(a[None], b[None])) for a, b in zip(outputs, targets, strict=True)]
        varied = ModelSystem(model).variations(next(iter(examples)), 5, 3)
        spread = [float(distance(varied[[i]], varied[[j]])) for i, j in combinations(range(3), 2)]
        assert diversity(varied[:1].expand(3, -1, -1, -1), distance) == pytest.approx(0, abs=1e-6)
    assert varied.shape == (3, 3, 256, 256) and not torch.equal(varied[0], varied[1])
    assert found.figures["ours"]["perceptual"] == pytest.approx(sum(errors) / 2, rel=1e-4)
    assert found.figures["ours"]["diversity"] == pytest.approx(sum(spread) / 3, rel=1e-4)
    assert found.figures["ours"].keys() == {"perceptual", "diversity", "seconds", "parameters"}


def test_missing_answers_are_listed(answers_dir):
    with pytest.raises(ValueError, match="mirror lacks 2 of 3: g, below/a"):
        check_complete({"mirror": FolderSystem(answers_dir)}, ["a.png", "g.png", "below/a.jpg"])
    check_complete({"mirror": FolderSystem(answers_dir)}, ["a.png", "b.jpg"])


def test_settings_that_do_not_fit(model_dir, labels_dir, answers_dir, faces_dir, tmp_path, capsys):
    common = ["--task", "sketch", "--output_dir", tmp_path / "out"]
    for given, message in (
        (["--models", "sketch"], "expected --faces_dir or --pairs_dir"),
        (["--faces_dir", faces_dir], "nothing to compare"),
        (["--faces_dir", faces_dir, "--models", "a/same", "b/same"], "two are called same"),
        (["--faces_dir", faces_dir, "--answers_dirs", tmp_path / "none"], "no such folder"),
        (["--pairs_dir", faces_dir, "--models", "sketch", "--source_dir", faces_dir], "needs --faces_dir"),
    ):
        with pytest.raises(SystemExit):
            program.parse_args(words(*common, *given))
        assert message in " ".join(capsys.readouterr().err.split())
    settings = program.parse_args(words(*common, "--faces_dir", faces_dir, "--models", labels_dir))
    with pytest.raises(ValueError, match="takes labels of 19 channels, expected drawing of 1 for sketch"):
        program.main(settings)


def test_names_and_numbers():
    assert [column_name(name) for name in ("sketch", "runs/mine/model", "me/psp")] == ["sketch", "mine", "psp"]
    table = as_markdown({"a": {"frechet": 1.23456, "parameters": 1234567}, "b": {"frechet": None}})
    assert table.splitlines()[2:] == ["| a | 1.235 | 1,234,567 |", "| b | - | - |"]
