"""psp_hub.cli.main: what `psp-hub translate` reads, writes and prints, and its exit codes."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants
from PIL import Image, ImageDraw

from psp_hub import PSPConfig, PSPModel, model_names
from psp_hub.cli import main as main_module
from psp_hub.cli.main import main
from psp_hub.generators.fetch import ENVIRONMENT_VARIABLE
from psp_hub.images.preprocessing import tensor_to_images


@pytest.fixture
def run(model_dir, psp_hub):
    """Function of what is typed after `translate`: exit code, stdout, stderr. With the tiny model."""

    def call(*typed, model=("--model", model_dir)) -> tuple[int, str, str]:
        return psp_hub("translate", *typed, *model)

    return call


@pytest.fixture
def model(model_dir) -> PSPModel:
    return PSPModel.from_pretrained(model_dir)


def draw(path: Path, radius: int) -> Path:
    image = Image.new("L", (100, 100), 255)
    ImageDraw.Draw(image).ellipse((50 - radius, 50 - radius, 50 + radius, 50 + radius), outline=0, width=3)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


@pytest.fixture
def drawing(tmp_path) -> Path:
    return draw(tmp_path / "drawing.png", radius=35)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three drawings, and what is none."""
    folder = tmp_path / "drawings"
    for name, radius in {"b.JPG": 20, "a.png": 30, "c.d.webp": 40}.items():
        draw(folder / name, radius)
    draw(folder / "below" / "e.png", radius=25)
    draw(folder / ".hidden.png", radius=25)
    (folder / "folder.png").mkdir()
    (folder / "notes.txt").write_text("no picture")
    return folder


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# One picture


def test_a_picture_becomes_a_face(run, model, drawing, tmp_path):
    target = tmp_path / "face.png"
    assert run(drawing, "-o", target) == (0, f"{drawing} -> {target}\n", "")
    assert Image.open(target).format == "PNG"
    assert np.array_equal(pixels(target), np.asarray(model(Image.open(drawing)).images[0]))


def test_output_folder_takes_the_inputs_name(run, drawing, tmp_path):
    (tmp_path / "faces").mkdir()
    assert run(drawing, "--output", tmp_path / "faces")[0] == 0
    assert files(tmp_path / "faces") == ["drawing.png"]


def test_missing_folders_are_made(run, drawing, tmp_path):
    assert run(drawing, "-o", tmp_path / "new" / "one" / "FACE.PNG")[0] == 0
    assert files(tmp_path / "new") == ["one", "one/FACE.PNG"]


def test_an_older_output_is_replaced(run, drawing, tmp_path):
    target = draw(tmp_path / "face.png", radius=10)
    assert run(drawing, "-o", target)[0] == 0
    assert pixels(target).shape == (64, 64, 3)


