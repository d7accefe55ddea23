"""The model that a run starts from: a saved one, as its task needs it, or a fresh encoder."""

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from psp_hub.config import PSPConfig
from psp_hub.encoder import FACE_CHANNELS, PSP, PSPEncoder
from psp_hub.generators import load_generator, pin_generator
from psp_hub.model import PSPModel, load_model
from psp_hub.tasks import TaskSpec
from psp_hub.trunk import Trunk
from training.networks.arcface import ArcFace
from training.networks.recognisers import Recogniser, load_recogniser
from training.settings.run import ModelSettings, TrainingSettings

logger = logging.getLogger(__name__)

ENCODERS = {"light": {}, "psp": PSP}
PHOTO_KINDS = ("photo", "masked")
# A residual encoder: after the light encoder of the starters, which leaves room for it in 24 MiB of half precision.
RESIDUAL = {"head_widths": (128, 64, 32), "stage_depths": (1, 2, 2), "base_rank": 128}
STEM, FINE_STEM = "trunk.stem.0.weight", "trunk.fine_stem.0.weight"


def build_model(settings: TrainingSettings) -> PSPModel:
    """The model to train for a task: a saved one, or a fresh encoder for the generator.

    A saved model of a task with other inputs gives all but its stem; of that, the channels that both have.

    Raises:
        ValueError: a saved one that cannot be loaded, weights of another trunk, or a residual encoder without a pass.
    """
    task_name, task, wanted = settings.task_name or settings.task, settings.row, settings.model
    start = wanted.pretrained_model_name_or_path
    if start:
        model = load_model(start)
        passes = passes_of(wanted, model.config)
        config = PSPConfig(task_name, task.input_kind, model.config.base_generator, **passes)
        if wanted.residual_encoder and config.num_passes == 1:
            raise ValueError("--residual_encoder needs --num_passes of 2 or more: it makes those after the first")
        kept = kept_channels(model, task)
        residual = wanted.residual_encoder or model.encoder.residual_encoder is not None
        sees_face = config.num_passes > 1 and not residual
        old_face = model.encoder.config.in_channels > model.in_channels
        if len(kept) < task.in_channels or task.in_channels != model.in_channels or sees_face != old_face:
            logger.warning(
                "%s takes %d channels, the task %r has %d: %s",
                *(start, model.in_channels, task_name, task.in_channels),
                "the first convolution starts with what they share" if kept else "the first convolution starts anew",
            )
            model.encoder = with_new_stem(model.encoder, task, kept, sees_face, old_face)
        if wanted.residual_encoder and model.encoder.residual_encoder is None:
            model.encoder = with_residual(model.encoder)
        if model.encoder.residual_encoder is not None and config.num_passes == 1:
            model.encoder = without_residual(model.encoder)
        elif model.encoder.residual_encoder is not None and not wanted.residual_encoder:
            logger.warning(
                "the first pass stays as %s makes it, and its residual encoder alone is trained: "
                "--num_passes 1 trains the first encoder, and leaves the other one out",
                start,
            )
        model.config = config
        return model
    generator, passes = load_generator(wanted.generator), passes_of(wanted, PSPConfig(task_name))
    sizes = {
        "in_channels": task.in_channels + (FACE_CHANNELS if passes["num_passes"] > 1 else 0),
        "num_ws": generator.num_ws,
        "w_dim": generator.w_dim,
    }
    if wanted.encoder == "light":
        sizes["stem_kernel"] = stem_kernel(task)
    if wanted.head_widths:
        sizes["head_widths"] = wanted.head_widths
    encoder = PSPEncoder(**ENCODERS[wanted.encoder] | sizes)
    if wanted.trunk_weights:
        start_trunk(encoder.trunk, load_recogniser(wanted.trunk_weights))
    config = PSPConfig(task_name, task.input_kind, pin_generator(wanted.generator), **passes)
    return PSPModel(encoder, generator, config)


def passes_of(settings: ModelSettings, config: PSPConfig) -> dict[str, int]:
    """`num_passes` and `face_size` of a run: as the settings say, else as the config that it starts from does."""
    given = {"num_passes": settings.num_passes, "face_size": settings.face_size}
    return {name: getattr(config, name) if value is None else value for name, value in given.items()}


def kept_channels(model: PSPModel, task: TaskSpec) -> dict[int, int]:
    """Channels of the pictures that go in which the model knows, and which of its own they are."""
    if model.in_channels == task.in_channels and model.config.input_kind == task.input_kind:
        return {i: i for i in range(task.in_channels)}
    if {model.config.input_kind, task.input_kind} <= set(PHOTO_KINDS):
        return {i: i for i in range(min(model.in_channels, task.in_channels))}  # red, green and blue come first
    return {}


def own_config(encoder: PSPEncoder) -> dict[str, Any]:
    """Without diffusers' private entries: one of them resets what an older config.json did not say."""
    return {name: value for name, value in encoder.config.items() if not name.startswith("_")}


