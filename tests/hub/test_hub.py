"""PSPModel and generators on the Hub, through the real client over HTTP (see loopback_hub.py and hub_client.py)."""

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save
from torch import Tensor

from psp_hub import PSPConfig, PSPModel
from psp_hub.config import GeneratorReference
from tests.hub_client import ROOT, CallError, HubClient
from tests.loopback_hub import OWNER, READER, STRANGER, LoopbackHub

BUILTIN = "mobilestylegan-ffhq"
WEIGHTS = "diffusion_pytorch_model.safetensors"
ENCODER_WEIGHTS, HALF_WEIGHTS = f"encoder/{WEIGHTS}", "encoder/diffusion_pytorch_model.fp16.safetensors"
CONFIGS = [".gitattributes", "README.md", "config.json", "encoder/config.json"]


@pytest.fixture(scope="module")
def served() -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        yield hub


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache and settings of the clients."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def client(served: LoopbackHub, home: Path, generator_dir: Path) -> Iterator[HubClient]:
    """A process of the owner of all repositories, for whom the built-in generator is the tiny one."""
    with HubClient(served.url, home, token=OWNER, PSP_HUB_GENERATOR=str(generator_dir)) as client:
        yield client


@pytest.fixture
def hub(served: LoopbackHub) -> LoopbackHub:
    """Without repositories and with no requests yet."""
    served.offline = False
    served.repos.clear()
    served.requests.clear()
    return served


@pytest.fixture
def cold(tmp_path: Path) -> dict[str, Path]:
    """Options for a load that finds nothing in the cache."""
    return {"cache_dir": tmp_path / "cold"}


