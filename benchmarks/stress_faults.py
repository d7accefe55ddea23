"""Kill every program at random moments, fill the disk, take the Hub away: `python benchmarks/stress_faults.py`.

    python benchmarks/stress_faults.py --times 20
    python benchmarks/stress_faults.py --only translate "full disk"

What lies there afterwards has to be whole or absent, and the next run has to go on to the end that a run left alone
comes to. Killed is with SIGKILL, which no program can answer. The programs start in forks of this process, which has
their libraries in memory, so that the moments fall into their work and not into its beginning; a training is killed
by `benchmarks/stress_resume.py`. A disk is full from a certain size of file on. The networks are tiny and random.
Exits with 1 if anything is wrong.
"""

import argparse
import http.client
import json
import os
import random
import resource
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from benchmarks import stress_resume
from benchmarks.hostile.models import make_models
from benchmarks.hostile.programs import App, Convert, MakePairs, Translate, finish, fork, kill, leftovers
from benchmarks.hostile.verdict import exit_with
from tests.hub_client import CallError, HubClient
from tests.loopback_hub import OWNER, LoopbackHub


def kill_again_and_again(name: str, program: Any, times: int) -> list[str]:
    """Kill a program at moments spread over its work, look at what lies there, and run it to the end.

    Args:
        program: with `run`, `check`, which says what is wrong with what is there, and `folder`.
    """
    check, folder = program.check, program.folder
    log = folder / "log.txt"
    began = time.monotonic()
    if finish(program.run, log):
        return [f"{name} failed when left alone: {log.read_text()[-500:]}"]
    seconds, rng, wrong, half = time.monotonic() - began, random.Random(0), check(), 0
    for number in range(times):
        shutil.rmtree(folder / "out", ignore_errors=True)
        process = fork(program.run, log)
        time.sleep(rng.uniform(0.02, 0.98) * seconds)
        kill(process)
        half += bool(leftovers(folder))
        wrong += [f"{name}, kill {number}: {text}" for text in check()]
        if number % 2:  # half of the kills lie on top of what the one before left
            continue
        if code := finish(program.run, log):
            wrong.append(f"{name}, kill {number}: the next run ended with {code}: {log.read_text()[-300:]}")
        wrong += [f"{name}, after kill {number}: {text}" for text in check()]
        wrong += [f"{name}, after kill {number}: {left} was left" for left in leftovers(folder)]
    print(f"{name}: {times} kills within {seconds:.1f} s, {half} while a file was being written; {len(wrong)} wrong")
    return wrong


def kill_the_page(program: App, times: int) -> list[str]:
    """Kill the page while it starts and while it is asked; the next one gives the same face."""
    rng, wrong, asked = random.Random(0), [], 0
    for number in range(times + 1):
        process = fork(program.run, program.folder / "log.txt")
        if number % 2 and number < times:  # while it starts
            time.sleep(rng.uniform(0, 3))
            kill(process)
            continue
        page = program.started(process)
        if page is None:
            return [*wrong, f"app, start {number}: {(program.folder / 'log.txt').read_text()[-500:]}"]
        face = program.ask(page)
        program.expected = program.expected or face
        wrong += [] if face == program.expected else [f"app, start {number}: {face!r:.200}, not the face from before"]
        stop = time.monotonic() + rng.uniform(0, 1)
        killer = os.fork()
        if not killer:
            time.sleep(max(0, stop - time.monotonic()))
            os.kill(process, signal.SIGKILL)
            os._exit(0)
        try:  # in the middle of this
            while time.monotonic() < stop + 1:
                program.ask(page)
                asked += 1
        except (OSError, http.client.HTTPException, json.JSONDecodeError):
            pass
        os.waitpid(killer, 0)
        kill(process)
    print(f"app: {times} kills, after {asked} answers; {len(wrong)} wrong")
    return wrong


# A full disk, and a Hub that goes away


def full_disk(programs: dict[str, Any], times: int) -> list[str]:
    """Files may not grow beyond a size that changes from try to try; then there is room again."""
    wrong: list[str] = []
    rng = random.Random(0)
    for name, program in programs.items():
        refused = 0
        sizes = [path.stat().st_size for path in (program.folder / "out").rglob("*") if path.is_file()]
        for number in range(times):
            shutil.rmtree(program.folder / "out", ignore_errors=True)
            log = program.folder / f"disk-{number}.txt"
            limit = rng.randint(0, max(sizes))
            code = finish(program.run, log, limit)
            said = log.read_text(errors="replace")
            refused += code != 0
            if "Traceback" in said or code not in (0, 1, 2):
                wrong.append(f"{name}, full disk at {limit}: exit code {code}: {said[-300:]}")
            wrong += [f"{name}, full disk at {limit}: {text}" for text in program.check()]
            wrong += [f"{name}, full disk at {limit}: {left} was left" for left in leftovers(program.folder)]
            if finish(program.run, program.folder / "log.txt"):
                wrong.append(f"{name}: the next run failed after a disk that was full at {limit}")
            wrong += [f"{name}, after a full disk: {text}" for text in program.check()]
        print(f"{name}: {times} full disks, {refused} ended with a message; {len(wrong)} wrong so far")
    return wrong