def stem_kernel(task: TaskSpec) -> int:
    """Of the light encoder: label maps are flat, and have many channels."""
    return 1 if task.input_kind == "labels" else 3


def with_new_stem(
    encoder: PSPEncoder, task: TaskSpec, kept: Mapping[int, int], sees_face: bool, saw_face: bool
) -> PSPEncoder:
    """The encoder for other inputs: its first convolution starts with the channels it keeps, or else anew.

    Args:
        kept: new channels of the pictures to old ones. The others start at zero: they change nothing at first.
        sees_face, saw_face: whether the channels of a face come after them, and did before.
    """
    saw = FACE_CHANNELS if saw_face else 0
    old = encoder.config.in_channels - saw
    changes: dict[str, Any] = {"in_channels": task.in_channels + (FACE_CHANNELS if sees_face else 0)}
    if encoder.config.stem_stride > 1 and not kept:
        changes["stem_kernel"] = stem_kernel(task)
    new = PSPEncoder(**own_config(encoder) | changes)
    state, fresh = encoder.state_dict(), new.state_dict()
    with_face = dict(kept) | {task.in_channels + i: old + i for i in range(FACE_CHANNELS)}
    state = with_stem_of(state, fresh, "", with_face if kept and sees_face and saw_face else kept, encoder)
    if encoder.residual_encoder is not None:
        state = with_stem_of(state, fresh, "residual_encoder.", with_face if kept else {}, encoder.residual_encoder)
    new.load_state_dict(state)
    return new


def with_stem_of(
    state: Mapping[str, Tensor], fresh: Mapping[str, Tensor], prefix: str, kept: Mapping[int, int], encoder: PSPEncoder
) -> dict[str, Tensor]:
    """The weights `state`, with the stem of one encoder in them made for new inputs.

    Args:
        fresh: weights for these.
        prefix: of the names of that encoder's weights.
        kept: as in `with_new_stem`; without any, the stem is the fresh one.
    """
    if not kept:
        stems = (f"{prefix}trunk.stem.", f"{prefix}trunk.fine_stem.")
        return {**state, **{other: fresh[other] for other in fresh if other.startswith(stems)}}
    changed = {}
    for name, folded in ((prefix + STEM, encoder.config.stem_stride**2), (prefix + FINE_STEM, 1)):
        if name not in state:
            continue
        old_weight = state[name].unflatten(1, (-1, folded))  # [width, C, folded pixels, 3, 3]
        weight = torch.zeros_like(fresh[name].unflatten(1, (-1, folded)))
        for new_channel, old_channel in kept.items():
            weight[:, new_channel] = old_weight[:, old_channel]
        changed[name] = weight.flatten(1, 2)
    return {**state, **changed}


def with_residual(encoder: PSPEncoder) -> PSPEncoder:
    """The encoder with a residual one, which is light, has what fits of its weights, and answers zero at first.

    Its first convolution starts with the picture less the face: with what is still different.
    """
    new = PSPEncoder(**own_config(encoder) | {"residual": RESIDUAL})
    new.load_state_dict(encoder.state_dict(), strict=False)
    state, answers = new.residual_encoder.state_dict(), ("heads.base.", "heads.offsets.")
    for name, value in encoder.state_dict().items() if encoder.config.head == "shared" else ():
        if name == STEM:
            face = -value[:, : FACE_CHANNELS * encoder.config.stem_stride**2]  # [width, 3 * folded pixels, 3, 3]
            value = torch.cat([value, face], dim=1)
        if name in state and state[name].shape == value.shape and not name.startswith(answers):
            state[name] = value
    new.residual_encoder.load_state_dict(state)
    return new


def without_residual(encoder: PSPEncoder) -> PSPEncoder:
    """The encoder of the first pass alone."""
    first = PSPEncoder(**own_config(encoder) | {"residual": None})
    state = {name: value for name, value in encoder.state_dict().items() if not name.startswith("residual_encoder.")}
    first.load_state_dict(state)
    return first


def start_trunk(trunk: Trunk, recogniser: Recogniser) -> None:
    """Let a trunk start as that of a face recogniser (pSp, section 3.1), except for a stem of other channels.

    Raises:
        ValueError: another recogniser, or a trunk of another shape.
    """
    if not isinstance(recogniser, ArcFace):
        raise ValueError(f"--trunk_weights are of {type(recogniser).__name__}, expected ArcFace IR-SE50")
    state = recogniser.trunk.state_dict()
    if trunk.stem[0].in_channels != recogniser.trunk.stem[0].in_channels:
        state |= {name: value for name, value in trunk.state_dict().items() if name.startswith("stem.")}
    try:
        trunk.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError("--trunk_weights are of an IR-SE50: they need --encoder psp") from error
