"""Train the face parser on photos with label maps. Run the same command again to go on where it stopped.

    python training/recipes/train_parser.py --images_dir faces/images --masks_dir faces/masks --output_dir runs/parser

The last photos by name (`--num_validation`) are only measured, and never chosen by.
"""

import argparse
import copy
import json
import os
from pathlib import Path

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

STATE_NAME = "state.pt"


def parse_args(args: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images_dir", type=Path, required=True)
    parser.add_argument("--masks_dir", type=Path, required=True, help="NAME.png of class numbers for each photo")
    parser.add_argument("--num_validation", type=int, default=100)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--pretrained_parser", type=Path, help="start from a saved parser, and in its size")
    parser.add_argument("--train_batch_size", type=int, default=16)
    parser.add_argument("--max_train_steps", type=int, default=2600)
    parser.add_argument("--learning_rate", type=float, default=3e-3)
    parser.add_argument("--adam_weight_decay", type=float, default=0.05)
    parser.add_argument("--ema_decay", type=float, default=0.995)
    parser.add_argument("--dice_weight", type=float, default=0.5)
    parser.add_argument("--dataloader_num_workers", type=int, default=1)
    parser.add_argument("--checkpointing_steps", type=int, default=200)
    parser.add_argument("--mixed_precision", choices=["no", "bf16"], default="bf16")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(args)


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


def main(args: argparse.Namespace) -> dict:
    keep_freed_memory()
    set_seed(args.seed)
    args.output_dir.mkdir(parents=True, exist_ok=True)
    data = LabelledPhotos(args.images_dir, args.masks_dir, slice(None, -args.num_validation), args.seed)
    held_out = LabelledPhotos(args.images_dir, args.masks_dir, slice(-args.num_validation, None))
    start = args.pretrained_parser
    parser = load_component(FaceParser, start, torch.float32).requires_grad_(True) if start else FaceParser()
    parser = parser.to(args.device, memory_format=torch.channels_last).train()
    ema = AveragedModel(parser, multi_avg_fn=get_ema_multi_avg_fn(args.ema_decay), use_buffers=True)
    optimizer = torch.optim.AdamW(parser.parameters(), args.learning_rate, weight_decay=args.adam_weight_decay)
    scheduler = get_scheduler("cosine", optimizer, num_warmup_steps=100, num_training_steps=args.max_train_steps)
    saved = {"parser": parser, "ema": ema, "optimizer": optimizer, "scheduler": scheduler}
    first, state_path = 0, args.output_dir / STATE_NAME
    if state_path.exists():
        state = torch.load(state_path, weights_only=True)
        first = state.pop("step")
        for name, value in state.items():
            saved[name].load_state_dict(value)
    batches = StepBatches(list(range(len(data))), args.train_batch_size, args.seed, first, args.max_train_steps)
    loader = DataLoader(data, batch_sampler=batches, num_workers=args.dataloader_num_workers)
    progress = tqdm(total=args.max_train_steps, initial=first)
    for step, (images, labels) in enumerate(loader, start=first + 1):
        images = images.to(args.device, memory_format=torch.channels_last)
        with torch.autocast(args.device, torch.bfloat16, enabled=args.mixed_precision == "bf16"):
            logits = parser.half_size_logits(images)
        loss = parser_loss(logits.float(), labels.to(args.device), args.dice_weight)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parser.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        ema.update_parameters(parser)
        progress.update()
        progress.set_postfix(loss=loss.item())
        if step % args.checkpointing_steps == 0 or step == args.max_train_steps:
            state = {name: part.state_dict() for name, part in saved.items()} | {"step": step}
            torch.save(state, f"{state_path}.tmp")
            os.replace(f"{state_path}.tmp", state_path)
            copy.deepcopy(ema.module).half().save_pretrained(args.output_dir / "parser")
            report = segmentation_report(
                load_component(FaceParser, args.output_dir / "parser", torch.float32), held_out
            )
            (args.output_dir / "report.json").write_text(json.dumps(report | {"step": step}, indent=2) + "\n")
            tqdm.write(f"step {step}: accuracy {report['pixel_accuracy']:.4f}, mean IoU {report['mean_iou']:.4f}")
    return json.loads((args.output_dir / "report.json").read_text())


if __name__ == "__main__":
    main(parse_args())
