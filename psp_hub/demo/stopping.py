"""What a stop button ends is no error."""

from typing import Any

from gradio import queueing, routes
from gradio.server_messages import ProcessCompletedMessage


class Completed(ProcessCompletedMessage):
    """Gradio's message that an event is over, with the data that a cancelled event lacks.

    Gradio's page looks for data in it, finds none, and shows an error, unless the answer to its own request for the
    stop comes later (gradio 6.31). With a list of nothing it changes nothing.
    """

    def model_post_init(self, context: Any, /) -> None:
        if self.success and not self.output:
            self.output = {"data": []}


def end_stops_without_error() -> None:
    """Let gradio use this message from now on, in this process."""
    for module in (queueing, routes):  # both make such messages, and ask for their type
        module.ProcessCompletedMessage = Completed  # type: ignore[attr-defined]  # there is no other way in
