"""The doors that inputs come through, and what became of each: answered, refused with a message, or worse."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.hostile.pictures import REFUSED, Hostile
from psp_hub import PSPModel
from psp_hub.cli.main import main
from psp_hub.images.preprocessing import open_image, prepare_tensor, tensor_to_images
from tests.browser import OPENER, ROOT

ENDPOINTS = {
    "sketch": "draw_to_face",
    "segmentation": "map_to_face",
    "inversion": "reconstruct",
    "super-resolution": "upscale",
    "inpainting": "fill_in",
}
ANSWERED, TRACEBACK, HANG = "answered", "traceback", "hang"
SECONDS = 90  # more than the slowest answer takes on a busy machine
SAME_DRAWING = 0.04  # mean difference, of 1: lines that another format made a little softer
SAME_MAP = 0.99  # share of the pixels: thinned out and doubled again


@dataclass
class Outcome:
    """What became of one input."""

    result: str
    text: str = ""
    wrong: str = ""  # an answer that is not the known right one, or none where one was due
    left: list[str] = field(default_factory=list)


class HangError(BaseException):
    """Too long; not an Exception, so that nothing on the way takes it for its own."""


@contextlib.contextmanager
def limited(seconds: int) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise HangError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def attempt(function: Callable[[], Any]) -> tuple[Outcome, Any]:
    """Run something in this process. Refused is what raises ValueError or OSError with words in it."""
    try:
        with limited(SECONDS):
            return Outcome(ANSWERED), function()
    except HangError:
        return Outcome(HANG, f"more than {SECONDS} s"), None
    except (ValueError, OSError) as error:
        return Outcome(REFUSED if str(error).strip() else TRACEBACK, str(error) or repr(error)), None
    except SystemExit as error:
        return Outcome(REFUSED if error.code else ANSWERED, f"exit code {error.code}"), None
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        return Outcome(TRACEBACK, f"{type(error).__name__}: {error}"), None


def judge(outcome: Outcome, case: Hostile, seen: Callable[[], np.ndarray], expected: np.ndarray | None) -> Outcome:
    """Compare with what is known of the input.

    Args:
        seen: what was understood, as the encoder takes it.
        expected: the same of the picture that it shows.
    """
    if case.expected == REFUSED and outcome.result == ANSWERED:
        outcome.wrong = f"{case.kind} was answered"
    elif expected is not None and outcome.result == REFUSED:
        outcome.wrong = f"{case.kind} was refused: {outcome.text}"
    elif expected is not None and outcome.result == ANSWERED:
        found = seen()
        if found.shape[0] > 1:
            share = float((found.argmax(0) == expected.argmax(0)).mean())
            outcome.wrong = "" if share >= SAME_MAP else f"{case.kind}: {share:.1%} of the map is right"
        else:
            difference = float(np.abs(found - expected).mean())
            outcome.wrong = "" if difference <= SAME_DRAWING else f"{case.kind}: differs by {difference:.3f}"
    return outcome


def as_input(picture: Image.Image, kind: str) -> np.ndarray:
    """[C, 256, 256]."""
    return prepare_tensor(picture, kind)[0].numpy()


def of_case(case: Hostile, kind: str) -> np.ndarray | None:
    return as_input(case.expected, kind) if isinstance(case.expected, Image.Image) else None


def in_python(model: PSPModel, case: Hostile) -> Outcome:
    """A picture in the model's hands."""
    kind = model.config.input_kind
    outcome, seen = attempt(lambda: prepare_tensor(open_image(case.path, keep_mode=True), kind))
    if outcome.result == ANSWERED:
        outcome, _ = attempt(lambda: model(open_image(case.path, keep_mode=True)))
    return judge(outcome, case, lambda: seen[0].numpy(), of_case(case, kind))


def typed(words: list[object], own_process: bool = False) -> Outcome:
    """What is typed after `psp-hub`."""
    said, complained = io.StringIO(), io.StringIO()
    if own_process:
        program = "import sys; from psp_hub.cli.main import main; sys.exit(main())"
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", program, *map(str, words)]
        try:
            run = subprocess.run(command, capture_output=True, timeout=SECONDS, env=environment)
        except subprocess.TimeoutExpired:
            return Outcome(HANG, f"more than {SECONDS} s")
        code, errors = run.returncode, run.stderr.decode(errors="replace")
    else:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complained):
            outcome, code = attempt(lambda: main([str(word) for word in words]))
        errors = complained.getvalue()
        if outcome.result in (HANG, TRACEBACK):
            return outcome
        code = (2 if outcome.result == REFUSED else 0) if code is None else code
        errors = errors or outcome.text
    if "Traceback" in errors or code not in (0, 1, 2) or (code and not errors.strip()):
        return Outcome(TRACEBACK, f"exit code {code}: {errors[-300:]}")
    return Outcome(REFUSED if code else ANSWERED, errors.strip()[-300:])