def test_without_a_seed_it_is_the_encoders_answer_every_time(run, drawing, tmp_path):
    for name in ("a.png", "b.png"):
        run(drawing, "-o", tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("strength", [1, 0.5])
def test_a_seed_draws_the_styles_that_the_task_leaves_open(run, model, drawing, tmp_path, strength):
    strength_option = [] if strength == 1 else ["--strength", strength]
    assert run(drawing, "-o", tmp_path / "face.png", "--seed", 7, *strength_option)[0] == 0
    ws = model.mix(model.encode(Image.open(drawing)), seed=7, groups=("fine",), strength=strength)
    expected = np.asarray(tensor_to_images(model.decode(ws))[0])
    assert np.array_equal(pixels(tmp_path / "face.png"), expected)
    assert not np.array_equal(expected, np.asarray(model(Image.open(drawing)).images[0]))


def test_a_seed_without_strength_changes_nothing(run, drawing, tmp_path):
    run(drawing, "-o", tmp_path / "plain.png")
    run(drawing, "-o", tmp_path / "seed.png", "--seed", 7, "--strength", 0)
    assert np.array_equal(pixels(tmp_path / "seed.png"), pixels(tmp_path / "plain.png"))


def test_variations_are_those_of_the_following_seeds(run, drawing, tmp_path):
    code, out, _ = run(drawing, "-o", tmp_path / "faces" / "x.png", "--seed", 4, "--variations", 3)
    assert code == 0
    assert files(tmp_path / "faces") == ["x-0.png", "x-1.png", "x-2.png"]
    assert [line.split("/")[-1] for line in out.splitlines()] == ["x-0.png", "x-1.png", "x-2.png"]
    for i in range(3):
        run(drawing, "-o", tmp_path / "one.png", "--seed", 4 + i)
        assert np.array_equal(pixels(tmp_path / "one.png"), pixels(tmp_path / "faces" / f"x-{i}.png"))


def test_truncation_0_is_the_mean_face(run, model, drawing, tmp_path):
    run(drawing, "-o", tmp_path / "face.png", "--truncation-psi", 0)
    mean = tensor_to_images(model.decode(model.generator.w_avg.expand(1, 8, 32)))[0]
    assert np.array_equal(pixels(tmp_path / "face.png"), np.asarray(mean))


@pytest.mark.parametrize("options", [(), ("--task", "sketch"), ("--model", "sketch")])
def test_the_starter_of_the_task_is_the_default(run, model_dir, drawing, tmp_path, monkeypatch, options):
    shutil.copytree(model_dir, tmp_path / "starters" / "sketch")
    monkeypatch.setattr(model_names, "STARTERS", tmp_path / "starters")
    assert run(drawing, "-o", tmp_path / "starter.png", model=options)[0] == 0
    assert run(drawing, "-o", tmp_path / "model.png")[0] == 0
    assert np.array_equal(pixels(tmp_path / "starter.png"), pixels(tmp_path / "model.png"))


# Folders


def test_a_link_to_nothing_fails_and_does_not_stop_the_others(run, folder, tmp_path):
    (folder / "gone.png").symlink_to(tmp_path / "nowhere.png")
    code, out, err = run(folder, "-o", tmp_path / "faces")
    assert code == 1 and "There is no file gone.png" in err and "1 of 4 pictures failed" in err
    assert files(tmp_path / "faces") == ["a.png", "b.png", "c.d.png"]


def test_a_folder_becomes_a_folder(run, model, folder, tmp_path):
    target = tmp_path / "new" / "faces"
    code, out, err = run(folder, "-o", target)
    assert (code, err) == (0, "")
    assert files(target) == ["a.png", "b.png", "c.d.png"]
    inputs = {"a.png": "a.png", "b.JPG": "b.png", "c.d.webp": "c.d.png"}  # in this order
    assert out == "".join(f"{folder / source} -> {target / face}\n" for source, face in inputs.items())
    for source, face in inputs.items():
        assert np.array_equal(pixels(target / face), np.asarray(model(Image.open(folder / source)).images[0]))


def test_variations_of_a_folder(run, folder, tmp_path):
    assert run(folder, "-o", tmp_path / "faces", "--seed", 0, "--variations", 2)[0] == 0
    assert files(tmp_path / "faces") == [f"{stem}-{i}.png" for stem in ("a", "b", "c.d") for i in range(2)]


def test_one_bad_picture_does_not_stop_the_others(run, folder, tmp_path):
    (folder / "b.JPG").write_bytes(b"not a picture")
    Image.new("L", (50, 50), 255).save(folder / "empty.png")
    code, out, err = run(folder, "-o", tmp_path / "faces")
    assert code == 1
    assert files(tmp_path / "faces") == ["a.png", "c.d.png"]
    bad, empty, summary = err.splitlines()
    assert bad.startswith(f"{folder / 'b.JPG'}: ") and "not a picture" in bad
    assert empty.startswith(f"{folder / 'empty.png'}: ") and "empty" in empty
    assert summary == "psp-hub: 2 of 4 pictures failed"
    assert len(out.splitlines()) == 2


def test_an_output_that_cannot_be_written_does_not_stop_the_others(run, folder, tmp_path):
    (tmp_path / "faces" / "a.png").mkdir(parents=True)
    code, out, err = run(folder, "-o", tmp_path / "faces")
    assert code == 1
    assert f"{folder / 'a.png'}: " in err
    assert files(tmp_path / "faces") == ["a.png", "b.png", "c.d.png"]  # and nothing half-written


def test_names_that_no_terminal_can_show(run, tmp_path):
    folder = tmp_path / "in"
    draw(folder / "x.png", 30).rename(folder / os.fsdecode(b"\xff.png"))
    (folder / os.fsdecode(b"\xfe.png")).write_bytes(b"")
    code, out, err = run(folder, "-o", tmp_path / "out")
    assert code == 1
    assert os.listdir(os.fsencode(tmp_path / "out")) == [b"\xff.png"]
    assert len(out.splitlines()) == 1
    assert "is empty" in err


# Refused before any work


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["missing.png", "-o", "face.png"], "there is no file or folder missing.png"),
        (["drawing.png"], "required: -o/--output"),
        (["drawing.png", "-o", "face.jpg"], "the output is face.jpg, expected a name that ends in .png"),
        (["drawing.png", "-o", "faces"], "the output is faces, expected a name that ends in .png"),
        (["drawing.png", "-o", "drawing.png"], "drawing.png is an input"),
        (["drawing.png", "-o", "."], "drawing.png is an input"),
        (["drawing.png", "-o", "drawings/../drawing.png"], "is an input"),
        (["drawing.png", "-o", "link.png"], "link.png is an input"),
        (["drawings", "-o", "drawings"], "drawings/a.png is an input"),
        (["drawings", "-o", "notes"], "the output notes is a file, expected a folder"),
        (["nothing", "-o", "faces"], "there are no pictures in the folder nothing"),
        (["twins", "-o", "faces"], "twins/a.jpg and twins/a.png would both become faces/a.png"),
        (["cases", "-o", "faces"], "cases/A.png and cases/a.jpg would both become faces/a.png"),
        (["drawing.png", "-o", "face.png", "--variations", "2"], "need a --seed"),
        (["drawing.png", "-o", "face.png", "--strength", "0.5"], "need a --seed"),
        (["drawing.png", "-o", "face.png", "--seed", "-1"], "got -1, expected 0 to 4294967295"),
        (["drawing.png", "-o", "face.png", "--seed", "1.5"], "invalid int value: '1.5'"),
        (["drawing.png", "-o", "face.png", "--seed", "4294967296"], "got 4294967296, expected 0 to"),
        (["drawing.png", "-o", "face.png", "--seed", "0", "--strength", "2"], "got 2, expected 0 to 1"),
        (["drawing.png", "-o", "face.png", "--seed", "0", "--strength", "nan"], "got nan, expected 0 to 1"),
        (["drawing.png", "-o", "face.png", "--seed", "0", "--variations", "0"], "got 0, expected 1 to"),
        (["drawing.png", "-o", "face.png", "--truncation-psi", "inf"], "got inf, expected 0 to 2"),
        (["drawing.png", "-o", "face.png", "--task", "sketch"], "not allowed with argument"),
    ],
)
def test_what_cannot_be_done_is_refused(run, folder, drawing, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    Path("link.png").symlink_to("drawing.png")
    Path("notes").write_text("")
    Path("nothing").mkdir()
    draw(Path("nothing/below/a.png"), 30)
    for name in ("twins/a.jpg", "twins/a.png", "cases/A.png", "cases/a.jpg"):
        draw(Path(name), 30)
    before = {path: path.read_bytes() for path in Path(".").rglob("*") if path.is_file()}
    code, out, err = run(*options)
    assert (code, out) == (2, "")
    assert message in err
    assert {path: path.read_bytes() for path in Path(".").rglob("*") if path.is_file()} == before
    assert not Path("faces").exists()


def test_no_command_is_refused(capsys):
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--task", "hair"), "invalid choice: 'hair'"),
        (("--task", "ageing"), "choose from"),
        (
            ("--model", "missing"),
            "missing is not a saved model: expected a saved folder, owner/name on the Hub, or one",
        ),
        (("--model", "psp_sketch.pt"), "a checkpoint; make a model of it first: psp-hub convert psp_sketch.pt psp_sk"),
        (("--model", "runs/net.PKL"), "psp-hub convert runs/net.PKL net"),
    ],
)
def test_an_unknown_model_is_refused(run, drawing, tmp_path, options, message):
    code, _, err = run(drawing, "-o", tmp_path / "new" / "face.png", model=options)
    assert code == 2
    assert message in err
    assert not (tmp_path / "new").exists()


