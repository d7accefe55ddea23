"""Train the encoder of a task; the generator stays frozen.

    accelerate launch training/train.py --task sketch --pairs_dir pairs --output_dir runs/sketch

Pictures of the generator have a known w, which is the supervision: its error is in units of the spread of w, and 1 is
the mean face. Photos (--target_dir, --dataset_name) are compared with the pictures that the generator draws. Run the
same command with `--resume_from_checkpoint latest` to go on where it stopped.
"""

from training.settings.run import TrainingSettings, parse_args


def main(settings: TrainingSettings) -> None:
    """Train as the settings say."""
    # The flags are read, and --help is answered, before torch and its friends are loaded.
    from training.run.ending import run_to_exit
    from training.run.train import main as run

    run_to_exit(lambda: run(settings))


if __name__ == "__main__":
    main(parse_args(description=__doc__))
