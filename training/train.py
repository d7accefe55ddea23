"""Train the encoder of a task on (image, w) pairs; the generator stays frozen.

    accelerate launch training/train.py --task sketch --pairs_dir pairs --output_dir runs/sketch

Supervision is the w that drew each picture, in units of the spread of w: an error of 1 is the mean face. Run the same
command with `--resume_from_checkpoint latest` to go on where it stopped.
"""

import argparse
import json
import signal
from collections.abc import Callable
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration, set_seed
from diffusers.optimization import get_scheduler
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader
from tqdm import tqdm

from psp_hub.config import PSPConfig
from psp_hub.encoder import PSPEncoder
from psp_hub.generators import BUILTIN, load_generator
from psp_hub.generators.base import Generator
from psp_hub.memory import keep_freed_memory
from psp_hub.model import PSPModel
from psp_hub.tasks import TASKS, get_task
from training.checkpoints import StopSignals, find_checkpoint, save_checkpoint
from training.data import Drawings, LabelledFaces, LineArt, StepBatches, split
from training.drawings import LINE_ART_SHARE
from training.faces import FacePhotos
from training.identity import IdentityFromW, embed_all
from training.losses import WError
from training.networks import FaceRecogniser
from training.pairs import GeneratedPairs, PairStore
from training.plan import describe
from training.publish import claim_repository, publish
from training.validation import load_model, log_picture, picture_grid, w_error

LOGGING_STEPS = 50


def parse_args(args: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=list(TASKS), required=True)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--pretrained_model_name_or_path", help="start from a saved model or a starter's name")
    parser.add_argument("--generator", default="mobilestylegan-ffhq", help="a built-in name or a saved folder")
    # data
    pairs = parser.add_mutually_exclusive_group(required=True)
    pairs.add_argument("--pairs_dir", type=Path, nargs="+", help="made by training/make_pairs.py")
    pairs.add_argument(
        "--generated_pairs",
        type=int,
        metavar="N",
        help="no store: draw the N pairs of an epoch when they are needed, on the device that trains",
    )
    parser.add_argument("--line_art_dir", type=Path, help="made by training/make_line_art.py; adds clean lines")
    parser.add_argument("--line_art_share", type=float, default=LINE_ART_SHARE, help="of pictures that have some")
    parser.add_argument(
        "--gentle_steps", type=int, default=0, help="clean drawings and grey photos at first, none after this step"
    )
    parser.add_argument("--num_validation_pairs", type=int, default=500, help="held out of the first --pairs_dir")
    # identity
    parser.add_argument("--identity_net", type=Path, help="made by training/identity.py; adds an identity loss")
    parser.add_argument("--identity_weight", type=float, default=0.3)
    parser.add_argument("--faces_dir", type=Path, help="photos of faces: their drawings join, for the identity loss")
    parser.add_argument("--num_faces", type=int, default=700, help="the first photos by name")
    parser.add_argument("--faces_line_art_dir", type=Path, help="made by training/make_line_art.py --faces_dir")
    parser.add_argument("--faces_repeats", type=int, default=5, help="times each photo is drawn in an epoch")
    parser.add_argument("--recogniser", type=Path, help="MobileFaceNet, safetensors; needed with --faces_dir")
    parser.add_argument("--dataloader_num_workers", type=int, default=1)
    # optimisation
    parser.add_argument("--train_batch_size", type=int, default=32, help="per process")
    parser.add_argument("--gradient_accumulation_steps", type=int, default=1, help="batches to one step")
    parser.add_argument("--max_train_steps", type=int, default=8000)
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    parser.add_argument("--lr_scheduler", default="cosine", help="any name of diffusers.optimization")
    parser.add_argument("--lr_warmup_steps", type=int, default=200)
    parser.add_argument("--adam_weight_decay", type=float, default=0.05)
    parser.add_argument("--max_grad_norm", type=float, default=1.0)
    parser.add_argument("--ema_decay", type=float, default=0.999)
    parser.add_argument("--mixed_precision", choices=["no", "bf16"], default="bf16")
    parser.add_argument("--seed", type=int, default=0)
    # saving and seeing
    parser.add_argument("--checkpointing_steps", type=int, default=500)
    parser.add_argument("--checkpoints_total_limit", type=int, default=2)
    parser.add_argument("--resume_from_checkpoint", help="a checkpoint folder, or 'latest'")
    parser.add_argument("--validation_steps", type=int, default=1000)
    parser.add_argument("--dry_run", action="store_true", help="say what would be done, and write nothing")
    parser.add_argument("--push_to_hub", action="store_true", help="push the exported model at the end")
    parser.add_argument("--hub_model_id", metavar="OWNER/NAME", help="where to; made if it is missing")
    parser.add_argument("--hub_token", help="by default the one of `hf auth login`")
    parser.add_argument("--hub_private_repo", action="store_true")
    parser.add_argument("--report_to", choices=["tensorboard", "none"], default="tensorboard")
    args = parser.parse_args(args)
    if args.generated_pairs:
        args.dataloader_num_workers = 0  # the generator stays in the process that has the device
    if args.faces_dir and not (args.identity_net and args.recogniser):
        parser.error("--faces_dir needs --identity_net and --recogniser: photos have no w to learn from")
    return args


