"""What people did wrong becomes a plain message on the page."""

import html
from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr


class Problem(gr.Error):
    """A plain message for the person at the page, where earlier results stay as they are."""

    def __init__(self, message: str):
        # gradio shows messages as HTML, and ours may quote a file's name.
        super().__init__(html.escape(message, quote=False), print_exception=False)


@contextmanager
def problems() -> Iterator[None]:
    """Context in which a ValueError, whose message is for people, becomes a `Problem`."""
    try:
        yield
    except ValueError as error:
        raise Problem(str(error)) from error
