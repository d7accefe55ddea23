"""File after file, some at once: while one is read or written, another is drawn.

A face that is drawn by one core costs the processor less than one that all cores share, since none waits for another.
So the cores are shared out among files; a single file has them all, and writes one picture while it draws the next.
"""

import sys
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import torch
from tqdm import tqdm

from psp_hub.cli.files import Jobs
from psp_hub.cli.output import say
from psp_hub.staging import sweep

T = TypeVar("T")
Write = Callable[[], None]

MAX_FILES = 4  # at once: each needs memory, up to 1 GB with a large generator
MAX_WAITING = 2  # pictures of one file that are drawn and not yet written


def run_all(
    jobs: Jobs, read: Callable[[Path], T], draw: Callable[[Path, T, list[Path]], Iterable[Write]], unit: str
) -> int:
    """Do what `jobs` say, and report it in order; ValueError and OSError are told, and do not stop the other files.

    Args:
        read: an input to what is drawn of it.
        draw: that, and the names of the outputs, to calls that write them, each made when it is asked for. It runs in
            threads, as `read` does, for several inputs at once.
        unit: what messages call an input.

    Returns:
        The exit code.
    """
    folder = next(iter(jobs.values()))[0].parent  # all outputs lie in it
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    cores = torch.get_num_threads()
    at_once = min(cores, len(jobs), MAX_FILES)
    failed = 0

    @torch.no_grad()
    def make(source: Path, writer: ThreadPoolExecutor) -> None:
        write_all(draw(source, read(source), jobs[source]), writer)

    try:
        with (
            ThreadPoolExecutor(at_once, initializer=torch.set_num_threads, initargs=(cores // at_once,)) as makers,
            ThreadPoolExecutor(at_once) as writer,
            tqdm(total=len(jobs), unit=unit, disable=None) as bar,  # None: only on a terminal
        ):
            waiting = deque(jobs)
            making: deque[tuple[Path, Future[None]]] = deque()
            while waiting or making:
                while waiting and len(making) <= at_once:  # one more, for whoever is ready first
                    source = waiting.popleft()
                    making.append((source, makers.submit(make, source, writer)))
                failed += report(*making.popleft(), jobs)
                bar.update()
    finally:
        torch.set_num_threads(cores)  # of threads that come later, too
    if failed:
        say(f"psp-hub: {failed} of {len(jobs)} {unit}s failed", sys.stderr)
    return 1 if failed else 0


def write_all(writes: Iterable[Write], writer: ThreadPoolExecutor) -> None:
    """Have the pictures of a file written while the next ones are drawn. What is drawn before an error is written."""
    pending: deque[Future[None]] = deque()
    try:
        for write in writes:
            pending.append(writer.submit(write))
            if len(pending) > MAX_WAITING:
                pending.popleft().result()
    finally:
        for future in pending:
            future.result()


def report(source: Path, made: Future[None], jobs: Jobs) -> bool:
    """Wait for a file, and say what became of it; returns whether it failed."""
    try:
        made.result()
    except (ValueError, OSError) as error:
        say(f"{source}: {error}", sys.stderr)
        return True
    say("\n".join(f"{source} -> {target}" for target in jobs[source]), sys.stdout)
    return False