def test_a_seed_draws_the_fine_styles_for_a_task_of_your_own(run, model, model_dir, drawing, tmp_path):
    own = tmp_path / "model"
    shutil.copytree(model_dir, own)
    PSPConfig("mine").save(own)
    assert run(drawing, "-o", tmp_path / "face.png", "--seed", 0, model=("--model", own))[0] == 0
    ws = model.mix(model.encode(Image.open(drawing)), seed=0, groups=["fine"])
    assert np.array_equal(pixels(tmp_path / "face.png"), np.asarray(tensor_to_images(model.decode(ws))[0]))


# What fails on the way


def test_an_output_folder_that_cannot_be_made(run, drawing, tmp_path):
    (tmp_path / "file").write_text("")
    code, out, err = run(drawing, "-o", tmp_path / "file" / "face.png")
    assert (code, out) == (1, "")
    assert err.startswith("psp-hub: error: ") and "file" in err


def test_a_full_disk_leaves_the_older_output_and_nothing_else(run, drawing, tmp_path, monkeypatch):
    target = draw(tmp_path / "out" / "face.png", radius=10)
    before = target.read_bytes()

    def half_a_picture(image, file, format, **options):
        Path(file).write_bytes(b"\x89PNG")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", half_a_picture)
    code, out, err = run(drawing, "-o", target)
    assert (code, out) == (1, "")
    assert "No space left on device" in err
    assert files(tmp_path / "out") == ["face.png"]
    assert target.read_bytes() == before


