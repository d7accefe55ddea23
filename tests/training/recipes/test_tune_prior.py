"""training.recipes.tune_prior: pairs lead the prior back, and the answers to some drawings stay."""

import copy
from types import SimpleNamespace

import pytest
import torch

from psp_hub.config import PSPConfig
from psp_hub.heads import StylePrior
from psp_hub.model import PSPModel
from training.recipes.fit_prior import relative_error, with_prior
from training.recipes.tune_prior import main, parse_args, tune_beside


@pytest.fixture
def with_a_prior(model_dir, make_encoder, tmp_path):
    """A folder with a model whose prior adds noise to what it is given."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        prior = StylePrior(32, 16)
        torch.nn.init.normal_(prior.layers[-1].weight, std=0.5)
    generator = PSPModel.from_pretrained(model_dir).generator
    encoder = with_prior(make_encoder(), prior, None, torch.ones(32))
    PSPModel(encoder, generator, PSPConfig("sketch")).save_pretrained(tmp_path / "with")
    return tmp_path / "with"


@pytest.fixture
def words(with_a_prior, pairs_dir, artists_dir, tmp_path):
    given = [with_a_prior, "--pairs_dir", pairs_dir, "--keep_dir", artists_dir / "sketches", "--held_out", 5]
    return [str(word) for word in (*given, "--output_dir", tmp_path / "new")]


def test_the_command_changes_the_prior_alone_and_for_the_better(words, with_a_prior, tmp_path, capsys):
    main(parse_args([*words, "--learning_rate", "0.01", "--epochs", "20", "--keep_weight", "0"]))
    first, second = capsys.readouterr().out.splitlines()
    before, after = (float(part.split()[-1]) for part in first.split(", now"))
    assert "5 held-out pairs" in first and after < 0.9 * before
    assert "the answers to" in second
    old, new = (PSPModel.from_pretrained(path).encoder.state_dict() for path in (with_a_prior, tmp_path / "new"))
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed and all(name.startswith("heads.base.prior.") for name in changed)


def test_what_is_kept_stays():
    """The pairs want answers farther out; the kept ones lie elsewhere, where the prior may stay."""
    rng = torch.Generator().manual_seed(0)
    bases, stay = torch.randn(512, 8, generator=rng) + 1, torch.randn(256, 8, generator=rng) - 1
    moved, errors = {}, {}
    for weight in (0.0, 5.0):
        settings = SimpleNamespace(learning_rate=5e-3, epochs=40, keep_weight=weight)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            prior = StylePrior(8, 32)
            before = copy.deepcopy(prior)
            tune_beside(prior, (bases, bases + 3), stay, torch.ones(8), settings)
        with torch.no_grad():
            moved[weight] = relative_error(prior(stay), before(stay)).item()
            errors[weight] = relative_error(prior(bases), bases + 3).item()
    assert max(errors.values()) < 0.02, "0.25 before"
    assert moved[5.0] < 0.005 < 0.05 < moved[0.0]


@pytest.mark.parametrize("more", [["--held_out", "0"], ["--num_pairs", "9"], ["--epochs", "0"], ["--num_kept", "0"]])
def test_numbers_that_make_no_sense(words, more, capsys):
    with pytest.raises(SystemExit):
        parse_args([*words, *more])
    assert "expected 1 or more, and twice as many pairs as are held out" in capsys.readouterr().err


def test_models_that_have_nothing_to_tune(words, model_dir, labels_dir, capsys):
    for model, message in ((model_dir, "no prior to tune"), (labels_dir, "is of the task segmentation")):
        with pytest.raises(SystemExit):
            main(parse_args([str(model), *words[1:]]))
        assert message in capsys.readouterr().err


def test_too_few_pairs(words, capsys):
    with pytest.raises(SystemExit):
        main(parse_args([*words, "--held_out", "15"]))
    assert "got 20 pairs" in capsys.readouterr().err
