"""training/recipes/average_models.py: the weighted mean of models."""

import pytest
import torch

from psp_hub.model import PSPModel
from training.recipes.average_models import average, main, parse_args


@pytest.fixture
def trained_on(model_dir, tmp_path):
    """The model of `model_dir` with other weights, which count one batch more."""
    model = PSPModel.from_pretrained(model_dir)
    with torch.no_grad():
        for value in model.encoder.state_dict().values():
            value.add_(1)
    model.save_pretrained(tmp_path / "trained")
    return tmp_path / "trained"


def test_weighted_mean(model_dir, trained_on, tmp_path):
    models = [str(model_dir), str(trained_on), str(trained_on)]
    main(parse_args([*models, "--shares", "0.75", "0.15", "0.1", "--output_dir", str(tmp_path / "average")]))
    before = PSPModel.from_pretrained(model_dir).encoder.state_dict()
    after = PSPModel.from_pretrained(tmp_path / "average").encoder.state_dict()
    counts = {name for name, value in before.items() if not value.is_floating_point()}
    for name, value in before.items():
        torch.testing.assert_close(after[name], value if name in counts else value + 0.25)


def test_all_alike_by_default(model_dir, trained_on, tmp_path):
    main(parse_args([str(model_dir), str(trained_on), "--output_dir", str(tmp_path / "average")]))
    before = PSPModel.from_pretrained(model_dir).encoder.trunk.stem[0].weight
    after = PSPModel.from_pretrained(tmp_path / "average").encoder.trunk.stem[0].weight
    torch.testing.assert_close(after, before + 0.5)


@pytest.mark.parametrize("shares", [(1, 0), (0, 1)])
def test_the_ends_are_the_models(model_dir, trained_on, shares):
    averaged = average([PSPModel.from_pretrained(path) for path in (model_dir, trained_on)], shares)
    x = torch.rand(1, 1, 256, 256, generator=torch.Generator().manual_seed(0))
    expected = PSPModel.from_pretrained((model_dir, trained_on)[shares.index(1)])
    with torch.no_grad():
        torch.testing.assert_close(averaged.encode(x), expected.encode(x))


def test_models_that_do_not_fit(model_dir, labels_dir, make_encoder, tmp_path, capsys):
    model = PSPModel.from_pretrained(model_dir)
    coloured = PSPModel(make_encoder(in_channels=3), model.generator, model.config)
    with pytest.raises(ValueError, match="the encoders differ in .*expected the same tensors"):
        average([model, coloured], (0.5, 0.5))
    for arguments, message in (
        ((model_dir, model_dir, "--shares", "1.5", "-0.5"), "the shares are (1.5, -0.5), expected 2 of at least 0"),
        ((model_dir, model_dir, "--shares", "0.5", "0.6"), "that add up to 1"),
        ((model_dir, model_dir, "--shares", "1"), "expected 2"),
        ((model_dir, model_dir, labels_dir), "the models are of sketch and segmentation"),
        ((model_dir, tmp_path / "nothing"), "nothing"),
    ):
        with pytest.raises(SystemExit):
            main(parse_args([*map(str, arguments), "--output_dir", str(tmp_path / "average")]))
        assert message in capsys.readouterr().err
        assert not (tmp_path / "average").exists()
