"""The tab on which a painted map of a face's parts becomes a face."""

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image, ImageOps

from psp_hub.alignment.faces import align_face, find_faces
from psp_hub.config import ENCODER_SIZE
from psp_hub.demo.faces import Answer, make_faces
from psp_hub.demo.parts import (
    HIDDEN,
    PAD_SIDE,
    QUICK,
    Results,
    add_examples,
    add_file,
    add_results,
    add_settings,
    add_sheet,
    example_files,
    fit_pad,
    show_result,
    take_brush,
)
from psp_hub.demo.problems import Problem, problems
from psp_hub.demo.settings import Settings
from psp_hub.face_parser import FaceParser
from psp_hub.images.face_classes import BACKGROUND, CLASS_NAMES, PALETTE, SKIN
from psp_hub.images.label_maps import labels_to_image
from psp_hub.images.preprocessing import open_image, prepare_labels
from psp_hub.model import PSPModel

TITLE = "Segmentation"
TIP = "Pick a part of the face, then paint where it is. Every colour stands for one part."
SEED_HINT = "A map has no colours of skin or hair; this number picks them."
VARIATIONS_TIP = "The same map with the next seeds. Click one to see it large."
START_TIP = "Or start from a map of your own, or from a photo: its largest face counts."
NO_PHOTO_TIP = "Or start from a map of your own:"
ORDERS = {"CelebAMask-HQ": None, "face-parsing.PyTorch": "face-parsing"}
BRUSH_SIZE = 16
MIN_SKIN = 0.05  # of a photo's pixels: in aligned portraits it is a fifth or more

# What people call the classes, in the order in which a face is painted. Left and right are those of the picture:
# in the data set they are the person's own.
LEGEND = {
    "background": "Background",
    "hair": "Hair",
    "skin": "Skin",
    "neck": "Neck",
    "cloth": "Clothes",
    "r_eye": "Left eye",
    "l_eye": "Right eye",
    "r_brow": "Left brow",
    "l_brow": "Right brow",
    "nose": "Nose",
    "u_lip": "Upper lip",
    "mouth": "Inside of the mouth",
    "l_lip": "Lower lip",
    "r_ear": "Left ear",
    "l_ear": "Right ear",
    "glasses": "Glasses",
    "hat": "Hat",
    "earring": "Earring",
    "necklace": "Necklace",
}


def colour(name: str) -> str:
    """Of a class, as a browser writes it."""
    return "#{:02x}{:02x}{:02x}".format(*PALETTE[CLASS_NAMES.index(name)])


CSS = """
#legend .wrap {gap: 4px}
#legend label {padding: 4px 8px; gap: 6px}
#legend label::before {content: ""; width: 1em; height: 1em; border-radius: 3px; border: 1px solid #8888}
#legend label input {position: absolute; opacity: 0}
#legend label.selected {font-weight: 600; border-color: var(--color-accent); background: var(--color-accent-soft)}
#legend label:has(:focus-visible) {outline: 2px solid var(--color-accent)}
#segmentation-pad button:is([aria-label="Color"], [aria-label="Brush Size"]) {display: none}
""" + "".join(
    f"#legend label:nth-of-type({i}):before {{background: {colour(name)}}}\n" for i, name in enumerate(LEGEND, start=1)
)


def make_brush(name: str, size: int) -> gr.Brush:
    return gr.Brush(
        default_size=size, default_color=colour(name), colors=[colour(name) for name in LEGEND], color_mode="fixed"
    )


def set_brush(name: str, size: int) -> gr.ImageEditor:
    """The painter with another brush: what is painted stays."""
    return gr.ImageEditor(brush=make_brush(name, size), eraser=gr.Eraser(default_size=size))


def sheet(label_map: Image.Image) -> Image.Image:
    """A palette picture of classes as the painter shows it."""
    return label_map.convert("RGB").resize((PAD_SIDE, PAD_SIDE), Image.Resampling.NEAREST)


def blank_sheet() -> Image.Image:
    return Image.new("RGB", (PAD_SIDE, PAD_SIDE), PALETTE[BACKGROUND])


def painted_on(pad: dict[str, Any] | None) -> Image.Image | None:
    """The picture on the painter, None if nothing is painted: what is transparent is background as well."""
    image = pad["composite"] if pad else None
    if image is None:
        return None
    shown = np.asarray(image.convert("RGBA")).astype(int)
    return image if (shown[..., :3].max(axis=-1) * (shown[..., 3] > 127)).any() else None


def read_map(path: str, label_order: str | None = None) -> Image.Image:
    """An uploaded label map -> palette picture of 256 px.

    Raises:
        Problem: not a label map that can be used.
    """
    with problems():
        return prepare_labels(open_image(path, keep_mode=True), label_order)


def parse_photo(parser: FaceParser, path: str) -> Image.Image:
    """A photo -> palette picture of 256 px of its largest face; where none is found, the middle of it may be one.

    Raises:
        Problem: not a picture that can be used, or no face in it, or one that is too small or cut off.
    """
    with problems():
        photo = open_image(path)
        if faces := find_faces(photo, parser=parser):
            photo = align_face(photo, faces[0]).image
        else:
            photo = ImageOps.fit(photo, (ENCODER_SIZE, ENCODER_SIZE), Image.Resampling.BICUBIC)
    labels = parser.label_map(photo)
    if (labels == SKIN).float().mean() < MIN_SKIN:
        raise Problem("There is no large face in this photo. Take one with a single face, seen from the front.")
    return labels_to_image(labels)


