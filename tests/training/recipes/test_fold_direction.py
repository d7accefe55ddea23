"""training/recipes/fold_direction.py: answers moved along a direction by what their own features say."""

from dataclasses import replace

import pytest
import torch

from psp_hub.config import PSPConfig
from psp_hub.directions import Direction, save_directions
from psp_hub.generators import load_generator
from psp_hub.model import PSPModel
from training.data.pairs import PairStore, write_shard
from training.recipes import fold_direction
from training.run.start import without_residual

NAME = "turn"


@pytest.fixture
def model(make_encoder, generator_dir, tmp_path):
    """One that looks twice, saved as `model`."""
    config = PSPConfig("inversion", "photo", str(generator_dir), num_passes=2, face_size=16)
    model = PSPModel(make_encoder(in_channels=3, residual=True), load_generator(generator_dir), config).eval()
    model.save_pretrained(tmp_path / "model")
    return model


@pytest.fixture
def direction(model, tmp_path):
    """Along which the coarse styles move, saved as `directions.safetensors`."""
    vector = torch.randn(1, model.generator.w_dim).half().float()
    both = [Direction(NAME, "left … right", vector, -1.0, 1.0, ("coarse",))]
    both.append(Direction("age", "young … old", vector, -1.0, 1.0, ("coarse", "medium")))
    save_directions(tmp_path / "directions.safetensors", both, "tiny")
    return both[0]


def words(tmp_path, *more: str) -> list[str]:
    names = ("--pairs_dir", "pairs", "--output_dir", "folded", "--directions", "directions.safetensors")
    return [str(tmp_path / "model"), *(n if n.startswith("--") else str(tmp_path / n) for n in names), *more]


def test_answers_move_as_far_as_their_targets(model, direction, tmp_path, capsys):
    """Where the way to go is a line in the features, it is found, and nothing else of an answer changes."""
    torch.manual_seed(1)
    images = torch.rand(40, 3, 256, 256) * 2 - 1
    images[:, :, :128] += torch.linspace(-1, 1, 40)[:, None, None, None]
    images = images.clamp(-1, 1)
    write_shard_of(tmp_path, images, torch.zeros(40, model.generator.num_ws, model.generator.w_dim))
    store = PairStore([tmp_path / "pairs"])
    seen = torch.stack([store[i][0] for i in range(40)])
    single = without_residual(model.encoder).eval()
    with torch.no_grad():
        answers = single(seen) + model.generator.w_avg
        features, _ = fold_direction.read_pairs(single, model.generator.w_avg, store, 0, direction)
    steps = features @ torch.randn(features.shape[1]) / features.std() + 0.5
    ws = answers.clone()
    ws[:, :3] += steps[:, None, None] * direction.vector
    (tmp_path / "pairs" / "images-000.tar").unlink()
    write_shard_of(tmp_path, images, ws)
    more = ["--ridge", "1e-9", "--task", "frontalization"]
    fold_direction.main(fold_direction.parse_args(words(tmp_path, *more)))
    assert float(capsys.readouterr().out.split("left out: ")[1].split()[0]) > 0.98
    folded = PSPModel.from_pretrained(tmp_path / "folded")
    assert folded.config == replace(model.config, task="frontalization", num_passes=1, face_size=256)
    with torch.no_grad():
        moved = folded.encoder(seen) + model.generator.w_avg
    assert (moved - ws)[:, :3].abs().mean() < 0.05 * (answers - ws)[:, :3].abs().mean()
    assert torch.allclose(moved[:, 3:], answers[:, 3:], atol=1e-5)


def write_shard_of(tmp_path, images, ws):
    (tmp_path / "pairs").mkdir(exist_ok=True)
    write_shard(tmp_path / "pairs", 0, images, ws, list(range(len(images))))


def test_what_cannot_be_folded_is_refused(model, direction, tmp_path, capsys):
    write_shard_of(tmp_path, torch.zeros(2, 3, 256, 256), torch.zeros(2, 8, 32))
    cases = {
        ("--direction", "smile"): "there is no direction 'smile', expected one of turn, age",
        ("--direction", "age"): "age moves coarse and medium styles, expected one group",
        ("--task", "turning"): "turning",
    }
    for more, message in cases.items():
        with pytest.raises(SystemExit):
            fold_direction.main(fold_direction.parse_args(words(tmp_path, *more)))
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit):
        fold_direction.parse_args(words(tmp_path, "--ridge", "0"))
    model.encoder = type(model.encoder).from_config(model.encoder.config, head="psp")
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(SystemExit):
        fold_direction.main(fold_direction.parse_args(words(tmp_path)))
    assert "the encoder has 'psp' heads, expected 'shared'" in capsys.readouterr().err
