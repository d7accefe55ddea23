"""Two pictures on top of each other with a divider to move: by mouse, by touch and by keyboard.

gradio's own ImageSlider cannot be reached by keyboard, and keeps a phone from scrolling past it. Here the divider is
the browser's own range control, laid over the pictures.
"""

from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import FileData

# `before` covers the part of `after` that is left of the divider.
TEMPLATE = """
${value ? `
<figure style="--at: 50%">
    <img class="after" src="${value.after.url}" alt="${labels[1]}">
    <img class="before" src="${value.before.url}" alt="${labels[0]}">
    <input type="range" min="0" max="100" value="50" step="0.5" aria-label="Compare ${labels[0]} and ${labels[1]}">
    <span class="divider" aria-hidden="true"></span>
    <figcaption>
        <span aria-hidden="true">${labels[0]}</span>
        <a href="${value.after.url}" download="${value.after.orig_name}">Download</a>
        <span aria-hidden="true">${labels[1]}</span>
    </figcaption>
</figure>` : `<div class="empty">${empty}</div>`}
"""
STYLE = """
figure {position: relative; margin: 0; line-height: 0}
img {width: 100%; border-radius: var(--radius-lg)}
.before {position: absolute; inset: 0 0 auto 0; clip-path: inset(0 calc(100% - var(--at)) 0 0)}
input {position: absolute; inset: 0 -8px auto -8px; width: calc(100% + 16px); height: calc(100% - 2.4em); margin: 0;
    opacity: 0; cursor: ew-resize; touch-action: pan-y}
.divider {position: absolute; top: 0; left: var(--at); width: 2px; margin-left: -1px; aspect-ratio: auto;
    height: calc(100% - 2.4em); background: white; box-shadow: 0 0 3px #000a; pointer-events: none}
.divider::after {content: "↔"; position: absolute; top: 50%; left: 50%; translate: -50% -50%; width: 36px;
    height: 36px; border-radius: 50%; background: white; color: #333; box-shadow: 0 0 4px #0008; line-height: 36px;
    text-align: center; font-size: 20px}
input:focus-visible ~ .divider::after {outline: 3px solid var(--color-accent)}
figcaption {display: flex; justify-content: space-between; height: 2.4em; line-height: 2.4em;
    font-size: var(--text-sm); color: var(--body-text-color-subdued)}
figcaption a {color: var(--link-text-color)}
.empty {aspect-ratio: 1; display: grid; place-items: center; padding: 16px; text-align: center;
    border: 1px dashed var(--border-color-primary); border-radius: var(--radius-lg);
    color: var(--body-text-color-subdued)}
"""
MOVE = """element.addEventListener('input', event => {
    event.target.closest('figure').style.setProperty('--at', event.target.value + '%');
});"""


def add_comparison(labels: tuple[str, str], empty: str, **options: Any) -> gr.HTML:
    """Place for two pictures; its value is what `compared` makes, or None.

    Args:
        labels: what the two are, in a word or two.
        empty: what is said while there are none.
    """
    return gr.HTML(
        html_template=TEMPLATE, css_template=STYLE, js_on_load=MOVE, labels=list(labels), empty=empty, **options
    )


def compared(before: str | Path, after: str | Path) -> dict[str, Any]:
    """The value that shows two files, pictures of one shape: gradio copies them, and says where they are."""
    files = {"before": before, "after": after}
    return {name: FileData(path=str(path), orig_name=Path(path).name).model_dump() for name, path in files.items()}
