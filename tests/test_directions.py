"""Directions in W: found, saved, applied; what the parser sees when a face moves along them."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from psp_hub.directions import Direction, apply_directions, available_directions, load_directions, save_directions
from psp_hub.face_parser import FaceParser
from psp_hub.generators import load_generator
from psp_hub.images.face_classes import CLASS_NAMES
from psp_hub.latents import style_indices
from psp_hub.precision import quick_dtype
from training.data.pairs import PairStore, sample_pairs, write_shard, write_tar
from training.recipes import draw_directions, find_directions
from training.recipes.find_directions import Wanted, without_components
from training.recipes.fit_directions import neutralise, principal_components, regress, steer
from training.recipes.measures import MEASURES, measure_face

DIM = 32
SPREAD = torch.cat([torch.tensor([5.0, 3.0, 2.0]), torch.linspace(1, 0.5, DIM - 3)])


def directions(*names: str) -> dict[str, Direction]:
    """One for each style group, of other lengths."""
    groups = zip(names, ("coarse", "medium", "fine"), strict=False)
    vectors = torch.randn(len(names), 1, DIM, generator=torch.Generator().manual_seed(0))
    return {
        name: Direction(name, f"less {name} … more {name}", vectors[i], -2.0, 1.5, (group,))
        for i, (name, group) in enumerate(groups)
    }


def planted(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """w [count, 32] that varies most along the first axis, then along the second, ...; and noise."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, DIM, generator=generator) * SPREAD + 1, torch.randn(count, generator=generator)


def test_components_find_the_axes_along_which_w_varies():
    w, _ = planted(4000)
    rotation = torch.linalg.qr(torch.randn(DIM, DIM, generator=torch.Generator().manual_seed(1)))[0]
    components = principal_components(w @ rotation.T, 3)
    for i, component in enumerate(components):
        axis = rotation[:, i]
        assert abs(component @ axis) / component.norm() > 0.9
        assert component.norm() == pytest.approx(float(SPREAD[i]), rel=0.1)
        assert component[component.abs().argmax()] > 0


def test_regression_finds_a_planted_measure_and_leaves_out_what_is_not_seen():
    w, noise = planted(2000)
    truth = torch.randn(DIM, generator=torch.Generator().manual_seed(2))
    measure = 5 + w @ truth + noise
    measure[::7] = float("nan")
    found = regress(w, measure, 200, ridge=1e-4)
    assert found.correlation > 0.97
    assert found.mean == pytest.approx(float(measure.nanmean()), abs=1)
    torch.testing.assert_close(found.weights * found.std, truth, atol=0.2, rtol=0)
    nothing = regress(w, noise, 200)
    assert abs(nothing.correlation) < 0.25


@pytest.mark.parametrize(
    ("measure", "message"),
    [
        (torch.full((50,), float("nan")), "0 faces have the measure, expected more than 42"),
        (torch.ones(50), "all faces"),
    ],
)
def test_regression_says_what_is_missing(measure, message):
    with pytest.raises(ValueError, match=message):
        regress(planted(50)[0], measure, 10)


def test_steering_changes_one_measure_keeps_the_others_and_stays_likely():
    w, _ = planted(4000)
    target, kept, other = torch.randn(3, DIM, generator=torch.Generator().manual_seed(3)) / DIM
    move = steer(w, target, [kept, other])
    assert float(move @ target) == pytest.approx(1, abs=1e-4)
    assert float(move @ kept) == pytest.approx(0, abs=1e-4) == float(move @ other)
    precision = torch.linalg.inv(torch.cov(w.T))
    plain = target / target.norm() ** 2  # also changes the target by 1, but leaves W's usual ways
    assert move @ precision @ move < plain @ precision @ plain + 1
    free = steer(w, target, [])
    assert free @ precision @ free < move @ precision @ move, "what is kept costs something"
    assert free @ precision @ free < plain @ precision @ plain


def test_a_neutralised_direction_changes_no_measure():
    w, _ = planted(4000)
    direction, *kept = torch.randn(4, DIM, generator=torch.Generator().manual_seed(4))
    left = neutralise(w, direction, kept)
    for weights in kept:
        assert float(left @ weights) == pytest.approx(0, abs=1e-4)
    torch.testing.assert_close(neutralise(w, left, kept), left, atol=1e-4, rtol=0)
    assert torch.equal(neutralise(w, direction, []), direction)


