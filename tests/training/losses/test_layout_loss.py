"""The layout loss, and starting a task from a model of another one: what the segmentation task trains with."""

import json
import shutil

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from psp_hub.tasks import get_task
from training.losses import LossNetworks, TrainingLosses
from training.losses.build import loss_weights
from training.losses.layout import LayoutLoss
from training.networks.layout import LayoutHead, early_features
from training.run.start import build_model
from training.settings.flags import parse
from training.settings.losses import LossSettings
from training.settings.run import parse_args


@pytest.fixture
def generator(make_generator):
    return make_generator(channels=(16, 16, 16, 16, 16), w_dim=32)


@pytest.fixture
def head(tmp_path):
    torch.manual_seed(0)
    save_file(LayoutHead(16).state_dict(), tmp_path / "layout.safetensors")
    return LayoutHead.from_file(tmp_path / "layout.safetensors")


@pytest.fixture
def labels():
    return torch.randint(0, 19, (3, 256, 256), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_the_loss_is_that_of_part_of_the_batch(generator, head, labels):
    delta = torch.randn(3, generator.num_ws, 32).requires_grad_()
    weights = {"layout": 0.5}
    losses = TrainingLosses(generator, weights, LossNetworks(layout=LayoutLoss(head, share=0.5))).train()
    total, parts = losses(delta, {"labels": labels})
    logits = head(early_features(generator, delta[:2] + generator.w_avg))  # half of three, rounded up
    expected = F.cross_entropy(F.interpolate(logits, scale_factor=4), labels[:2].long())
    torch.testing.assert_close(parts["loss/layout"], expected)
    torch.testing.assert_close(total, 0.5 * expected)
    total.backward()
    assert [bool(part.any()) for part in delta.grad] == [True, True, False]
    assert all(parameter.grad is None for parameter in [*head.parameters(), *generator.parameters()])


def test_share_is_checked(head):
    with pytest.raises(ValueError, match="share of the layout loss is 0, expected more than 0 and at most 1"):
        LayoutLoss(head, share=0)


def test_flags():
    settings = parse(LossSettings, ["--layout_net", "net", "--layout_weight", "0.7"])
    assert loss_weights(settings, get_task("segmentation"), has_pairs=True) == {"w": 1, "layout": 0.7}
    with pytest.raises(ValueError, match="--layout_net is for tasks whose input is a label map"):
        loss_weights(settings, get_task("sketch"), has_pairs=True)


def test_another_tasks_model_gives_all_but_its_stem(model_dir, pairs_dir, tmp_path, caplog):
    command = ["--task", "segmentation", "--pairs_dir", str(pairs_dir), "--output_dir", str(tmp_path)]
    command += ["--label_maps_dir", str(tmp_path), "--pretrained_model_name_or_path", str(model_dir)]
    model = build_model(parse_args(command))
    config = json.loads((model_dir / "encoder" / "config.json").read_text())
    del config["stem_kernel"]  # saved before there was one
    older = shutil.copytree(model_dir, tmp_path / "older")
    (older / "encoder" / "config.json").write_text(json.dumps(config))
    from_older = build_model(parse_args([*command, "--pretrained_model_name_or_path", str(older)]))
    assert from_older.encoder.config.stem_kernel == 1
    sketch = build_model(parse_args([*command, "--task", "sketch"]))
    assert model.config.task == "segmentation" and model.encoder.config.stem_kernel == 1
    assert "takes 1 channels, the task 'segmentation' has 19: the first convolution starts anew" in caplog.text
    old = sketch.encoder.state_dict()
    for name, value in model.encoder.state_dict().items():
        assert name.startswith("trunk.stem.") or torch.equal(value, old[name]), name
    assert model.encode(torch.rand(1, 19, 256, 256)).shape == (1, 8, 32)
