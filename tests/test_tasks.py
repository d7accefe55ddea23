"""psp_hub.tasks: the table."""

import pickle

import pytest

from psp_hub.images.preprocessing import PREPARATIONS
from psp_hub.latents import style_indices
from psp_hub.tasks import LOSSES, TASKS, get_task, mixed_groups

CHANNELS = {
    "inversion": 3,
    "sketch": 1,
    "segmentation": 19,
    "super-resolution": 3,
    "frontalization": 3,
    "inpainting": 4,
}


def test_the_six_tasks():
    assert {name: task.in_channels for name, task in TASKS.items()} == CHANNELS


@pytest.mark.parametrize("name", TASKS)
def test_a_row(name):
    task = get_task(name)
    assert task.input_kind in PREPARATIONS
    assert tuple(task.loss_weights) == LOSSES and min(task.loss_weights.values()) >= 0
    assert task.loss_weights["w"] > 0 and task.loss_weights["lpips"] > 0
    assert mixed_groups(name) == task.mixed_groups
    features_are_open = name in ("super-resolution", "inpainting")
    assert style_indices(task.mixed_groups, 18) == list(range(3, 7) if features_are_open else range(7, 18))
    assert pickle.loads(pickle.dumps(task)) == task  # workers are started with it


def test_the_published_weights():
    """Of the image losses, as the commands of the original state them."""
    inversion, frontal = TASKS["inversion"].loss_weights, TASKS["frontalization"].loss_weights
    assert (inversion["l2"], inversion["lpips"], inversion["id"], inversion["w_norm"]) == (1, 0.8, 0.1, 0)
    assert (frontal["l2"], frontal["lpips"], frontal["id"], frontal["w_norm"]) == (0.001, 0.08, 1, 0.005)
    assert (frontal["l2_crop"], frontal["lpips_crop"]) == (0.01, 0.8)
    assert TASKS["sketch"].loss_weights == TASKS["segmentation"].loss_weights
    assert (TASKS["sketch"].loss_weights["id"], TASKS["super-resolution"].loss_weights["id"]) == (0, 0.1)


def test_an_unknown_task_is_refused():
    with pytest.raises(ValueError, match="unknown task 'hair', expected one of inversion, sketch, segmentation"):
        get_task("hair")
    assert mixed_groups("hair") == ("fine",)
