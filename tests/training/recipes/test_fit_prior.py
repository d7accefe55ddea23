"""training/recipes/fit_prior.py: what W looks like, learned from w, makes uncertain answers better."""

import json

import pytest
import torch

from psp_hub.config import PSPConfig
from psp_hub.encoder import PSP, PSPEncoder
from psp_hub.heads import StylePrior
from psp_hub.model import PSPModel
from psp_hub.precision import quick_autocast
from training.data.pairs import sample_pairs, sample_w, write_shard
from training.losses.w_error import WError
from training.recipes import fit_prior
from training.recipes.fit_prior import (
    fit_on_samples,
    imitate,
    keep_share,
    reduce_rank,
    relative_error,
    tune,
    with_prior,
)


@pytest.fixture
def error(tiny_generator):
    return WError(tiny_generator)


@pytest.fixture
def answered(tiny_generator, error):
    """Answers that know 12 of 32 directions of w, with noise, and say little of the rest; and the truth."""
    truth = (sample_w(tiny_generator, range(3000)) - error.w_avg) / error.w_std  # [3000, 32]
    rng = torch.Generator().manual_seed(0)
    mixing = torch.linalg.qr(torch.randn(32, 32, generator=rng)).Q
    known = torch.cat([torch.full((12,), 0.9), torch.full((20,), 0.1)])
    noise = 0.3 * torch.randn(truth.shape, generator=rng) * known
    return (truth @ mixing * known + noise) @ mixing.T, truth


def run(model, pairs_dir, output_dir, *options):
    options = [model, "--pairs_dir", pairs_dir, "--output_dir", output_dir, *options]
    fit_prior.main(fit_prior.parse_args(list(map(str, options))))


@pytest.fixture
def x():
    return torch.rand(2, 1, 256, 256, generator=torch.Generator().manual_seed(0))


def test_made_up_answers_err_as_the_real_ones(tiny_generator, error, answered):
    answers, truth = answered
    made_up, of = imitate(answers, truth, tiny_generator, error)(3000)
    assert relative_error(made_up, of).item() == pytest.approx(relative_error(answers, truth).item(), rel=0.05)
    assert not torch.equal(of, truth)
    torch.testing.assert_close(made_up.std(0), answers.std(0), rtol=0.15, atol=0.02)


@pytest.mark.slow
def test_a_prior_knows_more_than_any_straight_line():
    """The truth is four numbers and their squares, and the answers say next to nothing of the squares."""
    rng = torch.Generator().manual_seed(0)

    def sample(number):
        sheet = torch.randn(number, 4, generator=rng)
        truth = torch.cat([sheet, (sheet.square() - 1) / 2**0.5], dim=1)  # [number, 8], of variance 1
        noise = torch.randn(number, 8, generator=rng)
        return torch.cat([0.9 * truth[:, :4] + 0.3 * noise[:, :4], 0.3 * noise[:, 4:]], dim=1), truth

    with torch.random.fork_rng():
        torch.manual_seed(0)
        prior = StylePrior(8, 32)
        fit_on_samples(prior, sample, steps=400)
    answers, truth = sample(20_000)
    linear = answers @ torch.linalg.lstsq(answers, truth).solution
    assert relative_error(linear, truth) > 0.5
    with torch.no_grad():
        assert relative_error(prior(answers), truth) < 0.35


@pytest.mark.slow
def test_made_up_answers_teach_what_holds_for_real_ones(tiny_generator, error, answered):
    answers, truth = answered
    with torch.random.fork_rng():
        torch.manual_seed(0)
        prior = StylePrior(32, 64)
        fit_on_samples(prior, imitate(answers, truth, tiny_generator, error), steps=300)
    with torch.no_grad():
        assert relative_error(prior(answers), truth) < 0.7 * relative_error(answers, truth)


def test_keeps_what_is_good_for_real_answers():
    answers, prior = torch.randn(100, 8, generator=torch.Generator().manual_seed(0)), StylePrior(8, 16)
    torch.nn.init.constant_(prior.layers[-1].bias, 2.0)
    with torch.no_grad():
        assert keep_share(prior, answers, answers + 0.5) == 0.25
        torch.testing.assert_close(prior(answers), answers + 0.5)


def test_tuning_never_makes_the_held_out_answers_worse():
    rng = torch.Generator().manual_seed(0)
    answers, prior = torch.randn(4000, 8, generator=rng), StylePrior(8, 32)
    truth = torch.cat([-answers[:3000], answers[3000:]])  # what is learned is wrong for the held-out ones
    tune(prior, answers, truth, 1000)
    with torch.no_grad():
        torch.testing.assert_close(prior(answers), answers)
    tune(prior, answers, 2 * answers, 1000)
    with torch.no_grad():
        assert relative_error(prior(answers[3000:]), 2 * answers[3000:]) < 0.95 * relative_error(answers, 2 * answers)


