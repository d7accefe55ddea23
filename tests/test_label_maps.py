"""Label maps of a store, and how they are painted anew for training."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from psp_hub.face_parser import FaceParser
from psp_hub.generators import load_generator
from training import layout, make_label_maps
from training.label_maps import (
    HAIR,
    OPTIONAL,
    LabelMaps,
    displace,
    leave_out,
    merge_sides,
    one_hot,
    paint,
    round_borders,
    simplify_hair,
)
from training.layout import LayoutHead, early_features, layout_loss
from training.pairs import PairStore, read_tar
from training.parsing import confusion, segmentation_figures


@pytest.fixture(scope="module")
def labels_dir(pairs_dir, tmp_path_factory) -> Path:
    """Label maps of `pairs_dir`, found by a parser with random weights."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("labels")
    parser = FaceParser(stem_width=16, stage_widths=(16, 16, 32), stage_depths=(1, 1, 1), decoder_width=16)
    parser.save_pretrained(str(folder / "parser"))
    make(pairs_dir, folder)
    return folder


def make(pairs_dir: Path, folder: Path) -> None:
    command = ["--pairs_dir", str(pairs_dir), "--output_dir", str(folder), "--parser", str(folder / "parser")]
    make_label_maps.main(make_label_maps.parse_args(command))


@pytest.fixture
def labels() -> torch.Tensor:
    """A face of a few ellipses: hair, skin, eyes, brows, mouth, cloth."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 256), torch.linspace(-1, 1, 256), indexing="ij")
    labels = torch.zeros(256, 256, dtype=torch.uint8)
    ellipses = [(18, 0, 1, 0.8, 0.3), (13, 0, -0.1, 0.65, 0.8), (1, 0, 0.1, 0.45, 0.6), (4, -0.2, 0, 0.08, 0.04)]
    ellipses += [(5, 0.2, 0, 0.08, 0.04), (6, -0.2, -0.15, 0.12, 0.03), (7, 0.2, -0.15, 0.12, 0.03)]
    for name, left, top, width, height in [*ellipses, (12, 0, 0.45, 0.15, 0.05)]:
        labels[((x - left) / width) ** 2 + ((y - top) / height) ** 2 < 1] = name
    return labels


def test_label_maps_of_a_store(pairs_dir, labels_dir):
    parser, store, maps = (
        FaceParser.from_pretrained(labels_dir / "parser"),
        PairStore([pairs_dir]),
        LabelMaps([labels_dir]),
    )
    for i in (0, 19):
        expected = parser(store[i][0][None])[0].argmax(dim=0)
        assert (maps.get(store.indices[i]) == expected).float().mean() > 0.95, "but for bfloat16"
    with pytest.raises(ValueError, match="picture 77 has no label map; run training/make_label_maps.py"):
        maps.get(77)
    path = next(labels_dir.glob("*.tar"))
    before = path.stat().st_mtime_ns
    make(pairs_dir, labels_dir)
    assert path.stat().st_mtime_ns == before and len(read_tar(path)) == 20


def test_one_hot(labels):
    expected = F.one_hot(labels.long(), 19).permute(2, 0, 1)
    assert torch.equal(one_hot(labels).long(), expected)


def test_a_painted_map_is_a_function_of_the_seed_and_shows_the_same_face(labels):
    figures = []
    for seed in range(40):
        painted = paint(labels, np.random.default_rng(seed))
        assert torch.equal(painted, paint(labels, np.random.default_rng(seed)))
        assert painted.dtype == torch.uint8 and set(painted.unique().tolist()) <= {0, 1, 4, 5, 6, 7, 12, 13, 18}
        figures.append(segmentation_figures(confusion(painted, labels))["pixel_accuracy"])
    assert min(figures) > 0.75 and 1 in figures and len(set(figures)) > 25


def test_parts_are_left_out_for_what_is_behind_them(labels):
    seen = set()
    for seed in range(30):
        changed = leave_out(labels, np.random.default_rng(seed))
        for part in labels.unique().tolist():
            now = set(changed[labels == part].tolist())
            assert now <= {part, OPTIONAL.get(part, part)} and len(now) == 1
            seen |= {part} - now
    assert seen == {6, 7, 18}


def test_sides_are_merged_or_exchanged(labels):
    seen = set()
    for seed in range(30):
        changed = merge_sides(labels, np.random.default_rng(seed))
        eyes = changed[labels == 4].unique().tolist() + changed[labels == 5].unique().tolist()
        seen.add(tuple(eyes))
        assert torch.equal(changed[labels == 13], labels[labels == 13])
    assert seen == {(4, 4), (5, 5), (5, 4)}


def test_hair_becomes_a_smooth_shape(labels):
    ragged = labels.clone()
    ragged[:, ::16][ragged[:, ::16] == HAIR] = 0  # thin gaps
    changed = simplify_hair(ragged, 12)
    assert ((changed == HAIR) != (labels == HAIR)).float().mean() < (
        (ragged == HAIR) != (labels == HAIR)
    ).float().mean()
    face = (labels != HAIR) & (labels != 0) & (labels != 18)
    assert torch.equal(changed[face], labels[face]), "the face stays"


def test_rounded_borders_take_the_prevailing_class(labels):
    speckled = labels.clone()
    speckled[::8, ::8] = 16
    changed = round_borders(speckled, 64)
    assert not (changed == 16).any() and (changed == labels).float().mean() > 0.95


def test_displacement_is_slight(labels):
    shares = [(displace(labels, np.random.default_rng(seed)) == labels).float().mean().item() for seed in range(10)]
    assert min(shares) > 0.8 and max(shares) < 1


def test_early_features_are_those_of_the_picture(make_generator):
    generator = make_generator(channels=(16, 16, 16, 16, 16), w_dim=32)
    ws = torch.randn(2, generator.num_ws, 32)
    seen = []
    generator.synthesis.blocks[2].register_forward_hook(lambda *call: seen.append(call[2]))
    generator.synthesis(ws)
    assert torch.equal(early_features(generator, ws), seen[0]) and seen[0].shape == (2, 16, 32, 32)
    with pytest.raises(ValueError, match="reads a MobileStyleGAN, got Linear"):
        early_features(torch.nn.Linear(1, 1), ws)


def test_layout_loss_is_the_mean_over_all_pixels():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 19, 64, 64, generator=generator)
    labels = torch.randint(0, 19, (3, 256, 256), generator=generator, dtype=torch.uint8)
    enlarged = F.interpolate(logits, scale_factor=4)
    expected = F.cross_entropy(enlarged, labels.long(), reduction="none").mean(dim=(1, 2))
    torch.testing.assert_close(layout_loss(logits, labels), expected)


@pytest.mark.slow
def test_a_fitted_head_beats_the_commonest_class(generator_dir, pairs_dir, labels_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(layout, "HELD_OUT", 4)
    output = tmp_path / "layout.safetensors"
    command = ["--pairs_dir", str(pairs_dir), "--labels_dir", str(labels_dir), "--generator", str(generator_dir)]
    layout.main(layout.parse_args([*command, "--steps", "30", "--output", str(output)]))
    value = float(capsys.readouterr().out.split()[-1])
    data = layout.LabelledStyles([pairs_dir], LabelMaps([labels_dir]))
    held_out = torch.utils.data.Subset(data, range(4))
    head = LayoutHead.from_file(output)
    assert value == pytest.approx(layout.agreement(load_generator(generator_dir), head, held_out), abs=1e-4)
    labels = torch.stack([data[i][1] for i in range(4)]).long()
    assert value > labels.flatten().bincount().max().item() / labels.numel()
