"""Figures by kind of drawing: by people who can draw, and by people who cannot.

Of drawings by artists there is the photo: is the answer that person, and does it show what the photo shows? Drawings
by untrained hands belong to nobody, but say something plainly (glasses, a beard, no hair): does the answer show it?
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from psp_hub.images.preprocessing import prepare_tensor
from psp_hub.model import PSPModel
from training.evaluation.artists import Artists
from training.evaluation.attributes import AttributeReader
from training.evaluation.examples import Example
from training.evaluation.figures import measure_examples, translate
from training.evaluation.metric_networks import MetricNetworks
from training.evaluation.strokes import ATTRIBUTES, StrokeDrawing

Row = dict[str, str | float]


class Answered(NamedTuple):
    """The report of one kind, a row for each drawing, and pictures.

    Args:
        inputs: the drawings as the encoder got them, [N, 1, 256, 256] in [0, 1].
        pictures: photos, if there are some, and answers, [N, 3, 256, 256] each.
    """

    report: dict
    rows: list[Row]
    inputs: Tensor
    pictures: list[Tensor]


class ArtistExamples:
    """The drawings of a folder that are kept for measuring, the last `count` of them; all for 0.

    Raises:
        ValueError: there are none, or see `Artists`.
    """

    def __init__(self, folder: Path, count: int = 0):
        self.drawings = [drawing for drawing in Artists(folder) if drawing.measures][-count:]
        if not self.drawings:
            raise ValueError(f"{folder} has no drawings to measure on: none of the names ends in 9")

    def __len__(self) -> int:
        return len(self.drawings)

    def __iter__(self) -> Iterator[Example]:
        for drawing in self.drawings:
            yield Example(drawing.name, drawing.input(), drawing.image())


def measure_artists(
    model: PSPModel, examples: ArtistExamples, networks: MetricNetworks, reader: AttributeReader
) -> Answered:
    """Figures of drawings by artists.

    Returns:
        The report has all figures of `measure_examples` against the photos; then, for `gender` and `smile`, how often
        the answer agrees with what is known of the photo, and how often the photo itself does (what the reader cannot
        tell); and for glasses, which only the reader tells: how many photos have them, the share of their answers
        that do (`found`), and that of the others (`elsewhere`).
    """
    measured = measure_examples(model, "sketch", examples, networks, num_shown=len(examples))
    answers, photos = [], []
    for example, output in measured.shown:
        both = torch.stack([output, example.image]).to(model.device)
        answer, photo = reader.read(both)
        answers.append(answer)
        photos.append(photo)
    known = [drawing.shows for drawing in examples.drawings]
    report = dict(measured.report)
    for figure, name in (("gender", "woman"), ("smile", "smile")):
        right, possible = (
            [seen[name] == truth[name] for seen, truth in zip(faces, known, strict=True)]
            for faces in (answers, photos)
        )
        report[figure] = {"agreement": mean(right), "of_the_photos": mean(possible)}
        for row, one in zip(measured.rows, right, strict=True):
            row[figure] = one
    report["glasses"] = agreement("glasses", photos, answers)
    for row, photo, answer in zip(measured.rows, photos, answers, strict=True):
        row |= {"glasses_in_the_photo": photo["glasses"], "glasses": answer["glasses"]}
    shown, outputs = zip(*measured.shown, strict=True)
    photos_and_answers = [torch.stack([example.image for example in shown]), torch.stack(outputs)]
    return Answered(report, measured.rows, torch.stack([example.input for example in shown]), photos_and_answers)


@torch.no_grad()
def measure_untrained(model: PSPModel, drawings: list[StrokeDrawing], reader: AttributeReader) -> Answered:
    """Figures of drawings that say something.

    Returns:
        The report has how many things are `said` in all and the share of them that the answers show (`found`), and
        the same `by_attribute`, with the share of the answers to other drawings that show it, too (`elsewhere`).
        A row has for each attribute that is said whether it is shown, and the others that are.
    """
    inputs, outputs, answers = [], [], []
    for drawing in tqdm(drawings, desc="measuring", unit="drawing"):
        source = prepare_tensor(drawing.render(), "drawing")
        output, _, _ = translate(model, source[0].to(model.device))
        inputs.append(source[0])
        outputs.append(output)
        answers += reader.read(output[None].to(model.device))
    said = [{name: name in drawing.says for name in ATTRIBUTES} for drawing in drawings]
    rows: list[Row] = []
    for drawing, answer in zip(drawings, answers, strict=True):
        extra = [name for name in ATTRIBUTES if answer[name] and name not in drawing.says]
        row: Row = {"drawing": drawing.name, "hand": drawing.hand, "also_seen": ", ".join(extra)}
        rows.append(row | {name: answer[name] for name in ATTRIBUTES if name in drawing.says})
    hits = [answer[name] for drawing, answer in zip(drawings, answers, strict=True) for name in drawing.says]
    report = {
        "count": len(drawings),
        "said": len(hits),
        "found": mean(hits),
        "by_attribute": {name: agreement(name, said, answers) for name in ATTRIBUTES},
    }
    return Answered(report, rows, torch.stack(inputs), [torch.stack(outputs)])


def agreement(name: str, wanted: list[dict[str, bool]], seen: list[dict[str, bool]]) -> dict:
    """How often an attribute is wanted, is seen where it is, and is seen elsewhere; None for a share of nothing."""
    found = [face[name] for face, truth in zip(seen, wanted, strict=True) if truth[name]]
    elsewhere = [face[name] for face, truth in zip(seen, wanted, strict=True) if not truth[name]]
    return {"count": len(found), "found": mean(found), "elsewhere": mean(elsewhere)}


def mean(values: list[bool]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None
