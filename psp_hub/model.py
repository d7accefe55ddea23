"""PSPModel: `pSp(x) = G(E(x) + w_avg)` (Richardson et al. 2021, equation 1), for people and for programs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from psp_hub.config import PSPConfig
from psp_hub.encoder import PSPEncoder
from psp_hub.generators.base import Generator, NoiseMode
from psp_hub.hub.diffusers_parts import BaseOutput
from psp_hub.images.pictures import open_image
from psp_hub.images.preprocessing import prepare_tensor, tensor_to_images
from psp_hub.latents import style_indices
from psp_hub.mixing import mix, vary
from psp_hub.model_names import find_model, starter_folder
from psp_hub.passes import check_passes, encode_in_passes, input_channels
from psp_hub.pretrained import Pretrained
from psp_hub.refinement import REGULARISATION, STEPS, LossFunction, Progress, refine
from psp_hub.tasks import get_task, mixed_groups
from psp_hub.wanted import find_wanted

Picture = Image.Image | str | Path | np.ndarray  # see `psp_hub.images.pictures.open_image`
Pictures = Tensor | Picture | Sequence[Picture]


def load_model(name: str | Path) -> "PSPModel":
    """A model by its name.

    Raises:
        ValueError: see `find_model`.
        OSError: see `PSPModel.from_pretrained`.
    """
    return PSPModel.from_pretrained(find_model(name))


def as_list(images: Picture | Sequence[Picture]) -> Sequence[Picture]:
    """One picture, or several, as several; an array of four dimensions is several."""
    if isinstance(images, list | tuple) or (isinstance(images, np.ndarray) and images.ndim == 4):
        return list(images)
    return [cast(Picture, images)]


@dataclass
class PSPOutput(BaseOutput):
    """`images`: a list of PIL pictures, or [N, 3, R, R] in about [-1, 1]; `ws`: their styles [N, num_ws, w_dim]."""

    images: list[Image.Image] | Tensor
    ws: Tensor


class PSPModel(Pretrained):
    """An encoder and the generator it writes styles for. How it is saved, loaded and pushed: see `Pretrained`.

    Example:
        >>> model = PSPModel.from_starter("sketch")
        >>> output = model("drawing.png")
        >>> output.images[0].save("face.png")
    """

    def __init__(self, encoder: PSPEncoder, generator: Generator, config: PSPConfig):
        super().__init__()
        if (encoder.config.num_ws, encoder.config.w_dim) != (generator.num_ws, generator.w_dim):
            raise ValueError(
                f"the encoder writes {encoder.config.num_ws} styles of size {encoder.config.w_dim}, "
                f"the generator expects {generator.num_ws} of size {generator.w_dim}"
            )
        check_passes(encoder, config.num_passes)
        self.encoder = encoder
        self.generator = generator
        self.config = config

    @property
    def in_channels(self) -> int:
        """Channels of the pictures that go in."""
        return input_channels(self.encoder, self.config.num_passes)

    @property
    def device(self) -> torch.device:
        return self.generator.w_avg.device

    def prepare(self, images: Pictures) -> Tensor:
        """Pictures of any size as the encoder takes them, [N, C, 256, 256]; a tensor as it is.

        Args:
            images: PIL pictures, names of files, or arrays (see `psp_hub.images.pictures.array_to_image`): one, or a
                list of them.

        Raises:
            ValueError: a picture that cannot be used (empty, too small, too large), or an empty list.
        """
        if isinstance(images, Tensor):
            return images
        pictures = as_list(images)
        if not pictures:
            raise ValueError("got an empty list, expected one picture or more")
        return torch.cat([prepare_tensor(picture, self.config.input_kind) for picture in pictures])

    def encode(self, images: Pictures, truncation_psi: float = 1.0) -> Tensor:
        """Images to styles.

        Args:
            images: [N, C, 256, 256] as the encoder takes them, or pictures of any size as in `prepare`.
            truncation_psi: 1 keeps the encoder's answer, 0 gives the mean face.

        Returns:
            ws [N, num_ws, w_dim].

        Raises:
            ValueError: a picture that cannot be used (empty, too small, too large), an empty list, or a tensor of the
                wrong shape.
        """
        x = images if isinstance(images, Tensor) else self.prepare(images)
        x = x.to(next(self.encoder.parameters()))
        passes, residual = (self.config.num_passes, self.config.face_size), self.encoder.residual_encoder is not None
        delta = encode_in_passes(self.encoder, self.generator, x, *passes, residual)
        return self.generator.w_avg + truncation_psi * delta  # [N, num_ws, w_dim]

    def decode(self, ws: Tensor, noise_mode: NoiseMode = "const", seed: int | None = None) -> Tensor:
        """Styles [N, num_ws, w_dim] to images [N, 3, R, R], about [-1, 1].

        Args:
            noise_mode: `const` (the generator's stored noise), `random` (fresh noise, needs a seed) or `none`.
            seed: of the random noise.

        Raises:
            ValueError: wrong shape, unknown noise mode, or random noise without a seed.
        """
        rng = None
        if noise_mode == "random":
            if seed is None:
                raise ValueError("noise_mode 'random' needs a seed, got None")
            rng = torch.Generator().manual_seed(seed)
        return self.generator.synthesis(ws.to(self.generator.w_avg), noise_mode=noise_mode, generator=rng)

    def forward(
        self,
        images: Pictures,
        truncation_psi: float = 1.0,
        noise_mode: NoiseMode = "const",
        seed: int | None = None,
    ) -> PSPOutput:
        """Encode and decode. Pictures in give PIL pictures out; a tensor in gives a tensor out.

        Gradients flow through tensors; pictures are handled without them. Arguments and errors as in `encode` and
        `decode`.
        """
        if isinstance(images, Tensor):
            ws = self.encode(images, truncation_psi)
            return PSPOutput(images=self.decode(ws, noise_mode, seed), ws=ws)
        with torch.no_grad():
            ws = self.encode(images, truncation_psi)
            return PSPOutput(images=tensor_to_images(self.decode(ws, noise_mode, seed)), ws=ws)

    @torch.no_grad()
    def refine(
        self,
        images: Pictures,
        ws: Tensor | None = None,
        steps: int | None = None,
        *,
        factor: int | None = None,
        regularisation: float = REGULARISATION,
        distance: LossFunction | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """Styles whose faces are closer to `images` than the encoder's answer: some seconds for each, no training.

        Inversion is compared with the whole picture, inpainting with its known part, and super-resolution with the
        small picture, after the face was made as small.

        Example:
            >>> ws = model.refine(photo, progress=lambda step, losses: print(step, losses))
            >>> images = model.decode(ws)

        Args:
            images: as in `encode`.
            ws: where to start, [N, num_ws, w_dim]; by default the encoder's answer.
            steps: more take longer and come closer; by default those of the task (80 for super-resolution), or 40.
            factor: how many times smaller than 256 px the picture of super-resolution was. Pictures tell it by
                their size, unless they were enlarged before; tensors do not.
            regularisation, distance, progress: as in `psp_hub.refinement.refine`.

        Returns:
            ws [N, num_ws, w_dim], float32, without gradients.

        Raises:
            ValueError: a task whose input is no picture of the face, such as a drawing; a picture that cannot be used;
                a shape or number that does not fit.
        """
        sizes = None
        if not isinstance(images, Tensor):
            opened = [open_image(picture, keep_mode=True) for picture in as_list(images)]
            images, sizes = self.prepare(opened), [(picture.height, picture.width) for picture in opened]
        wanted = find_wanted(self.config.task, images, sizes, factor)
        if steps is None:
            steps = get_task(self.config.task).refinement_steps or STEPS
        return refine(
            self.generator,
            self.encode(images) if ws is None else ws,
            steps=steps,
            regularisation=regularisation,
            distance=distance,
            progress=progress,
            **wanted._asdict(),
        )

    @torch.no_grad()
    def mix(
        self,
        ws: Tensor,
        *,
        seed: int | None = None,
        style: Tensor | None = None,
        groups: Iterable[str] | None = None,
        strength: float = 1.0,
        num_variations: int = 1,
    ) -> Tensor:
        """Style mixing (paper, section 4.4): many answers to one input.

        Args:
            ws: [1, num_ws, w_dim].
            seed: draws `num_variations` random styles; variation i of seed s is variation 0 of seed s + i.
            style: mix with this style instead, [M, w_dim] or [M, num_ws, w_dim].
            groups: which styles change: some of coarse (pose, shape), medium (features, hair), fine (colours, skin);
                by default those that the model's task leaves open.
            strength: 0 changes nothing, 1 replaces.

        Returns:
            [num_variations or M, num_ws, w_dim].

        Raises:
            ValueError: both or none of `seed` and `style`, unknown group, strength out of 0 to 1, no variations, wrong
                shape.
        """
        expected = (1, self.generator.num_ws, self.generator.w_dim)
        if ws.shape != expected:
            raise ValueError(f"ws has shape {tuple(ws.shape)}, expected {expected}")
        if (seed is None) == (style is None):
            raise ValueError("mix needs a seed or a style, got " + ("none" if seed is None else "both"))
        if not 0 <= strength <= 1:
            raise ValueError(f"strength is {strength}, expected 0 to 1")
        if num_variations < 1:
            raise ValueError(f"num_variations is {num_variations}, expected 1 or more")
        groups = mixed_groups(self.config.task) if groups is None else groups
        if style is None:
            return vary(self.generator, ws, cast(int, seed), groups, strength, num_variations)
        return mix(ws, style, style_indices(groups, self.generator.num_ws), strength)

    @classmethod
    def from_starter(
        cls, task: str, generator: Generator | None = None, torch_dtype: torch.dtype = torch.float32
    ) -> "PSPModel":
        """Load the small encoder that ships with the package for `task`, with the built-in generator.

        Raises:
            ValueError: no starter of that name.
            GeneratorUnavailableError: the built-in generator cannot be fetched.
        """
        return cls.from_pretrained(starter_folder(task), generator=generator, torch_dtype=torch_dtype)
