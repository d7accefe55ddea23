"""What programs send to the page, before any handler sees it."""

from pathlib import Path
from typing import Any

import gradio as gr
from gradio import route_utils
from gradio.exceptions import Error
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from psp_hub.demo.problems import Problem

# What gradio's components raise on values of other types, and on files that nobody uploaded.
MISFITS = (ValueError, TypeError, LookupError, AttributeError, OSError, Error)
MAX_SAID = 300


class Page(gr.Blocks):
    """A page that tells a program what is wrong with what it sent, in a sentence.

    Gradio answers such calls with `{"error": null}`, and writes a traceback to the log.
    """

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *more: Any, **options: Any) -> list[Any]:
        """As gradio's.

        Raises:
            Problem: too few values, or one that its component does not take.
        """
        try:
            return await super().preprocess_data(block_fn, inputs, *more, **options)
        except Problem:
            raise
        except MISFITS as error:
            said = " ".join((str(getattr(error, "message", "")) or str(error)).split())[:MAX_SAID]
            name = block_fn.api_name or block_fn.name
            raise Problem(
                f"What was sent does not fit /{name}, which takes {len(block_fn.inputs)} values; "
                f"client.view_api() lists them. {said}"
            ) from error


class UploadParser(route_utils.GradioMultiPartParser):
    """Gradio's reader of uploads, which leaves nothing of one that was cut off.

    Gradio keeps what came of it for ever, and writes a traceback to the log: enough of them fill the disk.
    """

    async def parse(self) -> FormData:
        try:
            return await super().parse()
        except ClientDisconnect as error:
            for file in self._files_to_close_on_error:
                file.close()
                Path(file.name).unlink(missing_ok=True)
            raise HTTPException(400, "The upload was cut off.") from error


route_utils.GradioMultiPartParser = UploadParser  # type: ignore[misc]  # there is no other way in
