"""The card (README.md) of a baseline: what it is, how small it is, and how little it was trained."""

from huggingface_hub import ModelCard, ModelCardData

from psp_hub.hub import cards
from training.settings.baselines import BaselineSettings

PAPERS = {
    "pix2pixhd": "[pix2pixHD](https://arxiv.org/abs/1711.11585)",
    "spade": "[SPADE](https://arxiv.org/abs/1903.07291)",
    "cc-fpse": "[CC-FPSE](https://arxiv.org/abs/1910.06809)",
    "deepfacedrawing": "[DeepFaceDrawing](https://arxiv.org/abs/2006.01047), whose idea alone it has",
}


def baseline_card(
    settings: BaselineSettings, step: int, counts: dict[str, int], parameters: tuple[int, int], difference: float
) -> str:
    """The text of the file.

    Args:
        step: how long it was trained.
        counts: of the data, by kind.
        parameters: of the generator and of its opponent.
        difference: mean absolute difference of its answers and the pictures of held-out examples, 0 to 2.
    """
    seen = step * settings.game.train_batch_size
    facts = {
        "Pictures": f"{settings.image_size} px",
        "Widths and depths": f"`--size {settings.size}`",
        "Parameters of the generator": f"{parameters[0] / 1e6:.1f} M",
        "Parameters of its opponent": f"{parameters[1] / 1e6:.1f} M",
        "Steps": f"{step:,} of {settings.game.train_batch_size} pictures: {seen:,} pictures seen",
        "Mean difference of held-out pictures": f"{difference:.3f} (pictures are -1 to 1)",
    }
    data = ", ".join(f"{value:,} {name}" for name, value in counts.items() if value)
    text = f"""# {settings.baseline} for {settings.task}

After the paper of {PAPERS[settings.baseline]}, to stand beside pixel2style2pixel models in `training/compare.py`. It
leaves out much of the paper, is small and was trained for a short time: what it answers says what this run is worth,
not what the system of the paper is.

{cards.table(facts)}
Data: {data}.

{cards.LIMITS}"""
    metadata = ModelCardData(tags=["image-to-image", settings.task], **cards.LICENSE)
    return str(ModelCard(f"---\n{metadata.to_yaml()}\n---\n\n{text}"))