def test_what_is_wanted_is_found_kept_fixed_or_left_out(capsys):
    w, noise = planted(2000)
    measures = torch.randn(2, DIM, generator=torch.Generator().manual_seed(6))
    regressions = {
        "yaw": regress(w, w @ measures[0] + noise, 200),
        "smile": regress(w, w @ measures[1] + noise, 200),
        "hat": regress(w, noise, 200),
    }
    wanted = [
        Wanted("turn", "left … right", "yaw", ("coarse",), -1, 2, (), ("component 2",)),
        Wanted("both", "less … more", "yaw", ("fine",), -1, 2, ("smile",)),
        Wanted("size", "small … large", "component 1", ("coarse", "fine"), -1, 2),
        Wanted("hat", "no hat … hat", "hat", ("coarse",), -1, 2),
    ]
    turn, both, size = find_directions.find(w, regressions, wanted)
    assert "hat is left out: hat cannot be predicted from w" in capsys.readouterr().out
    yaw, smile = regressions["yaw"].weights, regressions["smile"].weights
    component = principal_components(w, 2)[1]
    for direction, changes in ((turn, (1, 0)), (both, (1, None)), (size, (0, 0))):
        for weights, change in zip((yaw, smile), changes, strict=True):
            if change is not None:
                assert float(direction.vector[0] @ weights) == pytest.approx(change, abs=1e-3), direction.name
    assert float(turn.vector[0] @ component) == pytest.approx(0, abs=1e-3) != float(both.vector[0] @ component)
    assert (turn.label, turn.groups, turn.low, turn.high) == ("left … right", ("coarse",), -1, 2)
    assert [(row.name, row.fixed) for row in without_components(wanted)] == [("turn", ()), ("both", ()), ("hat", ())]


def test_round_trip(tmp_path):
    wanted = directions("smile", "hat", "colour")
    save_directions(tmp_path / "mine.safetensors", wanted.values(), "mine")
    found = load_directions(tmp_path / "mine.safetensors")
    assert list(found) == ["smile", "hat", "colour"]
    for name, one in found.items():
        torch.testing.assert_close(one.vector, wanted[name].vector, atol=1e-3, rtol=1e-3)
        assert one.vector.dtype == torch.float32
        fields = ("name", "label", "low", "high", "groups")
        assert [getattr(one, field) for field in fields] == [getattr(wanted[name], field) for field in fields]
    with pytest.raises(ValueError, match="two directions have one name: hat, hat"):
        save_directions(tmp_path / "two.safetensors", [wanted["hat"]] * 2, "mine")


def test_a_file_that_is_written_again_is_read_again(tmp_path):
    for name in ("smile", "hat"):
        save_directions(tmp_path / "mine.safetensors", directions(name).values(), "mine")
        assert list(load_directions(tmp_path / "mine.safetensors")) == [name]


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no directions for the generator 'dogs'; .* mobilestylegan-ffhq"):
        load_directions("dogs")
    with pytest.raises(ValueError, match="no directions for the generator"):
        load_directions(tmp_path / "missing.safetensors")
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match="other.safetensors is not a file of directions"):
        load_directions(path)
    good = tmp_path / "good.safetensors"
    save_directions(good, directions("smile").values(), "mine")
    (tmp_path / "cut.safetensors").write_bytes(good.read_bytes()[:-20])
    with pytest.raises(ValueError, match="cut.safetensors is damaged"):
        load_directions(tmp_path / "cut.safetensors")
    rows = [{"name": "smile", "label": "", "low": -1, "high": 1, "groups": ["hair"]}]
    metadata = {"format": "psp-hub-directions", "generator": "mine", "directions": json.dumps(rows)}
    for tensors, message in (
        ({"smile": torch.zeros(1, DIM)}, "unknown style groups"),
        ({"hat": torch.zeros(1)}, "damaged"),
    ):
        save_file(tensors, path, metadata)
        with pytest.raises(ValueError, match=message):
            load_directions(path)
    save_file({"smile": torch.full((1, DIM), float("nan"))}, path, metadata)
    with pytest.raises(ValueError, match="expected finite"):
        load_directions(path)


def test_only_the_styles_of_its_groups_move():
    ws, known = torch.randn(2, 10, DIM, generator=torch.Generator().manual_seed(5)), directions("a", "b", "c")
    before = ws.clone()
    moved = apply_directions(ws, {"a": 1.5, "c": -1}, known)
    assert torch.equal(ws, before)
    expected = ws.clone()
    expected[:, :3] += 1.5 * known["a"].vector
    expected[:, 7:] -= known["c"].vector
    torch.testing.assert_close(moved, expected)
    assert torch.equal(apply_directions(ws, {}, known), ws) and torch.equal(apply_directions(ws, {"b": 0}, known), ws)
    per_style = Direction("d", "", torch.arange(10.0)[:, None].expand(10, DIM), -1, 1, ("medium",))
    change = apply_directions(ws, {"d": 1}, {"d": per_style}) - ws
    torch.testing.assert_close(change[0, :, 0], torch.tensor([0.0, 0, 0, 3, 4, 5, 6, 0, 0, 0]))


