"""What a person sets on a tab: seed, variations, strength, likeness and steps, checked once."""

from dataclasses import dataclass, replace

from psp_hub.config import MAX_SEED
from psp_hub.demo.problems import problems

MAX_VARIATIONS, MAX_STEPS = 8, 100


@dataclass(frozen=True)
class Settings:
    """The numbers of a tab, in range.

    Args:
        seed: decides what the input leaves open.
        variations: how many more faces there are.
        strength: how much the seed changes, 0 (nothing) to 1.
        likeness: 0 is the average face, 1 the input.
        steps: of refinement.
        keep: whether the rest of a photo stays as it is where a part is filled in.
        paste: whether the face is put back into its photo.
    """

    seed: int = 1
    variations: int = 0
    strength: float = 0.5
    likeness: float = 1.0
    steps: int = 0
    keep: bool = True
    paste: bool = False

    @classmethod
    def checked(
        cls,
        seed: float | None = 1,
        variations: float | None = 0,
        strength: float = 0.5,
        likeness: float = 1.0,
        steps: float | None = 0,
        keep: bool = True,
        paste: bool = False,
    ) -> "Settings":
        """The settings that a person typed, or a program sent.

        Raises:
            Problem: not a whole number where one is expected, or out of range.
        """
        with problems():
            return cls(
                whole_number(seed, "The seed", 0, MAX_SEED),
                whole_number(variations, "The number of variations", 0, MAX_VARIATIONS),
                strength,
                likeness,
                whole_number(steps, "The number of steps", 0, MAX_STEPS),
                keep,
                paste,
            )

    def give_the_same_face(self, other: "Settings") -> bool:
        """Whether a face would be the same with the `other` settings."""
        return replace(self, variations=0) == replace(other, variations=0)


def whole_number(value: float | None, name: str, low: int, high: int) -> int:
    """Check a number that a person typed.

    Raises:
        ValueError: no number, not a whole one, or out of range.
    """
    if value is None or not float(value).is_integer() or not low <= value <= high:
        got = "nothing" if value is None else f"{value:.15g}"
        raise ValueError(f"{name} must be a whole number from {low} to {high}, got {got}.")
    return int(value)
