"""Copy a trained model into the package as a starter: fp16 weights of at most 16 MiB.

python training/recipes/export_starter.py --task sketch --model runs/sketch/model
"""

import argparse
from pathlib import Path

import torch

from psp_hub.model import PSPModel
from psp_hub.model_names import STARTERS
from psp_hub.tasks import TASKS

MAX_BYTES = 16 * 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=list(TASKS), required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--output_dir", type=Path, help="by default the package's own starter of the task")
    args = parser.parse_args()
    model = PSPModel.from_pretrained(args.model)
    folder = args.output_dir or STARTERS / args.task
    # Only the encoder: the generator is the built-in one, fetched by its name.
    encoder = torch.nn.Module.to(model.encoder, torch.float16)  # the own `to` of diffusers warns without a reason
    PSPModel(encoder, model.generator, model.config).save_pretrained(folder)
    size = sum(path.stat().st_size for path in (folder / "encoder").iterdir())
    if size > MAX_BYTES:
        raise SystemExit(f"{folder} has {size} bytes of weights, expected at most {MAX_BYTES}")
    print(f"{folder}: {size / 2**20:.2f} MiB")


if __name__ == "__main__":
    main()
