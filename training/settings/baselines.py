"""What training/train_baseline.py is told; data and folders as training/train.py has them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from training.settings.data import DataSettings
from training.settings.flags import OrNone, Switch
from training.settings.optimizer import OptimizerSettings
from training.settings.run import DeviceSettings, SavingSettings, Task, TrainingSettings


@dataclass(frozen=True)
class GameSettings:
    """The game of the two networks."""

    train_batch_size: int = 8
    """pictures to one step"""
    max_train_steps: int = 20_000
    """where training ends"""
    learning_rate: float = 2e-4
    """of both networks, which Adam trains"""
    feature_weight: float = 10.0
    """of feature matching, beside the hinge loss"""
    own_weight: float = 10.0
    """of what a baseline learns beside the game: the parts of DeepFaceDrawing"""
    ema_decay: float = 0.999
    """of the average that is exported"""

    def check(self) -> None:
        """Raise a ValueError where these are out of range."""
        if min(self.train_batch_size, self.max_train_steps) < 1:
            raise ValueError("--train_batch_size and --max_train_steps are 1 or more")
        if self.learning_rate <= 0 or min(self.feature_weight, self.own_weight) < 0 or not 0 <= self.ema_decay < 1:
            raise ValueError("--learning_rate is above 0, weights are 0 or more, --ema_decay is 0 to 1")


@dataclass(frozen=True)
class KeepingSettings:
    """What is saved, and when."""

    checkpointing_steps: int = 500
    """from one checkpoint to the next"""
    checkpoints_total_limit: int = 2
    """that are kept"""
    resume_from_checkpoint: OrNone[str] = None
    """a checkpoint folder, or 'latest'"""
    allow_changes: Switch = False
    """resume although flags differ from those of the checkpoint"""
    validation_steps: int = 1000
    """from one look at held-out examples, and export, to the next"""


@dataclass(frozen=True)
class BaselineSettings:
    """All settings of a baseline's run."""

    baseline: Literal["pix2pixhd", "spade", "cc-fpse", "deepfacedrawing"]
    """what is trained"""
    task: Task
    """a row of psp_hub/tasks.py"""
    output_dir: Path
    """of all that the run writes"""
    size: Literal["paper", "laptop", "tiny"] = "laptop"
    """widths and depths"""
    image_size: int = 128
    """side of the pictures, a power of two"""
    mixed_precision: Literal["no", "bf16"] = "no"
    """of both networks"""
    seed: int = 0
    """of all that is drawn by chance"""
    data: DataSettings = field(default_factory=DataSettings)
    game: GameSettings = GameSettings()
    keeping: KeepingSettings = KeepingSettings()

    @property
    def run(self) -> TrainingSettings:
        """The same as settings of training/train.py, for the parts that both programs have."""
        game = self.game
        optimizer = OptimizerSettings(train_batch_size=game.train_batch_size, max_train_steps=game.max_train_steps)
        return TrainingSettings(
            self.task,
            self.output_dir,
            data=self.data,
            optimizer=optimizer.resolved(),
            device=DeviceSettings(mixed_precision=self.mixed_precision, seed=self.seed),
            saving=SavingSettings(**vars(self.keeping)),
        )

    def check(self) -> None:
        """Raise a ValueError where these are out of range, or do not fit together."""
        if self.image_size not in (32, 64, 128, 256):
            raise ValueError(f"--image_size is {self.image_size}, expected 32, 64, 128 or 256")
        if self.data.pairs.generated_pairs or self.data.faces.faces_dir or self.data.pairs.attributes:
            raise ValueError("baselines learn from pictures that are there: --pairs_dir, --target_dir, --dataset_name")
        self.game.check()
        self.run.check()
