"""Train the face parser on photos with label maps. Run the same command again to go on where it stopped.

    python training/recipes/train_parser.py --images_dir faces/images --masks_dir faces/masks --output_dir runs/parser

The last photos by name (`--num_validation`) are only measured, and never chosen by.
"""

import copy
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from accelerate.utils import set_seed
from diffusers.optimization import get_scheduler
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader
from tqdm import tqdm

from psp_hub.face_parser import FaceParser
from psp_hub.hub.components import load_component
from psp_hub.images.face_classes import NUM_CLASSES
from training.data.batches import StepBatches
from training.data.labelled_photos import LabelledPhotos
from training.evaluation.segmentation import confusion, segmentation_figures
from training.memory import keep_freed_memory
from training.settings.flags import OrNone, parse
from training.settings.precision import resolved_precision

STATE_NAME = "state.pt"


@dataclass(frozen=True)
class ParserSettings:
    """A training of the face parser; flags as in training/train.py where they mean the same."""

    images_dir: Path
    """photos"""
    masks_dir: Path
    """NAME.png of class numbers for each photo"""
    output_dir: Path
    """of state, parser and report"""
    num_validation: int = 100
    """the last photos by name, which only measure"""
    pretrained_parser: OrNone[Path] = None
    """start from a saved parser, and in its size"""
    train_batch_size: int = 16
    """photos in a step"""
    max_train_steps: int = 2600
    """in all"""
    learning_rate: float = 3e-3
    """at its highest"""
    adam_weight_decay: float = 0.05
    """of AdamW"""
    ema_decay: float = 0.995
    """of the average of the weights, which is what is saved"""
    dice_weight: float = 0.5
    """of the Dice loss beside the cross entropy"""
    dataloader_num_workers: int = 1
    """processes that prepare batches"""
    checkpointing_steps: int = 200
    """from one checkpoint and report to the next"""
    mixed_precision: Literal["auto", "no", "bf16"] = "auto"
    """of the parser; auto: bf16 where the processor or the device is made for it"""
    device: str = "cpu"
    """where it trains"""
    seed: int = 0
    """of all that is drawn by chance"""


def parse_args(words: list[str] | None = None) -> ParserSettings:
    return parse(ParserSettings, words, __doc__)


def parser_loss(logits: Tensor, labels: Tensor, dice_weight: float) -> Tensor:
    """Cross entropy, plus the Dice loss of every class in the batch so that small parts count.

    Args:
        logits: [N, 19, 128, 128], float32.
        labels: [N, 256, 256]; each answered pixel stands for the four true ones that it covers.
    """
    covered = F.pixel_unshuffle(labels[:, None], 2).long()  # [N, 4, 128, 128]
    log_p = logits.log_softmax(dim=1)
    cross_entropy = -log_p.gather(1, covered).mean()
    truth = torch.zeros_like(logits).scatter_add_(1, covered, torch.full_like(log_p[:, :4], 0.25))
    p = log_p.exp()
    overlap, total = (p * truth).sum(dim=(0, 2, 3)), (p + truth).sum(dim=(0, 2, 3))  # [19]
    present = truth.sum(dim=(0, 2, 3)) > 0
    dice = 1 - (2 * overlap[present] / total[present]).mean()
    return cross_entropy + dice_weight * dice


@torch.no_grad()
def segmentation_report(parser: FaceParser, data: LabelledPhotos, device: str = "cpu") -> dict:
    """Figures over all photos of `data` (see `segmentation_figures`)."""
    counts = torch.zeros(NUM_CLASSES, NUM_CLASSES, dtype=torch.long)
    for i in range(len(data)):
        image, labels = data[0, i]
        counts += confusion(parser(image[None].to(device))[0].argmax(dim=0).cpu(), labels)
    return segmentation_figures(counts)


def main(settings: ParserSettings) -> dict:
    keep_freed_memory()
    set_seed(settings.seed)
    settings.output_dir.mkdir(parents=True, exist_ok=True)
    data = LabelledPhotos(
        settings.images_dir, settings.masks_dir, slice(None, -settings.num_validation), settings.seed
    )
    held_out = LabelledPhotos(settings.images_dir, settings.masks_dir, slice(-settings.num_validation, None))
    start = settings.pretrained_parser
    parser = load_component(FaceParser, start, torch.float32).requires_grad_(True) if start else FaceParser()
    parser = parser.to(settings.device, memory_format=torch.channels_last).train()
    ema = AveragedModel(parser, multi_avg_fn=get_ema_multi_avg_fn(settings.ema_decay), use_buffers=True)
    optimizer = torch.optim.AdamW(parser.parameters(), settings.learning_rate, weight_decay=settings.adam_weight_decay)
    scheduler = get_scheduler("cosine", optimizer, num_warmup_steps=100, num_training_steps=settings.max_train_steps)
    saved = {"parser": parser, "ema": ema, "optimizer": optimizer, "scheduler": scheduler}
    first, state_path = 0, settings.output_dir / STATE_NAME
    if state_path.exists():
        state = torch.load(state_path, weights_only=True)
        first = state.pop("step")
        for name, value in state.items():
            saved[name].load_state_dict(value)
    batches = StepBatches(
        list(range(len(data))), settings.train_batch_size, settings.seed, first, settings.max_train_steps
    )
    loader = DataLoader(data, batch_sampler=batches, num_workers=settings.dataloader_num_workers)
    progress = tqdm(total=settings.max_train_steps, initial=first)
    rounded = resolved_precision(settings.mixed_precision, settings.device) == "bf16"
    for step, (images, labels) in enumerate(loader, start=first + 1):
        images = images.to(settings.device, memory_format=torch.channels_last)
        with torch.autocast(settings.device, torch.bfloat16, enabled=rounded):
            logits = parser.half_size_logits(images)
        loss = parser_loss(logits.float(), labels.to(settings.device), settings.dice_weight)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parser.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        ema.update_parameters(parser)
        progress.update()
        progress.set_postfix(loss=loss.item())
        if step % settings.checkpointing_steps == 0 or step == settings.max_train_steps:
            state = {name: part.state_dict() for name, part in saved.items()} | {"step": step}
            torch.save(state, f"{state_path}.tmp")
            os.replace(f"{state_path}.tmp", state_path)
            copy.deepcopy(ema.module).half().save_pretrained(settings.output_dir / "parser")
            report = segmentation_report(
                load_component(FaceParser, settings.output_dir / "parser", torch.float32), held_out
            )
            (settings.output_dir / "report.json").write_text(json.dumps(report | {"step": step}, indent=2) + "\n")
            tqdm.write(f"step {step}: accuracy {report['pixel_accuracy']:.4f}, mean IoU {report['mean_iou']:.4f}")
    return json.loads((settings.output_dir / "report.json").read_text())


if __name__ == "__main__":
    main(parse_args())
