"""training/recipes/join_encoders.py: one model of two encoders."""

import pytest
import torch

from psp_hub.config import PSPConfig
from psp_hub.encoder import PSPEncoder
from psp_hub.generators import load_generator
from psp_hub.model import PSPModel
from training.recipes.join_encoders import join, main, parse_args


@pytest.fixture
def models(make_encoder, generator_dir, tmp_path):
    """One that answers in one pass, and one in three, saved as first and second."""
    generator = load_generator(generator_dir)
    first = PSPModel(make_encoder(in_channels=3), generator, PSPConfig("inversion", "photo", str(generator_dir)))
    config = PSPConfig("inversion", "photo", str(generator_dir), num_passes=3, face_size=16)
    second = PSPModel(make_encoder(in_channels=3, residual=True), generator, config)
    for name, model in (("first", first), ("second", second)):
        model.eval().save_pretrained(tmp_path / name)
    return first, second


def test_the_passes_are_those_of_both(models, tmp_path):
    first, second = models
    main(
        parse_args([str(tmp_path / name) for name in ("first", "second")] + ["--output_dir", str(tmp_path / "joined")])
    )
    joined = PSPModel.from_pretrained(tmp_path / "joined")
    assert joined.config.num_passes == 3 and joined.config.face_size == 16
    x, seen = torch.rand(2, 3, 256, 256) * 2 - 1, torch.rand(2, 6, 256, 256)
    assert torch.equal(joined.encoder(x), first.encoder(x))
    assert torch.equal(joined.encoder(seen), second.encoder(seen))
    words = [str(tmp_path / name) for name in ("first", "second")] + ["--output_dir", str(tmp_path / "smaller")]
    main(parse_args([*words, "--face_size", "32"]))
    assert PSPModel.from_pretrained(tmp_path / "smaller").config.face_size == 32


def test_a_rank_keeps_the_largest_singular_values(models):
    (first, second), x = models, torch.rand(2, 3, 256, 256) * 2 - 1
    full = join(first.encoder, second.encoder, base_rank=32)
    assert torch.allclose(full(x), first.encoder(x), atol=1e-5)
    least = join(first.encoder, second.encoder, base_rank=3)
    matrix = least.heads.base.linear.weight @ least.heads.base.reduce.weight
    values = torch.linalg.svdvals(first.encoder.heads.base.linear.weight)
    assert torch.allclose(torch.linalg.svdvals(matrix)[:4], torch.cat([values[:3], torch.zeros(1)]), atol=1e-5)
    assert sum(p.numel() for p in least.parameters()) < sum(p.numel() for p in full.parameters())


def test_what_does_not_fit_is_said(models, make_encoder):
    first, second = (model.encoder for model in models)
    styles = PSPEncoder.from_config(first.config, head="psp")
    with pytest.raises(ValueError, match="base_rank is 4 with 'psp' heads, expected 0"):
        join(styles, second, base_rank=4)
    with pytest.raises(ValueError, match="second model has no residual encoder"):
        join(first, first)
    with pytest.raises(ValueError, match="in_channels is 1 and 3, expected the same"):
        join(make_encoder(in_channels=1), second)
    for rank in (-1, 33):
        with pytest.raises(ValueError, match=f"base_rank is {rank}, expected 1 to 32"):
            join(first, second, base_rank=rank)
    with pytest.raises(ValueError, match="the first model has a rank of 4"):
        join(join(first, second, base_rank=4), second, base_rank=2)
