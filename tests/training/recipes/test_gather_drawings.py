"""training.recipes.gather_drawings: drawings beside their photos."""

import numpy as np
import pytest
from PIL import Image

from training.data.folders import FolderPictures, match
from training.data.photo_attributes import read_lines
from training.recipes.gather_drawings import main, parse_args


def test_drawings_beside_their_photos(artists_dir, faces_dir, tmp_path):
    output = tmp_path / "gathered"
    words = ["--drawings_dir", artists_dir, "--faces_dir", faces_dir, "--max_photos", "2", "--output_dir", output]
    main(parse_args([str(word) for word in words]))
    drawings, photos = FolderPictures(output / "drawings"), FolderPictures(output / "photos")
    assert len(match(drawings, photos)) == 6
    names = {path.stem for path in drawings.paths}
    made = {f"photo-{copy}-{name}" for copy in (0, 1) for name in "ab"}
    assert names == {"artist-1-0001", "artist-2-0002"} | made, "those that measure stay out"
    first, second = (np.asarray(Image.open(output / "drawings" / f"photo-{copy}-a.png")) for copy in (0, 1))
    assert first.shape == second.shape == (256, 256) and (first != second).mean() > 0.1
    known = read_lines(output / "attributes.jsonl")
    assert known.keys() == {"artist-1-0001", "artist-2-0002"}
    assert all(
        set(values[~values.isnan()].tolist()) <= {0, 1} and (~values.isnan()).sum() > 1 for values in known.values()
    )
    with pytest.raises(SystemExit):  # it is there now
        main(parse_args([str(word) for word in words]))
    assert (output / "photos/photo-1-b.jpg").read_bytes() == (faces_dir / "b.jpg").read_bytes()


def test_drawings_by_artists_may_be_there_several_times(artists_dir, tmp_path):
    output = tmp_path / "gathered"
    words = ["--drawings_dir", artists_dir, "--per_artists_drawing", "3", "--output_dir", output]
    main(parse_args([str(word) for word in words]))
    names = {f"artist-{name}{copy}" for name in ("1-0001", "2-0002") for copy in ("", "-1", "-2")}
    assert read_lines(output / "attributes.jsonl").keys() == names
    drawings, photos = FolderPictures(output / "drawings"), FolderPictures(output / "photos")
    assert {path.stem for path in photos.paths} == names and len(match(drawings, photos)) == 6
    first, again = ((output / "photos" / f"artist-1-0001{copy}.png").read_bytes() for copy in ("", "-2"))
    assert first == again


@pytest.mark.parametrize(
    "words, message",
    [
        ([], "expected --drawings_dir, --faces_dir or both"),
        (["--faces_dir", "faces", "--per_photo", "0"], "--per_photo is 0, expected 1 or more"),
        (["--drawings_dir", "fs2k", "--per_artists_drawing", "0"], "--per_artists_drawing is 0, expected 1 or more"),
    ],
)
def test_what_cannot_be_gathered(words, message, tmp_path, capsys):
    with pytest.raises(SystemExit):
        parse_args([*words, "--output_dir", str(tmp_path / "new")])
    assert message in " ".join(capsys.readouterr().err.split())
