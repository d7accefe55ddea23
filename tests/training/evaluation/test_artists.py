"""training.evaluation.artists: a folder of drawings, photos, and what is known of these."""

import json

import pytest
import torch

from training.evaluation.artists import Artists


def test_drawings_photos_and_what_they_show(artists_dir):
    drawings = list(Artists(artists_dir))
    assert [one.name for one in drawings] == ["1-0001", "1-0009", "2-0002", "2-0019"]
    assert [one.measures for one in drawings] == [False, True, False, True]
    assert drawings[0].shows == {"woman": False, "smile": True, "bald": False}
    assert drawings[1].shows == {"woman": True, "smile": False, "bald": True}
    assert drawings[0].input().shape == (1, 256, 256) and drawings[0].image().shape == (3, 256, 256)
    assert not torch.equal(drawings[0].image(), drawings[1].image())


def test_lines_that_are_missing_or_say_too_little(artists_dir, tmp_path):
    for folder in ("sketches", "photos"):
        (tmp_path / folder).symlink_to(artists_dir / folder)
    lines = (artists_dir / "attributes.jsonl").read_text().splitlines()
    with pytest.raises(ValueError, match="attributes.jsonl is not a file of attributes"):
        Artists(tmp_path)
    (tmp_path / "attributes.jsonl").write_text("\n".join(lines[:-1]))
    with pytest.raises(ValueError, match="has no line for 2-0019"):
        Artists(tmp_path)
    row = json.loads(lines[-1])
    del row["smile"]
    (tmp_path / "attributes.jsonl").write_text("\n".join([*lines[:-1], json.dumps(row)]))
    with pytest.raises(ValueError, match="is not a file of attributes: KeyError.'smile'"):
        Artists(tmp_path)
