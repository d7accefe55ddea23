r"""Train each task for a short while, and print the figure of its held-out examples before and after.

    python benchmarks/try_tasks.py --output_dir runs/try --max_train_steps 300 --pairs_dir pairs \
        --label_maps_dir labels

All flags but those below go to training/train.py as they are, and so say which data, losses and optimiser the runs
have: with --pairs_dir, the figure is the error of the styles (1 is the mean face); with --target_dir, the weighted sum
of the task's losses. Exits with 1 if a figure did not get better.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from psp_hub.tasks import TASKS
from training import train
from training.run.exports import read_history

# Flags that only the tasks with such a source understand.
ONLY_FOR = {"--line_art_dir": "drawing", "--line_art_share": "drawing", "--label_maps_dir": "labels"}


def words_for(task: str, words: list[str]) -> list[str]:
    """The flags of training/train.py for a task: without those, and their values, that are for another source."""
    kept, dropping = [], False
    for word in words:
        if word.startswith("--"):
            dropping = ONLY_FOR.get(word, TASKS[task].source) != TASKS[task].source
        if not dropping:
            kept.append(word)
    return kept


def try_task(task: str, args: argparse.Namespace, words: list[str]) -> tuple[dict, dict, float]:
    """Train one task; returns its first validation, its last, and the seconds that it took."""
    folder = args.output_dir / task
    options = ["--task", task, "--output_dir", str(folder), "--max_train_steps", str(args.max_train_steps)]
    options += ["--validate_first", "--validation_steps", str(args.max_train_steps), "--report_to", "none"]
    began = time.monotonic()
    subprocess.run([sys.executable, train.__file__, *options, *words_for(task, words)], check=True)
    history = read_history(folder)
    return history[0], history[-1], time.monotonic() - began


def parse_args(args: list[str] | None = None) -> tuple[argparse.Namespace, list[str]]:
    """The flags of this program, and those that go to training/train.py."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--max_train_steps", type=int, default=300)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    return parser.parse_known_args(args)


def main() -> None:
    args, words = parse_args()
    rows, worse = [], False
    for task in args.tasks:
        first, last, seconds = try_task(task, args, words)
        name = last["figure"]
        rows.append(
            f"{task:<18} {name.replace('_', ' '):<8} {first[name]:8.4f} -> {last[name]:8.4f}   "
            f"{last['step']} steps, {seconds:.0f} s"
        )
        worse |= not last[name] < first[name]
    print("\n".join(rows))
    raise SystemExit(int(worse))


if __name__ == "__main__":
    main()
