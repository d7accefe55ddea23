"""psp_hub.encoder: shapes, gradients, refused configurations, the paper's trunk, saving."""

import json

import pytest
import torch
from torch import nn

from psp_hub.config import ENCODER_SIZE
from psp_hub.encoder import PSPEncoder
from psp_hub.hub.components import load_component
from psp_hub.latents import GROUP_STARTS

TINY = {
    "num_ws": 8,
    "w_dim": 24,
    "stem_width": 16,
    "stem_stride": 8,
    "stage_widths": (16, 16, 32),
    "stage_depths": (1, 1, 2),
    "stage_strides": (1, 2, 2),
    "pyramid_width": 8,
    "base_width": 4,
    "head_widths": (16, 12, 8),
}


def make_encoder(**changes) -> PSPEncoder:
    """A tiny encoder with random weights, offsets and statistics, the same every time."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        encoder = PSPEncoder(**TINY | changes)
        for linear in (*encoder.heads.offsets, encoder.heads.base.linear):
            linear.weight.normal_(std=0.1)
            linear.bias.normal_()
        for module in encoder.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(std=0.1)
                module.running_var.uniform_(0.5, 2)
                module.num_batches_tracked.fill_(7)
    return encoder.eval()


def images(num=2, channels=1) -> torch.Tensor:
    return torch.rand(num, channels, ENCODER_SIZE, ENCODER_SIZE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("num_ws", [8, 14, 16, 18])
def test_writes_one_style_per_layer(num_ws):
    assert make_encoder(num_ws=num_ws)(images()).shape == (2, num_ws, 24)


@pytest.mark.parametrize("in_channels", [1, 3, 19])
def test_takes_any_number_of_channels(in_channels):
    assert make_encoder(in_channels=in_channels)(images(channels=in_channels)).shape == (2, 8, 24)


@pytest.mark.parametrize(
    ("stem_stride", "stage_strides"), [(1, (4, 4, 2)), (2, (2, 2, 2)), (4, (1, 1, 1)), (8, (4, 2, 2)), (16, (1, 2, 4))]
)
def test_takes_any_strides(stem_stride, stage_strides):
    encoder = make_encoder(stem_stride=stem_stride, stage_strides=stage_strides)
    assert encoder(images(1)).shape == (1, 8, 24)


def test_takes_more_stages():
    changes = {"stage_widths": (16,) * 5, "stage_depths": (1,) * 5, "stage_strides": (1, 2, 1, 2, 1)}
    assert make_encoder(**changes)(images(1)).shape == (1, 8, 24)


def test_default_is_the_light_variant():
    with torch.device("meta"):
        encoder = PSPEncoder()
        assert encoder(torch.empty(1, 1, 256, 256)).shape == (1, 16, 512)
    assert sum(parameter.numel() for parameter in encoder.parameters()) < 10_000_000


def test_the_papers_trunk_has_its_feature_sizes():
    """IR-SE50 as the paper taps it (figure 2): 128, 256 and 512 channels at 64, 32 and 16 pixels."""
    with torch.device("meta"):
        encoder = PSPEncoder(
            in_channels=3,
            num_ws=18,
            stem_width=64,
            stem_stride=1,
            stage_widths=(64, 128, 256, 512),
            stage_depths=(3, 4, 14, 3),
            stage_strides=(2, 2, 2, 2),
            pyramid_width=512,
            head_widths=(512, 512, 512),
            activation="prelu",
        )
        x = torch.empty(1, 3, 256, 256)
        shapes = [tuple(feature.shape[1:]) for feature in encoder.trunk(x)]
        assert encoder(x).shape == (1, 18, 512)
    assert shapes == [(128, 64, 64), (256, 32, 32), (512, 16, 16)]
    assert sum(isinstance(module, nn.PReLU) for module in encoder.modules()) == 25  # the stem and 24 blocks
    assert [len(head.convs) // 2 for head in encoder.heads.map2style] == [4, 5, 6]


def test_training_starts_at_the_mean_face():
    assert not PSPEncoder(**TINY).eval()(images()).any()


def test_without_offsets_all_styles_are_equal():
    encoder = PSPEncoder(**TINY).eval()
    with torch.no_grad():
        encoder.heads.base.linear.weight.normal_()
    ws = encoder(images())
    assert torch.equal(ws, ws[:, :1].expand_as(ws))
    assert not torch.equal(ws[0], ws[1])


def test_each_level_writes_its_group():
    """The fine styles see the finest level; without offsets elsewhere, the others are the base."""
    encoder = make_encoder()
    before = encoder(images())
    with torch.no_grad():
        encoder.heads.offsets[2].bias.add_(1.0)
    fine = GROUP_STARTS["fine"]
    after = encoder(images())
    assert torch.equal(after[:, :fine], before[:, :fine])
    torch.testing.assert_close(after[:, fine:], before[:, fine:] + 1)


@pytest.mark.parametrize("changes", [{"base_rank": 6}, {"prior_width": 10}, {"base_rank": 6, "prior_width": 10}])
def test_the_base_style_may_have_a_lower_rank_and_a_prior(changes):
    encoder, x = make_encoder(**changes), images(40)
    assert not PSPEncoder(**TINY | changes).eval()(x[:1]).any()  # starts at the mean face, too
    base = encoder.heads.base
    features = base.squeeze(torch.randn(40, 8, 8, 8)).flatten(1)  # [40, 256]
    w = base.linear(base.reduce(features))
    assert torch.linalg.matrix_rank(w - w.mean(0)) == changes.get("base_rank", 24)
    assert torch.equal(base.prior(w), w)  # it changes nothing before it has learned
    with torch.no_grad():
        before = encoder(x)
        if "prior_width" in changes:
            base.prior.layers[-1].bias.fill_(1.0)
            torch.testing.assert_close(encoder(x), before + 1)


@pytest.mark.parametrize("changes", [{"activation": "relu"}, {"activation": "prelu"}, {"base_rank": 6}])
def test_gradients_reach_every_parameter(changes):
    encoder = make_encoder(**changes).train()
    ws = encoder(images(4))
    (ws * torch.randn(ws.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
    without = [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_one_picture_does_not_depend_on_the_others():
    encoder, x = make_encoder(), images(3)
    torch.testing.assert_close(encoder(x)[1:2], encoder(x[1:2]))


def test_a_stem_kernel_of_1_looks_at_each_folded_square_alone():
    encoder, x = make_encoder(stem_kernel=1), images(1)
    weight = encoder.trunk.stem[0].weight  # [stem_width, 64, 1, 1]
    squares = x.unfold(2, 8, 8).unfold(3, 8, 8).flatten(4)  # [1, 1, 32, 32, 64]
    expected = torch.einsum("nchwk,ok->nohw", squares, weight[:, :, 0, 0])
    torch.testing.assert_close(encoder.trunk.stem[0](encoder.trunk.unshuffle(x)), expected)
    assert encoder(x).shape == make_encoder()(x).shape


@pytest.mark.parametrize(
    "shape", [(1, 1, 512, 512), (1, 1, 256, 128), (1, 3, 256, 256), (1, 256, 256), (256, 256), (1, 1, 1, 256, 256)]
)
def test_wrong_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"got \(.*expected \[N, 1, 256, 256\]"):
        make_encoder()(torch.rand(shape))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation": "gelu"}, "'gelu', expected one of prelu, relu"),
        ({"stage_depths": (1, 1)}, "3, 2 and 3 entries, expected the same number"),
        ({"stage_widths": (16,) * 2, "stage_depths": (1,) * 2, "stage_strides": (2,) * 2}, "2, 2 and 2.*3 or more"),
        ({"head_widths": (16, 8)}, "head_widths has 2 entries, expected 3"),
        ({"stage_widths": (8, 16, 32)}, r"stage_widths are \(8, 16, 32\).*16 or more"),
        ({"stage_depths": (1, 0, 2)}, r"stage_depths \(1, 0, 2\).*1 or more"),
        ({"num_ws": 7}, "num_ws is 7, expected 8 or more"),
        ({"stem_stride": 3}, "stem_stride and stage_strides are 3 .*expected powers of two"),
        ({"stage_strides": (1, 3, 2)}, "expected powers of two"),
        ({"stage_strides": (1, 0, 2)}, "expected powers of two"),
        ({"stem_stride": 64}, "product below 256"),
        ({"stem_kernel": 2}, "stem_kernel is 2, expected 1 or 3"),
        ({"base_rank": -1}, "base_rank is -1 and prior_width 0 .*expected 0 or more"),
        ({"head": "psp", "prior_width": 8}, "prior_width 8 with 'psp' heads.*0 for all heads but 'shared'"),
    ],
)
def test_impossible_configuration_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        PSPEncoder(**TINY | changes)


def test_round_trip_bit_for_bit(tmp_path):
    encoder = make_encoder(activation="prelu")
    encoder.save_pretrained(str(tmp_path))
    loaded = load_component(PSPEncoder, tmp_path)
    before, after = encoder.state_dict(), loaded.state_dict()
    assert before.keys() == after.keys()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    assert [name for name in before if before[name].dtype != after[name].dtype] == []
    assert any(name.endswith("running_var") for name in before)
    assert json.loads(json.dumps(TINY | {"activation": "prelu"})).items() <= dict(loaded.config).items()
    assert torch.equal(loaded(images(1)), load_component(PSPEncoder, tmp_path)(images(1)))
    torch.testing.assert_close(loaded(images(1)), encoder(images(1)))  # another memory layout: rounding differs
