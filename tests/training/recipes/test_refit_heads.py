"""training.recipes.refit_heads: heads that follow what is seen in answered faces."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from training.data.pairs import PairStore
from training.evaluation.attributes import WINDOWS, AttributeReader
from training.networks.attributes import AttributesFromW
from training.recipes.refit_heads import main, parse_args
from training.strokes import ATTRIBUTES


@pytest.fixture
def words(model_dir, artists_dir, pairs_dir, tmp_path):
    """A command line for heads that say nothing yet."""
    count, w_dim = len(ATTRIBUTES), 32
    heads = {"weight": torch.zeros(count, w_dim), "bias": torch.zeros(count), "vectors": torch.randn(count, w_dim)}
    save_file(heads | {"index": torch.arange(3), "values": torch.ones(3, count)}, tmp_path / "old.safetensors")
    given = ["--attributes", tmp_path / "old.safetensors", "--model", model_dir, "--pairs_dir", pairs_dir]
    given += ["--drawings_dir", artists_dir / "sketches", "--output", tmp_path / "new.safetensors", "--names", "beard"]
    return [str(word) for word in given]


def test_the_named_head_alone_is_new_and_follows_what_is_seen(words, pairs_dir, tmp_path, capsys):
    main(parse_args([*words, "--num_pairs", "10"]))
    old, new = (load_file(tmp_path / f"{name}.safetensors") for name in ("old", "new"))
    beard = ATTRIBUTES.index("beard")
    others = [i for i in range(len(ATTRIBUTES)) if i != beard]
    assert old.keys() == new.keys()
    assert all(torch.equal(old[name], new[name]) for name in ("vectors", "index", "values"))
    assert torch.equal(old["weight"][others], new["weight"][others])
    assert "beard: the head agrees with what is seen in" in capsys.readouterr().out

    store = PairStore([pairs_dir])
    images, w = (torch.stack(part) for part in zip(*(store[i] for i in range(0, len(store), 2)), strict=True))
    odds = AttributeReader.from_file().log_odds(images)[:, list(WINDOWS).index("beard")]
    read = AttributesFromW.from_file(tmp_path / "new.safetensors")(w.float())[:, beard]
    assert torch.corrcoef(torch.stack([read, odds]))[0, 1] > 0.5, "where the reader sees more of a beard, so does it"


@pytest.mark.parametrize(
    "more, message",
    [
        (["--names", "long_hair"], "--names has long_hair, expected some of"),
        (["--num_pairs", "3"], "and 3 pairs, expected 8 or more"),
    ],
)
def test_what_cannot_be_fitted(words, more, message, capsys):
    with pytest.raises(SystemExit):
        parse_args([*words, *more])
    assert message in capsys.readouterr().err


def test_models_of_other_tasks_are_refused(words, labels_dir, capsys):
    with pytest.raises(SystemExit):
        main(parse_args([*words, "--model", str(labels_dir)]))
    assert "is of the task segmentation, expected sketch" in capsys.readouterr().err
