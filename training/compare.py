"""Put systems side by side on the same inputs: a table, a figure, and their answers for a blind study.

    python training/compare.py --task sketch --models sketch runs/mine/model --answers_dirs outside/pix2pixHD
        --faces_dir faces --recogniser mobilefacenet_128d.safetensors --output_dir comparison

A model is a starter's name, a saved folder (of training/train_baseline.py, too) or a repository on the Hub. Systems
that do not run here are folders of their answers, under the names of the inputs; an answer that is missing is an
error. All pictures are measured at 256 px. Written: table.md and report.json with the figures of each system (layout
as the face parser sees it, identity, perceptual and Fréchet distance, diversity of variations, seconds, parameters; a
figure whose network is not given is left out), figure.png with a column for each, and TASK/, the inputs and all
answers as `training/study.py serve` asks about them.
"""

import json
from dataclasses import replace
from pathlib import Path

import torch

from psp_hub.face_parser import STARTER as PARSER
from psp_hub.images.preprocessing import tensor_to_images
from psp_hub.model import load_model
from psp_hub.staging import staged_folder
from psp_hub.tasks import get_task
from training.baselines.build import is_baseline, load_baseline
from training.evaluation.examples import PairExamples, PhotoExamples, SourceMaker
from training.evaluation.metric_networks import MetricNetworks, load_metric_networks
from training.evaluation.report import as_markdown, save_figure
from training.evaluation.side_by_side import SideBySide, compare_systems
from training.evaluation.systems import BaselineSystem, FolderSystem, ModelSystem, System, check_complete, stem_of
from training.settings.comparison import CompareSettings, column_name
from training.settings.flags import parse_checked
from training.voting.pairs import INPUTS


def parse_args(words: list[str] | None = None) -> CompareSettings:
    return parse_checked(CompareSettings, words, __doc__)


def load_systems(settings: CompareSettings, device: str) -> dict[str, System]:
    """The systems by the names of their columns.

    Raises:
        ValueError: a model of other inputs, or a folder without pictures.
    """
    row, systems = get_task(settings.task), {}
    for name in settings.systems.models:
        if is_baseline(Path(name)):
            baseline = load_baseline(Path(name)).to(device)
            if baseline.in_channels != row.in_channels:
                raise ValueError(f"{name} takes {baseline.in_channels} channels, expected {row.in_channels}")
            systems[column_name(name)] = BaselineSystem(baseline)
            continue
        model = load_model(name).to(device)
        if (model.config.input_kind, model.in_channels) != (row.input_kind, row.in_channels):
            raise ValueError(
                f"{name} takes {model.config.input_kind} of {model.in_channels} channels, expected {row.input_kind} "
                f"of {row.in_channels} for {settings.task}"
            )
        systems[column_name(name)] = ModelSystem(model)
    for folder in settings.systems.answers_dirs:
        systems[column_name(str(folder))] = FolderSystem(folder)
    return systems


def load_examples(settings: CompareSettings, networks: MetricNetworks) -> PairExamples | PhotoExamples:
    maker = SourceMaker(
        get_task(settings.task), settings.seed, parser=networks.parser, drawing_style=settings.drawing_style
    )
    if settings.pairs_dir:
        return PairExamples(settings.pairs_dir, settings.num_pairs, maker)
    return PhotoExamples(settings.faces_dir, settings.num_faces, maker, settings.source_dir)


def save(compared: SideBySide, settings: CompareSettings, networks: MetricNetworks) -> None:
    """Write the table, the figure, and all answers."""
    report = {"task": settings.task, "count": len(compared.names), **networks.names}
    report |= {"frechet_features": networks.features_of, "systems": compared.figures}
    (settings.output_dir / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (settings.output_dir / "table.md").write_text(as_markdown(compared.figures) + "\n", encoding="utf-8")
    columns = {"input": compared.inputs, "target": compared.targets, **compared.pictures}
    shown = {name: pictures[: settings.num_shown] for name, pictures in columns.items()}
    save_figure(shown, settings.output_dir / "figure.png")
    with staged_folder(settings.output_dir / settings.task) as folder:
        for column, pictures in {INPUTS: compared.inputs, **compared.pictures}.items():
            (folder / column).mkdir()
            for name, picture in zip(compared.names, tensor_to_images(pictures), strict=True):
                picture.save(folder / column / f"{stem_of(name).replace('/', '-')}.png")


def main(settings: CompareSettings) -> SideBySide:
    device = settings.device or ("cuda" if torch.cuda.is_available() else "cpu")
    wanted = replace(settings.networks, parser=settings.networks.parser or PARSER)
    networks, systems = load_metric_networks(wanted, device), load_systems(settings, device)
    examples = load_examples(settings, networks)
    check_complete(systems, examples.names)
    compared = compare_systems(
        systems,
        settings.task,
        examples,
        networks,
        torch.device(device),
        settings.num_varied,
        settings.num_variations,
        settings.seed,
    )
    settings.output_dir.mkdir(parents=True, exist_ok=True)
    save(compared, settings, networks)
    print(f"{len(compared.names)} inputs of {settings.task}\n\n{as_markdown(compared.figures)}")
    return compared


if __name__ == "__main__":
    try:
        main(parse_args())
    except (ValueError, OSError) as error:
        raise SystemExit(f"compare.py: {error}") from error
