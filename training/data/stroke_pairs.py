"""Pairs drawn as strokes: what faces have that few have is seen as often as what is common."""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from training.data.augmentation import Target
from training.data.painted_maps import LabelMaps
from training.data.pairs import PairStore
from training.networks.attributes import AttributesFromW
from training.strokes import ATTRIBUTES, Facts

EDITS = 2  # random numbers of their own
# How often an edit wants what, of men and of women. What is not named stays as it is.
WANTED = {
    "man": {"beard": 0.4, "bald": 0.3, "glasses": 0.35, "hat": 0.25, "open_mouth": 0.4},
    "woman": {"glasses": 0.4, "hat": 0.3, "long_hair": 0.5, "open_mouth": 0.4},
}
UNSMILING = 0.6  # of the mouths that an edit opens: most open mouths of photos laugh
UNCHANGED = 0.3  # of these attributes stay as they are, too
MOUSTACHE = 0.5  # of faces without a beard
BEARD_AND_LONG_HAIR = 0.3  # of faces with a beard; without one, W has hardly any man with long hair
CHILD = -10.0  # log odds of being old below which a beard makes no sense: one face in four
HIDDEN = {"hat": "bald", "bald": "long_hair"}  # who has the first does not show the second


class StrokePairs:
    """Pairs whose inputs are written as strokes, each several times.

    Of a share of them the attributes are changed, and w along with them: the face is drawn with a beard that it has
    not, and answered by the w of the same face with a beard. The picture stays that of the face before.

    Args:
        store: with one w for each pair.
        label_maps: of its pictures.
        attributes: file of `training/recipes/measure_attributes.py`.
        rows: positions in the store.
        repeats: how often each is there; faces with rare attributes as often again.
        edited_share: of those whose attributes are changed.

    Raises:
        ValueError: none of the pairs has both a label map and measured attributes.
    """

    def __init__(
        self,
        store: PairStore,
        label_maps: LabelMaps,
        attributes: Path,
        rows: list[int],
        repeats: int = 1,
        edited_share: float = 0.5,
    ):
        measured = load_file(attributes)
        self.values = dict(zip(measured["index"].tolist(), measured["values"].float(), strict=True))
        self.network = AttributesFromW.from_file(attributes)
        self.store, self.maps, self.edited_share = store, label_maps, edited_share
        known = [i for i in rows if store.indices[i] in self.values and store.indices[i] in label_maps.positions]
        if not known:
            raise ValueError("no pair has both a label map and measured attributes, expected some for stroke drawings")
        rare = [ATTRIBUTES.index(name) for name in ("glasses", "hat", "beard", "moustache", "bald")]
        has_rare = [bool((self.values[store.indices[i]][rare] > 0.5).any()) for i in known]
        once = [i for i, twice in zip(known, has_rare, strict=True) for _ in range(1 + twice)]
        self.rows = [(i, copy) for copy in range(repeats) for i in once]

    def __len__(self) -> int:
        return len(self.rows)

    def get_many(self, positions: list[int]) -> list[Target]:
        return [self.get(position) for position in positions]

    def get(self, position: int) -> Target:
        row, _ = self.rows[position]
        index = self.store.indices[row]
        image, w = self.store[row]
        said = self.values[index]
        rng = np.random.default_rng((index, position, EDITS))
        if rng.random() < self.edited_share:
            w, said = self.edited(w, said, rng)
        return Target(image, w, hint=Facts(self.maps.get(index).numpy(), said.numpy()))

    def edited(self, w: Tensor, said: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """The w of the same face with other attributes, and these."""
        values = dict(zip(ATTRIBUTES, said.tolist(), strict=True))
        odds = dict(zip(ATTRIBUTES, self.network(w).tolist(), strict=True))
        kind = "woman" if values["woman"] > 0.5 else "man"
        shares = {k: v for k, v in WANTED[kind].items() if k != "beard" or odds["old"] > CHILD}
        wanted = {name: odds[name] for name in ("woman", "long_hair")}
        for name, share in shares.items():
            if rng.random() >= UNCHANGED:
                values[name] = float(rng.random() < share)
        if kind == "man":
            wanted["woman"] = min(odds["woman"], -2.0)  # a beard would take the rest of the face along
            if "beard" in shares and rng.random() >= UNCHANGED:
                values["moustache"] = float(values["beard"] > 0.5 or rng.random() < MOUSTACHE)
            if values["beard"] > 0.5 and rng.random() < BEARD_AND_LONG_HAIR:
                values["long_hair"], wanted["woman"] = 1.0, min(odds["woman"], -4.0)
                wanted["long_hair"] = max(odds["long_hair"], 3.0)
        if values["open_mouth"] == 1 and rng.random() < UNSMILING:
            values["smile"], wanted["smile"] = 0.0, min(odds["smile"], rng.uniform(-4, -2))
        for name, hidden in HIDDEN.items():
            if values[name] > 0.5:
                values[hidden] = 0.0
                wanted.pop(hidden, None)
        for name in (*shares, *(("moustache",) if "beard" in shares else ())):
            if values[name] > 0.5:
                wanted[name] = max(odds[name], rng.uniform(3, 6))
            elif values[name] == 0:
                wanted[name] = min(odds[name], rng.uniform(-4, -2))
        if values["moustache"] > 0.5 and not values["beard"] > 0.5:
            wanted.pop("beard", None)  # W hardly has one without the other
        steps = torch.tensor([wanted.get(name, float("nan")) for name in ATTRIBUTES])
        return self.network.moved(w, steps), torch.tensor([values[name] for name in ATTRIBUTES])

    def name(self, i: int) -> str:
        return f"pair {self.store.indices[self.rows[i][0]]}, as strokes"
