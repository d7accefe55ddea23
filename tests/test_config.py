"""psp_hub.config: the root config.json of a saved model, good and broken."""

import dataclasses
import json

import pytest

from psp_hub.config import CONFIG_NAME, FORMAT_VERSION, GeneratorReference, PSPConfig


@pytest.mark.parametrize(
    "config",
    [
        PSPConfig("sketch"),
        PSPConfig("mine", input_kind="photo", base_generator="mobilestylegan-ffhq"),
        PSPConfig("mine", base_generator=GeneratorReference("org/generator", "v1", "ffhq", "fp16")),
        PSPConfig("mine", base_generator=GeneratorReference("org/generator")),
    ],
)
def test_round_trip(tmp_path, config):
    config.save(tmp_path)
    assert PSPConfig.load(tmp_path) == config
    assert PSPConfig(**json.loads(json.dumps(dataclasses.asdict(config)))) == config


def test_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PSPConfig("sketch").task = "other"


def test_missing_optional_keys_take_their_defaults(tmp_path):
    (tmp_path / CONFIG_NAME).write_text('{"task": "sketch"}')
    assert PSPConfig.load(tmp_path) == PSPConfig("sketch")


def test_a_reference_is_saved_under_the_names_of_diffusers(tmp_path):
    PSPConfig("sketch", base_generator=GeneratorReference("org/generator", revision="v1")).save(tmp_path)
    assert json.loads((tmp_path / CONFIG_NAME).read_text())["base_generator"] == {
        "pretrained_model_name_or_path": "org/generator",
        "revision": "v1",
        "subfolder": None,
        "variant": None,
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b'{"task": "sketch", "format_version": 2, "new_key": 1}',
            "has format_version 2, this psp-hub reads up to 1: update it with `pip install -U psp-hub`",
        ),
        (b'{"task": "sketch", "format_version": 0}', "format_version is 0, expected 1 to 1"),
        (b'{"task": "sketch", "format_version": "1"}', "format_version is '1', expected 1 to 1"),
        (
            b'{"task": "sketch", "num_ws": 16}',
            "num_ws.*expected `task` and some of base_generator, face_size, format_version, input_kind, num_passes, "
            "task",
        ),
        (b'{"input_kind": "drawing"}', "expected `task`"),
        (b'{"task": "sketch"', "not valid JSON"),
        (b"", "not valid JSON"),
        (b'{"task": "\xff"}', "not valid JSON"),
        (b'["task", 1]', "expected `task`"),
        (b"3", "expected `task`"),
        (b"null", "expected `task`"),
        (b'{"task": null}', "task is None"),
        (b'{"task": "sketch", "input_kind": 3}', "input_kind is 3"),
        (b'{"task": "sketch", "base_generator": ["a"]}', r"base_generator is \['a'\]"),
        (
            b'{"task": "sketch", "base_generator": {}}',
            "base_generator has {}, expected `pretrained_model_name_or_path`",
        ),
        (
            b'{"task": "sketch", "base_generator": {"pretrained_model_name_or_path": "a/b", "ref": "v1"}}',
            "'ref'.*some of pretrained_model_name_or_path, revision, subfolder, variant",
        ),
        (
            b'{"task": "sketch", "base_generator": {"pretrained_model_name_or_path": "a/b", "revision": 1}}',
            "revision is 1, expected a string",
        ),
    ],
)
def test_broken_file_is_refused_by_name(tmp_path, content, message):
    (tmp_path / CONFIG_NAME).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        PSPConfig.load(tmp_path)
    assert str(tmp_path / CONFIG_NAME) in str(caught.value)


def test_the_format_has_the_number_that_is_documented():
    """Who raises it teaches `PSPConfig.load` to read the older ones."""
    assert PSPConfig("sketch").format_version == FORMAT_VERSION == 1


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not a saved model: it has no config.json"):
        PSPConfig.load(tmp_path / "missing")


def test_a_file_instead_of_a_folder_is_refused(tmp_path):
    (tmp_path / "model.zip").write_bytes(b"")
    with pytest.raises(ValueError, match="model.zip is not a saved model"):
        PSPConfig.load(tmp_path / "model.zip")
