"""File after file: the next one is read, and the last one written, while a face is drawn."""

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

MAX_WAITING = 2  # pictures of one file that are drawn and not yet written


def run_all(
    jobs: Jobs, read: Callable[[Path], T], draw: Callable[[Path, T, list[Path]], Iterable[Write]], unit: str
) -> int:
    """Do what `jobs` say, in order; ValueError and OSError are told, and do not stop the other files.

    Args:
        read: an input to what is drawn of it; runs in a thread of its own.
        draw: that, and the names of the outputs, to calls that write them, each made when it is asked for.
        unit: what messages call an input.

    Returns:
        The exit code.
    """
    folder = next(iter(jobs.values()))[0].parent  # all outputs lie in it
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    sources, failed = list(jobs), 0
    with torch.no_grad(), ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        read = torch.no_grad()(read)  # the one above holds for this thread alone
        following = reader.submit(read, sources[0])
        writing: deque[tuple[Path, list[Future[None]]]] = deque()
        for i, source in enumerate(tqdm(sources, unit=unit, disable=None)):  # None: only on a terminal
            given = following
            if i + 1 < len(sources):
                following = reader.submit(read, sources[i + 1])
            writing.append((source, start_writing(lambda: draw(source, given.result(), jobs[source]), writer)))  # noqa: B023
            if len(writing) > 1:
                failed += report(*writing.popleft(), jobs)
        failed += report(*writing.popleft(), jobs)
    if failed:
        say(f"psp-hub: {failed} of {len(jobs)} {unit}s failed", sys.stderr)
    return 1 if failed else 0


def start_writing(draw: Callable[[], Iterable[Write]], writer: ThreadPoolExecutor) -> list[Future[None]]:
    """Draw the pictures of a file, and have them written; what goes wrong is the last of the futures."""
    writes: list[Future[None]] = []
    try:
        for write in draw():
            writes.append(writer.submit(write))
            if len(writes) > MAX_WAITING:
                writes[-1 - MAX_WAITING].result()
    except (ValueError, OSError) as error:
        failure: Future[None] = Future()
        failure.set_exception(error)
        writes.append(failure)
    return writes


def report(source: Path, writes: list[Future[None]], jobs: Jobs) -> bool:
    """Wait for a file, and say what became of it; returns whether it failed."""
    try:
        for write in writes:
            write.result()
    except (ValueError, OSError) as error:
        say(f"{source}: {error}", sys.stderr)
        return True
    say("\n".join(f"{source} -> {target}" for target in jobs[source]), sys.stdout)
    return False
