"""training.data.loading, training.settings.data and training.data.columns: from flags to examples."""

import io
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from psp_hub.generators import load_generator
from psp_hub.tasks import TASKS
from training.data.examples import Photos
from training.data.folders import read_photo
from training.data.loading import LoadedData, load_data
from training.data.painted_maps import LabelMaps
from training.data.pairs import PairStore, sample_pairs, write_shard, write_tar
from training.settings.data import DataSettings, PairSettings
from training.settings.flags import parse
from training.settings.run import TrainingSettings


@pytest.fixture(scope="module")
def load(generator_dir) -> Callable[..., LoadedData]:
    """Function of a task and flags."""
    generator = load_generator(generator_dir)

    def make(task: str, *flags: object) -> LoadedData:
        words = ["--task", task, "--output_dir", "x", *map(str, flags)]
        return load_data(parse(TrainingSettings, words), TASKS[task], generator)

    return make


@pytest.fixture
def folders(portrait, tmp_path) -> Path:
    """`out/` with 6 photos of several sizes and modes, `in/` with their label maps, and `drawings/`."""
    for folder in ("in", "out", "drawings"):
        (tmp_path / folder).mkdir()
    for i in range(6):
        portrait(40 + 9 * i, i).convert("L" if i == 2 else "RGB").save(
            tmp_path / f"out/{i}.{'png' if i % 2 else 'jpg'}"
        )
        label_map(3 * i).save(tmp_path / f"in/{i}.png")
        portrait(64, i).convert("L").save(tmp_path / f"drawings/{i}.webp")
    return tmp_path


def label_map(number: int) -> Image.Image:
    """One class above skin (or skin above hair)."""
    array = np.full((32, 32), 13 if number == 1 else 1, np.uint8)
    array[:16] = number
    return Image.fromarray(array)


def spoil(path: Path) -> None:
    path.write_bytes(b"<html>not found</html>")


# Pairs


def test_pairs(load, pairs_dir):
    loaded = load("sketch", "--pairs_dir", pairs_dir, "--num_validation_pairs", 4)
    assert loaded.training == list(range(16)) and loaded.held_out == [16, 17, 18, 19]
    assert loaded.description == {"pairs": 20, "training": 16, "held out": 4, "left out as broken": 0}
    assert loaded.describe_key((3, 7)) == loaded.describe_key((3, 7, 0.5)) == "pair 107"
    assert torch.equal(loaded.data[0, 2]["image"], PairStore([pairs_dir])[2][0])


def test_what_is_held_out_of_pairs(load, pairs_dir):
    assert load("sketch", "--pairs_dir", pairs_dir).held_out == [18, 19]  # a tenth
    both = load("inversion", "--pairs_dir", pairs_dir, pairs_dir, "--num_validation_pairs", 10)
    assert both.held_out == list(range(10, 20))  # of the first folder: more folders can be added to a run
    assert both.training == [*range(10), *range(20, 40)]
    for number in (0, -1, 11):
        with pytest.raises(ValueError, match=f"{number} validation pairs, expected 1 to 10, half of the first folder"):
            load("sketch", "--pairs_dir", pairs_dir, "--num_validation_pairs", number)


def test_generated_pairs_stay_in_one_process(load):
    loaded = load("inversion", "--generated_pairs", 30)
    assert len(loaded.training) == 27 and loaded.held_out == [27, 28, 29]
    assert DataSettings(PairSettings(generated_pairs=30), dataloader_num_workers=2).num_workers == 0
    assert DataSettings(PairSettings((Path("pairs"),)), dataloader_num_workers=2).num_workers == 2
    assert loaded.data[0, 3]["has_w"] and loaded.describe_key((0, 3)) == "pair 100000003"


