"""psp_hub.images.folder: which files of a folder are pictures, and what is said of those left out."""

import logging
import os
import sys
from pathlib import Path

import pytest
from PIL import Image

from psp_hub.images.folder import find_pictures, listed, looks_like_picture, picture_suffixes
from training.data.folders import FolderPictures


def grey(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (32, 32), 100).save(path)
    return path


def names(paths: list[Path], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


def test_pictures_are_found_by_suffix_and_sorted(tmp_path):
    for name in ("b.png", "a/z.JPG", "a/c.webp", "a/.hidden/d.png", ".hidden/d.png", ".e.png", "__MACOSX/f.png"):
        grey(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "folder.png").mkdir()
    assert names(find_pictures(tmp_path), tmp_path) == ["b.png"]
    assert names(find_pictures(tmp_path, below=True), tmp_path) == ["a/c.webp", "a/z.JPG", "b.png"]


def test_every_suffix_of_a_format_that_is_read_counts_for_all(tmp_path, caplog, psp_hub, model_dir):
    """Training had a list of its own, and took 4 of these 7."""
    for name in ("a.jpg", "b.jpg", "c.jpg", "d.png", "e.jfif", "f.jpe", "g.gif"):
        grey(tmp_path / "in" / name)
    assert len(find_pictures(tmp_path / "in")) == len(FolderPictures(tmp_path / "in")) == 7
    _, _, err = psp_hub("translate", tmp_path / "in", "-o", tmp_path / "out", "--model", model_dir)
    assert "7 of 7 pictures failed" in err  # they are empty drawings, but none is left out
    assert caplog.text == ""
    assert {".jfif", ".jpe", ".apng", ".pgm"} <= set(picture_suffixes())


def test_what_looks_like_a_picture_and_is_left_out_is_named(tmp_path, caplog, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as if it were not installed
    grey(tmp_path / "a.png")
    grey(tmp_path / "h.png").rename(tmp_path / "no-suffix")
    grey(tmp_path / "i.jpg").rename(tmp_path / "i.jpg_large")
    grey(tmp_path / "below/k.gif").rename(tmp_path / "below/k.tmp")
    for name in ("b.HEIC", "c.jp2", "d.svg", "notes.txt", "e.pdf"):
        (tmp_path / name).write_bytes(b"whatever there is in it")
    (tmp_path / "empty").touch()
    with caplog.at_level(logging.WARNING):
        assert names(find_pictures(tmp_path), tmp_path) == ["a.png"]
    assert "5 files look like pictures in" in caplog.text
    assert "are left out: b.HEIC, c.jp2, d.svg, i.jpg_large, no-suffix. Pictures that are read" in caplog.text
    caplog.clear()
    find_pictures(tmp_path, below=True)
    assert "6 files look like" in caplog.text and "below/k.tmp" in caplog.text
    (tmp_path / "a.png").unlink()
    with pytest.raises(ValueError, match="no pictures in the folder .*; 5 look like some and cannot be read: b.HEIC"):
        find_pictures(tmp_path)


def test_heic_counts_where_it_can_be_read(tmp_path):
    pytest.importorskip("pillow_heif")
    (tmp_path / "b.HEIC").touch()
    assert names(find_pictures(tmp_path), tmp_path) == ["b.HEIC"]


def test_links(tmp_path):
    grey(tmp_path / "elsewhere/a.png")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "in/one.png").symlink_to(tmp_path / "elsewhere/a.png")
    (tmp_path / "in/part").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/loop").symlink_to(tmp_path / "in")
    assert names(find_pictures(tmp_path / "in", below=True), tmp_path / "in") == ["gone.png", "one.png", "part/a.png"]


def test_pipes_and_files_of_others_do_not_stop_the_search(tmp_path):
    grey(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    assert names(find_pictures(tmp_path), tmp_path) == ["a.png"]
    assert not looks_like_picture(tmp_path / "gone")


def test_folders_without_pictures_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(
        ValueError, match=r"there are no pictures in the folder .*; expected names that end in .apng, .avif"
    ):
        find_pictures(tmp_path)
    with pytest.raises(ValueError, match="missing is not a folder"):
        find_pictures(tmp_path / "missing")


def test_at_most_twenty_are_named():
    assert listed(["a", "b"]) == "a, b"
    text = listed([str(i) for i in range(45)])
    assert text.startswith("0, 1, ") and text.endswith("18, 19, and 25 more")
