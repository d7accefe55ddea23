"""Make a task of anything: a StyleGAN2 of it, and, where there is one, a folder of its pictures.

    python training/domain.py --name shapes --generator shapes.pkl --pictures_dir pictures --output_dir runs/shapes
    python app.py --model runs/shapes/run/model

The generator is converted, its pictures become pairs, an encoder learns from these and from the real pictures, and is
measured on the last of them. Nothing here is about faces: none are looked for, and no network of faces is needed. The
steps are the programs of this project; each is printed as it is run, and can be repeated with other flags. Run the
same command again to go on where it stopped.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path

from training.settings.domain import DomainSettings
from training.settings.flags import parse_checked


def parse_args(words: list[str] | None = None) -> DomainSettings:
    return parse_checked(DomainSettings, words, __doc__)


def train_words(settings: DomainSettings, generator: Path) -> list[str]:
    """The words of training/train.py."""
    words = ["--task", settings.task, "--task_name", settings.name, "--generator", str(generator)]
    words += ["--pairs_dir", str(settings.output_dir / "pairs"), "--output_dir", str(settings.output_dir / "run")]
    words += ["--max_train_steps", str(settings.max_train_steps), "--train_batch_size", str(settings.train_batch_size)]
    words += ["--resume_from_checkpoint", "latest", "--report_to", "none"]
    if settings.pictures_dir:  # they have no known styles: what is painted is compared
        words += ["--target_dir", str(settings.pictures_dir), "--l2_weight", "1"]
    return words


def pair_words(settings: DomainSettings, generator: Path) -> list[str]:
    """The words of make_pairs.py."""
    words = ["--generator", str(generator), "--output_dir", str(settings.output_dir / "pairs")]
    return [*words, "--num_pairs", str(settings.num_pairs), "--batch_size", "8", "--torch_dtype", "float32"]


def evaluate_words(settings: DomainSettings) -> list[str]:
    """The words of training/evaluate.py."""
    model, report = settings.output_dir / "run" / "model", settings.output_dir / "report"
    data = settings.pictures_dir or settings.output_dir / "pairs"
    return [str(model), str(data), "--task", settings.task, "--num_pairs", "100", "--output_dir", str(report)]


def main(settings: DomainSettings) -> Path:
    """Run all steps; the folder of the model."""
    # --help is answered before torch and its friends are loaded.
    from training import evaluate
    from training.recipes import make_pairs
    from training.run import train
    from training.settings.run import parse_args as parse_training

    generator = converted(settings)
    words = pair_words(settings, generator)
    announce("training/recipes/make_pairs.py", words)
    make_pairs.main(make_pairs.parse_args(words))
    words = train_words(settings, generator)
    announce("training/train.py", words)
    train.main(parse_training(words))
    words = evaluate_words(settings)
    announce("training/evaluate.py", words)
    evaluate.main(evaluate.parse_args(words))
    model = settings.output_dir / "run" / "model"
    print(f"\nTo see it: python app.py --model {shlex.quote(str(model))}")
    return model


def converted(settings: DomainSettings) -> Path:
    """The folder of the generator; a file is converted once.

    Raises:
        ValueError: a file that is no generator.
    """
    from psp_hub.conversion.converter import convert

    if settings.generator.is_dir():
        return settings.generator
    folder = settings.output_dir / "generator"
    if not folder.exists():
        conversion = convert(settings.generator)
        if conversion.model:
            raise ValueError(f"{settings.generator} holds an encoder, too, expected a generator alone")
        print(conversion.report())
        conversion.save(folder)
    return folder


def announce(program: str, words: Sequence[str]) -> None:
    print(f"\npython {program} {shlex.join(words)}", flush=True)


if __name__ == "__main__":
    try:
        main(parse_args())
    except (ValueError, OSError) as error:
        raise SystemExit(f"domain.py: {error}") from error
