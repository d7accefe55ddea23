"""Many people at the page for a while, and much that goes wrong on their side: `python benchmarks/stress_load.py`.

    python benchmarks/stress_load.py --clients 32 --requests 10
    python benchmarks/stress_load.py --model sketch --model segmentation --model inversion

Clients send drawings, label maps and photos in turn. Each answer is compared, byte for byte, with what a single client
got before; who is told that the queue is full asks again after a second, as a person would. Beside them, uploads are
cut off in the middle without end, and others leave: before the answer, or while it is sent. Prints how many were
answered, refused in words, wrong, tracebacks in the server's log, files left, and memory and open files after a
warm-up, in which the page comes to remember as many sessions as it may, and at the end. The networks are tiny and
random, unless models are named. Exits with 1 if anything is wrong.
"""

import argparse
import http.client
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from benchmarks.hostile.doors import ENDPOINTS, RunningPage, page_settings
from benchmarks.hostile.models import make_models
from benchmarks.hostile.verdict import exit_with
from psp_hub.config import PSPConfig
from psp_hub.demo.launch import SESSIONS
from psp_hub.model_names import STARTERS, find_model
from tests.browser import serve

FULL = "queue"  # what everyone who is refused is told of
PATIENCE = 600  # seconds until a client gives up
CUT_NAME = "cut-off.png"
GROWTH = 0.1  # of the memory after the warm-up


@dataclass(frozen=True)
class Request:
    """What a client asks for."""

    endpoint: str
    file: Path
    settings: tuple[Any, ...]