def test_line_art_needs_indices_of_their_own(load, pairs_dir, portrait, tmp_path):
    write_tar(tmp_path / "lines-103.tar", [103], [portrait(256).convert("L")], 90)
    options = ["--line_art_dir", tmp_path, "--line_art_share", 0.9]
    loaded = load("sketch", "--pairs_dir", pairs_dir, *options)
    hints = loaded.data.parts[0].hints
    assert hints(103) is not None and hints(104) is None
    assert loaded.data.options["line_art_share"] == 0.9
    with pytest.raises(ValueError, match="two of --pairs_dir have pairs of the same index.*--first_index"):
        load("sketch", "--pairs_dir", pairs_dir, pairs_dir, *options)


def test_pairs_with_line_art_are_seen_more_often(load, pairs_dir, faces_dir, portrait, tmp_path):
    write_tar(tmp_path / "lines-103.tar", [103, 107, 119], [portrait(256).convert("L")] * 3, 90)
    options = ["--pairs_dir", pairs_dir, "--line_art_dir", tmp_path, "--line_art_repeats", 3]
    loaded = load("sketch", *options, "--target_dir", faces_dir)
    assert loaded.held_out == [18, 19]  # 119 is not trained on, however often it is there
    assert loaded.description["repeated pairs"] == 4
    names = [loaded.describe_key((0, i)) for i in loaded.training]
    assert {name: names.count(name) for name in names if names.count(name) > 1} == {"pair 103": 3, "pair 107": 3}
    assert names[:22] == [*(f"pair {100 + i}" for i in range(18)), *["pair 103", "pair 107"] * 2]
    once, again = loaded.data[0, 3], loaded.data[0, 20]
    assert torch.equal(once["image"], again["image"]) and torch.equal(once["w"], again["w"])
    assert not torch.equal(once["input"], again["input"])  # a drawing of its own
    apart = load("sketch", *options, "--validation_dir", pairs_dir)
    assert apart.description["repeated pairs"] == 6 and apart.held_out == list(range(26, 46))
    for other in (["--target_dir", faces_dir], ["--pairs_dir", pairs_dir]):
        with pytest.raises(ValueError, match="--line_art_repeats is 3, but no pair has line art"):
            load("sketch", *other, "--line_art_repeats", 3)


def test_label_maps_of_pairs(load, pairs_dir, tmp_path):
    maps = [Image.fromarray(np.full((256, 256), i % 19, np.uint8)) for i in range(20)]
    write_tar(tmp_path / "labels-100.tar", list(range(100, 120)), maps, None)
    loaded = load("segmentation", "--pairs_dir", pairs_dir, "--label_maps_dir", tmp_path)
    item = loaded.data[0, 7, 1.0]
    assert item["input"].shape == (19, 256, 256) and (item["input"].argmax(dim=0) == 7).all()
    assert torch.equal(LabelMaps([tmp_path]).get(107), torch.full((256, 256), 7, dtype=torch.uint8))
    with pytest.raises(ValueError, match="needs label maps: --label_maps_dir, or for --target_dir a --source_dir"):
        load("segmentation", "--pairs_dir", pairs_dir)
    write_tar(tmp_path / "labels-100.tar", list(range(100, 118)), maps[:18], None)
    with pytest.raises(ValueError, match="2 pictures have no map in --label_maps_dir, by index: 118, 119"):
        load("segmentation", "--pairs_dir", pairs_dir, "--label_maps_dir", tmp_path)


def test_pairs_with_photos_for_the_identity(load, pairs_dir, faces_dir, recogniser_file):
    options = ["--faces_dir", faces_dir, "--num_faces", 4, "--faces_repeats", 3]
    networks = ["--identity_net", "identity.safetensors", "--recogniser", recogniser_file]
    loaded = load("sketch", "--pairs_dir", pairs_dir, *options, *networks)
    assert loaded.description["pairs"] == 20 and loaded.description["faces"] == 12
    assert loaded.held_out == [18, 19] and loaded.training == [*range(18), *range(20, 32)]
    first, again = loaded.data[0, 21], loaded.data[0, 25]
    assert first["identity"].shape == (128,) and first["identity"].norm().item() == pytest.approx(1, abs=1e-4)
    assert torch.equal(first["identity"], again["identity"]) and torch.equal(first["image"], again["image"])
    for more in ([], networks[:2], networks[2:]):
        with pytest.raises(ValueError, match="--faces_dir needs --identity_net and --recogniser"):
            load("sketch", "--pairs_dir", pairs_dir, *options, *more)


