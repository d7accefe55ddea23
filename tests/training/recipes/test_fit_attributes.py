"""training/recipes/fit_attributes.py: heads from labelled faces."""

import json

import pytest
import torch
from safetensors.torch import load_file

from training.evaluation.attributes import WINDOWS, AttributeReader
from training.recipes import fit_attributes
from training.recipes.fit_attributes import Labelled, agreement, cross_validate, main, parse_args, ridge


def test_ridge_finds_what_is_linear():
    features = torch.randn(60, 200, generator=torch.Generator().manual_seed(0)) * 3 + 5
    shown = features[:, 0] + features[:, 1] > 13  # fewer than half
    weight, bias = ridge(Labelled(features, shown))
    assert ((features @ weight + bias > 0) == shown).all()
    # Least squares in the primal, each side with half of the weight.
    x = (features - features.mean(dim=0)).double() / (features.std(dim=0) + 1e-6).double() / 200**0.5
    x = torch.cat([x, torch.ones(60, 1)], dim=1)
    each = 30 / torch.where(shown, shown.sum(), (~shown).sum()).double()
    solution = torch.linalg.solve(x.T @ (each[:, None] * x) + torch.eye(201), x.T @ (each * (shown.double() * 2 - 1)))
    torch.testing.assert_close(features @ weight + bias, (x @ solution).float(), atol=1e-4, rtol=1e-4)


def test_cross_validation_leaves_each_face_out_once():
    features = torch.randn(40, 300, generator=torch.Generator().manual_seed(1))
    shown = torch.arange(40) % 2 == 0
    weight, bias = ridge(Labelled(features, shown))
    scores = cross_validate(Labelled(features, shown), torch.Generator().manual_seed(0))
    known = ((features @ weight + bias > 0) == shown).float().mean()
    assert known > 0.95 and ((scores > 0) == shown).float().mean() < 0.8  # nothing can be learned from noise
    assert agreement(torch.tensor([1.0, -1, -1]), torch.tensor([True, True, False])) == (
        "50.0% of 2 shown, 100.0% of 1 not shown"
    )


@pytest.fixture
def labels(tmp_path, monkeypatch):
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({name: {"shown": list(range(100, 109)), "not shown": [110, 111]} for name in WINDOWS}))
    monkeypatch.setattr(fit_attributes, "LABELS", path)
    return path


@pytest.mark.slow
def test_heads_from_faces_and_photos(labels, pairs_dir, artists_dir, tmp_path, capsys):
    output = tmp_path / "heads.safetensors"
    main(parse_args(["--pairs_dir", str(pairs_dir), "--drawings_dir", str(artists_dir), "--output", str(output)]))
    assert load_file(output)["smile.weight"].shape == (192 * 12,)
    assert AttributeReader.from_file(output)
    printed = capsys.readouterr().out.splitlines()
    assert any(line.startswith("smile, photos: ") and "of 2 shown" in line for line in printed)  # 1-0001 and 2-0002
    assert any(line.startswith("beard, generated faces: ") and "of 9 shown" in line for line in printed)
    assert not any(line.startswith("beard, photos") for line in printed)


def test_a_face_that_is_not_in_the_store(labels, pairs_dir, artists_dir, tmp_path):
    labels.write_text(json.dumps({name: {"shown": [100], "not shown": [5]} for name in WINDOWS}))
    options = ["--pairs_dir", str(pairs_dir), "--drawings_dir", str(artists_dir), "--output", str(tmp_path / "x")]
    with pytest.raises(ValueError, match="lacks 1 of the labelled faces, the first is 5"):
        main(parse_args(options))
