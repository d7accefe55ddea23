"""psp_hub.demo.stopping: how an event that is cancelled ends."""

import json
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any

import gradio as gr
from gradio.server_messages import ProcessCompletedMessage

from psp_hub.demo.page import LAUNCH_OPTIONS
from psp_hub.demo.stopping import Completed, end_stops_without_error


def test_what_a_message_says():
    assert ProcessCompletedMessage(output={}, success=True).output == {}, "else gradio does this itself by now"
    assert Completed(output={}, success=True).output == {"data": []}
    assert Completed(output={"data": [3]}, success=True).output == {"data": [3]}
    assert Completed(output={"error": "no"}, success=False).output == {"error": "no"}


def test_a_stopped_event_ends_without_an_error():
    end_stops_without_error()
    started, stopped = threading.Event(), threading.Event()

    def count() -> Iterator[int]:
        started.set()
        for number in range(1000):
            yield number
            if stopped.wait(0.05):
                return

    with gr.Blocks() as demo:
        number = gr.Number()
        work = gr.Button().click(count, None, number)
        gr.Button().click(None, cancels=work)
    (index,) = [index for index, fn in demo.fns.items() if fn.fn is count]
    _, url, _ = demo.launch(**LAUNCH_OPTIONS, prevent_thread_lock=True, server_name="127.0.0.1")

    def post(path: str, **body: Any) -> Any:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{url}gradio_api/{path}", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    try:
        event = post("queue/join", data=[], fn_index=index, session_hash="here")["event_id"]
        assert started.wait(60)
        post("cancel", event_id=event, session_hash="here", fn_index=index)
        with urllib.request.urlopen(f"{url}gradio_api/queue/data?session_hash=here", timeout=60) as stream:
            messages = [json.loads(line[6:]) for line in stream if line.startswith(b"data: ")]
        (last,) = [message for message in messages if message["msg"] == "process_completed"]
        assert (last["success"], last["output"]) == (True, {"data": []})
    finally:
        stopped.set()
        demo.close(verbose=False)