def full_disk_of_the_page(folder: Path, models: Path, times: int) -> list[str]:
    """The page says so to who asks, and answers when there is room again."""
    program, wrong, refused = App(folder, models), [], 0
    process = fork(program.run, folder / "log.txt")
    page = program.started(process)
    if page is None:
        return [f"app did not start: {(folder / 'log.txt').read_text()[-300:]}"]
    face = program.ask(page)
    size = len(face) if isinstance(face, bytes) else 0
    unlimited = resource.prlimit(process, resource.RLIMIT_FSIZE)
    for number in range(times):
        limit = random.Random(number).randint(0, size)
        resource.prlimit(process, resource.RLIMIT_FSIZE, (limit, unlimited[1]))
        try:
            answer = program.ask(page)
        except (OSError, TypeError, json.JSONDecodeError) as error:
            answer = repr(error)
        refused += answer != face
        resource.prlimit(process, resource.RLIMIT_FSIZE, unlimited)
        if isinstance(answer, bytes) and answer != face:
            wrong.append(f"app, full disk at {limit}: half a face")
        if program.ask(page) != face:
            wrong.append(f"app: another answer after a disk that was full at {limit}")
    kill(process)
    print(f"app: {times} full disks, {refused} refused; {len(wrong)} wrong")
    return wrong


def no_hub(folder: Path, models: Path, times: int) -> list[str]:
    """The Hub goes away in the middle of a download or a push, or sends half a file; then it is back."""
    wrong: list[str] = []
    rng, failed = random.Random(0), 0
    folder.mkdir(parents=True)
    with LoopbackHub() as hub, HubClient(hub.url, folder / "home", OWNER) as client:
        client.push(str(models / "sketch"), "org/sketch")
        repo, pushes = hub.repos["org/sketch"], 1
        client.load("org/sketch", output=str(folder / "expected"))
        expected, needed = load_file(folder / "expected"), len(hub.requests)

        class Requests(list):
            """Counts down to the moment when the Hub goes."""

            def append(self, request: str) -> None:
                super().append(request)
                hub.offline = hub.offline or len(self) >= self.last

        for number in range(times):
            shutil.rmtree(folder / "home/hub", ignore_errors=True)
            hub.requests = Requests()
            hub.requests.last = rng.randint(1, needed) if number % 3 else 10**6
            if number % 3 == 0:
                path = rng.choice(sorted(repo.files))
                repo.damage[path] = lambda content: content[: len(content) // 2]
            try:
                if number % 3 == 1:
                    client.push(str(models / "sketch"), "org/sketch")
                    pushes += 1
                else:
                    client.load("org/sketch")
            except CallError as error:
                failed += 1
                if not {"OSError", "ValueError"} & set(error.kinds) or not error.message:
                    wrong.append(f"Hub, try {number}: {error}")
            hub.offline, hub.requests = False, []
            repo.damage.clear()
            try:
                client.load("org/sketch", output=str(folder / "again"))
            except CallError as error:
                wrong.append(f"Hub, after try {number}: {error}")
                continue
            again = load_file(folder / "again")
            wrong += [
                f"Hub, after try {number}: {name}" for name in expected if not torch.equal(again[name], expected[name])
            ]
        if len(repo.messages) > pushes + times:
            wrong.append(f"Hub: {len(repo.messages)} commits of {pushes} pushes")
    print(f"Hub: gone {times} times, {failed} ended with a message; {len(wrong)} wrong")
    return wrong


STEPS = ("translate", "convert", "make_pairs", "app", "train", "full disk", "Hub")


def stress(args: argparse.Namespace, folder: Path) -> list[str]:
    """Everything in turn; returns what is wrong."""
    make_models(folder / "models")
    models, wrong = folder / "models", []
    programs = {
        "translate": Translate(folder / "translate", models),
        "convert": Convert(folder / "convert"),
        "make_pairs": MakePairs(folder / "make_pairs", models),
    }
    for name, program in programs.items():
        if name in args.only:
            wrong += kill_again_and_again(name, program, args.times)
        elif "full disk" in args.only:
            finish(program.run, program.folder / "log.txt")
            wrong += program.check()
    if "app" in args.only:
        wrong += kill_the_page(App(folder / "app", models), args.times)
    if "train" in args.only:
        words = ["--kills", str(args.times), "--steps", str(4 * args.times + 20)]
        found = stress_resume.stress(stress_resume.parse_args(words), folder)
        wrong += [f"train: {name} differs" for name in found]
    if "full disk" in args.only:
        wrong += full_disk(programs, args.times)
        wrong += full_disk_of_the_page(folder / "disk", models, args.times)
    if "Hub" in args.only:
        wrong += no_hub(folder / "hub", models, args.times)
    return wrong


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20, help="kills of each program, and tries with each fault")
    parser.add_argument("--only", nargs="+", choices=STEPS, default=list(STEPS))
    return parser.parse_args(argv)


def main() -> None:
    args = parse_args()
    torch.set_num_threads(1)  # tiny networks, and forks of a process with threads would wait for them
    exit_with(lambda folder: stress(args, folder))


if __name__ == "__main__":
    main()
