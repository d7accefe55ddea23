"""What training/evaluate.py measures, with which networks, and what it compares."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from training.settings.flags import OrNone, WeightsFile
from training.settings.losses import LPIPSNet
from training.settings.run import Task

Start = Literal["mean_face", "encoder"]


@dataclass(frozen=True)
class MetricNetworkSettings:
    """Networks of the figures; a figure without its network is left out."""

    recogniser: WeightsFile = None
    """MobileFaceNet or ArcFace IR-SE50: identities"""
    edge_detector: OrNone[Path] = None
    """HED: perceptual distance, lines to draw"""
    lpips_net: OrNone[LPIPSNet] = None
    """LPIPS with this trunk"""
    lpips_trunk: WeightsFile = None
    """its weights, by default those in torchvision's cache"""
    parser: OrNone[Path] = None
    """face parser, by default the one that ships: label maps and how well they are kept"""
    frechet_net: OrNone[Literal["recogniser", "trunk"]] = None
    """Fréchet distance of its features"""

    def check(self) -> None:
        """Raise a ValueError where these do not fit together."""
        if self.frechet_net == "recogniser" and not self.recogniser:
            raise ValueError("--frechet_net recogniser needs --recogniser")
        if self.frechet_net == "trunk" and not (self.lpips_net or self.edge_detector):
            raise ValueError("--frechet_net trunk needs --lpips_net or --edge_detector")
        if self.lpips_trunk and not self.lpips_net:
            raise ValueError("--lpips_trunk needs --lpips_net, one of alex, vgg")


@dataclass(frozen=True)
class ComparisonSettings:
    """Other models, refinement and optimisation, on some of the pictures."""

    optimization_steps: tuple[int, ...] = ()
    """of a search for styles by optimisation; each number is a row"""
    refinement_steps: tuple[int, ...] = ()
    """from the encoder's answer, as in use"""
    passes: tuple[int, ...] = ()
    """the model's own answers after so many passes"""
    other_models: tuple[str, ...] = ()
    """models of the same task, for the same table: starters, folders or repositories"""
    num_optimized: int = 3
    """the first pictures that are measured"""
    optimization_spaces: tuple[Literal["w", "w+"], ...] = ("w", "w+")
    """where styles are looked for"""
    optimization_starts: tuple[Start, ...] = ("mean_face",)
    """where the search starts"""

    @property
    def given(self) -> bool:
        """Whether anything is compared."""
        return bool(self.optimization_steps or self.refinement_steps or self.passes or self.other_models)


@dataclass(frozen=True)
class EvaluationSettings:
    """All settings of an evaluation."""

    output_dir: Path
    """of the report"""
    model_name: tyro.conf.Positional[Annotated[str | None, tyro.conf.arg(metavar="MODEL", help_behavior_hint="")]] = (
        None
    )
    """the same as --model"""
    data: tyro.conf.Positional[Annotated[Path | None, tyro.conf.arg(metavar="DATA", help_behavior_hint="")]] = None
    """the same as --faces_dir or --pairs_dir"""
    task: Annotated[Task | None, tyro.conf.arg(help_behavior_hint="")] = None
    """by default that of the model"""
    model: OrNone[str] = None
    """starter, folder or repository on the Hub; by default the starter of the task"""
    pairs_dir: OrNone[Path] = None
    """pairs that training has not seen: the last ones are used"""
    num_pairs: int = 500
    """0 for all"""
    faces_dir: Annotated[Path | None, tyro.conf.arg(aliases=["--target_dir"], help_behavior_hint="")] = None
    """aligned photos: the last ones by name are used"""
    num_faces: int = 100
    """0 for all"""
    source_dir: OrNone[Path] = None
    """stored inputs for the photos, of the same names"""
    drawing_style: OrNone[str] = None
    """one style of drawing for all; by default the whole family"""
    factors: Annotated[tuple[int, ...] | None, tyro.conf.arg(metavar="INT ...", help_behavior_hint="")] = None
    """of super-resolution; by default all that it learns"""
    drawings_dir: OrNone[Path] = None
    """drawings with their photos, as FS2K has them (sketch)"""
    untrained_drawings: OrNone[Path] = None
    """a file of strokes and what they say (sketch)"""
    device: OrNone[str] = None
    """by default a GPU, where there is one"""
    seed: int = 1234
    """of what is random in the inputs"""
    networks: MetricNetworkSettings = MetricNetworkSettings()
    comparison: ComparisonSettings = ComparisonSettings()

    def resolved(self) -> "EvaluationSettings":
        """These, with the positional arguments under their names.

        Raises:
            ValueError: the model or the data is given twice.
        """
        if self.model and self.model_name:
            raise ValueError(f"the model is given twice: {self.model_name} and --model {self.model}")
        data = {}
        if self.data:
            name = "pairs_dir" if any(self.data.glob("images-*.tar")) else "faces_dir"
            if getattr(self, name):
                raise ValueError(f"the data is given twice: {self.data} and --{name} {getattr(self, name)}")
            data = {name: self.data}
        return replace(self, model=self.model or self.model_name or self.task, model_name=None, data=None, **data)

    def check(self) -> None:
        """Raise a ValueError where resolved settings are out of range, or do not fit together."""
        check_folders((self.pairs_dir, self.faces_dir, self.source_dir, self.drawings_dir))
        compared = self.comparison
        if not self.model:
            raise ValueError("expected MODEL or --task")
        if not (self.pairs_dir or self.faces_dir or self.drawings_dir or self.untrained_drawings):
            raise ValueError("expected DATA, --pairs_dir, --faces_dir, --drawings_dir or --untrained_drawings")
        if self.source_dir and not self.faces_dir:
            raise ValueError("--source_dir needs --faces_dir: the photos that its inputs belong to")
        if not (self.pairs_dir or self.faces_dir) and compared.given:
            raise ValueError(
                "refinement, optimisation and other models are compared on DATA, --pairs_dir or --faces_dir"
            )
        counts = (compared.num_optimized, *compared.passes, *compared.optimization_steps)
        if min(self.num_pairs, self.num_faces, *compared.refinement_steps) < 0 or min(counts) < 1:
            raise ValueError(
                "numbers of pictures and of steps of refinement are 0 or more, --num_optimized, --passes and "
                "--optimization_steps 1 or more"
            )
        self.networks.check()


def check_folders(folders: Sequence[Path | None]) -> None:
    """Raise a ValueError for folders that are given and missing."""
    if missing := [str(folder) for folder in folders if folder and not folder.is_dir()]:
        raise ValueError(f"no such folder: {', '.join(missing)}")
