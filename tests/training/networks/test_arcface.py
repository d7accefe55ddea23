"""training.networks.arcface: parity with the original."""

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from psp_hub.conversion.original_names import trunk_key
from psp_hub.trunk import IR_SE50
from tests.golden_weights import fill, original_outputs, relative_error
from training.losses.identity import IdentityLoss
from training.networks.arcface import ArcFace
from training.networks.recognisers import load_recogniser

HEADS = {"norm": "output_layer.0", "linear": "output_layer.3", "output_norm": "output_layer.4"}


def original_state() -> dict[str, Tensor]:
    """A state dict under the original's names, filled by the formula."""
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in ArcFace().state_dict().items()}
    state = {}
    for name, shape in shapes.items():
        part, _, rest = name.partition(".")
        key = trunk_key(rest, IR_SE50["stage_depths"]) if part == "trunk" else f"{HEADS[part]}.{rest}"
        state[key] = fill(key, shape)
    return state


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return original_state()


def faces(seed: int, num: int, size: int) -> Tensor:
    return torch.rand(num, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.slow
def test_parity_with_the_original(state, tmp_path):
    torch.save(state, tmp_path / "model_ir_se50.pth")
    network = ArcFace.from_original(tmp_path / "model_ir_se50.pth")
    expected = original_outputs()
    assert relative_error(network(faces(9, 2, 112)), expected["arcface.embedding"]) < 1e-4
    assert relative_error(network.embed(faces(13, 1, 256)), expected["arcface.crop_embedding"]) < 1e-4


@pytest.mark.slow
def test_the_identity_loss_looks_at_the_originals_crop(state, tmp_path):
    torch.save(state, tmp_path / "model_ir_se50.pth")
    recogniser = load_recogniser(tmp_path / "model_ir_se50.pth")
    image, other = faces(13, 1, 256), faces(14, 1, 256)
    value, improvement = IdentityLoss(recogniser)(image, other, image)
    similarity = original_outputs()["arcface.crop_embedding"][0] @ recogniser.embed(other)[0]
    assert value.item() == pytest.approx(1 - similarity.item(), abs=1e-5)
    assert improvement.abs() < 1e-6
    assert not any(weight.requires_grad for weight in recogniser.parameters())


@pytest.mark.slow
def test_our_own_names_are_read_too(state, tmp_path):
    network = ArcFace()
    network.load_original(state)
    save_file(network.state_dict(), tmp_path / "arcface.safetensors")
    loaded = load_recogniser(tmp_path / "arcface.safetensors").state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in network.state_dict().items())


def test_size_of_the_original():
    with torch.device("meta"):
        assert sum(p.numel() for p in ArcFace().parameters()) == 43_797_696


@pytest.mark.slow
@pytest.mark.parametrize("change", ["missing", "unknown", "shape"])
def test_other_weights_are_refused(state, change):
    state = dict(state)
    if change == "missing":
        del state["output_layer.3.bias"]
    elif change == "unknown":
        state["output_layer.9.weight"] = torch.zeros(1)
    else:
        state["output_layer.3.bias"] = torch.zeros(3)
    with pytest.raises(ValueError, match="not those of ArcFace"):
        ArcFace().load_original(state)


@pytest.mark.parametrize("size", [96, 224])
def test_another_size_is_refused(size):
    with torch.device("meta"):
        network = ArcFace()
        with pytest.raises(ValueError, match=r"expected \[N, 3, 112, 112\]"):
            network(torch.zeros(1, 3, size, size))
        with pytest.raises(ValueError, match=r"expected \[N, 3, 256, 256\]"):
            network.embed(torch.zeros(1, 3, size, size))
