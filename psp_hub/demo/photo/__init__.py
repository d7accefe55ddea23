"""The tab *Photo*: inversion, super-resolution, inpainting and frontalization of people's own photos."""