def test_a_generator_out_of_reach(run, model_dir, drawing, tmp_path, monkeypatch, only_links):
    own = tmp_path / "model"
    shutil.copytree(model_dir, own)
    (own / "config.json").write_text(json.dumps({"task": "sketch", "base_generator": "mobilestylegan-ffhq"}))
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(tmp_path / "assets"))
    for name, value in only_links(tmp_path).items():
        monkeypatch.setenv(name, value)
    code, out, err = run(drawing, "-o", tmp_path / "face.png", model=("--model", own))
    assert (code, out) == (1, "")
    assert "psp-hub: error: The face generator could not be downloaded" in err


# The command itself


def test_the_command_is_program():
    (entry,) = importlib.metadata.entry_points(group="console_scripts", name="psp-hub")
    assert entry.load() is main_module.program


def test_label_maps(run, labels_dir, tmp_path):
    """Two files of one map, in two orders and with palettes that tell nothing, give the same face."""
    labels = np.zeros((64, 64), np.uint8)
    labels[8:, 16:48], labels[4:24, 16:48] = 1, 13  # skin and hair
    numbers = np.array([0, 1, *[0] * 11, 17], np.uint8)[labels]  # as face-parsing.PyTorch has them
    for name, values in (("official", labels), ("other", numbers)):
        image = Image.fromarray(values)
        image.putpalette([value for i in range(256) for value in (i, i, i)])
        image.save(tmp_path / f"{name}.png")
    model = ("--model", labels_dir)
    for name, order in (("official", ()), ("other", ("--label-order", "face-parsing"))):
        code, _, err = run(tmp_path / f"{name}.png", "-o", tmp_path / f"{name}-face.png", *order, model=model)
        assert (code, err) == (0, "")
    assert (tmp_path / "official-face.png").read_bytes() == (tmp_path / "other-face.png").read_bytes()


def test_label_order_without_label_maps(run, drawing, tmp_path):
    code, _, err = run(drawing, "-o", tmp_path / "face.png", "--label-order", "face-parsing")
    assert code == 2 and "--label-order is for label maps, but sketch takes pictures of the kind drawing" in err


@pytest.mark.parametrize("command", [[], ["translate"]])
def test_help(capsys, command):
    with pytest.raises(SystemExit) as caught:
        main([*command, "--help"])
    assert caught.value.code == 0
    assert "translate" in capsys.readouterr().out


def program(*words: str | Path, stdout=subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    """`psp-hub`, as it is installed."""
    code = "from psp_hub.cli.main import program; program()"
    return subprocess.run([sys.executable, "-c", code, *words], stdout=stdout, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_the_program_ends_with_all_that_it_has_said(tmp_path, drawing, model_dir):
    """It leaves without Python's clearing up: nothing may be lost by that."""
    words = ("translate", drawing, "-o", tmp_path / "face.png", "--model", model_dir)
    done = program(*words)
    assert done.returncode == 0 and done.stdout == f"{drawing} -> {tmp_path / 'face.png'}\n"
    Image.open(tmp_path / "face.png").load()
    refused = program("translate", tmp_path / "none.png", "-o", tmp_path / "other.png", "--model", model_dir)
    assert refused.returncode == 2 and "none.png" in refused.stderr


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no file that is always full")
def test_what_cannot_be_said_is_no_success(tmp_path, drawing, model_dir):
    with open("/dev/full", "w") as full:
        done = program("translate", drawing, "-o", tmp_path / "face.png", "--model", model_dir, stdout=full)
    assert done.returncode == 1
