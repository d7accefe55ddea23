"""Hundreds of inputs made to break things, through every door: `python benchmarks/stress_inputs.py`.

    python benchmarks/stress_inputs.py --cases 500 --seed 0

Doors are Python, the command line (some of it in processes of its own), the page for programs, the folders of a
training, the conversion of checkpoints, and saved latents. Each input is made of the seed and its number alone, so
`--only 17` makes that one again. The networks are tiny and random: what they answer is meaningless, but what they are
given is not, and of many inputs the right one is known. Prints what was tried, refused with a message, answered, ended
in a traceback, hung, left files behind, or was wrong without a word. Exits with 1 if any of the last four happened.
"""

import argparse
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from tqdm import tqdm

from benchmarks.hostile import checkpoints, pictures
from benchmarks.hostile.doors import (
    ANSWERED,
    ENDPOINTS,
    HANG,
    TRACEBACK,
    Outcome,
    RunningPage,
    attempt,
    in_python,
    on_command_line,
    on_page,
    page_settings,
    typed,
)
from benchmarks.hostile.folders import FOLDERS
from benchmarks.hostile.models import make_models
from benchmarks.hostile.pictures import REFUSED, Hostile
from benchmarks.hostile.verdict import exit_with
from psp_hub import PSPModel, save_latents
from psp_hub.conversion import convert
from psp_hub.latents_file import load_latents
from psp_hub.tasks import TASKS
from tests.browser import serve
from tests.original_checkpoints import save as save_checkpoint
from training.data.loading import load_data
from training.settings.flags import parse
from training.settings.run import TrainingSettings

JUNK: tuple[Any, ...] = (
    *(None, "", "x", -1, 1e30, 0.5, True, [], {}, [[[]]], {"path": "/etc/passwd"}, "data:image/png;base64,AA"),
    *({"path": "http://127.0.0.1:9/x.png", "meta": {"_type": "gradio.FileData"}}, "\ud800", "9" * 400, ["a"] * 50),
)
ODD_OPTIONS: tuple[list[object], ...] = (
    *(["--seed", -1], ["--seed", "nan"], ["--strength", 2], ["--variations", 0], ["--truncation-psi", "inf"]),
    *(["--variations", 3], ["--factor", 0], ["--refine", -5], ["--label-order", "mine"], ["--mask", "nowhere.png"]),
)


