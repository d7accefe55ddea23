"""Save, load and push a model: folders on this machine and repositories on the Hub have the same layout.

config.json        PSPConfig: task, kind of input, generator
encoder/           config.json, diffusion_pytorch_model[.variant].safetensors
generator/         the same, unless config.json names a built-in generator or another repository
README.md          the card, on the Hub
evaluation.json    measured figures, if there are any
"""

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch
from huggingface_hub import CommitInfo, ModelCard, ModelHubMixin
from torch import nn

from psp_hub.config import CONFIG_NAME, FORMAT_VERSION, GeneratorReference, PSPConfig
from psp_hub.encoder import PSPEncoder
from psp_hub.generators import load_generator, pin_generator
from psp_hub.generators.base import Generator
from psp_hub.hub import cards
from psp_hub.hub.components import component_files, load_component, save_component
from psp_hub.hub.transfer import CARD_NAME, LIBRARY_NAME, Access, open_source, push_folder
from psp_hub.staging import staged_folder

EVALUATION_NAME = "evaluation.json"


class Pretrained(
    nn.Module, ModelHubMixin, library_name=LIBRARY_NAME, pipeline_tag=cards.PIPELINE_TAG, tags=list(cards.TAGS)
):
    """What `PSPModel` can do with folders and with the Hub.

    ModelHubMixin makes it known to the Hub's tools. Its own ways are not strict enough: they take the config and the
    weights from different commits, skip missing weights, fall back to pickles, and replace edited cards.
    """

    encoder: PSPEncoder
    generator: Generator
    config: PSPConfig

    def save_pretrained(  # type: ignore[override]  # this and the two below take other options than the mixin's
        self, save_directory: str | Path, include_generator: bool = False, variant: str | None = None
    ) -> None:
        """Write `config.json`, `encoder/` and, where the config names no generator or on request, `generator/`.

        All of it or nothing: after an error the folder is as before. Other files in it stay.

        Args:
            include_generator: save the generator too, for a folder that needs no other repository.
            variant: `fp16` or `bf16` writes the weights in that dtype to files of that name, beside the plain ones.

        Raises:
            ValueError: unknown variant, or a weight that is too large for it.
            OSError: the files cannot be written.
        """
        config = replace(self.config, format_version=FORMAT_VERSION)
        if include_generator:
            config = replace(config, base_generator=None)
        with staged_folder(Path(save_directory)) as folder:
            save_component(self.encoder, folder / "encoder", variant)
            if config.base_generator is None:
                save_component(self.generator, folder / "generator", variant)
            config.save(folder)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        generator: Generator | GeneratorReference | str | Path | None = None,
        torch_dtype: torch.dtype | None = torch.float32,
        variant: str | None = None,
        subfolder: str | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
    ) -> Self:
        """Load a model from the Hub, or from a folder that `save_pretrained` wrote.

        The revision is resolved once: all files come from that commit. What is in the cache is not asked for again.

        Example:
            >>> sketch = PSPModel.from_pretrained("org/psp-sketch")
            >>> labels = PSPModel.from_pretrained("org/psp-labels", generator=sketch.generator)

        Args:
            pretrained_model_name_or_path: `owner/name` on the Hub, or a folder.
            generator: use this one instead of the one that the model names. An object is shared, not copied; a name is
                that of a built-in generator, a folder, or a repository.
            torch_dtype: of encoder and generator; None keeps what they were saved in.
            variant: load the weights saved as this variant, such as `fp16`.
            subfolder: where in the repository or folder the model is.
            revision: branch, tag or commit.
            token, cache_dir, local_files_only, force_download: as in huggingface_hub.

        Raises:
            ValueError: not a saved model, damaged files, or weights that do not match.
            RepositoryNotFoundError, GatedRepoError, RevisionNotFoundError: of huggingface_hub; the message says what
                to do.
            LocalEntryNotFoundError: not in the cache, and the Hub cannot be reached.
            GeneratorUnavailableError: the built-in generator cannot be fetched.
        """
        access = Access(token, cache_dir, local_files_only, force_download)
        source = open_source(pretrained_model_name_or_path, access, revision, subfolder)
        folder = source.fetch([CONFIG_NAME])
        with source.named():
            config = PSPConfig.load(folder)
        parts = ["encoder"] if generator is not None or config.base_generator else ["encoder", "generator"]
        source.fetch(f"{part}/{file}" for part in parts for file in component_files(variant))
        with source.named():
            encoder = load_component(PSPEncoder, folder / "encoder", torch_dtype, variant)
            if "generator" in parts:
                generator = load_generator(folder / "generator", torch_dtype, variant)
        if isinstance(generator, str | Path | GeneratorReference):
            config = replace(config, base_generator=pin_generator(generator, access))
            generator = load_generator(config.base_generator or generator, torch_dtype, access=access)
        elif generator is None and config.base_generator is not None:
            generator = load_generator(config.base_generator, torch_dtype, access=access)
        return cls(encoder, generator, config).eval().requires_grad_(False)

    def push_to_hub(  # type: ignore[override]
        self,
        repo_id: str,
        *,
        commit_message: str = "Push a psp-hub model",
        private: bool | None = None,
        revision: str | None = None,
        create_pr: bool = False,
        tag: str | None = None,
        token: str | bool | None = None,
        variant: str | None = None,
        include_generator: bool = False,
        evaluation: dict[str, Any] | None = None,
        card: str | None = None,
    ) -> CommitInfo:
        """Upload the model in one commit: weights, configs, and a card if the repository has none yet.

        A card that is there stays as it is. A variant goes beside the weights that are there: push it again whenever
        those change.

        Example:
            >>> model.push_to_hub("org/psp-sketch", private=True, tag="v1")
            >>> model.push_to_hub("org/psp-sketch", variant="fp16")

        Args:
            repo_id: `owner/name`; the repository is made if it is missing.
            private: whether a new repository is private; True also refuses to push to a public one.
            revision: branch, made if it is missing.
            create_pr: open a pull request instead.
            tag: name for the new commit.
            variant, include_generator: as in `save_pretrained`.
            evaluation: measured figures, for the card and as `evaluation.json`.
            card: text of the card, instead of the one that `generate_model_card` writes.

        Returns:
            The commit: its URL as a string, and its `oid`.

        Raises:
            ValueError: arguments that do not go together, or a tag that exists.
            HfHubHTTPError: of huggingface_hub; the token may not write there, or another error of the Hub.
        """
        with tempfile.TemporaryDirectory(prefix="psp-hub-") as name:
            folder = Path(name)
            self.save_pretrained(folder, include_generator, variant)
            if card is None:
                card = str(self.generate_model_card(repo_id, evaluation, variant, include_generator))
            (folder / CARD_NAME).write_text(card, encoding="utf-8")
            if evaluation is not None:
                (folder / EVALUATION_NAME).write_text(json.dumps(evaluation, indent=2) + "\n", encoding="utf-8")
            return push_folder(
                folder,
                repo_id,
                commit_message=commit_message,
                private=private,
                revision=revision,
                create_pr=create_pr,
                tag=tag,
                token=token,
                replaced=["generator"],
            )

    def generate_model_card(
        self,
        repo_id: str,
        evaluation: dict[str, Any] | None = None,
        variant: str | None = None,
        include_generator: bool = False,
        training: str = "",
    ) -> ModelCard:
        """The card of this model as `repo_id`.

        Args:
            repo_id, evaluation, variant, include_generator: as in `push_to_hub`.
            training: what is said of the run that made the model, such as `psp_hub.hub.cards.training_text`.
        """
        facts = {
            "Input": f"`{self.config.input_kind}`, channels: {self.in_channels}",
            "Output": f"{self.generator.resolution} x {self.generator.resolution} pixels",
            "Styles": f"{self.generator.num_ws} of size {self.generator.w_dim}",
            "Parameters of the encoder": f"{self.encoder.num_parameters():,}",
            "Parameters of the generator": f"{self.generator.num_parameters():,}",
        }
        config = replace(self.config, base_generator=None) if include_generator else self.config
        return cards.model_card(repo_id, config, facts, evaluation, variant, training)
