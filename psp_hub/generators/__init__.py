"""Generators: one interface (`base.py`), one module for each kind, and loading by name, folder or repository."""

from psp_hub.generators.loading import (
    BUILTIN,
    GENERATORS,
    is_saved_generator,
    load_generator,
    pin_generator,
    push_generator,
)

__all__ = ["BUILTIN", "GENERATORS", "is_saved_generator", "load_generator", "pin_generator", "push_generator"]
