"""What training/domain.py is told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from training.settings.evaluation import check_folders
from training.settings.flags import OrNone
from training.settings.run import check_task_name


@dataclass(frozen=True)
class DomainSettings:
    """A task of something else than faces."""

    name: str
    """of the task, as the page shows it: lower-case letters, digits and hyphens"""
    generator: Path
    """a saved generator, or a file of StyleGAN2 or StyleGAN2-ADA (.pt, .pkl)"""
    output_dir: Path
    """of the pairs, the run and the report"""
    pictures_dir: OrNone[Path] = None
    """real pictures of what it paints: trained on beside the pairs, and measured on"""
    task: Literal["inversion", "sketch", "super-resolution", "inpainting"] = "inversion"
    """what goes in: such a picture, a drawing of it, a small one, or one with a gap"""
    num_pairs: int = 4000
    """pictures of the generator, with their styles"""
    max_train_steps: int = 2000
    """of the encoder"""
    train_batch_size: int = 8
    """of the encoder"""

    def check(self) -> None:
        """Raise a ValueError where these cannot be used."""
        check_task_name(self.name, "name")
        if not self.generator.exists():
            raise ValueError(f"there is no file and no folder {self.generator}")
        check_folders([self.pictures_dir])