def build_model(args: argparse.Namespace) -> PSPModel:
    """The model to train: a saved one, or a fresh light encoder for the generator."""
    task = get_task(args.task)
    if args.pretrained_model_name_or_path:
        return load_model(args.pretrained_model_name_or_path)
    generator = load_generator(args.generator)
    encoder = PSPEncoder(in_channels=task.in_channels, num_ws=generator.num_ws, w_dim=generator.w_dim)
    builtin = args.generator if args.generator in BUILTIN else None
    return PSPModel(encoder, generator, PSPConfig(args.task, task.input_kind, base_generator=builtin))


def ema_update(decay: float) -> Callable[[Tensor, Tensor, int | Tensor], Tensor]:
    """Exponential moving average whose decay grows from 0.1 to `decay`, so that the first steps are soon forgotten."""

    def update(average: Tensor, current: Tensor, num_averaged: int | Tensor) -> Tensor:
        if not current.is_floating_point():  # counters
            return current
        n = int(num_averaged)
        return torch.lerp(current, average, min(decay, (1 + n) / (10 + n)))

    return update


def load_data(args: argparse.Namespace, generator: Generator) -> tuple[Drawings, list[int], list[int]]:
    """The data set, the keys to train on and the keys held out."""
    faces = None
    if args.faces_dir:
        photos = FacePhotos(args.faces_dir, slice(args.num_faces))
        identity = embed_all(FaceRecogniser.from_file(args.recogniser), photos)
        faces = LabelledFaces(photos, LineArt(args.faces_line_art_dir), identity)
    store = PairStore(args.pairs_dir) if args.pairs_dir else GeneratedPairs(generator, args.generated_pairs)
    if args.line_art_dir and len(set(store.indices)) < len(store.indices):
        raise ValueError(
            "two of --pairs_dir have pairs of the same index, and line art is found by index: "
            "make them with different --first_index"
        )
    data = Drawings(store, LineArt(args.line_art_dir), args.seed, faces, args.line_art_share)
    training, held_out = split(store, args.num_validation_pairs)
    training += list(range(len(store), len(data))) * args.faces_repeats
    return data, training, held_out


