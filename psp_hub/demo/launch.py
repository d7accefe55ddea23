"""How a page of this project starts: where it listens, how it looks, what it leaves out."""

import os
from typing import Any

import gradio as gr

# Whose faces the page remembers. Each takes half a megabyte even without one, and each call of a program is a session
# of its own: gradio's 10,000 fill the memory of a laptop.
SESSIONS = 200
OPTIONS: dict[str, Any] = {
    "theme": gr.themes.Default(primary_hue="indigo", font=["system-ui", "sans-serif"]),
    "share": False,
    "ssr_mode": False,
    "run_history": False,
    "max_file_size": "20mb",
    "footer_links": [],
    "quiet": True,
    "state_session_capacity": SESSIONS,
    # Else gradio asks itself for the page and gives up after 3 seconds: on a busy machine, or behind a proxy.
    "_frontend": False,
}


def on_space() -> bool:
    """Whether this is a Hugging Face Space."""
    return gr.utils.get_space() is not None


def default_address() -> tuple[str, int]:
    """Host and port to listen on: gradio's own variables; without them, all addresses of a Space, or this computer."""
    host = "0.0.0.0" if on_space() else "127.0.0.1"
    return os.environ.get("GRADIO_SERVER_NAME") or host, int(os.environ.get("GRADIO_SERVER_PORT") or 7860)
