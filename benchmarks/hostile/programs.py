"""Programs that are killed and run out of disk: how each is started, and whether what it left is whole."""

import os
import resource
import signal
import socket
import sys
import time
import traceback
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from PIL import Image
from safetensors.torch import load_file

import app
from benchmarks.hostile.checkpoints import ODD_CHECKPOINTS, psp_state
from benchmarks.hostile.doors import RunningPage
from benchmarks.hostile.pictures import draw_face
from psp_hub import PSPModel
from psp_hub.cli.main import main as psp_hub_main
from psp_hub.staging import PREFIX
from tests.browser import OPENER
from tests.original_checkpoints import save
from training.data.pairs import PairStore
from training.recipes import make_pairs

Program = Callable[[], Any]
DRAWINGS, VARIATIONS = 12, 3
PAIRS = 520  # in two shards
WAIT = 120


# Processes


def fork(program: Program, log: Path, limit: int | None = None) -> int:
    """Run a program in a fork of this process, the leader of a group of its own.

    Args:
        limit: bytes that no file may exceed.
    """
    sys.stdout.flush()
    process = os.fork()
    if process:
        return process
    os.setpgid(0, 0)
    with open(log, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)
    code = 3
    try:
        if limit is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        code = program() or 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
        print(error, file=sys.stderr)
    except BaseException:  # noqa: BLE001 - what any interpreter ends with
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except OSError:  # the log is full, too
            pass
        os._exit(code if isinstance(code, int) else 0)


def kill(process: int) -> None:
    """SIGKILL to a process and all that it started."""
    try:
        everything = [psutil.Process(process), *psutil.Process(process).children(recursive=True)]
    except psutil.NoSuchProcess:
        everything = []
    for one in everything:
        try:
            one.kill()
        except psutil.NoSuchProcess:
            pass
    os.waitpid(process, 0)
    psutil.wait_procs(everything[1:], timeout=WAIT)


def finish(program: Program, log: Path, limit: int | None = None) -> int:
    """Run to the end; returns the exit code."""
    _, status = os.waitpid(fork(program, log, limit), 0)
    return os.waitstatus_to_exitcode(status)


def leftovers(folder: Path) -> list[str]:
    """Files that were being written."""
    return [path.name for path in folder.rglob("*") if path.name.startswith(PREFIX) or path.name.endswith(".tmp")]


# The programs


class Translate:
    """`psp-hub translate` of a folder, with variations and latents."""

    def __init__(self, folder: Path, models: Path):
        self.folder, self.models = folder, models
        (folder / "in").mkdir(parents=True)
        for i in range(DRAWINGS):
            draw_face(np.random.default_rng(i)).save(folder / f"in/{i}.png")
        self.expected: dict[str, Any] = {}

    def run(self) -> int:
        words = ["translate", self.folder / "in", "-o", self.folder / "out", "--model", self.models / "sketch"]
        return psp_hub_main(
            [str(word) for word in [*words, "--seed", 1, "--variations", VARIATIONS, "--save-latents"]]
        )

    def check(self) -> list[str]:
        found, wrong = {}, []
        for path in sorted((self.folder / "out").glob("[!.]*")):
            try:
                latents = path.suffix == ".safetensors"
                found[path.name] = load_file(path)["ws"].numpy() if latents else np.asarray(Image.open(path))
            except Exception as error:  # noqa: BLE001 - a half file raises anything
                wrong.append(f"{path.name} is not whole: {error}")
        self.expected = self.expected or found
        return wrong + [name for name in found if not np.array_equal(found[name], self.expected[name])]


class Convert:
    """`psp-hub convert` to a folder that is new, unless it became whole before."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True)
        save(ODD_CHECKPOINTS["plain"](psp_state()), folder / "psp.pt")
        self.expected: dict[str, torch.Tensor] = {}

    def run(self) -> int:
        if (self.folder / "out").exists():
            return 0
        return psp_hub_main(["convert", str(self.folder / "psp.pt"), str(self.folder / "out")])

    def check(self) -> list[str]:
        if not (self.folder / "out").exists():
            return []
        try:
            state = PSPModel.from_pretrained(self.folder / "out").state_dict()
        except (ValueError, OSError) as error:
            return [f"the model is not whole: {error}"]
        self.expected = self.expected or state
        return [name for name in state if not torch.equal(state[name], self.expected[name])]


class MakePairs:
    """`training/recipes/make_pairs.py`, whose worker is a process of its own."""

    def __init__(self, folder: Path, models: Path):
        self.folder, self.generator = folder, models / "sketch/generator"
        folder.mkdir(parents=True)
        self.expected: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def run(self) -> None:
        words = ["--output_dir", self.folder / "out", "--num_pairs", PAIRS, "--generator", self.generator]
        words += ["--torch_dtype", "float32", "--batch_size", 20]
        make_pairs.main(make_pairs.parse_args([str(word) for word in words]))

    def check(self) -> list[str]:
        if not list((self.folder / "out").glob("images-*.tar")):
            return []
        try:
            store = PairStore([self.folder / "out"])
            found = {index: store[i] for i, index in enumerate(store.indices)}
        except (ValueError, OSError) as error:
            return [f"the store is not whole: {error}"]
        self.expected = self.expected or found
        return [f"pair {i}" for i, pair in found.items() if not all(map(torch.equal, pair, self.expected[i]))]


class App:
    """The page, asked all the time."""

    def __init__(self, folder: Path, models: Path):
        self.folder, self.models = folder, models
        folder.mkdir(parents=True)
        draw_face(np.random.default_rng(0)).save(folder / "drawing.png")
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.port = server.getsockname()[1]
        os.environ["GRADIO_TEMP_DIR"] = str(folder / "gradio")
        self.expected = b""

    def run(self) -> None:
        app.main(["--model", str(self.models / "sketch"), "--port", str(self.port)])

    def ask(self, page: RunningPage) -> bytes | str:
        """A face, or what was said instead."""
        path = page.upload("drawing.png", (self.folder / "drawing.png").read_bytes())
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        outcome, answers = page.ask("draw_to_face", [file, 1, 1, 0.5, 1.0])
        return Path(answers[0]["path"]).read_bytes() if answers else outcome.text

    def started(self, process: int) -> RunningPage | None:
        """The page, once it answers; None if the process has ended."""
        url = f"http://127.0.0.1:{self.port}/"
        for _ in range(20 * WAIT):
            if os.waitpid(process, os.WNOHANG) != (0, 0):
                return None
            try:
                OPENER.open(url, timeout=5).close()
                return RunningPage(url, self.folder / "log.txt")
            except (urllib.error.URLError, TimeoutError, OSError):
                time.sleep(0.05)
        return None
