"""The best model of a run: looked at every so often, saved when its figure is better than before."""

import json
import math
from pathlib import Path

from torch import Tensor

from psp_hub.model import PSPModel
from psp_hub.passes import encode_in_passes
from training.run.build import Run
from training.run.validation import chosen_figure, log_picture, picture_grid, validate

BEST_NAME, HISTORY_NAME, MODEL_NAME = "best.json", "validation.jsonl", "model"


def read_best(output_dir: Path) -> dict:
    """Step and figures of the exported model; nothing if there is none."""
    path = output_dir / BEST_NAME
    return json.loads(path.read_text()) if path.exists() else {}


def read_history(output_dir: Path) -> list[dict]:
    """Step and figures of all validations."""
    path = output_dir / HISTORY_NAME
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def forget_after(output_dir: Path, step: int) -> None:
    """Take the validations after a step out of the history: a resumed run makes them again."""
    kept = [json.dumps(row) + "\n" for row in read_history(output_dir) if row["step"] <= step]
    if kept or (output_dir / HISTORY_NAME).exists():
        replace_text(output_dir / HISTORY_NAME, "".join(kept))


def replace_text(path: Path, text: str) -> None:
    """Write a file that is complete whenever it is read."""
    staged = path.with_name(f"{path.name}.tmp")
    staged.write_text(text)
    staged.replace(path)


def validate_and_export(run: Run, step: int) -> None:
    """Measure the average of the weights on the held-out examples; save it if it is the best so far."""
    accelerator, held_out, output_dir = run.accelerator, run.data.held_out, run.settings.output_dir
    config, batch_size = run.model.config, run.settings.optimizer.train_batch_size
    passes, residual = (config.num_passes, config.face_size), run.model.encoder.residual_encoder is not None

    def encode(x: Tensor) -> Tensor:
        return encode_in_passes(run.ema, run.model.generator, x, *passes, residual)

    found = validate(accelerator, run.ema, run.losses, run.data.data, held_out, batch_size, encode)
    if accelerator.is_main_process:
        name = chosen_figure(found, run.losses)
        row = {"step": step, "figure": name, **found}
        said = ", ".join(f"{key.replace('_', ' ')} {value:.4f}" for key, value in found.items())
        accelerator.print(f"step {step}: {said} on {len(held_out)} held-out examples")
        exported = PSPModel(run.ema.module, run.model.generator, run.model.config)
        picture = picture_grid(exported, run.data.data, held_out)
        picture.save(output_dir / f"validation-{step:06d}.png")
        history = [*read_history(output_dir), row]
        replace_text(output_dir / HISTORY_NAME, "".join(json.dumps(entry) + "\n" for entry in history))
        accelerator.log({f"validation/{key}": value for key, value in found.items()}, step=step)
        log_picture(accelerator, "validation", picture, step)
        best = run.best.get(name)
        if step > 0 and (best is None or math.isnan(best) or found[name] < best):
            run.best = row
            exported.save_pretrained(output_dir / MODEL_NAME)
            replace_text(output_dir / BEST_NAME, json.dumps(row) + "\n")
    run.ema.train()
    accelerator.wait_for_everyone()
