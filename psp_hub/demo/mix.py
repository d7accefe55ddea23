"""The tab on which faces are mixed and edited."""

from dataclasses import dataclass

import gradio as gr
import numpy as np
import torch
from PIL import Image
from torch import nn

from psp_hub.demo.faces import Problem
from psp_hub.demo.parts import HIDDEN, PICTURE, QUICK, STATE_SECONDS, WORK, Results
from psp_hub.demo.space import on_gpu
from psp_hub.preprocessing import tensor_to_images

TITLE = "Mix & edit"
TAB = "mix"  # the id by which it is opened


@on_gpu
@torch.no_grad()
def draw(generator: nn.Module, ws: np.ndarray) -> Image.Image:
    """The face of styles [num_ws, w_dim]."""
    return tensor_to_images(generator.synthesis(torch.from_numpy(ws)[None].to(generator.w_avg)))[0]


@dataclass
class Mix:
    """The tab: faces of other tabs come in by `receive`."""

    generator: nn.Module
    start: gr.State
    face: gr.Image

    def receive(self, results: Results, tabs: gr.Tabs) -> None:
        """Let the button of another tab send its face here, and open this tab."""

        def take(latents: np.ndarray | None) -> tuple[np.ndarray, gr.Tabs]:
            if latents is None:
                raise Problem("There is no face yet. Make one first, then edit it.")
            return latents, gr.Tabs(selected=TAB)

        taken = results.edit.click(take, results.latents, [self.start, tabs], **QUICK)
        taken.success(lambda ws: draw(self.generator, ws), self.start, self.face, **WORK, **HIDDEN)


def add_mix(generator: nn.Module) -> Mix:
    """Fill the tab."""
    start = gr.State(time_to_live=STATE_SECONDS)
    face = gr.Image(label="Face", elem_id="mix-face", show_label=False, buttons=["download", "fullscreen"], **PICTURE)
    return Mix(generator, start, face)
