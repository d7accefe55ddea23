"""The card (README.md) of a repository on the Hub, written at the first push."""

from collections.abc import Iterator
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from psp_hub.config import GeneratorReference, PSPConfig

PIPELINE_TAG = "image-to-image"
TAGS = ["pixel2style2pixel", "stylegan"]
LICENSE = {
    "license": "other",
    "license_name": "non-commercial-research",
    "license_link": "https://github.com/NVlabs/ffhq-dataset#licenses",
}
LIMITS = """## Limits

- Faces that fill the frame, if the generator draws faces. Whatever else goes in comes out as one all the same.
- The pictures are synthetic; a likeness to somebody is chance. Do not use them to deceive, to identify or to judge
  anyone.
- It has the biases of its training data: some ages, skin colours and styles of photo come out more often, or better.

## Licence

Generators trained on FFHQ, and encoders that follow them, are for non-commercial use: their weights are marked so
here. If yours were trained on other data, edit this card: it is written once, and no later push changes it.
"""


def model_card(
    repo_id: str,
    config: PSPConfig,
    facts: dict[str, str],
    evaluation: dict[str, Any] | None = None,
    variant: str | None = None,
    training: str = "",
) -> ModelCard:
    """Write the card of a model.

    Args:
        repo_id: where it goes.
        config: of the model; a generator that is a repository becomes the card's base model.
        facts: shown as a table, such as {"Parameters of the encoder": "8.2 M"}.
        evaluation: measured figures, as `training/evaluate.py` writes them to evaluation.json.
        variant: that is pushed, for the snippet.
        training: a section on the run that made it, see `training_text`.
    """
    metadata = {"tags": [*TAGS, config.task], **LICENSE}
    generator = "which is in this repository"
    if isinstance(config.base_generator, GeneratorReference):
        metadata |= {"base_model": str(config.base_generator), "base_model_relation": "adapter"}
        generator = f"`{config.base_generator}`"
    elif config.base_generator:
        generator = f"`{config.base_generator}`, which comes with `psp_hub`"
    argument = f', variant="{variant}"' if variant else ""
    text = f"""# {repo_id.split("/")[-1]}

A [pixel2style2pixel](https://arxiv.org/abs/2008.00951) encoder for the task `{config.task}`: a picture becomes the
styles of a StyleGAN generator, {generator}.

```python
from PIL import Image
from psp_hub import PSPModel

model = PSPModel.from_pretrained("{repo_id}"{argument})
model(Image.open("input.png")).images[0].save("output.png")
```

{table(facts)}
{figures(evaluation)}{training}{LIMITS}"""
    return write(metadata, text)


def generator_card(repo_id: str, facts: dict[str, str]) -> ModelCard:
    """Write the card of a generator in a repository of its own; arguments as in `model_card`."""
    text = f"""# {repo_id.split("/")[-1]}

A generator for [pixel2style2pixel](https://arxiv.org/abs/2008.00951) encoders.

```python
from psp_hub import PSPModel
from psp_hub.generators import load_generator

generator = load_generator("{repo_id}")
model = PSPModel.from_pretrained("owner/a-model-for-it", generator=generator)
```

{table(facts)}
{LIMITS}"""
    return write({"tags": TAGS, **LICENSE}, text)


def training_text(
    counts: dict[str, int], losses: dict[str, float], best: dict[str, Any], command: str, picture: str | None = None
) -> str:
    """What a card says of the training run that made the model.

    Args:
        counts: of the data, by kind.
        losses: weight of each.
        best: the step whose weights these are, `step`; the figure it was chosen by, `figure`; all figures by name.
        command: that repeats the run.
        picture: file of a grid of input, target, output and variation, in the repository.
    """
    names = {"w_error": "error of the styles (0 exact, 1 the mean face)", "loss": "weighted sum of the losses"}
    rows = {names.get(name, name): f"{value:.4f}" for name, value in best.items() if isinstance(value, float)}
    grid = f"\n![rows of input, target, output and variation]({picture})\n" if picture else ""
    return f"""## Training

Data: {", ".join(f"{value:,} {name}" for name, value in counts.items() if value)}.
Losses: {", ".join(f"{weight:g} {name}" for name, weight in losses.items())}.

Figures of held-out examples, which training has not seen, after step {best["step"]};
that step is the exported one for its {best["figure"].replace("_", " ")}.
The command below prints them again.

{table(rows)}{grid}
```bash
{command}
```

"""


def write(metadata: dict[str, Any], text: str) -> ModelCard:
    data = ModelCardData(library_name="psp-hub", pipeline_tag=PIPELINE_TAG, **metadata)
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}")


def table(facts: dict[str, str]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts.items())]) + "\n"


def figures(evaluation: dict[str, Any] | None) -> str:
    """The measured figures as a table with one column per set of pictures; nothing where there are none."""
    columns = {name: dict(flatten(value)) for name, value in (evaluation or {}).items() if isinstance(value, dict)}
    if not any(columns.values()):
        return ""
    rows = dict.fromkeys(name for column in columns.values() for name in column)
    lines = [["", *columns], ["---"] * (len(columns) + 1)]
    lines += [[row, *(f"{column[row]:.4g}" if row in column else "" for column in columns.values())] for row in rows]
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"## Figures\n\nMeasured by `training/evaluate.py`; all of them are in evaluation.json.\n\n{text}\n\n"


def flatten(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """{"a": 1, "b": {"c": 2}} -> ("a", 1), ("b: c", 2); only numbers."""
    for name, value in values.items():
        name = prefix + str(name).replace("_", " ")
        if isinstance(value, dict):
            yield from flatten(value, f"{name}: ")
        elif isinstance(value, int | float):
            yield name, value
