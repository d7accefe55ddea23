r"""Fit how far the answers of an encoder of photos can be trusted, for `distil_pairs.py --calibration`.

    python training/recipes/calibrate_teacher.py --pairs_dir more-pairs --model runs/w-only/model \
        --output calibration.safetensors

An encoder is too sure of what it can hardly see: what it learned by heart of its training pairs looks like knowledge.
Least squares of the true w on its answers, on pairs that it was NOT trained on, shrinks each direction of W to what is
true of it, and uses what one direction says about another. Prints the error of w before and after on the last pairs.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from psp_hub.images.preprocessing import images_to_tensor
from psp_hub.model import PSPModel, load_model
from psp_hub.precision import quick_autocast
from training.data.pairs import PairStore, read_picture
from training.losses.w_error import WError
from training.memory import keep_freed_memory
from training.settings.flags import parse_checked

BATCH_SIZE = 50
RIDGE = 100.0  # of standardised answers: as if of so many pairs nothing could be told


class Calibration:
    """A linear map from the w that a teacher reads off a picture (the mean of its styles) to the one that made it.

    Args:
        matrix: [w_dim, w_dim], between coordinates of w relative to `w_avg`, in units of their spread.
        w_avg, w_std: [w_dim], mean and spread of w.
    """

    def __init__(self, matrix: Tensor, w_avg: Tensor, w_std: Tensor):
        self.matrix, self.w_avg, self.w_std = matrix, w_avg, w_std

    @classmethod
    def fit(cls, answers: Tensor, w: Tensor, error: WError) -> "Calibration":
        """Ridge regression of w on the teacher's answers, both [N, w_dim]."""
        w_avg, w_std = error.w_avg.cpu(), error.w_std.cpu()
        x, y = (answers - w_avg) / w_std, (w - w_avg) / w_std  # [N, w_dim] each
        return cls(torch.linalg.solve(x.T @ x + RIDGE * torch.eye(x.shape[1]), x.T @ y), w_avg, w_std)

    def __call__(self, answers: Tensor) -> Tensor:
        """What a teacher's answers [N, w_dim] tell of w, [N, w_dim]."""
        return (answers - self.w_avg) / self.w_std @ self.matrix * self.w_std + self.w_avg

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({"matrix": self.matrix.contiguous(), "w_avg": self.w_avg, "w_std": self.w_std}, path)

    @classmethod
    def from_file(cls, path: Path) -> "Calibration":
        """Raises ValueError for another file."""
        try:
            return cls(**load_file(path))
        except (OSError, SafetensorError, TypeError) as error:
            raise ValueError(f"{path} was not written by training/recipes/calibrate_teacher.py: {error}") from error


@torch.no_grad()
def read_styles(model: PSPModel, images: Tensor) -> Tensor:
    """What a teacher sees in images [N, 3, 256, 256], ws [N, num_ws, w_dim] in float32."""
    with quick_autocast("cpu"):
        return model.encode(images).float()


def load_teacher(name_or_path: str) -> PSPModel:
    """Raises ValueError for a model that does not read photos."""
    model = load_model(name_or_path)
    if model.config.input_kind != "photo":
        raise ValueError(f"{name_or_path} reads {model.config.input_kind}s, expected a model for photos")
    return model


def relative_error(w: Tensor, truth: Tensor, error: WError) -> float:
    """Error of w [N, w_dim], 1 for the mean face."""
    mistakes, mean_face = error(w[:, None] - error.w_avg, truth)
    return float(mistakes.sum() / mean_face.sum())


@dataclass(frozen=True)
class CalibrationSettings:
    """The teacher, and the pairs that show what it can be trusted with."""

    pairs_dir: Path
    """pairs that the teacher was not trained on"""
    model: str
    """the teacher: a starter, a folder or a repository on the Hub"""
    output: Path
    """a safetensors file"""
    held_out: int = 1000
    """so many of the last pairs only measure"""

    def check(self) -> None:
        """Raise a ValueError where these are out of range, or do not fit together."""
        if self.held_out < 1:
            raise ValueError(f"--held_out is {self.held_out}, expected 1 or more")


def parse_args(words: list[str] | None = None) -> CalibrationSettings:
    return parse_checked(CalibrationSettings, words, __doc__)


def main(settings: CalibrationSettings) -> None:
    keep_freed_memory()
    model = load_teacher(settings.model)
    store = PairStore([settings.pairs_dir])
    w = store.w.float()  # [N, w_dim]
    num_fitted = len(store) - settings.held_out
    if num_fitted < 1:
        raise ValueError(
            f"{settings.pairs_dir} has {len(store)} pairs, expected more than the {settings.held_out} held out"
        )
    batches = [store.positions[i : i + BATCH_SIZE] for i in range(0, len(store), BATCH_SIZE)]
    pictures = (images_to_tensor([read_picture(*position) for position in batch]) for batch in batches)
    pictures = tqdm(pictures, total=len(batches), unit="batch")
    answers = torch.cat([read_styles(model, images).mean(dim=1) for images in pictures])  # [N, w_dim]
    error = WError(model.generator)
    calibration = Calibration.fit(answers[:num_fitted], w[:num_fitted], error)
    calibration.save(settings.output)
    answers, w = answers[num_fitted:], w[num_fitted:]
    before, after = (relative_error(some, w, error) for some in (answers, calibration(answers)))
    print(f"error of w on {len(w)} held-out pairs: {before:.3f} as answered, {after:.3f} calibrated")


if __name__ == "__main__":
    main(parse_args())
