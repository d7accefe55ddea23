"""psp_hub.demo.calls: whatever programs send, they are told in a sentence what is wrong with it."""

import asyncio
from pathlib import Path

import gradio as gr
import pytest

from psp_hub.demo.page import build_demo
from psp_hub.demo.problems import Problem
from psp_hub.model import PSPModel


@pytest.fixture(scope="module")
def demo(model_dir: Path) -> gr.Blocks:
    return build_demo([PSPModel.from_pretrained(model_dir)])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "What was sent does not fit /draw_to_face, which takes 5 values; client.view_api"),
        ([None, 1], "does not fit /draw_to_face"),
        ([None, 1, {}, 0.5, 1], "does not fit /draw_to_face"),
        (["words", 1, 1, 0.5, 1], "A file is expected"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(demo, data, message):
    (function,) = [fn for fn in demo.fns.values() if fn.api_name == "draw_to_face"]
    with pytest.raises(Problem, match=message) as caught:
        asyncio.run(demo.preprocess_data(function, data, None))
    assert not caught.value.print_exception


def test_what_fits_is_taken(demo):
    (function,) = [fn for fn in demo.fns.values() if fn.api_name == "draw_to_face"]
    assert asyncio.run(demo.preprocess_data(function, [None, 1, 1, 0.5, 1], None)) == [None, 1, 1, 0.5, 1]