# Folders


def test_a_folder_of_targets(load, folders):
    loaded = load("super-resolution", "--target_dir", folders / "out")
    assert loaded.description == {"photos": 6, "training": 5, "held out": 1, "left out as broken": 0}
    item = loaded.data[0, 1]
    assert torch.equal(item["image"], read_photo(folders / "out/1.png")) and not item["has_w"]
    assert item["w"].shape == (32,) and item["input"].shape == (3, 256, 256)
    assert loaded.describe_key((0, 1)) == str(folders / "out/1.png")
    assert [loaded.data[0, i]["image"].shape for i in range(6)] == [(3, 256, 256)] * 6


def test_small_pictures_are_made_as_the_flags_say(load, folders):
    def enlarged(*flags) -> torch.Tensor:
        return load("super-resolution", "--target_dir", folders / "out", *flags).data[0, 1]["input"]

    image = read_photo(folders / "out/1.png")
    assert torch.allclose(enlarged("--factors", 1), image, atol=1 / 127)
    coarse = enlarged("--factors", 32)
    assert not torch.allclose(coarse, image, atol=0.1)
    assert not torch.equal(enlarged("--factors", 32, "--jpeg_share", 1), coarse)
    assert not torch.equal(enlarged("--factors", 32, "--blur_share", 1), coarse)


def test_paired_folders(load, folders):
    options = ["--target_dir", folders / "out", "--source_dir", folders / "in", "--num_validation_pairs", 2]
    loaded = load("segmentation", *options)
    assert loaded.held_out == [4, 5]
    item = loaded.data[0, 3, 1.0]
    assert (item["input"].argmax(dim=0)[:128] == 9).all()
    assert torch.equal(item["image"], read_photo(folders / "out/3.png"))
    drawn = load("sketch", "--target_dir", folders / "out", "--source_dir", folders / "drawings").data[0, 2]
    assert drawn["input"].shape == (1, 256, 256) and drawn["input"].max() == 1


def test_pictures_without_a_partner_are_refused(load, folders):
    (folders / "in/3.png").rename(folders / "in/other.png")
    with pytest.raises(ValueError, match="2 pictures have no partner") as error:
        load("segmentation", "--target_dir", folders / "out", "--source_dir", folders / "in")
    assert "in/other.png" in str(error.value) and "out/3.png" in str(error.value)


def test_flips_are_those_of_the_task_or_of_the_flag(load, folders):
    target = ["--target_dir", folders / "out"]
    assert load("inversion", *target).data.augmentation.random_flip
    assert not load("super-resolution", *target).data.augmentation.random_flip
    assert not load("inversion", *target, "--no-random_flip").data.augmentation.random_flip
    changed = load("super-resolution", *target, "--random_flip", "--color_jitter", 0.5).data
    assert changed.augmentation.random_flip and changed.augmentation.color_jitter == 0.5
    assert torch.equal(changed[0, 5]["image"], read_photo(folders / "out/5.png"))  # held out


def test_pairs_and_photos_together(load, pairs_dir, folders):
    loaded = load("inpainting", "--pairs_dir", pairs_dir, "--target_dir", folders / "out")
    assert loaded.description["pairs"] == 20 and loaded.description["photos"] == 6
    assert loaded.held_out == [18, 19] and loaded.training == [*range(18), *range(20, 26)]
    assert [bool(loaded.data[0, i]["has_w"]) for i in (0, 19, 20, 25)] == [True, True, False, False]
    often = load("inpainting", "--pairs_dir", pairs_dir, "--target_dir", folders / "out", "--photo_repeats", 3)
    assert often.training == [*range(18), *range(20, 38)]
    assert torch.equal(often.data[0, 26]["image"], loaded.data[0, 20]["image"])