def test_rank_leaves_the_directions_that_differ():
    rng = torch.Generator().manual_seed(0)
    answers = torch.randn(50, 3, generator=rng) @ torch.randn(3, 8, generator=rng) + 1.0
    reduced, basis = reduce_rank(answers, torch.ones(8), 3)
    assert basis.shape == (8, 3)
    torch.testing.assert_close(reduced, answers)
    assert not torch.allclose(reduce_rank(answers, torch.ones(8), 2)[0], answers)


@pytest.mark.parametrize("rank", [0, 32])
def test_the_encoder_answers_what_the_prior_says(make_encoder, x, rank):
    """32 is full rank here, so that nothing is lost."""
    encoder, w_std = make_encoder(), torch.rand(32, generator=torch.Generator().manual_seed(0)) + 0.5
    with torch.random.fork_rng():
        torch.manual_seed(0)
        prior, basis = StylePrior(32, 16), torch.linalg.qr(torch.randn(32, 32)).Q if rank else None
        torch.nn.init.normal_(prior.layers[-1].weight)
    new = with_prior(encoder, prior, basis, w_std)
    assert (new.config.base_rank, new.config.prior_width) == (rank, 16)
    bases = []
    encoder.heads.base.register_forward_hook(lambda module, inputs, output: bases.append(output))
    with torch.no_grad():
        before, after = encoder(x), new(x)
        expected = before + (prior(bases[0] / w_std) * w_std - bases[0])[:, None]
    torch.testing.assert_close(after, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--base_rank", 4, "--epochs", 2]])
def test_the_command(model_dir, tmp_path, capsys, options):
    generator = PSPModel.from_pretrained(model_dir).generator
    (tmp_path / "pairs").mkdir()
    images, w = sample_pairs(generator, range(40))
    write_shard(tmp_path / "pairs", 0, images, w, list(range(40)))
    run(
        model_dir, tmp_path / "pairs", tmp_path / "new", "--held_out", 10, "--prior_width", 16, "--steps", 20, *options
    )
    errors = [float(line.rsplit(": ", 1)[1]) for line in capsys.readouterr().out.splitlines()]
    assert len(errors) == (4 if options else 3)
    assert errors[-1] <= errors[-2]
    model = PSPModel.from_pretrained(tmp_path / "new").eval()
    config = json.loads((tmp_path / "new" / "encoder" / "config.json").read_text())
    assert (config["prior_width"], config["base_rank"]) == (16, 4 if options else 0)
    # The printed error is that of the model's base style on the inputs of the last pairs.
    args = fit_prior.parse_args(
        list(map(str, [model_dir, "--pairs_dir", tmp_path / "pairs", "--output_dir", "x", "--held_out", 10]))
    )
    data, error, bases = fit_prior.load_examples(args, model), WError(generator), []
    model.encoder.heads.base.register_forward_hook(lambda module, inputs, output: bases.append(output.float()))
    keys = [(epoch, i) for epoch in range(2 if options else 1) for i in range(30, 40)]
    with torch.no_grad(), quick_autocast("cpu"):
        model.encoder(torch.stack([item["input"] for item in data.__getitems__(keys)]))
    truth = torch.stack([data.parts[0].store[i][1] for _, i in keys])
    found = relative_error(bases[0] / error.w_std, (truth - error.w_avg) / error.w_std)
    assert found.item() == pytest.approx(errors[-1], rel=0.03)


@pytest.mark.parametrize("options", [["--base_rank", 33], ["--base_rank", -1], ["--prior_width", 0]])
def test_sizes_that_cannot_be_built(model_dir, pairs_dir, tmp_path, options):
    with pytest.raises(ValueError, match=f"{options[0]} is {options[1]}|{options[0]} {options[1]}, expected 0 to 32"):
        run(model_dir, pairs_dir, tmp_path / "new", "--held_out", 5, *options)
    assert not (tmp_path / "new").exists()


def test_what_cannot_be_fitted(model_dir, pairs_dir, make_encoder, tmp_path):
    generator = PSPModel.from_pretrained(model_dir).generator
    with_one = with_prior(make_encoder(), StylePrior(32, 16), None, torch.ones(32))
    PSPModel(with_one, generator, PSPConfig("sketch")).save_pretrained(tmp_path / "with")
    original = PSPEncoder(
        1, 8, 32, **PSP | {"stage_widths": (16,) * 4, "stage_depths": (1,) * 4, "head_widths": (8,) * 3}
    )
    PSPModel(original, generator, PSPConfig("sketch")).save_pretrained(tmp_path / "original")
    (tmp_path / "mixed").mkdir()
    write_shard(tmp_path / "mixed", 0, *sample_pairs(generator, [1, 2], mixed_share=1.0), [1, 2])
    for model, pairs, message in (
        (tmp_path / "with", pairs_dir, "has a prior already"),
        (tmp_path / "original", pairs_dir, "'psp' heads, expected 'shared' ones"),
        (model_dir, tmp_path / "mixed", "mixed styles"),
        (model_dir, pairs_dir, "fewer than the 20 pairs"),
    ):
        with pytest.raises(ValueError, match=message):
            run(model, pairs, tmp_path / "new")
        assert not (tmp_path / "new").exists()
