"""A StyleGAN2 for tests."""

import torch

from psp_hub.generators.stylegan2 import StyledConv, StyleGAN2, ToRGB

W_DIM = 6


@torch.no_grad()
def tiny_stylegan2(resolution: int = 32, **config: int) -> StyleGAN2:
    """The same every time; every tensor matters."""
    config = {"w_dim": W_DIM, "mapping_layers": 2, "max_channels": 8} | config
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = StyleGAN2(resolution, **config)
        generator.mapping.w_avg.normal_()
        for module in generator.modules():
            if isinstance(module, (StyledConv, ToRGB)):
                module.bias.normal_(std=0.3)
            if isinstance(module, StyledConv):
                module.noise_strength.fill_(0.3)
    return generator.eval()
