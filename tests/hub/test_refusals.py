"""psp_hub.hub: what is missing, damaged, forbidden or broken off."""

import pytest
import torch
from safetensors.torch import save

from psp_hub import PSPConfig, PSPModel
from tests.hub_client import CallError
from tests.hub_models import ENCODER_WEIGHTS, HALF_WEIGHTS, WEIGHTS, assert_loaded
from tests.loopback_hub import READER, STRANGER


@pytest.mark.slow
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