class Stress:
    """Everything that a case needs.

    Args:
        models: by task, saved in `folder` by their names.
        page: that runs with these models.
    """

    def __init__(self, folder: Path, models: dict[str, PSPModel], page: RunningPage):
        self.folder, self.models, self.page = folder, models, page
        self.psp_state = checkpoints.psp_state()
        plain = save_checkpoint(checkpoints.ODD_CHECKPOINTS["plain"](self.psp_state), folder / "plain.pt")
        self.expected = convert(plain).model.state_dict()

    def run(self, number: int, seed: int) -> tuple[str, Outcome]:
        """The door and kind of a case, and what became of it."""
        rng = np.random.default_rng((seed, number))
        place = self.folder / "case"
        shutil.rmtree(place, ignore_errors=True)
        (place / "tmp").mkdir(parents=True)
        (place / "here").mkdir()
        tempfile.tempdir = str(place / "tmp")
        os.chdir(place / "here")
        doors = (self.picture, self.picture, self.picture, self.picture, self.checkpoint, self.training, self.rest)
        try:
            name, outcome = doors[number % len(doors)](rng, place)
        finally:
            os.chdir(self.folder)
            tempfile.tempdir = None
        outcome.left += [str(path.relative_to(place)) for sub in ("tmp", "here") for path in (place / sub).rglob("*")]
        return name, outcome

    # Pictures

    def picture(self, rng: np.random.Generator, place: Path) -> tuple[str, Outcome]:
        """A file through Python, the command line or the page."""
        task = str(rng.choice(["sketch", "segmentation", "sketch", "segmentation", "inversion", "inpainting"]))
        case = self.make_picture(rng, place, task)
        model, door = self.models[task], ("Python", "command line", "page")[rng.integers(3)]
        if door == "Python":
            outcome = in_python(model, case)
        elif door == "command line":
            (place / "out").mkdir()
            words: list[object] = ["--no-align"] if task == "inversion" and rng.random() < 0.8 else []
            own = bool(rng.random() < 0.1)
            outcome = on_command_line(model, self.folder / task, case, place / "out/face.png", words, own)
        else:
            outcome = on_page(self.page, task, model, case, page_settings(task, int(rng.integers(100))))
        return f"{door}, {task}: {case.kind}", outcome

    def make_picture(self, rng: np.random.Generator, place: Path, task: str) -> Hostile:
        if task == "sketch":
            good, odd, false = pictures.draw_face(rng), pictures.ODD_DRAWINGS, {}
        elif task == "segmentation":
            good, odd, false = pictures.paint_map(rng), pictures.ODD_MAPS, pictures.FALSE_MAPS
        else:
            good, odd, false = pictures.paint_photo(rng), {}, {}
        choice = rng.random()
        if choice < 0.35 and odd:
            name = str(rng.choice(list(odd)))
            odd[name](good, place / name)
            return Hostile(place / name, name, good)
        if choice < 0.5 and false:
            name = str(rng.choice(list(false)))
            false[name](good, place / name)
            return Hostile(place / name, f"no map, {name}", REFUSED)
        if choice < 0.7:
            name = str(rng.choice(list(pictures.NO_PICTURES)))
            (place / name).write_bytes(pictures.NO_PICTURES[name])
            return Hostile(place / name, f"no picture, {name}", REFUSED)
        if choice < 0.9:
            kind = str(rng.choice(["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"]))
            how, content = pictures.damage(pictures.encoded(good, kind), rng)
            (place / f"damaged.{kind.lower()}").write_bytes(content)
            return Hostile(place / f"damaged.{kind.lower()}", f"{kind} {how}")
        if choice < 0.96:
            name = str(rng.choice(list(pictures.ODD_NAMES)))
            path = place / (os.fsdecode(pictures.ODD_BYTES) if rng.random() < 0.2 else name)
            good.save(path, "PNG")
            return Hostile(path, f"name {name[:20]!r}", good if odd else None)
        return Hostile(pictures.odd_place(place, rng), "no file", REFUSED)

    # Checkpoints

    def checkpoint(self, rng: np.random.Generator, place: Path) -> tuple[str, Outcome]:
        choice, path = rng.random(), place / "psp.pt"
        expected: str | None = REFUSED
        if choice < 0.35:
            kind = str(rng.choice(list(checkpoints.ODD_CHECKPOINTS)))
            made = checkpoints.ODD_CHECKPOINTS[kind](self.psp_state)
            save_checkpoint(made, path, legacy=bool(rng.integers(2)))
            expected = "same"
        elif choice < 0.6:
            kind = str(rng.choice(list(checkpoints.FALSE_CHECKPOINTS)))
            save_checkpoint(checkpoints.FALSE_CHECKPOINTS[kind](self.psp_state), path)
        elif choice < 0.7:
            kind = str(rng.choice(list(checkpoints.NO_CHECKPOINTS)))
            path = place / kind
            path.write_bytes(checkpoints.NO_CHECKPOINTS[kind])
        elif choice < 0.8:
            number = int(rng.integers(len(checkpoints.PROGRAMS)))
            kind, path = f"program {number}", place / str(rng.choice(["psp.pt", "psp.pkl"]))
            checkpoints.write_program(path, checkpoints.PROGRAMS[number])
        else:
            save_checkpoint(checkpoints.ODD_CHECKPOINTS["paths"](self.psp_state), path)
            if rng.integers(2):
                kind, expected = "scrambled pickle", None
                checkpoints.rewrite(path, lambda content: checkpoints.scramble(content, rng))
            else:
                how, content = pictures.damage(path.read_bytes(), rng)
                kind, expected = f"checkpoint {how}", None
                path.write_bytes(content)
        if expected != "same" and rng.integers(2):
            outcome = typed(["convert", path, place / "model"])
            if outcome.result == REFUSED and (place / "model").exists():
                outcome.left.append("model")
        else:
            outcome, converted = attempt(lambda: convert(path))
            if outcome.result == ANSWERED and expected == "same":
                state = converted.model.state_dict()
                wrong = [name for name, value in self.expected.items() if not torch.equal(state[name], value)]
                outcome.wrong = f"{kind}: other weights, {wrong[0]}" if wrong else ""
        if expected == REFUSED and outcome.result == ANSWERED:
            outcome.wrong = f"{kind} was converted"
        if expected == "same" and outcome.result == REFUSED:
            outcome.wrong = f"{kind} was refused: {outcome.text}"
        return f"convert: {kind}", outcome

    # Folders of a training

    def training(self, rng: np.random.Generator, place: Path) -> tuple[str, Outcome]:
        kind = str(rng.choice(list(FOLDERS)))
        words, expected = FOLDERS[kind](place / "data", rng)

        def load() -> int:
            settings = parse(TrainingSettings, [str(word) for word in [*words, "--output_dir", place / "run"]])
            loaded = load_data(settings, TASKS[settings.task], self.models["sketch"].generator)
            for i in (*loaded.training, *loaded.held_out):
                loaded.data[0, i]
            return len(loaded.data)

        outcome, count = attempt(load)
        if expected == REFUSED and outcome.result == ANSWERED:
            outcome.wrong = f"{kind}: {count} examples"
        elif isinstance(expected, int) and (outcome.result, count) != (ANSWERED, expected):
            outcome.wrong = f"{kind}: {count} examples, expected {expected}; {outcome.text}"
        return f"training: {kind}", outcome

    # Latents, options, and anything in the place of anything

    def rest(self, rng: np.random.Generator, place: Path) -> tuple[str, Outcome]:
        which = rng.integers(3)
        if which == 0:
            return self.latents(rng, place)
        if which == 1:
            endpoint = str(rng.choice([*ENDPOINTS.values(), "edit_face"]))
            data = [JUNK[i] for i in rng.integers(0, len(JUNK), int(rng.integers(0, 12)))]
            outcome, _ = self.page.ask(endpoint, data)
            return f"page: anything at {endpoint}", outcome
        (place / "out").mkdir()
        pictures.draw_face(rng).save(place / "drawing.png")
        words = ODD_OPTIONS[rng.integers(len(ODD_OPTIONS))]
        command = ["translate", place / "drawing.png", "-o", place / "out/face.png", "--model", self.folder / "sketch"]
        outcome = typed([*command, *words])
        outcome.left = [path.name for path in (place / "out").iterdir()] if outcome.result == REFUSED else []
        outcome.wrong = f"{words} was carried out" if outcome.result == ANSWERED else ""
        return f"command line: {words[0]}", outcome

    def latents(self, rng: np.random.Generator, place: Path) -> tuple[str, Outcome]:
        path, ws = place / "face.safetensors", torch.randn(1, 8, 32)
        save_latents(path, ws, generator=None, task="sketch")
        kind = str(rng.choice(["good", "damaged", "other shape", "not a number", "no styles", "empty"]))
        note = {"format": "psp-hub latents", "version": "1"}
        if kind == "damaged":
            path.write_bytes(pictures.damage(path.read_bytes(), rng)[1])
        elif kind == "empty":
            path.write_bytes(b"")
        elif kind != "good":
            tensor = {"other shape": torch.zeros(3), "not a number": ws * torch.nan, "no styles": ws}[kind]
            path.write_bytes(save({"w" if kind == "no styles" else "ws": tensor}, metadata=note))
        if rng.integers(2):
            outcome, _ = attempt(lambda: load_latents(path, self.models["sketch"].generator))
        else:
            generator = self.folder / "sketch/generator"
            outcome = typed(["decode", path, "-o", place / "out.png", "--generator", generator])
        due = {"good": ANSWERED, "damaged": outcome.result}.get(kind, REFUSED)
        outcome.wrong = "" if outcome.result in (due, TRACEBACK, HANG) else f"{kind} latents: {outcome.result}"
        return f"latents: {kind}", outcome


