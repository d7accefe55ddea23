"""Push what a run has made: checked before the training, done after it."""

import argparse
import json
import re
import shlex
from pathlib import Path

from huggingface_hub import CommitInfo, HfApi

from psp_hub.hub import LIBRARY_NAME, REPO_ID, explained_push
from psp_hub.model import PSPModel

# Flags that say nothing of the result: where it lies on this machine, and who pushes it.
PRIVATE_FLAGS = (
    "output_dir",
    "hub_token",
    "hub_model_id",
    "hub_private_repo",
    "push_to_hub",
    "resume_from_checkpoint",
)


def claim_repository(repo_id: str | None, token: str | None, private: bool | None) -> None:
    """Make the repository where it is missing, and be sure of the right to write: before hours of training.

    Raises:
        ValueError: not `owner/name`.
        HfHubHTTPError: the token may not write there, or another error of the Hub.
    """
    if not re.fullmatch(REPO_ID, repo_id or ""):
        raise ValueError(f"--push_to_hub needs --hub_model_id owner/name, got {repo_id!r}")
    api = HfApi(token=token, library_name=LIBRARY_NAME)
    with explained_push(repo_id):
        api.create_repo(repo_id, private=private, exist_ok=True)
        api.auth_check(repo_id, write=True)


def publish(args: argparse.Namespace, num_training: int, num_held_out: int) -> CommitInfo:
    """Push the exported model, with a card that says how it was made; no checkpoints and no optimizer state."""
    model = PSPModel.from_pretrained(args.output_dir / "model")
    best = json.loads((args.output_dir / "best.json").read_text())
    card = model.generate_model_card(args.hub_model_id)
    card.text += f"""
## Training

{num_training} examples; after step {best["step"]}, the w error is {best["w_error"]:.4f} (mean face: 1)
on {num_held_out} pairs that training has not seen. The exported step was chosen by this figure.

```bash
{command(args)}
```
"""
    return model.push_to_hub(
        args.hub_model_id, card=str(card), token=args.hub_token, private=args.hub_private_repo or None
    )


def command(args: argparse.Namespace) -> str:
    """The command of this run, with the names of folders and files but not where they lie."""
    words = ["accelerate", "launch", "training/train.py"]
    for name, value in vars(args).items():
        values = value if isinstance(value, list) else [value]
        if name in PRIVATE_FLAGS or value in (None, False):
            continue
        words += [f"--{name}"] + ([] if value is True else [Path(v).name if is_path(v) else str(v) for v in values])
    return shlex.join(words)


def is_path(value: object) -> bool:
    return isinstance(value, Path) or (isinstance(value, str) and Path(value).exists())
