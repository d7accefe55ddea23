"""training/recipes/measure_edits.py: what becomes of edited photos."""

import numpy as np
import pytest
import torch

from psp_hub import PSPConfig, PSPModel
from psp_hub.directions import Direction, save_directions
from psp_hub.generators import load_generator
from training.recipes import measure_edits

NAN = float("nan")


@pytest.mark.parametrize(
    ("before", "after", "step", "share"),
    [
        ([0.1, 0.2, NAN, 0.3], [0.2, 0.1, 0.5, 0.4], 1.0, 2 / 3),
        ([0.1, 0.2], [0.0, 0.1], -2.0, 1.0),
        ([0.0, 0.0, 1.0], [1.0, 0.0, 1.0], 2.0, 0.5),  # who wears glasses cannot get any
        ([1.0, 1.0], [1.0, 1.0], 1.0, NAN),
    ],
)
def test_faces_whose_measure_went_the_right_way(before, after, step, share):
    assert measure_edits.moved_share(before, after, step) == pytest.approx(share, nan_ok=True)


def test_each_end_of_each_direction_has_a_row(make_encoder, generator_dir, recogniser_file, portrait, tmp_path):
    generator = load_generator(generator_dir)
    PSPModel(make_encoder(in_channels=3), generator, PSPConfig("inversion", "photo")).save_pretrained(
        tmp_path / "model"
    )
    vector = torch.randn(1, generator.w_dim)
    directions = [
        Direction("smile", "a", vector, -2, 2, ("medium",)),
        Direction("age", "b", 0 * vector, -1, 3, ("fine",)),
    ]
    save_directions(tmp_path / "tiny.safetensors", directions, "tiny")
    (tmp_path / "faces").mkdir()
    for i in range(3):
        portrait(256, i).save(tmp_path / "faces" / f"{i}.png")
    words = ["--faces_dir", tmp_path / "faces", "--recogniser", recogniser_file, "--output", tmp_path / "table.md"]
    words += ["--model", tmp_path / "model", "--directions", tmp_path / "tiny.safetensors", "--num_faces", 2]
    table = measure_edits.main(measure_edits.parse_args(list(map(str, words))))
    assert table.startswith("2 photos;") and (tmp_path / "table.md").read_text(encoding="utf-8") == table
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[4:]]
    assert [row[:2] for row in rows] == [["`smile`", "-2"], ["`smile`", "+2"], ["`age`", "-1"], ["`age`", "+3"]]
    assert [row[2] for row in rows[2:]] == ["1.00", "1.00"], "no move, the same person"
    assert all(np.isfinite(float(cell)) for row in rows for cell in row[2:4])
    with pytest.raises(SystemExit):
        measure_edits.parse_args([*map(str, words), "--num_faces", "0"])