def test_validation_folders(load, pairs_dir, folders, generator_dir, tmp_path):
    apart = load("inversion", "--pairs_dir", pairs_dir, "--validation_dir", folders / "out")
    assert apart.training == list(range(20)) and apart.held_out == list(range(20, 26))
    assert not apart.data[0, 20]["has_w"]
    other = tmp_path / "more-pairs"
    other.mkdir()
    write_shard(other, 0, *sample_pairs(load_generator(generator_dir), [7, 8]), [7, 8])
    apart = load("inversion", "--target_dir", folders / "out", "--validation_dir", other)
    assert apart.training == list(range(6)) and apart.held_out == [6, 7]
    assert apart.data[0, 7]["has_w"] and apart.describe_key((0, 7)) == "pair 8"
    paired = ["--target_dir", folders / "out", "--source_dir", folders / "in"]
    more = ["--validation_dir", folders / "out", "--validation_source_dir", folders / "in"]
    assert load("segmentation", *paired, *more).held_out == list(range(6, 12))
    with pytest.raises(ValueError, match="--validation_dir needs --validation_source_dir, as --target_dir has its"):
        load("segmentation", *paired, *more[:2])


@pytest.mark.parametrize(
    ("task", "flags", "message"),
    [
        ("sketch", "", "no data: expected --pairs_dir, --generated_pairs, --target_dir or --dataset_name"),
        ("sketch", "--pairs_dir x --generated_pairs 5", "--pairs_dir and --generated_pairs exclude each other"),
        ("sketch", "--target_dir x --dataset_name y", "--target_dir and --dataset_name exclude each other"),
        ("sketch", "--target_dir x --faces_dir y", "--faces_dir goes with --pairs_dir or --generated_pairs"),
        ("sketch", "--pairs_dir x --line_art_repeats 0", "--line_art_repeats is 0, expected 1 or more"),
        ("sketch", "--pairs_dir x --photo_repeats 0", "--photo_repeats is 0, expected 1 or more"),
        ("sketch", "--target_dir x --photo_repeats 2", "--photo_repeats is for photos beside --pairs_dir"),
        ("sketch", "--pairs_dir x --source_dir y", "--source_dir needs --target_dir"),
        ("sketch", "--pairs_dir x --source_column y", "--source_column needs --dataset_name"),
        ("sketch", "--pairs_dir x --validation_split y", "--validation_split needs --dataset_name"),
        ("sketch", "--pairs_dir x --validation_source_dir y", "--validation_source_dir needs --validation_dir"),
        ("sketch", "--pairs_dir x --validation_dir y --num_validation_pairs 3", "exclude each other"),
        ("sketch", "--target_dir x --color_jitter 2", "--color_jitter is 2.0, expected 0 to 1"),
        ("sketch", "--target_dir x --source_dir y --color_jitter 1", "--color_jitter is for sources made from"),
        (
            "inversion",
            "--target_dir {out} --jpeg_share 0.5",
            "--jpeg_share: for tasks whose inputs are small pictures",
        ),
        ("super-resolution", "--target_dir {out} --factors 0 4", r"--factors are \[0, 4\], expected 1 or more"),
        ("super-resolution", "--target_dir {out} --blur_share 2", "--blur_share is 2.0, expected 0 to 1"),
        ("segmentation", "--target_dir x --source_dir y --shape_jitter 1", "stored label maps stay in place"),
        ("inpainting", "--target_dir x --source_dir y --blended_photos 1", "photos with gaps stay in place"),
        ("segmentation", "--target_dir x --source_dir y --damaged_drawings 1", "whose inputs are drawings"),
        ("sketch", "--target_dir x --damaged_drawings 0.5", "--damaged_drawings is for stored drawings"),
        ("sketch", "--target_dir x --photo_attributes y", "--photo_attributes needs --attributes"),
        ("sketch", "--pairs_dir x --photo_attributes y", "--photo_attributes needs --target_dir"),
        ("inversion", "--pairs_dir x --relit_pairs 0.5", "--relit_pairs needs --color_jitter"),
        ("segmentation", "--dataset_name x", "this task needs label maps: those of x, in --source_column"),
        ("inversion", "--target_dir nowhere", "nowhere is not a folder"),
    ],
)
def test_flags_that_do_not_fit_together(load, task, flags, message, folders):
    with pytest.raises(ValueError, match=message):
        load(task, *flags.format(out=folders / "out").split())


