"""The tasks, one row each. The model, the app and the training scripts read this table and nothing else."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TaskSpec:
    """One image-to-image task.

    Args:
        in_channels: channels of the encoder's input.
        input_kind: how pictures are prepared, a key of `psp_hub.preprocessing.PREPARATIONS`.
        mixed_groups: groups of styles that an input of this task leaves open: variations draw them anew.
    """

    in_channels: int
    input_kind: str
    mixed_groups: tuple[str, ...]


TASKS = {
    # A drawing says nothing about colour: the fine styles (64 px and up) are free.
    "sketch": TaskSpec(in_channels=1, input_kind="drawing", mixed_groups=("fine",)),
}


def get_task(name: str) -> TaskSpec:
    """The row of one task.

    Raises:
        ValueError: unknown name.
    """
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}, expected one of {', '.join(TASKS)}")
    return TASKS[name]


def mixed_groups(name: str) -> tuple[str, ...]:
    """The groups that variations of a task draw anew; for a task of your own, the fine styles."""
    return TASKS[name].mixed_groups if name in TASKS else ("fine",)
