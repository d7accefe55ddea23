"""The encoders of the paper: parity with the original, sizes."""

import pytest
import torch

from psp_hub.conversion.original_names import encoder_key, equalise
from psp_hub.encoder import PSP, PSPEncoder
from tests.golden_weights import fill, original_input, original_outputs, relative_error

GOLDEN = original_outputs()
CASES = {  # name in the golden file: channels, head
    "gradual_256_sketch": (1, "psp"),
    "into_w_256_rgb": (3, "w"),
    "into_wplus_256_rgb": (3, "naive_w_plus"),
}


def original_encoder(channels: int, head: str, num_ws: int = 14) -> PSPEncoder:
    """An encoder with the weights of the original's, filled by the formula."""
    with torch.device("meta"):
        encoder = PSPEncoder(in_channels=channels, num_ws=num_ws, **PSP | {"head": head})
    values = {}
    for name, expected in encoder.state_dict().items():
        key, equalised = encoder_key(name, PSP["stage_depths"])
        value = fill(f"encoder.{key}", expected.shape)
        values[name] = equalise(value) if equalised else value
    encoder.load_state_dict(values, assign=True)
    return encoder.eval()


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_parity_with_the_original(case):
    channels, head = CASES[case]
    codes = original_encoder(channels, head)(original_input(channels))
    expected = GOLDEN[f"{case}.codes"]
    assert relative_error(codes[:, 0] if expected.ndim == 2 else codes, expected) < 1e-4
    if expected.ndim == 2:
        assert torch.equal(codes, codes[:, :1].expand_as(codes))


@pytest.mark.parametrize(
    ("head", "num_ws", "expected"),
    [
        ("psp", 14, 209_450_688),
        ("psp", 16, 238_293_696),
        ("psp", 18, 267_136_704),
        ("w", 18, 31_212_736),
        ("naive_w_plus", 18, 48_524_480),
    ],
)
def test_sizes_of_the_original(head, num_ws, expected):
    with torch.device("meta"):
        encoder = PSPEncoder(in_channels=3, num_ws=num_ws, **PSP | {"head": head})
    assert sum(parameter.numel() for parameter in encoder.parameters()) == expected


def test_a_larger_picture_is_refused():
    """The original would fold it into the batch."""
    with torch.device("meta"):
        encoder = PSPEncoder(in_channels=3, num_ws=18, **PSP)
        with pytest.raises(ValueError, match=r"\(1, 3, 512, 512\), expected \[N, 3, 256, 256\]"):
            encoder(torch.zeros(1, 3, 512, 512))
