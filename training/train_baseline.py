"""Train one of the systems that the paper compares pSp with: pix2pixHD, SPADE, CC-FPSE, DeepFaceDrawing's idea.

    python training/train_baseline.py --baseline spade --task segmentation --pairs_dir pairs --label_maps_dir labels
        --output_dir runs/spade

Data, folders and resuming are those of training/train.py. There is no StyleGAN and there are no styles: a generator
translates pictures directly, and a second network tells its pictures from real ones (hinge loss, feature matching).
`training/compare.py` takes the saved model as it takes those of pSp. `--size paper` has the widths and depths of the
papers.
"""

from training.settings.baselines import BaselineSettings
from training.settings.flags import parse_checked


def parse_args(words: list[str] | None = None) -> BaselineSettings:
    return parse_checked(BaselineSettings, words, __doc__)


def main(settings: BaselineSettings) -> None:
    """Train until the end, or until a signal comes."""
    from training.baselines.run import train
    from training.run.checkpoints import StopSignals

    with StopSignals() as stop:
        train(settings, stop)


if __name__ == "__main__":
    try:
        main(parse_args())
    except (ValueError, OSError) as error:
        raise SystemExit(f"train_baseline.py: {error}") from error
