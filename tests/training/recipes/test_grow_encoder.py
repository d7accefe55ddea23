"""training/recipes/grow_encoder.py: deeper encoders that answer as before, and learn."""

import pytest
import torch

from psp_hub.model import PSPModel
from training.recipes.grow_encoder import grow, grow_residual, main, parse_args


@pytest.fixture
def x():
    return torch.rand(2, 1, 256, 256, generator=torch.Generator().manual_seed(0))


def test_answers_as_before(model_dir, tmp_path, x):
    main(parse_args([str(model_dir), "--stage_depths", "2", "1", "3", "--output_dir", str(tmp_path / "grown")]))
    before, after = PSPModel.from_pretrained(model_dir), PSPModel.from_pretrained(tmp_path / "grown")
    assert tuple(after.encoder.config.stage_depths) == (2, 1, 3)
    assert [len(stage) for stage in after.encoder.trunk.stages] == [2, 1, 3]
    assert after.config == before.config
    with torch.no_grad():
        answers = before.eval().encode(x)
        torch.testing.assert_close(after.eval().encode(x), answers, rtol=0, atol=0)
    assert not torch.equal(answers[0], answers[1])


def test_a_fine_stem_changes_nothing_at_first_and_learns(make_encoder, x):
    encoder = make_encoder()
    halvings = encoder.config.stem_stride.bit_length() - 1
    torch.manual_seed(0)
    grown = grow(encoder.eval(), fine_widths=(16,) * halvings)
    assert torch.equal(grown(x), encoder(x))
    optimizer = torch.optim.SGD(grown.parameters(), lr=0.1)
    new = {name: value.detach().clone() for name, value in grown.named_parameters() if "fine_stem" in name}
    for _ in range(2):
        optimizer.zero_grad()
        grown.train()(x).square().sum().backward()
        optimizer.step()
    after = dict(grown.named_parameters())
    assert new and not [name for name, value in new.items() if torch.equal(after[name], value)]
    with pytest.raises(ValueError, match="has a fine stem of"):
        grow(grown, fine_widths=(16,) * halvings)
    with pytest.raises(ValueError, match=f"expected none, or one width for each halving: {halvings}"):
        grow(encoder, fine_widths=(16,) * (halvings + 1))


def test_every_tensor_of_the_new_blocks_learns(make_encoder, x):
    encoder = make_encoder()
    torch.manual_seed(0)  # of a few units, other seeds leave some dead behind their ReLU
    grown = grow(encoder.train(), (2, 2, 2))
    assert grown.training
    optimizer = torch.optim.SGD(grown.parameters(), lr=0.1)
    old = dict(encoder.named_parameters())
    new = {name: value.detach().clone() for name, value in grown.named_parameters() if name not in old}
    assert new
    for _ in range(2):  # the first step moves the scale of a block away from zero, the second all before it
        optimizer.zero_grad()
        grown(x).square().sum().backward()
        optimizer.step()
    after = dict(grown.named_parameters())
    assert not [name for name, value in new.items() if torch.equal(after[name], value)]


@pytest.mark.parametrize("depths", [(1, 1), (1, 1, 1, 1), (2, 2, 0)])
def test_depths_that_do_not_fit(make_encoder, depths):
    with pytest.raises(
        ValueError, match=r"the stages have \(1, 1, 1\) blocks, got .*expected 3 numbers, none smaller"
    ):
        grow(make_encoder(), depths)


def test_what_cannot_be_grown(model_dir, tmp_path, capsys):
    for arguments, message in (
        ((model_dir, "--stage_depths", "0", "1", "1"), "none smaller"),
        ((tmp_path / "nothing", "--stage_depths", "2", "2", "2"), "nothing"),
    ):
        with pytest.raises(SystemExit):
            main(parse_args([*map(str, arguments), "--output_dir", str(tmp_path / "grown")]))
        assert message in capsys.readouterr().err
        assert not (tmp_path / "grown").exists()


def test_the_residual_encoder_grows_alone(make_encoder, x):
    encoder = make_encoder(in_channels=3, residual=True).eval()
    halvings = encoder.residual_encoder.config.stem_stride.bit_length() - 1
    grown = grow_residual(encoder, (), (16,) * halvings)
    assert not grown.training and grown.residual_encoder.trunk.fine_stem is not None
    assert grown.trunk.fine_stem is None and not grown.config.fine_widths
    pictures, seen = x.expand(-1, 3, -1, -1), torch.cat([x] * 6, dim=1)
    assert torch.equal(grown(pictures), encoder(pictures)) and torch.equal(grown(seen), encoder(seen))
    again = type(grown).from_config(grown.config)
    again.load_state_dict(grown.state_dict())
    deeper = grow_residual(grown, [depth + 1 for depth in grown.residual_encoder.config.stage_depths], ())
    assert torch.equal(deeper(seen), encoder(seen)) and deeper.residual_encoder.trunk.fine_stem is not None
    with pytest.raises(ValueError, match="no residual encoder, expected one that looks again"):
        grow_residual(make_encoder(), (), (16,) * halvings)
