"""training.networks.small_generator: the generator at a fraction of its cost, and losses of what it draws."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from psp_hub.generators.stylegan2 import StyleGAN2
from psp_hub.model import PSPModel
from psp_hub.tasks import get_task
from training.data.pairs import PairStore, sample_pairs, write_shard
from training.losses import Drawing, TrainingLosses, build_losses
from training.networks.small_generator import SmallSynthesis
from training.recipes import fit_small_generator, make_pairs
from training.settings.flags import parse
from training.settings.losses import LossSettings

ROOT = Path(fit_small_generator.__file__).parents[2]


@pytest.fixture
def generator(make_generator):
    return make_generator(channels=(16, 16, 16, 16, 16), w_dim=32)  # 128 px


def styles(generator, n=3):
    return torch.randn(n, generator.num_ws, generator.w_dim, generator=torch.Generator().manual_seed(0))


def test_at_full_size_it_is_the_generator(generator):
    ws = styles(generator)
    assert torch.allclose(SmallSynthesis(generator, 64)(ws), generator.synthesis(ws), atol=1e-6)


def test_without_convolutions_it_draws_the_mean_of_the_pixels(generator):
    """What is lost is the convolutions of neighbours alone: noise, wavelets and modulation are those of the means."""
    for block in generator.synthesis.blocks:
        block.up.weight.data.zero_()
        for conv in (block.conv1, block.conv2):
            centre = torch.zeros_like(conv.depthwise.weight)
            centre[:, :, 1, 1] = 1
            conv.depthwise.weight.data = centre
            conv.conv.weight.data *= 0.01  # so that the leaky ReLU is linear
            conv.conv.bias.data.fill_(10)
    ws = styles(generator).abs()
    full = generator.double().synthesis(ws.double())
    drawn = SmallSynthesis(generator, 16).double()(ws.double())
    assert drawn.shape == (3, 3, 32, 32)
    assert torch.allclose(F.adaptive_avg_pool2d(full, 16), F.adaptive_avg_pool2d(drawn, 16), atol=1e-9)


@pytest.mark.slow
def test_fitting_brings_it_closer(generator, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(fit_small_generator, "HELD_OUT", 4)
    images, w = sample_pairs(generator, list(range(12)))
    (tmp_path / "pairs").mkdir()
    write_shard(tmp_path / "pairs", 0, images, w, list(range(12)))
    generator.save_pretrained(tmp_path / "generator")
    flags = ["--pairs_dir", tmp_path / "pairs", "--generator", tmp_path / "generator", "--size", "16", "--steps", "12"]
    fit_small_generator.main(fit_small_generator.parse_args([*map(str, flags), "--output", str(tmp_path / "small")]))
    before, after, ratio = (float(line.split()[-1]) for line in capsys.readouterr().out.strip().splitlines()[-3:])
    assert after < before and ratio > 0
    small = SmallSynthesis.from_file(tmp_path / "small", generator)
    assert small.image_size == 32 and not any(weight.requires_grad for weight in small.parameters())

    # On from there, with faces of mixed styles.
    images, ws = sample_pairs(generator, list(range(12)), mixed_share=1.0)
    (tmp_path / "mixed").mkdir()
    write_shard(tmp_path / "mixed", 0, images, ws, list(range(12)))
    flags = ["--pairs_dir", tmp_path / "mixed", tmp_path / "pairs", *flags[2:], "--start_from", tmp_path / "small"]
    fit_small_generator.main(fit_small_generator.parse_args([*map(str, flags), "--output", str(tmp_path / "more")]))
    before, after, _ = (float(line.split()[-1]) for line in capsys.readouterr().out.strip().splitlines()[-3:])
    untouched = SmallSynthesis(generator, 16)
    with torch.no_grad():
        shown = F.adaptive_avg_pool2d(PairStore([tmp_path / "mixed"])[0][0], 32)
        assert (small(ws[:1]) - shown).square().mean() < (untouched(ws[:1]) - shown).square().mean()
    assert after < before
    wrong = fit_small_generator.parse_args([*map(str, flags), "--size", "8", "--output", str(tmp_path / "more")])
    with pytest.raises(ValueError, match="small has size 16, expected --size 8"):
        fit_small_generator.main(wrong)


def test_what_cannot_be_drawn_small_is_refused(generator, tmp_path):
    with pytest.raises(ValueError, match="size is 48, expected one of 8, 16, 32, 64"):
        SmallSynthesis(generator, 48)
    with pytest.raises(ValueError, match="only a MobileStyleGAN can be drawn small, got StyleGAN2"):
        SmallSynthesis(StyleGAN2(resolution=32, channel_multiplier=1, w_dim=16, mapping_layers=1), 16)
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="is not of training/recipes/fit_small_generator.py"):
        SmallSynthesis.from_file(tmp_path / "x.safetensors", generator)
    save_file({"x": torch.zeros(1)}, tmp_path / "part.safetensors", metadata={"size": "16"})
    with pytest.raises(ValueError, match="does not fit this generator"):
        SmallSynthesis.from_file(tmp_path / "part.safetensors", generator)


def test_losses_compare_with_targets_as_coarse(generator):
    """A target that differs only in what the small picture cannot show costs nothing."""
    small = SmallSynthesis(generator, 16)
    losses = TrainingLosses(generator, {"l2": 1.0}, drawing=Drawing(small))
    delta = styles(generator).requires_grad_()
    drawn = small(delta + generator.w_avg)  # [3, 3, 32, 32]
    stripes = torch.tensor([0.5, -0.5]).repeat(128)
    target = drawn.detach().repeat_interleave(8, -1).repeat_interleave(8, -2) + stripes
    loss, parts = losses(delta, {"input": target, "image": target})
    assert loss < 1e-8
    loss, parts = losses(delta, {"input": target, "image": target + 1})
    assert torch.allclose(loss, torch.ones(()), atol=1e-5)
    assert (torch.autograd.grad(loss, delta)[0] != 0).any()


def test_the_flag_gives_the_losses_a_small_generator(model_dir, tmp_path):
    tiny_model = PSPModel.from_pretrained(model_dir)
    path = tmp_path / "small.safetensors"
    SmallSynthesis(tiny_model.generator, 8).save(path)
    settings = parse(LossSettings, ["--decode_net", str(path), "--lpips_weight", "0", "--id_weight", "0"])
    losses = build_losses(settings, get_task("inversion"), tiny_model, has_pairs=False)
    assert losses.small.image_size == 16
    assert losses.decode(torch.zeros(1, tiny_model.generator.num_ws, tiny_model.generator.w_dim)).shape[-1] == 256


@pytest.mark.slow
def test_pairs_drawn_by_it(generator, tmp_path):
    """`make_pairs.py --decode_net`: the same w, and the small pictures, enlarged."""
    generator.save_pretrained(tmp_path / "generator")
    small = SmallSynthesis(generator, 16)
    small.save(tmp_path / "small.safetensors")
    flags = ["--num_pairs", "3", "--first_index", "5", "--torch_dtype", "float32", "--generator", "generator"]
    command = [sys.executable, make_pairs.__file__, *flags, "--decode_net", "small.safetensors", "--output_dir", "new"]
    subprocess.run(command, check=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)})
    store = PairStore([tmp_path / "new"])
    _, w = sample_pairs(generator, [5, 6, 7])
    assert store.indices == [5, 6, 7] and torch.equal(store.w, w.half())
    drawn = small(w[:, None].expand(-1, generator.num_ws, -1))  # [3, 3, 32, 32]
    images = torch.stack([image for image, _ in store])
    assert images.shape == (3, 3, 256, 256)
    # Enlarged, not shifted: the means of squares are those of the small picture.
    coarse, expected = F.adaptive_avg_pool2d(images, 8), F.adaptive_avg_pool2d(drawn.clamp(-1, 1), 8)
    assert (coarse - expected).abs().mean() < 0.04 < 0.5 * (coarse - expected.flip(3)).abs().mean()


def test_pairs_with_a_net_that_does_not_fit(generator, make_generator, tmp_path):
    generator.save_pretrained(tmp_path / "generator")
    SmallSynthesis(make_generator(channels=(8, 8, 8), w_dim=16), 8).save(tmp_path / "other.safetensors")
    flags = ["--generator", tmp_path / "generator", "--decode_net", tmp_path / "other.safetensors"]
    args = make_pairs.parse_args([*map(str, flags), "--output_dir", str(tmp_path / "new")])
    with pytest.raises(ValueError, match="does not fit this generator"):
        make_pairs.main(args)
