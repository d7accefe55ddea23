"""The page of a blind study: an input, two answers, one click or key for the better one."""

import re
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from psp_hub.demo.launch import OPTIONS
from psp_hub.demo.problems import Problem
from psp_hub.demo.proxies import without_proxies
from training.voting.pairs import Question, Study
from training.voting.votes import VOTER, Vote, VotesFile

TITLE = "Which is better?"
INTRO = """# Which is better?
Above is what somebody drew, painted or photographed; below are two answers to it. **Choose the better face for it**:
how real it looks, and how well it fits. Click on it, or press ← or →. Each choice is kept at once, so you can
stop, and go on later in this browser. Nothing about you is kept but a random number."""
DONE = "**That was all. Thank you!** You can close this page."
SIDE = 512  # pixels of each picture, whatever a system painted
MIN_SECONDS = 0.2  # between two choices: nobody has seen a pair for less; the second of a double click has
HOUR = 3600
CSS = """
.gradio-container {max-width: 1100px !important; margin: auto !important}
#study-input {max-width: 420px; margin: auto}
#study-left img, #study-right img {cursor: pointer}
#study-progress progress {width: 100%}
"""
# The number of this voter: made once, and kept by the browser.
FIND_VOTER = """() => {
    const name = 'psp-hub-study';
    let voter = null;
    try { voter = localStorage.getItem(name); } catch {}
    if (!/^[0-9a-f]{32}$/.test(voter)) {
        const bytes = crypto.getRandomValues(new Uint8Array(16));
        voter = Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('');
        try { localStorage.setItem(name, voter); } catch {}
    }
    return voter;
}"""
# A click on a picture, and the arrow keys, press the button of that side.
LISTEN = """<script>
document.addEventListener('click', event => {
    const side = ['left', 'right'].find(name => event.target.closest(`#study-${name}`));
    if (side && event.target.tagName === 'IMG') document.querySelector(`#study-${side}-better`)?.click();
});
document.addEventListener('keydown', event => {
    const side = {ArrowLeft: 'left', ArrowRight: 'right'}[event.key];
    if (!side || event.repeat || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    document.querySelector(`#study-${side}-better`)?.click();
});
</script>"""
PICTURE: dict[str, Any] = {"format": "png", "interactive": False, "buttons": [], "show_label": False, "height": SIDE}


@dataclass(frozen=True)
class Shown:
    """What one window shows: to whom, which question (None at the end), and since when."""

    voter: str
    question: Question | None
    since: float


class Handlers:
    """What happens on the page; all that has to survive is in the file of votes."""

    def __init__(self, study: Study, votes: VotesFile):
        self.study, self.votes = study, votes

    def start(self, voter: str) -> list[Any]:
        """Show a voter the first question that has no answer yet."""
        return self.show(voter if re.fullmatch(VOTER, str(voter)) else uuid.uuid4().hex)

    def choose_left(self, shown: Shown | None) -> list[Any]:
        return self.choose(shown, 0)

    def choose_right(self, shown: Shown | None) -> list[Any]:
        return self.choose(shown, 1)

    def choose(self, shown: Shown | None, side: int) -> list[Any]:
        """Keep a choice, and show the next question.

        Raises:
            Problem: the page was open for too long, or the choice cannot be kept.
        """
        if shown is None:
            raise Problem("This page was left for too long. Load it again: your choices are kept.")
        asked = shown.question
        if asked is None or time.monotonic() - shown.since < MIN_SECONDS:
            return [gr.skip()] * len(Parts.__annotations__)
        chosen = (asked.left, asked.right)[side]
        try:
            self.votes.append(Vote(shown.voter, asked.kind, asked.name, asked.left, asked.right, chosen))
        except OSError as error:
            raise Problem(f"Your choice could not be kept ({error.strerror or 'no room'}). Try again.") from error
        return self.show(shown.voter)

    def show(self, voter: str) -> list[Any]:
        """Values of all `Parts`: the next question of a voter."""
        answered = {vote.question.key for vote in self.votes.read() if vote.voter == voter}
        questions = self.study.questions(voter)
        left = [question for question in questions if question.key not in answered]
        done, total = len(questions) - len(left), len(questions)
        progress = f'<label>{done} of {total}<progress value="{done}" max="{total}"></progress></label>'
        if not left:
            gone = gr.update(visible=False)
            shown = Shown(voter, None, time.monotonic())
            return [shown, f"{progress}", gr.update(value=DONE, visible=True), *[gone] * 5]
        pictures = [gr.update(value=picture) for picture in self.study.pictures(left[0], SIDE)]
        shown = Shown(voter, left[0], time.monotonic())
        return [shown, progress, gr.skip(), *pictures, gr.update(interactive=True), gr.update(interactive=True)]


@dataclass
class Parts:
    """The components of the page that change, in the order of what `Handlers` return."""

    shown: gr.State
    progress: gr.HTML
    done: gr.Markdown
    input: gr.Image
    left: gr.Image
    right: gr.Image
    left_better: gr.Button
    right_better: gr.Button


def build_page(study: Study, votes: VotesFile) -> gr.Blocks:
    """The page of a study; `serve` starts it."""
    handlers = Handlers(study, votes)
    with gr.Blocks(title=TITLE, delete_cache=(HOUR, 24 * HOUR)) as page:
        gr.Markdown(INTRO)
        parts = add_parts()
        voter = gr.Textbox(visible=False)
        outputs = list(vars(parts).values())
        options: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
        page.load(handlers.start, voter, outputs, js=FIND_VOTER, **options)
        for button, choose in (
            (parts.left_better, handlers.choose_left),
            (parts.right_better, handlers.choose_right),
        ):
            button.click(choose, parts.shown, outputs, **options)
    return page.queue()


def add_parts() -> Parts:
    shown = gr.State(time_to_live=24 * HOUR)
    progress = gr.HTML(elem_id="study-progress")
    done = gr.Markdown(visible=False, elem_id="study-done")
    source = gr.Image(alt_text="The input", elem_id="study-input", **PICTURE)
    found: dict[str, Any] = {}
    with gr.Row():
        for side in ("left", "right"):
            with gr.Column(min_width=160):  # beside each other on a phone, too
                found[side] = gr.Image(alt_text=f"The answer on the {side}", elem_id=f"study-{side}", **PICTURE)
                text = "← This one" if side == "left" else "This one →"
                found[f"{side}_better"] = gr.Button(text, interactive=False, elem_id=f"study-{side}-better")
    return Parts(shown, progress, done, source, **found)


def serve(study: Study, votes: Path, host: str, port: int) -> None:
    """Show the page until Ctrl-C.

    Raises:
        OSError: the port is taken, or the votes cannot be written.
    """
    votes.parent.mkdir(parents=True, exist_ok=True)
    open(votes, "ab").close()
    page = build_page(study, VotesFile(votes))
    own = {"css": CSS, "head": LISTEN, "server_name": host, "server_port": port, "prevent_thread_lock": True}
    with without_proxies():
        _, url, _ = page.launch(**OPTIONS | own)
    print(f"Open {url} in a browser; Ctrl-C ends. Votes go to {votes}.", flush=True)
    page.block_thread()
