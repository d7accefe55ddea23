"""The tab *Photo*: inversion, super-resolution and inpainting of people's own photos."""
