"""psp_hub.config: the root config.json of a saved model, good and broken."""

import dataclasses
import json

import pytest

from psp_hub.config import CONFIG_NAME, PSPConfig


@pytest.mark.parametrize(
    "config", [PSPConfig("sketch"), PSPConfig("mine", input_kind="photo", base_generator="mobilestylegan-ffhq")]
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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"task": "sketch", "num_ws": 16}', "num_ws.*expected `task` and some of base_generator, input_kind, task"),
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
    ],
)
def test_broken_file_is_refused_by_name(tmp_path, content, message):
    (tmp_path / CONFIG_NAME).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        PSPConfig.load(tmp_path)
    assert str(tmp_path / CONFIG_NAME) in str(caught.value)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not a saved model: it has no config.json"):
        PSPConfig.load(tmp_path / "missing")


def test_a_file_instead_of_a_folder_is_refused(tmp_path):
    (tmp_path / "model.zip").write_bytes(b"")
    with pytest.raises(ValueError, match="model.zip is not a saved model"):
        PSPConfig.load(tmp_path / "model.zip")