@dataclass
class Load:
    """A page under load, and what came of it."""

    page: RunningPage
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def ask(self, request: Request) -> list[bytes] | str:
        """The face and its variation, or what was said instead."""
        try:
            return self.answer(request)
        except (OSError, http.client.HTTPException, json.JSONDecodeError) as error:
            return f"no answer: {error!r}"

    def answer(self, request: Request) -> list[bytes] | str:
        path = self.page.upload(request.file.name, request.file.read_bytes())
        event = self.post(request, path)
        if isinstance(event, str) and event.startswith("refused: "):
            return event
        _, events = self.page.send(f"call/{request.endpoint}/{event}", b"")
        name, _, data = events.decode().strip().rpartition("event: ")[2].partition("\n")
        if name != "complete":
            return f"{name}: {data}"
        face, gallery, *_ = json.loads(data.removeprefix("data: "))
        return [Path(picture["path"]).read_bytes() for picture in (face, *(item["image"] for item in gallery))]

    def post(self, request: Request, path: str | None) -> str:
        """The name of the event that the answer comes with, or `refused: ` and why."""
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        body = json.dumps({"data": [file, *request.settings]}).encode()
        status, answer = self.page.send(f"call/{request.endpoint}", body)
        return str(json.loads(answer)["event_id"]) if status == 200 else f"refused: {status} {answer.decode()}"

    # Those who wait for their answers

    def client(self, number: int, times: int, expected: dict[Request, list[bytes]]) -> None:
        """Ask for one after the other until each is answered."""
        requests = list(expected)
        for step in range(times):
            request, end = requests[(number + step) % len(requests)], time.monotonic() + PATIENCE
            answer = self.ask(request)
            while isinstance(answer, str) and FULL in answer.lower() and time.monotonic() < end:
                self.counts["refused in words"] += 1
                time.sleep(1)
                answer = self.ask(request)
            if answer == expected[request]:
                self.counts["answered"] += 1
            else:
                said = answer if isinstance(answer, str) else "another face than a single client got"
                self.wrong.append(f"client {number}, {request.endpoint} of {request.file.name}: {said:.300}")

    # Those who do not

    def connection(self) -> http.client.HTTPConnection:
        address = urlsplit(self.page.url)
        return http.client.HTTPConnection(str(address.hostname), address.port, timeout=60)

    def cut_off(self, request: Request) -> None:
        """Send half of a file and hang up."""
        head = f'--cut\r\nContent-Disposition: form-data; name="files"; filename="{CUT_NAME}"\r\n\r\n'.encode()
        content = request.file.read_bytes() * (1 + 2**20 // request.file.stat().st_size)  # what is small is not stored
        connection = self.connection()
        connection.putrequest("POST", "/gradio_api/upload")
        connection.putheader("Content-Type", "multipart/form-data; boundary=cut")
        connection.putheader("Content-Length", str(len(head) + 2 * len(content)))
        connection.endheaders()
        connection.send(head + content)
        connection.close()
        self.counts["uploads cut off"] += 1

    def leave(self, request: Request, early: bool) -> None:
        """Ask, and close the connection before the answer comes, or while it is sent."""
        event = self.post(request, self.page.upload(request.file.name, request.file.read_bytes()))
        if event.startswith("refused: "):
            self.counts["leavers refused in words"] += FULL in event.lower()
            return
        connection = self.connection()
        connection.request("GET", f"/gradio_api/call/{request.endpoint}/{event}")
        if not early:
            connection.getresponse().read(1)
        connection.close()
        self.counts["left before the answer" if early else "left while it was sent"] += 1

    def again_and_again(self, do: Callable[[int], None], pause: float, stop: threading.Event) -> None:
        for number in range(10**9):
            if stop.wait(pause):
                return
            try:
                do(number)
            except (OSError, http.client.HTTPException) as error:
                self.wrong.append(f"the page did not answer: {error!r}")


def requests_of(models: list[str]) -> list[Request]:
    """Two examples of its task for each model."""
    found = []
    for model in models:
        task = PSPConfig.load(Path(find_model(model))).task
        files = sorted((STARTERS / task / "examples").glob("*.png"))[:2]
        found += [Request(ENDPOINTS[task], file, tuple(page_settings(task, i))) for i, file in enumerate(files)]
    return found


def server() -> psutil.Process:
    """The page's process."""
    (process,) = [child for child in psutil.Process().children() if "--port" in child.cmdline()]
    return process


def sizes(process: psutil.Process) -> tuple[float, int]:
    """MiB of memory, and open files and connections."""
    return process.memory_info().rss / 2**20, process.num_fds()


def files_left(folder: Path, cache: Path) -> list[str]:
    """Files that belong to no whole upload and no answer."""
    beside = [path for path in folder.rglob("*") if path.is_file()]
    halves = [path for path in cache.rglob("*") if path.is_file() and (path.parent == cache or path.name == CUT_NAME)]
    return [path.name for path in (*beside, *halves)]


def stress(args: argparse.Namespace, folder: Path) -> list[str]:
    """Run it; returns what is wrong."""
    (folder / "tmp").mkdir()
    models = args.model or [str(folder / "models" / task) for task in make_models(folder / "models")]
    environment = os.environ | {"GRADIO_TEMP_DIR": str(folder / "gradio"), "TMPDIR": str(folder / "tmp")}
    words = [word for model in models for word in ("--model", model)]
    log, stop = folder / "log.txt", threading.Event()
    with serve(*words, log=log, environment=environment) as url:
        load, process = Load(RunningPage(url, log)), server()
        expected = {}
        for request in requests_of(models):
            answer = load.ask(request)
            if isinstance(answer, str):
                return [f"{request.endpoint} of {request.file.name}: {answer}"]
            expected[request] = answer
        warm_up = Load(load.page)
        with ThreadPoolExecutor(args.clients) as pool:
            list(pool.map(lambda i: warm_up.client(i, 1, expected), range(max(args.clients, SESSIONS))))
        load.wrong += warm_up.wrong
        before, begin, requests = sizes(process), time.monotonic(), list(expected)
        bad: list[Callable[[int], None]] = [
            lambda i: load.cut_off(requests[i % len(requests)]),
            lambda i: load.leave(requests[i % len(requests)], early=i % 2 == 0),
        ]
        beside = [
            threading.Thread(target=load.again_and_again, args=(do, pause, stop))
            for do, pause in zip(bad, (args.cut_off_every, args.leave_every), strict=True)
        ]
        for thread in beside:
            thread.start()
        try:
            with ThreadPoolExecutor(args.clients) as pool:
                list(pool.map(lambda i: load.client(i, args.requests, expected), range(args.clients)))
        finally:
            stop.set()
            for thread in beside:
                thread.join()
        seconds = time.monotonic() - begin
        load.client(-1, len(requests), expected)  # when all have gone
        load.counts["answered"] -= len(requests)
        end = time.monotonic() + args.rest
        while (left := files_left(folder / "tmp", folder / "gradio")) and time.monotonic() < end:
            time.sleep(1)  # what was cut off last is still being looked at
        after = sizes(process)
    return report(load, args, seconds, before, after, left)


def report(
    load: Load,
    args: argparse.Namespace,
    seconds: float,
    before: tuple[float, int],
    after: tuple[float, int],
    left: list[str],
) -> list[str]:
    """Print the figures; returns what is wrong."""
    tracebacks = load.page.log.read_text(errors="replace").count("Traceback")
    print(f"{args.clients} clients x {args.requests} requests beside those who leave, {seconds:.0f} s:")
    for name in ("answered", "refused in words", "leavers refused in words"):
        print(f"  {name:28} {load.counts[name]:5}")
    for name in ("uploads cut off", "left before the answer", "left while it was sent"):
        print(f"  {name:28} {load.counts[name]:5}")
    print(f"  {'wrong':28} {len(load.wrong):5}")
    print(f"  {'tracebacks in the log':28} {tracebacks:5}")
    print(f"  {'files left':28} {len(left):5}")
    for name, unit, i in (("memory", "MiB", 0), ("open files and connections", "", 1)):
        print(
            f"  {name:28} {before[i]:5.0f} {unit} after the warm-up, {after[i]:.0f} {unit} at the end".replace(
                "  ", " "
            )
        )
    wrong = load.wrong + [f"left: {name}" for name in left]
    wrong += [f"{tracebacks} tracebacks in the log"] if tracebacks else []
    wrong += [f"memory grew by {after[0] - before[0]:.0f} MiB"] if after[0] > (1 + GROWTH) * before[0] else []
    return wrong


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--requests", type=int, default=10, help="of each client")
    parser.add_argument("--cut_off_every", type=float, default=0.25, help="seconds (default: 0.25)")
    parser.add_argument("--leave_every", type=float, default=1, help="seconds; they take turns in the queue, too")
    parser.add_argument("--rest", type=float, default=60, help="seconds, at most, until files of uploads are gone")
    parser.add_argument("--model", action="append", default=[], help="several times for several tasks")
    return parser.parse_args(argv)


def main() -> None:
    args = parse_args()
    exit_with(lambda folder: stress(args, folder))


if __name__ == "__main__":
    main()