@pytest.fixture(scope="module")
def calm_dir(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, its last layer scaled so that the pictures are in about [-1, 1] as they should be."""
    model, folder = PSPModel.from_pretrained(model_dir), tmp_path_factory.mktemp("calm")
    to_img = model.generator.synthesis.to_img
    scale = pictures(model).abs().max()
    to_img.weight /= scale
    to_img.bias /= scale
    model.save_pretrained(folder)
    return folder


@torch.no_grad()
def pictures(model: PSPModel) -> Tensor:
    """As hub_client.py draws them."""
    return model(torch.linspace(0, 1, 65536).reshape(1, 1, 256, 256).sin()).images


def assert_loaded(output: Path, model: PSPModel) -> None:
    """What `client.load` wrote is this model, bit for bit, and draws the same."""
    loaded = load_file(output)
    assert torch.equal(loaded.pop("images"), pictures(model))
    expected = model.state_dict()
    assert loaded.keys() == expected.keys()
    assert [name for name in loaded if not torch.equal(loaded[name], expected[name])] == []


def refer(model_dir: Path, folder: Path, base_generator: str | GeneratorReference) -> Path:
    """A saved copy of the model with another `base_generator`."""
    model = PSPModel.from_pretrained(model_dir)
    model.config = PSPConfig("sketch", base_generator=base_generator)
    model.save_pretrained(folder)
    return folder


# Push and load


def test_a_push_is_one_commit_of_weights_configs_and_card(hub, client, model_dir):
    commit = client.push(model_dir, "org/sketch", commit_message="Try it", tag="v1")
    repo = hub.repos["org/sketch"]
    assert repo.messages == ["initial commit", "Try it"]
    assert repo.refs["main"] == repo.tags["v1"] == commit["oid"]
    generator = ["generator/config.json", f"generator/{WEIGHTS}"]
    assert sorted(repo.files) == sorted([*CONFIGS, ENCODER_WEIGHTS, *generator])
    assert str(model_dir).encode() not in b"".join(repo.files.values())
    assert not repo.private


@pytest.mark.slow
def test_another_process_loads_the_same_bits_from_one_commit(hub, client, home, model_dir, tmp_path):
    commit = client.push(model_dir, "org/sketch")
    hub.requests.clear()
    with HubClient(hub.url, tmp_path / "home") as stranger:
        stranger.load("org/sketch", output=tmp_path / "output")
    assert_loaded(tmp_path / "output", PSPModel.from_pretrained(model_dir))
    first, *others = hub.requests
    assert first == "GET /api/models/org/sketch"
    assert len(others) == 10  # HEAD and GET of five files
    assert all(f"/org/sketch/resolve/{commit['oid']}/" in request for request in others)


def test_requests_of_later_loads(hub, client, model_dir, cold):
    client.push(model_dir, "org/sketch")
    client.load("org/sketch", **cold)
    hub.requests.clear()
    client.load("org/sketch", **cold)
    assert hub.requests == ["GET /api/models/org/sketch"]
    client.load("org/sketch", local_files_only=True, **cold)
    assert len(hub.requests) == 1


def test_a_hub_that_is_down_is_not_needed_once_all_is_in_the_cache(hub, client, model_dir, cold, tmp_path):
    client.push(model_dir, "org/sketch")
    hub.offline = True
    for options in ({}, {"local_files_only": True}):
        with pytest.raises(
            CallError, match=r"org/sketch \(revision main\) is not in the cache.*connect once"
        ) as caught:
            client.load("org/sketch", **cold, **options)
        assert "LocalEntryNotFoundError" in caught.value.kinds
    hub.offline = False
    client.load("org/sketch", **cold)
    hub.offline = True
    client.load("org/sketch", output=tmp_path / "output", **cold)
    assert_loaded(tmp_path / "output", PSPModel.from_pretrained(model_dir))


@pytest.mark.slow
def test_no_server_at_all(hub, client, home, model_dir, tmp_path):
    client.push(model_dir, "org/sketch")
    client.load("org/sketch")
    for environment in ({"HF_HUB_OFFLINE": "0"}, {"HF_HUB_OFFLINE": "1"}):
        with HubClient("http://127.0.0.1:9", home, **environment) as cut_off:
            cut_off.load("org/sketch", output=tmp_path / "output")
            assert_loaded(tmp_path / "output", PSPModel.from_pretrained(model_dir))
            with pytest.raises(CallError, match="org/other.*is not in the cache"):
                cut_off.load("org/other")
            with pytest.raises(CallError, match="no connection to the Hub while pushing org/sketch"):
                cut_off.push(model_dir, "org/sketch")


def test_revisions(hub, client, model_dir, calm_dir, tmp_path):
    old = client.push(model_dir, "org/sketch", tag="v1")["oid"]
    client.push(calm_dir, "org/sketch")
    client.push(model_dir, "org/sketch", revision="trial")
    cases = {None: calm_dir, "main": calm_dir, "v1": model_dir, old: model_dir, "trial": model_dir}
    for revision, folder in cases.items():
        client.load("org/sketch", revision=revision, output=tmp_path / "output")
        assert_loaded(tmp_path / "output", PSPModel.from_pretrained(folder))


def test_a_model_in_a_subfolder(hub, client, model_dir, tmp_path):
    client.push(model_dir, "org/sketch")
    repo = hub.repos["org/sketch"]
    repo.commit("main", {f"models/sketch/{path}": content for path, content in repo.files.items()}, "Move")
    client.load("org/sketch", subfolder="models/sketch", output=tmp_path / "output")
    assert_loaded(tmp_path / "output", PSPModel.from_pretrained(model_dir))


def test_a_pull_request(hub, client, model_dir, tmp_path):
    client.push(model_dir, "org/sketch")
    main = hub.repos["org/sketch"].refs["main"]
    client.push(model_dir, "org/sketch", variant="fp16", create_pr=True, token=STRANGER)
    repo = hub.repos["org/sketch"]
    assert repo.refs["main"] == main
    assert HALF_WEIGHTS in repo.commits[repo.refs["refs/pr/1"]]
    client.load("org/sketch", revision="refs/pr/1", variant="fp16")


def test_a_private_repository(hub, client, model_dir, cold):
    client.push(model_dir, "org/sketch", private=True)
    assert hub.repos["org/sketch"].private
    client.load("org/sketch", token=READER, **cold)
    for token in (STRANGER, False):
        with pytest.raises(CallError, match="no model repository org/sketch.*if it is private, log in") as caught:
            client.load("org/sketch", token=token, **cold)
        assert "RepositoryNotFoundError" in caught.value.kinds


def test_fp16_variant(hub, client, calm_dir, tmp_path):
    client.push(calm_dir, "org/sketch")
    client.push(calm_dir, "org/sketch", variant="fp16")
    files = hub.repos["org/sketch"].files
    assert len(files[HALF_WEIGHTS]) < 0.6 * len(files[ENCODER_WEIGHTS])
    model = PSPModel.from_pretrained(calm_dir)
    full = pictures(model)
    assert 0.5 < full.abs().max() < 2
    for dtype in ("float16", "float32"):
        result = client.load("org/sketch", variant="fp16", torch_dtype=dtype, output=tmp_path / dtype)
        assert result["dtypes"] == [f"torch.{dtype}"]
        loaded = load_file(tmp_path / dtype)
        difference = (loaded["images"].float() - full).abs().max()
        assert 0 < difference < 2e-2
    client.load("org/sketch", output=tmp_path / "plain")
    assert_loaded(tmp_path / "plain", model)


def test_a_repository_with_a_variant_only_says_so(hub, client, model_dir):
    client.push(model_dir, "org/sketch", variant="fp16")
    assert 'from_pretrained("org/sketch", variant="fp16")' in hub.repos["org/sketch"].files["README.md"].decode()
    with pytest.raises(CallError, match=f"org/sketch at commit .* has no file {ENCODER_WEIGHTS}"):
        client.load("org/sketch")


# Generators


def test_a_generator_in_a_repository_of_its_own(hub, client, model_dir, generator_dir, tmp_path):
    oid = client.push_a_generator(generator_dir, "org/generator")
    assert sorted(hub.repos["org/generator"].files) == [".gitattributes", "README.md", "config.json", WEIGHTS]
    client.push(model_dir, "org/sketch", generator="org/generator")
    client.push_a_generator(generator_dir, "org/generator", variant="fp16", commit_message="A newer commit")
    files = hub.repos["org/sketch"].files
    assert sorted(files) == [*CONFIGS, ENCODER_WEIGHTS]
    reference = {"pretrained_model_name_or_path": "org/generator", "revision": oid, "subfolder": None, "variant": None}
    assert json.loads(files["config.json"])["base_generator"] == reference

    hub.requests.clear()
    cold = {"cache_dir": tmp_path / "cold"}
    result = client.load("org/sketch", output=tmp_path / "output", **cold)
    assert result["base_generator"] == reference
    assert_loaded(tmp_path / "output", PSPModel.from_pretrained(model_dir))
    of_generator = [request for request in hub.requests if "org/generator" in request]
    assert len(of_generator) == 4  # HEAD and GET of two files: the commit is known
    assert all(f"/resolve/{oid}/" in request for request in of_generator)
    hub.requests.clear()
    client.load("org/sketch", **cold)
    assert hub.requests == ["GET /api/models/org/sketch"]


def test_a_shared_generator_is_not_loaded_again(hub, client, model_dir, cold):
    client.push(model_dir, "org/one")
    client.push(model_dir, "org/two")
    client.load("org/one", keep="first", **cold)
    hub.requests.clear()
    assert client.load("org/two", generator="first", **cold)["shared"]
    assert not any("generator/" in request for request in hub.requests)


@pytest.mark.parametrize(
    "reference",
    [
        {"pretrained_model_name_or_path": "org/generator"},
        {"pretrained_model_name_or_path": "org/generator", "revision": "v1"},
        {"pretrained_model_name_or_path": "org/generator", "revision": "v1", "variant": "fp16"},
        {"pretrained_model_name_or_path": "org/whole", "subfolder": "generator"},
    ],
)
def test_references_in_a_config(hub, client, model_dir, generator_dir, tmp_path, reference):
    client.push(model_dir, "org/whole")
    client.push_a_generator(generator_dir, "org/generator")
    client.push_a_generator(generator_dir, "org/generator", variant="fp16", tag="v1")
    folder = refer(model_dir, tmp_path / "model", GeneratorReference(**reference))
    assert not (folder / "generator").exists()
    client.push(folder, "org/sketch")
    client.load("org/sketch")
    hub.requests.clear()
    client.load("org/sketch", output=tmp_path / "output")
    assert len(hub.requests) == 2  # both names may mean newer commits by now
    loaded = load_file(tmp_path / "output")
    close = {"rtol": 0, "atol": 1e-2 * loaded["images"].abs().max()} if "variant" in reference else {}
    torch.testing.assert_close(loaded["images"], pictures(PSPModel.from_pretrained(model_dir)), **close)


def test_include_generator_makes_a_repository_that_needs_no_other(hub, client, model_dir, generator_dir, tmp_path):
    client.push_a_generator(generator_dir, "org/generator")
    client.push(model_dir, "org/sketch", generator="org/generator", include_generator=True)
    del hub.repos["org/generator"]
    files = hub.repos["org/sketch"].files
    assert json.loads(files["config.json"])["base_generator"] is None
    assert "base_model" not in ModelCard(files["README.md"].decode()).data.to_dict()
    client.load("org/sketch", output=tmp_path / "output", cache_dir=tmp_path / "cold")
    assert_loaded(tmp_path / "output", PSPModel.from_pretrained(model_dir))


def test_a_generator_that_is_no_longer_needed_goes(hub, client, model_dir, generator_dir):
    client.push_a_generator(generator_dir, "org/generator")
    client.push(model_dir, "org/sketch")
    client.push(model_dir, "org/sketch", generator="org/generator")
    assert sorted(hub.repos["org/sketch"].files) == [*CONFIGS, ENCODER_WEIGHTS]


def test_a_built_in_generator_is_named(hub, client, model_dir, tmp_path):
    client.push(refer(model_dir, tmp_path / "model", BUILTIN), "org/sketch")
    files = hub.repos["org/sketch"].files
    assert sorted(files) == [*CONFIGS, ENCODER_WEIGHTS]
    assert json.loads(files["config.json"])["base_generator"] == BUILTIN
    assert client.load("org/sketch", output=tmp_path / "output")["base_generator"] == BUILTIN
    assert_loaded(tmp_path / "output", PSPModel.from_pretrained(model_dir))


# Cards


def test_the_card(hub, client, model_dir, generator_dir):
    client.push_a_generator(generator_dir, "org/generator")
    evaluation = {
        "task": "sketch",
        "pairs": {"w_error": 0.61234567, "mean_face": {"lpips": 4}},
        "faces": {"rank_1": 1},
    }
    client.push(model_dir, "org/psp-sketch", generator="org/generator", evaluation=evaluation)
    files = hub.repos["org/psp-sketch"].files
    card = ModelCard(files["README.md"].decode())
    assert card.data.to_dict() == {
        "library_name": "psp-hub",
        "pipeline_tag": "image-to-image",
        "license": "other",
        "license_name": "non-commercial-research",
        "license_link": card.data.license_link,
        "base_model": "org/generator",
        "base_model_relation": "adapter",
        "tags": ["pixel2style2pixel", "stylegan", "sketch"],
    }
    assert 'model = PSPModel.from_pretrained("org/psp-sketch")\n' in card.text
    assert "| w error | 0.6123 |  |\n| mean face: lpips | 4 |  |\n| rank 1 |  | 1 |\n" in card.text
    assert "non-commercial" in card.text
    assert json.loads(files["evaluation.json"]) == evaluation
    generator_card = hub.repos["org/generator"].files["README.md"].decode()
    assert 'generator = load_generator("org/generator")\n' in generator_card
    assert "library_name: psp-hub" in generator_card


def test_a_card_that_is_there_is_never_overwritten(hub, client, model_dir, calm_dir, generator_dir):
    for push, folder in ((client.push, model_dir), (client.push_a_generator, generator_dir)):
        push(folder, "org/thing")
        client.edit("org/thing", "README.md", "Mine.")
        push(folder, "org/thing", variant="fp16")
        assert hub.repos["org/thing"].files["README.md"] == b"Mine."
        hub.repos.clear()
    client.push(model_dir, "org/thing")
    client.edit("org/thing", "README.md", "Mine.")
    client.push(calm_dir, "org/thing", card="Yours.")
    assert hub.repos["org/thing"].files["README.md"] == b"Mine."


# Bad input


def test_there_is_no_such_thing(hub, client, model_dir):
    client.push(model_dir, "org/sketch")
    with pytest.raises(CallError, match="no folder and no model repository org/none: check the name") as caught:
        client.load("org/none")
    assert "RepositoryNotFoundError" in caught.value.kinds
    for revision in ("v9", "f" * 40):
        with pytest.raises(CallError, match=f"org/sketch has no branch, tag or commit '{revision}'") as caught:
            client.load("org/sketch", revision=revision)
        assert "RevisionNotFoundError" in caught.value.kinds
    with pytest.raises(CallError, match=f"has no file {HALF_WEIGHTS}; was it saved without this variant") as caught:
        client.load("org/sketch", variant="fp16")
    assert "ValueError" in caught.value.kinds
    with pytest.raises(CallError, match="has no file elsewhere/config.json"):
        client.load("org/sketch", subfolder="elsewhere")


def test_a_gated_repository(hub, client, model_dir, cold):
    client.push(model_dir, "org/sketch")
    hub.repos["org/sketch"].gated = True
    client.load("org/sketch", **cold)
    with pytest.raises(CallError, match=f"org/sketch is gated: ask for access at {hub.url}/org/sketch") as caught:
        client.load("org/sketch", token=READER, cache_dir=cold["cache_dir"] / "other")
    assert "GatedRepoError" in caught.value.kinds


def test_a_file_that_is_damaged_on_its_way(hub, client, model_dir, cold, tmp_path):
    client.push(model_dir, "org/sketch")
    damage = hub.repos["org/sketch"].damage
    damage[ENCODER_WEIGHTS] = lambda content: content[:-10]
    with pytest.raises(CallError, match="downloading org/sketch failed, try again.*should be of size") as caught:
        client.load("org/sketch", **cold)
    assert "OSError" in caught.value.kinds
    damage[ENCODER_WEIGHTS] = lambda content: content[:-10] + bytes([content[-10] ^ 1]) + content[-9:]
    for _ in range(2):  # it does not stay in the cache
        with pytest.raises(
            CallError, match=f"{ENCODER_WEIGHTS} of org/sketch arrived damaged.*It is deleted, try again"
        ) as caught:
            client.load("org/sketch", **cold)
        assert "ValueError" in caught.value.kinds
    damage.clear()
    client.load("org/sketch", output=tmp_path / "output", **cold)
    assert_loaded(tmp_path / "output", PSPModel.from_pretrained(model_dir))
    hub.requests.clear()
    client.load("org/sketch", force_download=True, **cold)
    assert f"GET /org/sketch/resolve/{hub.repos['org/sketch'].refs['main']}/{ENCODER_WEIGHTS}" in hub.requests


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("config.json", b'{"task": "sketch", "format_version": 2}', "format_version 2.*pip install -U psp-hub"),
        ("config.json", b'{"task": "sketch", "color": 1}', "'color'.*expected `task` and some of"),
        ("config.json", b"{}", "expected `task`"),
        ("config.json", b"<html>", "not valid JSON"),
        ("encoder/config.json", b'{"_class_name": "Other"}', "does not hold a PSPEncoder"),
        ("generator/config.json", b'{"_class_name": "BigGAN"}', "'BigGAN', expected one of"),
        (ENCODER_WEIGHTS, save({"weight": torch.zeros(1)}), "do not fit PSPEncoder|does not hold a PSPEncoder"),
        (ENCODER_WEIGHTS, b"", "does not hold a PSPEncoder"),
        (f"generator/{WEIGHTS}", save({"weight": torch.zeros(1)}), "MobileStyleGAN"),
    ],
)
def test_bad_content_is_refused_by_name(hub, client, model_dir, path, content, message):
    client.push(model_dir, "org/sketch")
    repo = hub.repos["org/sketch"]
    commit = repo.commit("main", {**repo.files, path: content}, "Break it")
    with pytest.raises(CallError, match=message) as caught:
        client.load("org/sketch")
    assert "ValueError" in caught.value.kinds
    assert f"org/sketch at commit {commit[:8]}" in caught.value.message


def test_weights_of_another_architecture(hub, client, model_dir, make_encoder, make_generator, tmp_path):
    other = PSPModel(make_encoder(10), make_generator((16,) * 5, 32), PSPConfig("sketch"))
    other.save_pretrained(tmp_path / "other")
    client.push(model_dir, "org/sketch")
    client.push(tmp_path / "other", "org/other")
    repo = hub.repos["org/sketch"]
    repo.commit("main", {**repo.files, ENCODER_WEIGHTS: hub.repos["org/other"].files[ENCODER_WEIGHTS]}, "Mix up")
    with pytest.raises(CallError, match="PSPEncoder"):
        client.load("org/sketch")
    with pytest.raises(CallError, match="writes 10 styles of size 32, the generator expects 8 of size 32"):
        client.load("org/other", generator={"pretrained_model_name_or_path": "org/sketch", "subfolder": "generator"})


def test_pushing_without_permission(hub, client, model_dir):
    client.push(model_dir, "org/sketch")
    for token in (READER, STRANGER, False):
        for name in ("org/sketch", "org/new"):
            with pytest.raises(CallError, match=f"may not write to {name}.*log in with `hf auth login`") as caught:
                client.push(model_dir, name, variant="fp16", token=token)
            assert "HfHubHTTPError" in caught.value.kinds
    assert list(hub.repos) == ["org/sketch"]
    assert len(hub.repos["org/sketch"].messages) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"private": True}, "org/sketch exists and is public"),
        ({"tag": "v1"}, "org/sketch already has the tag 'v1'"),
        ({"create_pr": True, "tag": "v2"}, "create_pr goes without revision and tag"),
        ({"variant": "int8"}, "no variant 'int8', expected one of fp16, bf16"),
        ({"repo_id": "sketch"}, "cannot push to 'sketch', expected owner/name"),
    ],
)
def test_pushes_that_are_refused(hub, client, calm_dir, model_dir, arguments, message):
    client.push(model_dir, "org/sketch", tag="v1")
    with pytest.raises(CallError, match=message) as caught:
        client.push(calm_dir, **{"repo_id": "org/sketch", **arguments})
    assert "ValueError" in caught.value.kinds
    assert len(hub.repos["org/sketch"].messages) == 2


def test_a_push_that_breaks_off_changes_nothing(hub, client, model_dir):
    hub.offline = True
    with pytest.raises(CallError, match="no connection to the Hub while pushing org/sketch") as caught:
        client.push(model_dir, "org/sketch")
    assert "ConnectionError" in caught.value.kinds


# From a training run

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


# The command line


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