# Bad pictures


def test_an_empty_folder_is_refused(load, tmp_path):
    with pytest.raises(ValueError, match="there are no pictures in the folder"):
        load("inversion", "--target_dir", tmp_path)


def test_one_picture_needs_another_to_validate_with(load, folders):
    one = folders / "one"
    one.mkdir()
    shutil.copy(folders / "out/1.png", one)
    with pytest.raises(ValueError, match="too few photos: got 1, expected 2 or more"):
        load("inversion", "--target_dir", one)
    loaded = load("inversion", "--target_dir", one, "--validation_dir", folders / "out")
    assert loaded.training == [0] and len(loaded.held_out) == 6


def test_broken_pictures_are_named_before_training(load, folders):
    spoil(folders / "out/1.png")
    spoil(folders / "out/4.jpg")
    with pytest.raises(ValueError, match="2 of 6 targets cannot be used: .*--skip_broken") as error:
        load("inversion", "--target_dir", folders / "out")
    assert str(folders / "out/1.png") in str(error.value) and str(folders / "out/4.jpg") in str(error.value)


def test_broken_pictures_are_left_out_on_demand(load, folders, caplog):
    spoil(folders / "out/1.png")
    spoil(folders / "in/4.png")
    options = ["--target_dir", folders / "out", "--source_dir", folders / "in", "--skip_broken"]
    with caplog.at_level(logging.WARNING):
        loaded = load("segmentation", *options)
    assert loaded.description == {"photos": 4, "training": 3, "held out": 1, "left out as broken": 2}
    assert [loaded.describe_key((0, i))[-5:] for i in range(4)] == ["0.jpg", "2.jpg", "3.png", "5.png"]
    assert (loaded.data[0, 3, 1.0]["input"].argmax(dim=0)[:128] == 15).all()
    assert "1 of 6 targets" in caplog.text and "1 of 5 sources" in caplog.text and "in/4.png" in caplog.text
    for i in range(6):
        (folders / f"in/{i}.png").write_bytes(b"")
    with pytest.raises(ValueError, match="none of the 6 pictures can be used"):
        load("segmentation", *options)


@pytest.mark.slow
def test_broken_faces_are_left_out_of_the_identities_too(load, pairs_dir, folders, recogniser_file):
    spoil(folders / "out/1.png")
    options = ["--pairs_dir", pairs_dir, "--faces_dir", folders / "out", "--faces_repeats", 1, "--skip_broken"]
    networks = ["--identity_net", "identity.safetensors", "--recogniser", recogniser_file]
    faces = load("inversion", *options, *networks).data.parts[1]
    whole = load("inversion", *options[:3], folders / "in", *options[4:], *networks).data.parts[1]
    assert isinstance(faces, Photos) and len(faces) == len(faces.identity) == 5 and len(whole) == 6
    assert faces.name(1).endswith("out/2.jpg")


def test_label_values_over_18_are_named_before_training(load, folders):
    label_map(42).save(folders / "in/2.png")
    with pytest.raises(ValueError, match="1 of 6 sources cannot be used: .*2.png: .* no class: 42; expected 0 to 18"):
        load("segmentation", "--target_dir", folders / "out", "--source_dir", folders / "in")


# Data sets of the `datasets` library


@pytest.fixture
def table(portrait, tmp_path) -> Path:
    """A folder of parquet files: splits `train` (5 rows) and `test` (2 rows), photos and drawings."""
    import datasets

    def encoded(image: Image.Image) -> dict:
        file = io.BytesIO()
        image.save(file, "PNG")
        return {"bytes": file.getvalue(), "path": None}

    folder = tmp_path / "table"
    folder.mkdir()
    features = datasets.Features(
        {"photo": datasets.Image(), "drawing": datasets.Image(), "name": datasets.Value("string")}
    )
    for split, seeds in (("train", range(5)), ("test", range(7, 9))):
        columns = {
            "photo": [encoded(portrait(50, seed)) for seed in seeds],
            "drawing": [encoded(portrait(60, seed).convert("L")) for seed in seeds],
            "name": [f"person {seed}" for seed in seeds],
        }
        made = datasets.Dataset.from_dict(columns, features=features)
        made.to_parquet(str(folder / f"{split}-00000-of-00001.parquet"))
    return folder


