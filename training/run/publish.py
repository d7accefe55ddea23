"""Push what a run has made: checked before the training, done after it."""

import re
import shlex
import shutil
import tempfile
from pathlib import Path

from huggingface_hub import CommitInfo, HfApi

from psp_hub.hub import cards
from psp_hub.hub.transfer import CARD_NAME, LIBRARY_NAME, REPO_ID, explained_push, push_folder
from psp_hub.model import PSPModel
from training.run.build import Run
from training.run.exports import MODEL_NAME, read_best
from training.run.validation import GRID_ROWS, VALIDATION_EPOCH
from training.settings.flags import by_name
from training.settings.run import TrainingSettings

PICTURE_NAME = "validation.png"
# Flags that say nothing of the result: where it lies on this machine, and who pushes it.
PRIVATE_FLAGS = (
    "output_dir",
    "config",
    "hub_token",
    "hub_model_id",
    "hub_private_repo",
    "hub_pictures",
    "push_to_hub",
    "resume_from_checkpoint",
    "allow_changes",
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


def publish(run: Run) -> CommitInfo:
    """Push the exported model in one commit, with a card that says how it was made.

    No checkpoints and no optimizer state. The grid of pictures goes along if all of it comes from a generator, or on
    --hub_pictures: photos of people are not ours to publish.
    """
    hub, output_dir = run.settings.hub, run.settings.output_dir
    model = PSPModel.from_pretrained(output_dir / MODEL_NAME)
    best = read_best(output_dir)
    with tempfile.TemporaryDirectory(prefix="psp-hub-") as name:
        folder = Path(name)
        model.save_pretrained(folder)
        shows = hub.hub_pictures or generated(run)
        if shows:
            shutil.copyfile(output_dir / f"validation-{best['step']:06d}.png", folder / PICTURE_NAME)
        picture = PICTURE_NAME if shows else None
        text = cards.training_text(run.data.description, run.losses.weights, best, command(run.settings), picture)
        card = model.generate_model_card(hub.hub_model_id, training=text)
        (folder / CARD_NAME).write_text(str(card), encoding="utf-8")
        return push_folder(
            folder,
            hub.hub_model_id,
            commit_message="Push a trained psp-hub model",
            private=hub.hub_private_repo or None,
            token=hub.hub_token,
            replaced=["generator"],
        )


def generated(run: Run) -> bool:
    """Whether the pictures of the grid are those of a generator, and not photos: their w is known."""
    shown = run.data.held_out[:GRID_ROWS]
    return all(bool(run.data.data[VALIDATION_EPOCH, i]["has_w"]) for i in shown)


def command(settings: TrainingSettings) -> str:
    """The command of this run, with the names of folders and files but not where they lie."""
    words = ["accelerate", "launch", "training/train.py"]
    by_default = by_name(TrainingSettings(settings.task, settings.output_dir))
    for name, value in by_name(settings).items():
        if name in PRIVATE_FLAGS or value is None or (value is False and by_default[name] is not None):
            continue
        values = value if isinstance(value, tuple) else [value]
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
        else:
            words += [f"--{name}", *(Path(v).name if is_path(v) else str(v) for v in values)]
    return shlex.join(words)


def is_path(value: object) -> bool:
    return isinstance(value, Path) or (isinstance(value, str) and (Path(value).is_absolute() or Path(value).exists()))
