"""The demo page: one tab for each task, in Gradio. `import psp_hub` does without it, and without Gradio."""

import os

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # gradio reads it when it is imported

from psp_hub.demo.proxies import without_proxies

with without_proxies():  # before any tab imports it
    import gradio  # noqa: F401
