"""Measure the page as a person meets it: `python benchmarks/benchmark_page.py`.

Starts app.py with the starters that ship, draws strokes with the mouse in headless Chromium, and prints a table: from
the command to a page that answers, from the end of a stroke to the quick preview and to the face of 1024 px, and what
each of several programs waits for its faces if all ask at once. Medians of `--repeats`. What else the machine does
counts, so its load is printed along.
"""

import argparse
import os
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gradio_client import Client, handle_file
from playwright.sync_api import Page

from psp_hub.model_names import STARTERS
from tests.browser import drag, open_page, serve

# Milliseconds at which a stroke ended, and at which pictures of the face were there, with their files and widths.
WATCH = """() => {
    window.ended = []; window.shown = [];
    document.addEventListener('pointerup', () => window.ended.push(performance.now()), true);
    document.addEventListener('load', ({target}) => {
        if (target.closest?.('#sketch-face')) {
            const file = target.src.split('/').at(-1);
            // Twice: the frame in which it is painted has passed.
            requestAnimationFrame(() => requestAnimationFrame(() => {
                window.shown.push([performance.now(), file, target.naturalWidth]);
            }));
        }
    }, true);
}"""
ARRIVED = "suffix => window.shown.some(([, file]) => file.endsWith(suffix))"


def start_seconds(folder: Path) -> float:
    """From the command to a page that answers."""
    begin = time.perf_counter()
    with serve(log=folder / "log.txt", environment=dict(os.environ), pause=0.05):
        return time.perf_counter() - begin


def stroke_seconds(page: Page, height: float) -> tuple[float, float]:
    """Draw a line across the sheet; seconds from its end to the preview, and to the face of 1024 px."""
    page.evaluate("window.ended = []; window.shown = []")
    drag(page, page.locator("#sketch-pad canvas"), [(0.2, height), (0.8, height + 0.05)])
    page.wait_for_function(ARRIVED, arg=".png")
    (ended,), shown = page.evaluate("[window.ended, window.shown]")
    preview = shown[0][0]
    full = next(at for at, file, width in shown if file.endswith(".png") and width == 1024)
    return (preview - ended) / 1000, (full - ended) / 1000


def wait_seconds(url: str, clients: int, rounds: int) -> list[list[float]]:
    """Let programs ask at once, each for a face and one variation; what they wait, sorted, round by round."""
    drawing = handle_file(min((STARTERS / "sketch" / "examples").glob("*.png")))
    programs = [Client(url, verbose=False, httpx_kwargs={"trust_env": False}) for _ in range(clients)]

    def ask(program: Client) -> float:
        start = time.perf_counter()
        program.predict(drawing=drawing, seed=1, variations=1, strength=1, likeness=1, api_name="/draw_to_face")
        return time.perf_counter() - start

    with ThreadPoolExecutor(clients) as pool:
        return [sorted(pool.map(ask, programs)) for _ in range(1 + rounds)][1:]  # the first warms up


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Print the table; returns its medians in seconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=10, help="strokes (default: 10); starts are a third of that")
    parser.add_argument("--clients", type=int, default=8, help="programs that ask at once (default: 8)")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        starts = [start_seconds(folder) for _ in range(max(2, args.repeats // 3))][1:]  # the first warms the caches
        with serve(log=folder / "log.txt", environment=dict(os.environ)) as url, open_page(url) as (page, troubles):
            page.set_default_timeout(120_000)
            page.locator("#sketch-pad canvas").wait_for()
            page.evaluate(WATCH)
            strokes = [stroke_seconds(page, 0.1 + 0.8 * i / (args.repeats + 1)) for i in range(args.repeats + 1)][1:]
            waits = wait_seconds(url, args.clients, max(2, args.repeats // 3))
    rows = {
        "command to a page that answers": starts,
        "end of a stroke to the preview": [preview for preview, _ in strokes],
        "end of a stroke to the face of 1024 px": [full for _, full in strokes],
    }
    print(f"{'seconds':40} median  fastest  slowest  of")
    for row, values in rows.items():
        print(f"{row:40} {statistics.median(values):6.3f} {min(values):8.3f} {max(values):8.3f} {len(values):3}")
    served = ", ".join(f"{statistics.median(place):.2f}" for place in zip(*waits, strict=True))
    print(f"seconds until {args.clients} programs have two faces each, if all ask at once: {served}")
    print(f"load average {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} cores")
    if troubles:
        print("troubles:", *troubles, sep="\n  ")
    return {row: statistics.median(values) for row, values in rows.items()}


if __name__ == "__main__":
    main()