def on_command_line(
    model: PSPModel, folder: Path, case: Hostile, out: Path, words: list[object], own_process: bool = False
) -> Outcome:
    """`psp-hub translate`; what it writes is what Python answers to the same file."""
    outcome = typed(["translate", case.path, "-o", out, "--model", folder, *words], own_process)
    outcome.left = [path.name for path in out.parent.iterdir() if path != out and path.suffix in (".tmp", ".png")]
    if outcome.result == REFUSED and out.exists():
        outcome.left.append(out.name)
    kind = model.config.input_kind
    seen = lambda: as_input(open_image(case.path, keep_mode=True), kind)  # noqa: E731
    judge(outcome, case, seen, of_case(case, kind))
    if outcome.result == ANSWERED and not out.exists():
        outcome.wrong = "nothing was written"
    elif outcome.result == ANSWERED and not words and not outcome.wrong:
        with torch.no_grad():
            styles = model.encode(open_image(case.path, keep_mode=True))
            expected = np.asarray(tensor_to_images(model.decode(styles))[0])
        if not np.array_equal(np.asarray(Image.open(out)), expected):
            outcome.wrong = f"{case.kind}: not the face that Python answers"
    return outcome


@dataclass
class RunningPage:
    """A page in a process of its own, and its log."""

    url: str
    log: Path

    def send(self, path: str, body: bytes, kind: str = "application/json") -> tuple[int, bytes]:
        request = urllib.request.Request(f"{self.url}gradio_api/{path}", body or None, {"Content-Type": kind})
        try:
            with OPENER.open(request, timeout=SECONDS) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def upload(self, name: str, content: bytes) -> str | None:
        """The path that the page gave it."""
        head = b'--cut\r\nContent-Disposition: form-data; name="files"; filename="' + name.encode("utf-8", "replace")
        body = head + b'"\r\nContent-Type: image/png\r\n\r\n' + content + b"\r\n--cut--\r\n"
        status, answer = self.send("upload", body, "multipart/form-data; boundary=cut")
        return json.loads(answer)[0] if status == 200 else None

    def ask(self, endpoint: str, data: list[Any]) -> tuple[Outcome, list[Any]]:
        """Outcome and answers of an endpoint."""
        before = self.log.read_text(errors="replace").count("Traceback")
        try:
            status, answer = self.send(f"call/{endpoint}", json.dumps({"data": data}).encode())
            if status != 200:
                return Outcome(REFUSED if status < 500 else TRACEBACK, f"status {status}: {answer[:200]!r}"), []
            _, events = self.send(f"call/{endpoint}/{json.loads(answer)['event_id']}", b"")
        except TimeoutError:
            return Outcome(HANG, f"more than {SECONDS} s"), []
        last = events.decode(errors="replace").strip().rpartition("event: ")[2]
        event, _, rest = last.partition("\n")
        text = rest.removeprefix("data: ")
        if self.log.read_text(errors="replace").count("Traceback") > before:
            return Outcome(TRACEBACK, self.log.read_text(errors="replace")[-400:]), []
        if event == "complete":
            return Outcome(ANSWERED), json.loads(text)
        message = json.loads(text) if text.strip() else None
        message = message.get("error") if isinstance(message, dict) else message
        return Outcome(REFUSED if message else TRACEBACK, f"{event}: {text[:300]}"), []


def page_settings(task: str, seed: int) -> list[Any]:
    """What the endpoint of a task is sent behind the file, for one variation."""
    common: list[Any] = [seed, 1, 0.5, 1.0]
    before = {"segmentation": ["CelebAMask-HQ"], "inpainting": [None, True]}.get(task, [])
    behind = [] if task in ("sketch", "segmentation") else [0, 0, False]  # no refinement, largest face, alone
    return [*before, *common, *behind]


def on_page(page: RunningPage, task: str, model: PSPModel, case: Hostile, data: list[Any]) -> Outcome:
    """A file that a program sends; the page shows what it understood."""
    try:
        content = case.path.read_bytes() if case.path.is_file() else b""
    except OSError:
        content = b""
    path = page.upload(case.path.name, content)
    file = {"path": path or str(case.path), "meta": {"_type": "gradio.FileData"}}
    outcome, answers = page.ask(ENDPOINTS[task], [file, *data])
    if "does not fit" in outcome.text:
        outcome.wrong = f"the benchmark does not know the page's endpoints: {outcome.text}"
    kind = model.config.input_kind
    seen = lambda: as_input(open_image(answers[2]["path"], keep_mode=True), kind)  # noqa: E731
    return judge(outcome, case, seen, of_case(case, kind))
