"""psp_hub.demo.calls: whatever programs send, they are told in a sentence what is wrong with it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import gradio as gr
import pytest
from gradio import route_utils
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

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


def test_a_file_that_was_sent_leaves_no_other(demo, portrait, monkeypatch, tmp_path):
    """gradio's own component makes an empty file beside each, and never deletes it."""
    (function,) = [fn for fn in demo.fns.values() if fn.api_name == "draw_to_face"]
    component, path = function.inputs[0], tmp_path / "drawing.png"
    portrait(64, 0).save(path)
    (tmp_path / "cache").mkdir()
    monkeypatch.setattr(component, "GRADIO_CACHE", str(tmp_path / "cache"))
    assert component.preprocess(component.data_model(path=str(path))) == str(path)
    assert not list((tmp_path / "cache").iterdir())


HEAD = b'--cut\r\nContent-Disposition: form-data; name="files"; filename="face.png"\r\n\r\n'


@pytest.mark.parametrize("whole", [True, False])
def test_an_upload_that_is_cut_off_leaves_nothing(tmp_path, whole):
    """32 clients beside 6,659 of them left 5.5 GB in the folder of the uploads."""

    async def body() -> AsyncIterator[bytes]:
        yield HEAD + bytes(200_000)
        if not whole:
            raise ClientDisconnect
        yield b"\r\n--cut--\r\n"

    headers = Headers({"Content-Type": "multipart/form-data; boundary=cut"})
    parser = route_utils.GradioMultiPartParser(headers, body(), upload_dir=str(tmp_path), max_file_size=10**6)
    if whole:
        assert len(asyncio.run(parser.parse()).getlist("files")) == 1
    else:
        with pytest.raises(HTTPException, match="cut off"):
            asyncio.run(parser.parse())
    assert len(list(tmp_path.iterdir())) == whole