def add_legend() -> tuple[gr.Radio, gr.Slider]:
    """What the brush paints, and how thick it is."""
    parts = [(text, name) for name, text in LEGEND.items()]
    with gr.Row():
        part = gr.Radio(parts, value="hair", label="The brush paints", elem_id="legend", scale=4, min_width=320)
        size = gr.Slider(2, 80, BRUSH_SIZE, step=1, label="Brush size", scale=1, min_width=160)
    return part, size


def face_makers(model: PSPModel) -> tuple[Callable[..., Iterator[Answer]], ...]:
    """What makes faces: of a map's file, of what is on the painter, and of a map that the painter starts from."""

    def map_to_face(
        label_map: str | None, order: str, seed: float | None, variations: int, strength: float, likeness: float
    ) -> Iterator[Answer]:
        """Turn a label map of a face into a photo.

        Args:
            label_map: picture file with the 19 classes of CelebAMask-HQ, as numbers 0 to 18 or in their colours.
            order: what the numbers mean: "CelebAMask-HQ" or "face-parsing.PyTorch".
            seed: whole number that decides what the map leaves open, such as colours.
            variations: how many more faces, with the next seeds, 0 to 8.
            strength: how much the seed changes, 0 (nothing) to 1.
            likeness: 0.3 (nearly the average face) to 1 (the map).

        Returns:
            The face, its variations, and the map as the network gets it.
        """
        if label_map is None:
            raise Problem("There is no map yet. Upload one.")
        picture = read_map(label_map, ORDERS[order])
        settings = Settings.checked(seed, variations, strength, likeness)
        yield from make_faces(model, picture, settings, gr.Progress())

    def paint_to_face(pad: dict[str, Any] | None, *numbers: Any) -> Iterator[Answer]:
        picture = painted_on(pad)
        if picture is None:
            raise Problem("There is nothing on the map yet. Paint hair and skin, or click an example.")
        yield from make_faces(model, picture, Settings.checked(*numbers), gr.Progress())

    def start_to_face(start: Image.Image, *numbers: Any) -> Iterator[Answer]:
        yield from make_faces(model, start, Settings.checked(*numbers), gr.Progress())

    return map_to_face, paint_to_face, start_to_face


def add_segmentation(model: PSPModel, demo: gr.Blocks, parser: FaceParser | None) -> Results:
    """Fill the tab of the maps; without a face parser, no photo can be the start."""
    map_to_face, paint_to_face, start_to_face = face_makers(model)
    files = example_files("segmentation")
    gr.Markdown(TIP)
    part, size = add_legend()  # above both columns, so that map and face lie side by side
    with gr.Row():
        with gr.Column():
            pad = add_sheet("segmentation-pad", make_brush("hair", BRUSH_SIZE), BRUSH_SIZE)
            button = gr.Button("Map to face", variant="primary", size="lg")
            examples = add_examples(files, "Or start from an example")
            gr.Markdown(NO_PHOTO_TIP if parser is None else START_TIP)
            with gr.Row():
                upload = gr.UploadButton("Label map", file_types=["image"], size="md", min_width=100)
                photo = gr.UploadButton(
                    "Photo", file_types=["image"], size="md", min_width=100, visible=parser is not None
                )
                blank = gr.Button("Blank", size="md", min_width=100)
            settings = add_settings("segmentation", "map", SEED_HINT)
            with gr.Accordion("Label maps of other programs", open=False):
                hint = "Of an uploaded map whose pixels are numbers. Maps in colours need no choice."
                order = gr.Radio(list(ORDERS), value="CelebAMask-HQ", label="Order of the classes", info=hint)
        with gr.Column():
            results = add_results("segmentation", VARIATIONS_TIP, "The map, cleaned")
    start = gr.State()  # the map that the painter starts from: what it shows cannot be asked for at once
    hidden_file, hidden_button = add_file(visible=False), gr.Button(visible=False)

    outputs, work = results.outputs, results.work
    hidden_button.click(map_to_face, [hidden_file, order, *settings], outputs, api_name="map_to_face", **work)
    button.click(paint_to_face, [pad, *settings], outputs, **work, **HIDDEN)
    gr.on([part.change, size.change], set_brush, [part, size], pad, trigger_mode="always_last", **QUICK)

    def add_start(event: Callable[..., Any], load: Callable[..., Image.Image], inputs: Any) -> None:
        """`load` makes a map of `inputs`: it goes on the painter, and becomes a face at once."""
        loaded = event(load, inputs, start, **QUICK)
        shown = loaded.success(sheet, start, pad, **QUICK)
        made = loaded.success(start_to_face, [start, *settings], outputs, **work, **HIDDEN)
        for done in (shown, made):
            done.then(None, js=fit_pad("segmentation-pad"), **HIDDEN)

    add_start(examples.click, lambda index: read_map(files[index]), [examples])
    add_start(upload.upload, lambda path, order: read_map(path, ORDERS[order]), [upload, order])
    if parser is not None:
        add_start(photo.upload, lambda path: parse_photo(parser, path), [photo])
    gr.on([blank.click, pad.clear], blank_sheet, None, pad, **QUICK)
    first = sheet(read_map(files[0])) if files else blank_sheet()
    demo.load(lambda: first, None, pad, **QUICK).then(None, js=fit_pad("segmentation-pad"), **HIDDEN)
    gr.on([button.click, examples.click], None, js=show_result("segmentation-face"), **HIDDEN)
    gr.on([blank.click, pad.clear], None, js=take_brush("segmentation-pad"), **HIDDEN)
    return results
