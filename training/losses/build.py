"""The losses of a run, from its settings: their weights, and the networks that they need."""

from pathlib import Path

from psp_hub.model import PSPModel
from psp_hub.tasks import LOSSES, TaskSpec
from training.losses.attributes import AttributeLoss
from training.losses.identity import IdentityLoss, StyleIdentityLoss
from training.losses.layout import LayoutLoss
from training.losses.total import Drawing, LossNetworks, TrainingLosses
from training.losses.w_error import WError
from training.networks.attributes import AttributesFromW
from training.networks.identity import IdentityFromW
from training.networks.layout import LayoutHead
from training.networks.perceptual import PerceptualDistance, find_trunk
from training.networks.recognisers import load_recogniser
from training.networks.small_generator import SmallSynthesis
from training.settings.losses import LossSettings


def loss_weights(
    settings: LossSettings, task: TaskSpec, has_pairs: bool, says_attributes: bool = False
) -> dict[str, float]:
    """The weight of each loss that the run has.

    Args:
        has_pairs: the run has examples whose w is known.
        says_attributes: it has stroke drawings.

    Raises:
        ValueError: it has no loss, or one that its task or its data are not for.
    """
    row = {"w": task.loss_weights.get("w", 1.0)} if has_pairs else {**task.loss_weights, "w": 0.0}
    given = {name: settings.weights.of(name) for name in LOSSES}
    weights = {name: row.get(name, 0.0) if value is None else value for name, value in given.items()}
    if settings.networks.identity_net:
        weights["identity"] = settings.weights.identity_weight
    if settings.networks.layout_net:
        if task.source != "labels":
            raise ValueError("--layout_net is for tasks whose input is a label map")
        weights["layout"] = settings.weights.layout_weight
    if says_attributes:
        weights["attributes"] = settings.weights.attribute_weight
    weights = {name: value for name, value in weights.items() if value > 0}
    if not weights:
        raise ValueError("all loss weights are 0, expected one above 0")
    if "w" in weights and not has_pairs:
        raise ValueError("--w_weight needs pairs with known w: --pairs_dir or --generated_pairs")
    return weights


def build_losses(
    settings: LossSettings, task: TaskSpec, model: PSPModel, has_pairs: bool, attributes: Path | None = None
) -> TrainingLosses:
    """The losses of a run, with their frozen networks, on the device of the model.

    Args:
        has_pairs: the run has examples whose w is known.
        attributes: the heads that read what a stroke drawing says, for a run that has some.

    Raises:
        ValueError: no loss, or a network's file is missing, damaged or of another network.
        OSError: a file cannot be downloaded.
    """
    settings.check()
    weights, generator = loss_weights(settings, task, has_pairs, attributes is not None), model.generator
    files, drawing = settings.networks, settings.drawing
    networks = {}
    if "w" in weights:
        networks["w_error"] = WError(generator)
    if {"lpips", "lpips_crop"} & weights.keys():
        trunk = find_trunk(files.lpips_net, files.lpips_trunk)
        networks["distance"] = PerceptualDistance(trunk, files.lpips_net, weighted=not files.lpips_unweighted)
    if "id" in weights:
        if not files.recogniser:
            raise ValueError("the identity loss needs --recogniser FILE; or leave it out with --id_weight 0")
        networks["identity"] = IdentityLoss(load_recogniser(files.recogniser), files.id_contrast)
    if "identity" in weights:
        network = IdentityFromW.from_file(files.identity_net)
        networks["style_identity"] = StyleIdentityLoss(network, generator.w_avg, files.id_contrast)
    if "layout" in weights:
        networks["layout"] = LayoutLoss(LayoutHead.from_file(files.layout_net), files.layout_share)
    if "attributes" in weights and attributes:
        networks["attributes"] = AttributeLoss(AttributesFromW.from_file(attributes), generator)
    small = SmallSynthesis.from_file(drawing.decode_net, generator) if drawing.decode_net else None
    how = Drawing(small, drawing.decode_precision == "bf16", drawing.decode_batch_size)
    face_strength = settings.weights.l2_face_strength
    losses = TrainingLosses(generator, weights, LossNetworks(**networks), how, face_strength).to(model.device)
    if drawing.gradient_checkpointing and losses.needs_images:
        generator.enable_gradient_checkpointing()
    return losses