def test_wrong_steps_and_other_generators_are_named():
    ws, known = torch.zeros(1, 10, DIM), directions("smile", "hat")
    with pytest.raises(ValueError, match="no direction 'grin', expected some of smile, hat"):
        apply_directions(ws, {"grin": 1}, known)
    for step in (float("nan"), float("inf"), None, "1"):
        with pytest.raises(ValueError, match="step along smile is .*, expected a finite number"):
            apply_directions(ws, {"smile": step}, known)
    with pytest.raises(ValueError, match=r"\(1, 10, 32\).*smile is for \[N, num_ws, 512\].*generator"):
        apply_directions(ws, {"smile": 1})
    for wrong in (torch.zeros(10, DIM), torch.zeros(1, 10, DIM + 1)):
        with pytest.raises(ValueError, match="found in"):
            apply_directions(wrong, {"hat": 1}, known)


def test_what_ships_is_usable():
    assert available_directions() == ["mobilestylegan-ffhq"]
    found = load_directions()
    assert len(found) >= 6
    for name, one in found.items():
        assert one.name == name and " … " in one.label
        assert one.vector.shape == (1, 512) and one.vector.norm() > 0.1
        assert one.low < 0 < one.high and style_indices(one.groups, 16)


def face(**parts: tuple[int, int, int, int]) -> torch.Tensor:
    """A label map [256, 256] of rectangles: left, top, right, bottom."""
    labels = torch.zeros(256, 256, dtype=torch.uint8)
    plain = {
        "hair": (50, 30, 206, 150),
        "skin": (78, 60, 178, 220),
        "l_brow": (90, 100, 115, 105),
        "r_brow": (141, 100, 166, 105),
        "l_eye": (92, 112, 112, 120),
        "r_eye": (144, 112, 164, 120),
        "nose": (118, 120, 138, 155),
        "u_lip": (105, 175, 151, 180),
        "l_lip": (105, 180, 151, 186),
    }
    for name, (left, top, right, bottom) in (plain | parts).items():
        labels[top:bottom, left:right] = CLASS_NAMES.index(name)
    return labels


CHANGES = {
    "yaw": ({"nose": (138, 120, 158, 155)}, 1),
    "pitch": ({"nose": (118, 128, 138, 163)}, 1),
    "open_mouth": ({"mouth": (112, 178, 144, 184)}, 1),
    "mouth_width": ({"u_lip": (95, 175, 161, 180)}, 1),
    "lips": ({"l_lip": (105, 180, 151, 194)}, 1),
    "glasses": ({"glasses": (88, 108, 168, 124)}, 1),
    "hat": ({"hat": (50, 10, 206, 60)}, 1),
    "hair": ({"hair": (50, 10, 206, 150)}, 1),
    "long_hair": ({"hair": (50, 30, 206, 250)}, 1),
    "forehead": ({"skin": (78, 85, 178, 220)}, -1),
    "face_width": ({"skin": (88, 60, 168, 220)}, -1),
    "eye_size": ({"l_eye": (92, 108, 112, 124)}, 1),
    "brow_height": ({"l_brow": (90, 92, 115, 97)}, 1),
    "brows": ({"l_brow": (90, 97, 115, 105)}, 1),
    "nose": ({"nose": (113, 120, 143, 155)}, 1),
}


@pytest.mark.parametrize("name", CHANGES)
def test_measures_of_label_maps(name):
    parts, sign = CHANGES[name]
    image = torch.zeros(3, 256, 256)
    before, after = (dict(zip(MEASURES, measure_face(image, face(**one)), strict=True)) for one in ({}, parts))
    assert sign * (after[name] - before[name]) > 1e-3


def test_measures_of_colours_and_of_a_smile():
    labels, image = face(), torch.zeros(3, 256, 256)
    before = dict(zip(MEASURES, measure_face(image, labels), strict=True))
    skin, hair = (labels == CLASS_NAMES.index(name) for name in ("skin", "hair"))
    assert before["skin_light"] == pytest.approx(0.5) and before["skin_warmth"] == before["side_light"] == 0
    painted = image + 0.4 * skin
    painted[0] += 0.2 * hair
    painted[:, :, 128:] += 0.2
    after = dict(zip(MEASURES, measure_face(painted, labels), strict=True))
    for name in ("skin_light", "brightness", "hair_warmth", "warmth", "side_light", "background_light", "contrast"):
        assert after[name] > before[name] + 0.005, name
    smiling = labels.clone()
    smiling[170:175, 105:110] = smiling[170:175, 146:151] = CLASS_NAMES.index("u_lip")
    assert measure_face(image, smiling)[list(MEASURES).index("smile")] > before["smile"] + 0.01


