"""The tasks, one row each. The model, the app and the training scripts read this table and nothing else.

They are tasks of faces. A model of a task that has another name, one of your own, may be of anything that a generator
paints: nothing looks for faces in its pictures (`is_of_faces`), and `of_anything` makes a row for its training.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

LOSSES = ("w", "l2", "lpips", "id", "w_norm", "l2_crop", "lpips_crop")


@dataclass(frozen=True)
class TaskSpec:
    """One image-to-image task.

    Args:
        in_channels: channels of the encoder's input.
        input_kind: how pictures are prepared, a key of `psp_hub.images.preprocessing.PREPARATIONS`.
        source: how training makes the input from the target, a key of `training.data.sources.SOURCES`.
        loss_weights: weight of each of `LOSSES`; "w" counts where the w of a target is known.
        mixed_groups: groups of styles that an input of this task leaves open: variations draw them anew.
        source_options: further arguments of the source's maker.
        random_flip: mirror half of the photos that training draws its targets from.
        shown: what the input shows of the face that is looked for, so that refinement can compare the two: `all`, a
            `small` picture of it, or its `known` part; None if it is another kind of picture.
        refinement_steps: that the demo and the command line take if nothing else is said. What super-resolution
            answers has to be the input once it is made as small; encoders alone come near to it only.
    """

    in_channels: int
    input_kind: str
    source: str
    loss_weights: Mapping[str, float]
    mixed_groups: tuple[str, ...] = ("fine",)
    source_options: Mapping[str, Any] = field(default_factory=dict)
    random_flip: bool = False
    shown: Literal["all", "small", "known"] | None = None
    refinement_steps: int = 0


def weights(**given: float) -> dict[str, float]:
    """Weights of all `LOSSES`: 1 for w, zero for those that are not given."""
    return dict.fromkeys(LOSSES, 0.0) | {"w": 1.0} | given


# Weights of the image losses, flips and factors: the training commands that the authors of pSp published with their
# code. What variations draw anew: drawings and label maps say nothing of colour (the paper's layers 8 to 18), and of a
# photo, variations are the same face in other colours and light; a tiny picture and the surroundings of a gap show the
# colours, and leave the features open.
TASKS = {
    "inversion": TaskSpec(
        in_channels=3,
        input_kind="photo",
        source="identity",
        loss_weights=weights(l2=1, lpips=0.8, id=0.1),
        random_flip=True,
        shown="all",
    ),
    "sketch": TaskSpec(
        in_channels=1,
        input_kind="drawing",
        source="drawing",
        loss_weights=weights(l2=1, lpips=0.8, w_norm=0.005),
    ),
    "segmentation": TaskSpec(
        in_channels=19,
        input_kind="labels",
        source="labels",
        loss_weights=weights(l2=1, lpips=0.8, w_norm=0.005),
    ),
    "super-resolution": TaskSpec(
        in_channels=3,
        input_kind="photo",
        source="degradation",
        source_options={"factors": (1, 2, 4, 8, 16, 32)},
        loss_weights=weights(l2=1, lpips=0.8, id=0.1, w_norm=0.005),
        mixed_groups=("medium",),
        shown="small",
        refinement_steps=80,
    ),
    # Input and target are mirrored independently, so that the answer that errs least is a frontal face.
    "frontalization": TaskSpec(
        in_channels=3,
        input_kind="photo",
        source="flip",
        loss_weights=weights(l2=0.001, lpips=0.08, l2_crop=0.01, lpips_crop=0.8, id=1, w_norm=0.005),
        random_flip=True,
    ),
    # Shown in the paper, but neither code nor weights of the losses are published: those of super-resolution.
    "inpainting": TaskSpec(
        in_channels=4,
        input_kind="masked",
        source="mask",
        loss_weights=weights(l2=1, lpips=0.8, id=0.1, w_norm=0.005),
        mixed_groups=("medium",),
        shown="known",
    ),
}


def get_task(name: str) -> TaskSpec:
    """The row of one task.

    Raises:
        ValueError: unknown name.
    """
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}, expected one of {', '.join(TASKS)}")
    return TASKS[name]


def is_of_faces(name: str) -> bool:
    """Whether the pictures of a task are of faces: those of a task of your own may be of anything."""
    return name in TASKS


def of_anything(name: str) -> TaskSpec:
    """The row of a task without what is for faces alone: their recogniser, their crop, the outline of a head.

    Raises:
        ValueError: an unknown task, or one that faces are needed for.
    """
    row = get_task(name)
    if row.source in ("labels", "flip"):
        able = [name for name, row in TASKS.items() if row.source not in ("labels", "flip")]
        raise ValueError(f"{name} is a task of faces alone, expected one of {', '.join(able)}")
    weights = {loss: 0.0 if loss in ("id", "l2_crop", "lpips_crop") else w for loss, w in row.loss_weights.items()}
    options = dict(row.source_options) | ({"of_heads": False} if row.source == "drawing" else {})
    return replace(row, loss_weights=weights, source_options=options)


def mixed_groups(name: str) -> tuple[str, ...]:
    """The groups that variations of a task draw anew; for a task of your own, the fine styles."""
    return TASKS[name].mixed_groups if name in TASKS else ("fine",)