def compute_loss(
    delta: Tensor, batch: dict[str, Tensor], w_loss: WError, identity_net: IdentityFromW | None, identity_weight: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """Total loss, and its parts by name.

    Args:
        delta: the encoder's answer relative to `w_avg`, [N, num_ws, w_dim], float32.
    """
    error, mean_face = w_loss(delta, batch["w"])  # [N] each
    if identity_net is None:
        loss = error.sum() / mean_face.sum()
        return loss, {"loss/w": loss}
    target = identity_net(batch["w"])  # [N, D]
    w_known = torch.ones_like(error)
    if "has_w" in batch:
        w_known = batch["has_w"].float()
        target = torch.where(batch["has_w"][:, None], target, batch["identity"])
    w_part = (error * w_known).sum() / (mean_face * w_known).sum().clamp(min=1e-6)
    answer = identity_net(delta.mean(dim=1) + w_loss.w_avg)  # [N, D]
    identity_part = (1 - (answer * target).sum(dim=1)).mean()
    return w_part + identity_weight * identity_part, {"loss/w": w_part, "loss/identity": identity_part}


def describe_broken_loss(loss: Tensor, step: int, data: Drawings, keys: list[tuple[int, int, float]]) -> str:
    """What to say of a loss that is not finite: where it was, and what to do."""
    names = [data.store.indices[i] if i < len(data.store) else f"photo {i - len(data.store)}" for _, i, _ in keys]
    return (
        f"the loss is {loss.item()} at step {step}, in a batch of the pairs {names}. The checkpoints are kept: "
        "go on from the last one with a lower --learning_rate"
    )


def train(args: argparse.Namespace, stop: StopSignals | None = None) -> Path:
    """Run the training and return the folder of the exported model.

    Raises:
        SystemExit: `stop` got a signal; everything is saved.
        FloatingPointError: the loss is not finite.
    """
    stop = stop or StopSignals()
    keep_freed_memory()
    checkpoint = find_checkpoint(args)
    if not args.dry_run:
        args.output_dir.mkdir(parents=True, exist_ok=True)
    trackers = None if args.report_to == "none" or args.dry_run else args.report_to
    accelerator = Accelerator(
        mixed_precision=args.mixed_precision,
        gradient_accumulation_steps=args.gradient_accumulation_steps,
        log_with=trackers,
        project_config=ProjectConfiguration(project_dir=args.output_dir, logging_dir=args.output_dir / "logs"),
    )
    set_seed(args.seed)
    settings = {key: value if isinstance(value, int | float) else str(value) for key, value in vars(args).items()}
    settings.pop("hub_token")
    if accelerator.is_main_process and not args.dry_run:
        if args.push_to_hub:
            claim_repository(args.hub_model_id, args.hub_token, args.hub_private_repo or None)
        (args.output_dir / "training_args.json").write_text(json.dumps(settings, indent=2) + "\n")
        accelerator.init_trackers("psp", config=settings)

    model = build_model(args)
    generator, config = model.generator.requires_grad_(False).to(accelerator.device), model.config
    w_loss = WError(generator)
    identity_net = IdentityFromW.from_file(args.identity_net).to(accelerator.device) if args.identity_net else None
    encoder = model.encoder.train().requires_grad_(True).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        encoder.parameters(), lr=args.learning_rate, betas=(0.9, 0.99), weight_decay=args.adam_weight_decay
    )
    scheduler = get_scheduler(
        args.lr_scheduler,
        optimizer,
        num_warmup_steps=args.lr_warmup_steps,
        num_training_steps=args.max_train_steps,
    )
    encoder, optimizer = accelerator.prepare(encoder, optimizer)
    # Batch norm statistics are averaged too: the exported encoder is made of nothing else.
    ema = AveragedModel(accelerator.unwrap_model(encoder), avg_fn=ema_update(args.ema_decay), use_buffers=True)
    accelerator.register_for_checkpointing(ema, scheduler)
    first_step, best, best_path = 0, float("inf"), args.output_dir / "best.json"
    if checkpoint:
        accelerator.load_state(str(checkpoint))
        first_step = int(checkpoint.name.split("-")[1])
        if best_path.exists():  # of the model that is already exported
            best = json.loads(best_path.read_text())["w_error"]

    data, training, held_out = load_data(args, generator)
    if args.dry_run:
        plan = describe(
            args, accelerator.unwrap_model(encoder), len(training), len(held_out), accelerator.num_processes
        )
        accelerator.print(plan)
        raise SystemExit(0)
    # The batches are dealt to the processes, and several make a step.
    batches_per_step = accelerator.num_processes * args.gradient_accumulation_steps
    steps = (first_step, args.max_train_steps, args.gentle_steps)
    batches = StepBatches(
        training, args.train_batch_size, args.seed, *(step * batches_per_step for step in steps), batches_per_step
    )
    loader = accelerator.prepare(
        DataLoader(data, batch_sampler=batches, num_workers=args.dataloader_num_workers, pin_memory=False)
    )
    accelerator.print(f"{len(training)} training and {len(held_out)} held-out pairs, from step {first_step}")

    progress = tqdm(total=args.max_train_steps, initial=first_step, disable=not accelerator.is_main_process)
    for number, batch in enumerate(loader, start=first_step * args.gradient_accumulation_steps):
        step = number // args.gradient_accumulation_steps + 1
        with accelerator.accumulate(encoder):
            delta = encoder(batch["input"])  # [N, num_ws, w_dim]
            loss, parts = compute_loss(delta.float(), batch, w_loss, identity_net, args.identity_weight)
            if not loss.isfinite():
                keys = batches.keys(number * accelerator.num_processes + accelerator.process_index)
                raise FloatingPointError(describe_broken_loss(loss, step, data, keys))
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(encoder.parameters(), args.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
        if not accelerator.sync_gradients:
            continue
        scheduler.step()
        ema.update_parameters(accelerator.unwrap_model(encoder))
        progress.update()

        if step % LOGGING_STEPS == 0:
            values = {name: part.item() for name, part in parts.items()}
            values["learning_rate"] = scheduler.get_last_lr()[0]
            accelerator.log(values, step=step)
            progress.set_postfix(values)
        if (step % args.validation_steps == 0 or step == args.max_train_steps) and accelerator.is_main_process:
            ema.eval()
            value = w_error(ema, data, held_out, w_loss, args.train_batch_size)
            exported = PSPModel(ema.module, generator, config)
            picture = picture_grid(exported, data, held_out)
            picture.save(args.output_dir / f"validation-{step:06d}.png")
            accelerator.log({"validation/w_error": value}, step=step)
            log_picture(accelerator, "validation", picture, step)
            accelerator.print(f"step {step}: w error {value:.4f} on {len(held_out)} held-out pairs")
            if value < best:
                best = value
                exported.save_pretrained(args.output_dir / "model")
                best_path.write_text(json.dumps({"step": step, "w_error": best}) + "\n")
            ema.train()
        stopped = stop.received(accelerator)
        # After the validation: a run killed while it validates will do so again.
        if stopped or step % args.checkpointing_steps == 0 or step == args.max_train_steps:
            save_checkpoint(accelerator, args, step)
        if stopped and step < args.max_train_steps:
            accelerator.end_training()
            accelerator.print(f"stopped at step {step}; go on with --resume_from_checkpoint latest")
            raise SystemExit(128 + (stop.number or signal.SIGTERM))
    accelerator.end_training()
    if args.push_to_hub and accelerator.is_main_process:
        accelerator.print(f"pushed to {publish(args, len(training), len(held_out)).commit_url}")
    return args.output_dir / "model"


def main(args: argparse.Namespace) -> None:
    with StopSignals() as stop:
        train(args, stop)


if __name__ == "__main__":
    main(parse_args())