def test_what_is_not_seen_is_no_number():
    labels = face()
    labels[:] = torch.where(labels == CLASS_NAMES.index("nose"), 1, labels)
    found = dict(zip(MEASURES, measure_face(torch.zeros(3, 256, 256), labels), strict=True))
    assert {name for name, value in found.items() if value != value} == {"yaw", "pitch", "chin_shadow", "side_light"}
    nothing = measure_face(torch.zeros(3, 256, 256), torch.zeros(256, 256, dtype=torch.uint8))
    assert sum(value != value for value in nothing) > 8 and len(nothing) == len(MEASURES)


def test_too_few_faces():
    with pytest.raises(ValueError, match="no measure of 20 faces can be predicted .* enough pairs"):
        find_directions.regress_all(planted(20)[0], torch.randn(20, len(MEASURES)))


@pytest.fixture(scope="module")
def planted_store(generator_dir, tmp_path_factory):
    """80 pairs of a tiny generator, and label maps in which one number of w says where the nose is."""
    folder = tmp_path_factory.mktemp("planted")
    indices = list(range(300, 380))
    images, w = sample_pairs(load_generator(generator_dir), indices)
    for name in ("pairs", "labels"):
        (folder / name).mkdir()
    write_shard(folder / "pairs", 0, images, w, indices)
    places = (20 * (w[:, 3] - w[:, 3].mean()) / w[:, 3].std()).round().int().clamp(-38, 38).tolist()
    maps = [Image.fromarray(face(nose=(118 + place, 120, 138 + place, 155)).numpy()) for place in places]
    write_tar(folder / "labels" / "labels-300.tar", indices, maps, quality=None)
    return folder


def found_in(folder, generator_dir, *arguments: str) -> dict:
    command = ["--pairs_dir", str(folder / "pairs"), "--labels_dir", str(folder / "labels")]
    command += ["--generator", str(generator_dir), "--torch_dtype", "float32", *arguments]
    return find_directions.main(find_directions.parse_args(command))


@pytest.mark.slow
def test_the_programs_find_a_planted_direction_and_draw_it(planted_store, generator_dir, tmp_path, capsys):
    arguments = ("--output_dir", str(tmp_path), "--num_faces", "2")
    report = found_in(planted_store, generator_dir, *arguments)
    printed = capsys.readouterr().out
    assert report["count"] == 80 and report["correlation"]["yaw"] > 0.9
    assert "glasses is left out" in printed and "glasses" not in report["correlation"], "nobody wears any"
    file = tmp_path / f"{generator_dir.name}.safetensors"
    found = load_directions(file)
    store = PairStore([planted_store / "pairs"])
    assert found["turn"].vector[0, 3] == pytest.approx(float(store.w[:, 3].float().std()), rel=0.25), "one deviation"
    assert set(report["effects"]) == set(found) and {"smile", "glasses"}.isdisjoint(found)
    assert all(report["effects"][name] for name in found)
    (planted_store / "labels").rename(planted_store / "away")  # the second run needs no map
    try:
        assert found_in(planted_store, generator_dir, *arguments) == report
        with pytest.raises(ValueError, match="picture .* has no label map"):
            found_in(planted_store, generator_dir, *arguments, "--max_pairs", "70")
    finally:
        (planted_store / "away").rename(planted_store / "labels")
    command = ["--output_dir", str(tmp_path), "--directions", str(file), "--generator", str(generator_dir)]
    draw_directions.main(draw_directions.parse_args([*command, "--seeds", "1", "2"]))
    page = (tmp_path / "directions.md").read_text(encoding="utf-8")
    for name, direction in found.items():
        assert f"directions/{name}.webp" in page and direction.label in page
        pixels = np.asarray(Image.open(tmp_path / "directions" / f"{name}.webp"), np.float32)
        columns = np.split(pixels, 5, axis=1)
        assert len(pixels) == 2 * draw_directions.SIDE
        assert np.abs(columns[4] - columns[0]).mean() > 1.5 * np.abs(columns[3] - columns[2]).mean() > 0.5


@pytest.mark.slow
def test_faces_smile_turn_and_put_on_glasses(default_generator):
    """What ships does what its name says, as far as the parser sees."""
    generator, known = nn.Module.to(default_generator, quick_dtype("cpu")), load_directions()
    names = {"smile": "smile", "turn": "yaw", "glasses": "glasses"}
    chosen = [known[name] for name in names]
    moved = find_directions.measure_moved(generator, FaceParser.from_starter(), chosen, num_faces=8, seed=500)
    for (low, high), name in zip(moved, names.values(), strict=True):  # [8, len(MEASURES)] each
        column = list(MEASURES).index(name)
        risen = (high[:, column] > low[:, column]).sum()
        assert risen >= 6, f"{name} rises in {risen} of 8 faces"