@pytest.mark.slow
def test_parquet_files(load, table, portrait, tmp_path):
    options = ["--dataset_name", table, "--image_column", "photo", "--cache_dir", tmp_path / "cache"]
    loaded = load("sketch", *options, "--source_column", "drawing", "--validation_split", "test")
    assert loaded.description == {"photos": 5, "training": 5, "held out": 2, "left out as broken": 0}
    assert loaded.held_out == [5, 6] and loaded.describe_key((0, 6)) == f"row 1 of {table}, test, column photo"
    for i, seed in ((3, 3), (6, 8)):
        portrait(50, seed).save(tmp_path / "expected.png")
        assert torch.equal(loaded.data[0, i]["image"], read_photo(tmp_path / "expected.png"))
    assert torch.equal(loaded.data[4, 3]["input"], loaded.data[0, 3]["input"])  # stored, not drawn
    drawn = load("sketch", *options)
    assert drawn.held_out == [4] and not torch.equal(drawn.data[4, 3]["input"], drawn.data[0, 3]["input"])
    assert len(load("inversion", *options, "--dataset_split", "train[:3]").data) == 3


@pytest.mark.slow
def test_folders_of_pictures_and_saved_data_sets(load, folders, table, tmp_path):
    import datasets

    options = ["--cache_dir", tmp_path / "cache"]
    loaded = load("inversion", "--dataset_name", folders / "out", *options)
    assert len(loaded.data) == 6 and f"({folders / 'out/0.jpg'})" in loaded.describe_key((0, 0))
    spoil(folders / "out/3.png")
    with pytest.raises(ValueError, match="1 of 6 targets cannot be used: row 3 of .*3.png"):
        load("inversion", "--dataset_name", folders / "out", *options)
    assert load("inversion", "--dataset_name", folders / "out", *options, "--skip_broken").training == [0, 1, 2, 3]
    both = datasets.load_dataset(str(table), cache_dir=str(tmp_path / "cache"))
    both.save_to_disk(tmp_path / "both")
    both["train"].save_to_disk(tmp_path / "one")
    for name, count in (("both", 2), ("one", 5)):
        flags = ["--dataset_name", tmp_path / name, "--image_column", "photo", "--dataset_split", "test"]
        assert len(load("inversion", *flags).data) == count
    with pytest.raises(ValueError, match="has no split 'dev', expected one of t.*, t"):
        load("inversion", "--dataset_name", tmp_path / "both", "--dataset_split", "dev")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            "--dataset_name {table}",
            "has no column 'image', expected one of photo, drawing, name .pictures: photo, dra",
        ),
        ("--dataset_name {table} --image_column photo --source_column x", "has no column 'x', expected one of photo"),
        (
            "--dataset_name {table} --image_column name",
            "5 of 5 targets cannot be used: row 0 of .*There is no file per",
        ),
        ("--dataset_name {table} --dataset_split dev", r"cannot be loaded \(split 'dev'\): Unknown split"),
        ("--dataset_name {table}/nothing", "the data set .*/table/nothing cannot be loaded"),
        (
            "--dataset_name {table}/empty",
            "the data set .*/table/empty cannot be loaded .split 'train'.: The directory",
        ),
    ],
)
def test_data_sets_that_cannot_be_used(load, table, flags, message, tmp_path):
    if flags.endswith("empty"):
        (table / "empty").mkdir()
    words = flags.format(table=table).split()
    with pytest.raises(ValueError, match=message):
        load("inversion", *words, "--cache_dir", tmp_path / "cache")
