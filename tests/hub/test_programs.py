"""The programs and the Hub: training, psp-hub and the page."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from psp_hub import PSPModel
from tests.hub_client import ROOT, CallError
from tests.hub_models import BUILTIN, HALF_WEIGHTS, WEIGHTS, assert_loaded, refer
from tests.loopback_hub import OWNER, READER

TRAIN = """
from training.settings.run import parse_args
from training.run.train import main
main(parse_args({words!r}))
"""


def training_words(model_dir: Path, pairs_dir: Path, output_dir: Path, *more: str) -> list[str]:
    options = {"task": "sketch", "pairs_dir": pairs_dir, "output_dir": output_dir, "train_batch_size": 4}
    options |= {"pretrained_model_name_or_path": model_dir, "num_validation_pairs": 4, "max_train_steps": 2}
    options |= {"dataloader_num_workers": 0, "mixed_precision": "no", "report_to": "none", "hub_model_id": "org/run"}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return [*words, "--push_to_hub", *more]


@pytest.mark.slow
def test_a_training_run_is_pushed(hub, client, model_dir, pairs_dir, tmp_path, monkeypatch):
    words = training_words(model_dir, pairs_dir, tmp_path / "run", "--hub_token", OWNER, "--hub_private_repo")
    client.run(TRAIN.format(words=words), model_dir)
    repo, exported = hub.repos["org/run"], PSPModel.from_pretrained(tmp_path / "run" / "model")
    assert repo.private and len(repo.messages) == 2  # the hub's own commit, and ours
    assert not any("checkpoint" in name or name.endswith((".bin", ".pkl")) for name in repo.files)
    client.load("org/run", output=tmp_path / "loaded")
    assert_loaded(tmp_path / "loaded", exported)
    card = ModelCard(repo.files["README.md"].decode())
    best = json.loads((tmp_path / "run" / "best.json").read_text())
    assert "Data: 20 pairs, 16 training, 4 held out.\nLosses: 1 w.\n" in card.text
    assert "after step 2;\nthat step is the exported one for its w error." in card.text
    assert f"| error of the styles (0 exact, 1 the mean face) | {best['w_error']:.4f} |" in card.text
    assert card.text.index("## Training") < card.text.index("## Limits") < card.text.index("## Licence")
    assert "(validation.png)" in card.text
    assert repo.files["validation.png"] == (tmp_path / "run" / "validation-000002.png").read_bytes()
    assert f"--pairs_dir {pairs_dir.name} " in card.text and "--max_train_steps 2" in card.text
    assert OWNER not in card.text and str(tmp_path) not in card.text and str(pairs_dir.parent) not in card.text
    assert OWNER not in (tmp_path / "run" / "training_args.json").read_text()


def test_a_run_that_could_not_be_pushed_does_not_start(hub, client, model_dir, pairs_dir, tmp_path):
    words = training_words(model_dir, pairs_dir, tmp_path / "run", "--hub_token", READER)
    with pytest.raises(CallError, match="may not write to org/run"):
        client.run(TRAIN.format(words=words), model_dir)
    client.push(model_dir, "org/run")
    with pytest.raises(CallError, match="may not write to org/run"):
        client.run(TRAIN.format(words=words), model_dir)
    words[words.index("org/run")] = "run"
    with pytest.raises(CallError, match="needs --hub_model_id owner/name, got 'run'"):
        client.run(TRAIN.format(words=words), model_dir)
    assert not (tmp_path / "run" / "model").exists()


def test_push_and_translate_on_the_command_line(hub, client, portrait, model_dir, generator_dir, tmp_path):
    folder = refer(model_dir, tmp_path / "model", BUILTIN)
    (folder / "README.md").write_text("My card.")
    (folder / "evaluation.json").write_text('{"pairs": {"w_error": 0.5}}')
    assert client.command(["push", str(folder), "org/sketch", "--private", "--tag", "v1"]) == 0
    repo = hub.repos["org/sketch"]
    assert repo.private
    assert "v1" in repo.tags
    assert repo.files["README.md"] == b"My card."
    assert "evaluation.json" in repo.files
    assert client.command(["push", str(folder), "org/sketch", "--variant", "fp16", "--include-generator"]) == 0
    assert HALF_WEIGHTS in repo.files
    for source in (str(generator_dir), BUILTIN):
        assert client.command(["push", source, "org/generator"]) == 0
    assert WEIGHTS in hub.repos["org/generator"].files
    portrait(200).save(tmp_path / "in.png")
    output = tmp_path / "out.png"
    arguments = ["translate", str(tmp_path / "in.png"), "-o", str(output), "--model"]
    assert client.command([*arguments, "org/generator"]) == 2
    assert client.command([*arguments, "org/none"]) == 1
    assert not output.exists()
    client.push(model_dir, "org/whole")
    assert client.command([*arguments, "org/whole"]) == 0
    assert output.exists()
    assert client.command(["push", str(tmp_path), "org/nothing"]) == 2
    assert "org/nothing" not in hub.repos


def test_the_page(hub, client, portrait, model_dir, tmp_path):
    """What docs/hub.md says of loading and pushing works, in an order in which everything is there when needed."""
    section = (ROOT / "docs" / "hub.md").read_text(encoding="utf-8").split("## Load and push")[1].split("\n## ")[0]
    blocks = re.findall(r"```(python|bash)\n(.*?)```", section, re.DOTALL)
    load, push, commands, push_generator, refer_to_it = [code for _, code in blocks]
    shutil.copytree(model_dir, tmp_path / "runs" / "sketch" / "model")
    portrait(200).save(tmp_path / "drawing.png")
    client.chdir(tmp_path)
    try:
        client.run(push, model_dir)
        for line in (commands + push_generator).splitlines():
            assert client.command(shlex.split(line)[1:]) == 0, line
        client.run(refer_to_it, model_dir)
        client.push(model_dir, "owner/psp-labels")
        client.run(load, model_dir)
    finally:
        client.chdir(ROOT)
    assert (tmp_path / "face.png").exists()
    assert sorted(hub.repos) == ["owner/mobilestylegan-ffhq", "owner/psp-labels", "owner/psp-sketch"]
    assert hub.repos["owner/psp-sketch"].private
    assert HALF_WEIGHTS in hub.repos["owner/psp-sketch"].files
    base_generator = json.loads(hub.repos["owner/psp-sketch"].files["config.json"])["base_generator"]
    assert base_generator["revision"] == hub.repos["owner/mobilestylegan-ffhq"].refs["main"]
