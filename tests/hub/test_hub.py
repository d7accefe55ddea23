"""PSPModel on the Hub, through the real client over HTTP (see loopback_hub.py and hub_client.py)."""

import json

import pytest
from huggingface_hub import ModelCard
from safetensors.torch import load_file

from psp_hub import PSPModel
from tests.hub_client import CallError, HubClient
from tests.hub_models import CONFIGS, ENCODER_WEIGHTS, HALF_WEIGHTS, WEIGHTS, assert_loaded, pictures
from tests.loopback_hub import READER, STRANGER

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