def stress(args: argparse.Namespace, folder: Path) -> list[str]:
    """Run all cases and print how many ended how; returns what is wrong."""
    models = make_models(folder)
    words = [word for task in models for word in ("--model", str(folder / task))]
    environment = os.environ | {"GRADIO_TEMP_DIR": str(folder / "gradio")}
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    report: Callable[[str], None] = lambda text: tqdm.write(text) if args.verbose else None  # noqa: E731
    numbers = range(args.cases) if args.only is None else [args.only]
    with serve(*words, log=folder / "log.txt", environment=environment) as url:
        everything = Stress(folder, models, RunningPage(url, folder / "log.txt"))
        for number in tqdm(numbers, unit="case", disable=None):
            name, outcome = everything.run(number, args.seed)
            counts.update(
                {"tried": 1, outcome.result: 1, "files left": bool(outcome.left), "wrong": bool(outcome.wrong)}
            )
            counts.update({f"door {name.partition(':')[0].partition(',')[0]}": 1})
            report(f"{number}: {name}: {outcome.result} {outcome.text[:150]}")
            if outcome.result in (TRACEBACK, HANG):
                wrong.append(f"{number}: {name}: {outcome.result}: {outcome.text}")
            wrong += [f"{number}: {name}: left {', '.join(outcome.left)}"] if outcome.left else []
            wrong += [f"{number}: {name}: wrong without a word: {outcome.wrong}"] if outcome.wrong else []
    doors = sorted((door, count) for door, count in counts.items() if door.startswith("door "))
    print(", ".join(f"{door.removeprefix('door ')} {count}" for door, count in doors))
    for title in ("tried", REFUSED, ANSWERED, TRACEBACK, HANG, "files left", "wrong"):
        print(f"{title:12} {counts[title]:4}")
    return wrong


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="the number of a single case")
    parser.add_argument("--verbose", action="store_true", help="say what became of each")
    return parser.parse_args(argv)


def main() -> None:
    args = parse_args()
    torch.set_num_threads(1)  # tiny networks
    exit_with(lambda folder: stress(args, folder))


if __name__ == "__main__":
    main()
