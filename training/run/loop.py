"""The steps of a run: batch, loss, backward, step, average; every so often look, export and save."""

import signal
from collections.abc import Callable

import torch
from torch import Tensor
from tqdm import tqdm

from psp_hub.passes import pass_input
from training.run.build import Run, given_passes
from training.run.checkpoints import StopSignals, save_checkpoint
from training.run.exports import validate_and_export

LOGGING_STEPS = 50


def train_steps(run: Run, first_step: int, stop: StopSignals) -> None:
    """Train from a step to the last one.

    Raises:
        SystemExit: `stop` got a signal; everything is saved.
        FloatingPointError: the loss is not finite.
        OSError: a checkpoint cannot be saved.
    """
    accelerator, optimizer, saving = run.accelerator, run.settings.optimizer, run.settings.saving
    batches, described = run.batches(first_step), run.describe()
    progress = tqdm(total=optimizer.max_train_steps, initial=first_step, disable=not accelerator.is_main_process)
    if saving.validate_first and first_step == 0:
        validate_and_export(run, 0)
    for number, batch in enumerate(run.loader(batches), start=first_step * optimizer.gradient_accumulation_steps):
        step = number // optimizer.gradient_accumulation_steps + 1
        keys = batches.keys(number * accelerator.num_processes + accelerator.process_index)
        parts = train_on(run, batch, step, keys)
        if not accelerator.sync_gradients:
            continue
        progress.update()
        if step % LOGGING_STEPS == 0:
            progress.set_postfix(log_step(run, parts, step))
        last = step == optimizer.max_train_steps
        if last or step % saving.validation_steps == 0:
            validate_and_export(run, step)
        stopped = stop.received(accelerator)
        # After the validation: a run killed while it validates will do so again.
        if last or stopped or step % saving.checkpointing_steps == 0:
            save_checkpoint(accelerator, run.settings, step, described)
        if stopped and not last:
            accelerator.end_training()
            accelerator.print(f"stopped at step {step}; go on with --resume_from_checkpoint latest")
            raise SystemExit(128 + (stop.number or signal.SIGTERM))


def train_on(run: Run, batch: dict[str, Tensor], step: int, keys: list[tuple]) -> dict[str, Tensor]:
    """One batch; the last of a step changes the weights. Returns the parts of the loss."""
    accelerator, encoder, max_norm = run.accelerator, run.encoder, run.settings.optimizer.max_grad_norm
    with accelerator.accumulate(encoder):
        x = as_input(batch["input"], run.settings.device.mixed_precision)
        parts = backward_passes(run, x, batch, lambda: (step, [run.data.describe_key(key) for key in keys]))
        if accelerator.sync_gradients and max_norm > 0:
            accelerator.clip_grad_norm_(encoder.parameters(), max_norm)
        run.optimizer.step()
        run.optimizer.zero_grad()
    # With fp16, a step whose gradients overflow is left out.
    if accelerator.sync_gradients and not accelerator.optimizer_step_was_skipped:
        run.scheduler.step()
        run.ema.update_parameters(accelerator.unwrap_model(encoder))
    return parts


def backward_passes(
    run: Run, x: Tensor, batch: dict[str, Tensor], place: Callable[[], tuple[int, list[str]]]
) -> dict[str, Tensor]:
    """Each pass of the encoder over one batch, as in `psp_hub.passes`, with its loss and gradients.

    No gradient flows from one pass into the one before (ReStyle, section 3). Where a residual encoder is trained, the
    first pass is given. Returns the parts of the last loss.

    Args:
        place: the step and the names of the pictures, for messages.
    """
    config, delta, parts = run.model.config, None, {}
    trained = config.num_passes - given_passes(run.model)
    if given_passes(run.model):
        with torch.no_grad(), run.accelerator.autocast():
            delta = run.model.encoder(x).float()  # [N, num_ws, w_dim]
    for _ in range(trained):
        inputs = x
        if config.num_passes > 1:
            with torch.no_grad(), torch.autocast(x.device.type, torch.bfloat16, enabled=run.losses.bf16):
                inputs = pass_input_in_slices(run, x, delta)  # [N, C + 3, 256, 256]
        answer = run.encoder(inputs).float()  # [N, num_ws, w_dim]
        total = answer if delta is None else delta + answer
        loss, parts = run.losses(total, batch)
        if not loss.isfinite():
            raise FloatingPointError(describe_broken_loss(loss, *place()))
        run.accelerator.backward(loss / trained)
        delta = total.detach()
    return parts


def pass_input_in_slices(run: Run, x: Tensor, delta: Tensor | None) -> Tensor:
    """`pass_input`, with no more pictures drawn at once than for the losses: that needs less memory, and less time."""
    generator, face_size = run.model.generator, run.model.config.face_size
    if delta is None:
        return pass_input(generator, x, None, face_size)
    size = run.losses.decode_batch_size or len(x)
    slices = zip(x.split(size), delta.split(size), strict=True)
    return torch.cat([pass_input(generator, *pair, face_size) for pair in slices])


def as_input(inputs: Tensor, mixed_precision: str) -> Tensor:
    """One-hot bytes [N, 19, 256, 256] in the precision that the encoder computes in; all else in float32."""
    dtypes = {"fp16": torch.float16, "bf16": torch.bfloat16}
    return inputs.to(dtypes.get(mixed_precision, torch.float32) if inputs.dtype == torch.uint8 else torch.float32)


def describe_broken_loss(loss: Tensor, step: int, names: list[str]) -> str:
    """What to say of a loss that is not finite: where it was, and what to do."""
    return (
        f"the loss is {loss.item()} at step {step}, in a batch of {', '.join(names)}. The checkpoints are kept: "
        "go on from the last one with a lower --learning_rate (and --allow_changes), or look at these pictures"
    )


def log_step(run: Run, parts: dict[str, Tensor], step: int) -> dict[str, float]:
    """Send the parts of the loss, averaged over the processes, to the trackers."""
    mean = run.accelerator.reduce(torch.stack([part.float() for part in parts.values()]), "mean")
    values = dict(zip(parts, mean.tolist(), strict=True)) | {"learning_rate": run.scheduler.get_last_lr()[0]}
    run.accelerator.log(values, step=step)
    return values
