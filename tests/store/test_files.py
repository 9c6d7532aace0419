"""Tests of files and folders that are replaced whole or not at all."""

import os

import numpy as np
import pytest

from pyterrier_xetrieval.store.files import new_folder, replacing
from tests.helpers.builders import make_model


@pytest.mark.parametrize("before", [None, "old"])
def test_the_file_is_replaced_when_the_block_ends(tmp_path, before):
    path = tmp_path / "page.html"
    if before is not None:
        path.write_text(before)
    with replacing(path) as file:
        file.write("größer\n")
        file.flush()
        assert (path.read_text() if path.exists() else None) == before
        (sibling,) = (found for found in tmp_path.iterdir() if found != path)
        assert sibling.name.startswith(".page.html.") and sibling.name.endswith(".unfinished")
    assert path.read_bytes() == "größer\n".encode() and os.listdir(tmp_path) == ["page.html"]


def test_bytes(tmp_path):
    with replacing(str(tmp_path / "vectors.npy"), "wb") as file:
        np.save(file, np.arange(3))
    assert np.load(tmp_path / "vectors.npy").tolist() == [0, 1, 2] and os.listdir(tmp_path) == ["vectors.npy"]


@pytest.mark.parametrize("before", [None, "old"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_what_was_there(tmp_path, before, error):
    path = tmp_path / "page.html"
    if before is not None:
        path.write_text(before)
    with pytest.raises(error), replacing(path) as file:
        file.write("half")
        raise error
    assert {found.name: found.read_text() for found in tmp_path.iterdir()} == ({"page.html": before} if before else {})


def test_a_place_that_cannot_be_taken(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError), replacing(tmp_path / "folder") as file:
        file.write("whole")
    assert os.listdir(tmp_path) == ["folder"] and not os.listdir(tmp_path / "folder")
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "none" / "file"):
        pass
    assert os.listdir(tmp_path) == ["folder"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has other links and pipes")
def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    for name in ("known", "new"):
        (tmp_path / name).symlink_to(tmp_path / "there" / name)
    (tmp_path / "there" / "known").write_text("old")
    for name in ("known", "new"):
        with replacing(tmp_path / name) as file:
            file.write("whole")
        assert (tmp_path / name).is_symlink() and (tmp_path / "there" / name).read_text() == "whole"
    assert sorted(os.listdir(tmp_path)) == ["known", "new", "there"] and len(os.listdir(tmp_path / "there")) == 2


@pytest.mark.skipif(os.name == "nt", reason="Windows has other links and pipes")
def test_pipes_and_devices_are_written_to(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with replacing(tmp_path / "pipe") as file:
        file.write("größer\n")
    assert os.read(reader, 99) == "größer\n".encode() and (tmp_path / "pipe").is_fifo()
    os.close(reader)
    (tmp_path / "null").symlink_to(os.devnull)  # the device itself must not be put at risk by a test
    with replacing(tmp_path / "null", "wb") as file:
        file.write(b"gone")
    assert (tmp_path / "null").is_symlink() and (tmp_path / "null").is_char_device()
    assert sorted(os.listdir(tmp_path)) == ["null", "pipe"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_permissions_follow_the_umask(tmp_path, umask):
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o600)
    before = os.umask(umask)
    try:
        with replacing(path) as file:
            file.write("new")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_two_at_once(tmp_path):
    path = tmp_path / "file"
    with replacing(path) as first, replacing(path) as second:
        first.write("first")
        second.write("second")
    assert path.read_text() == "first" and os.listdir(tmp_path) == ["file"]  # the one that ended last


def test_a_folder_gets_its_name_when_the_block_ends(tmp_path):
    path = tmp_path / "in" / "model"
    with new_folder(str(path)) as folder:
        (folder / "facts").write_text("all")
        assert not path.exists() and folder.parent == path.parent
    assert os.listdir(tmp_path / "in") == ["model"] and (path / "facts").read_text() == "all"
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "other") as folder:
        (folder / "facts").write_text("half")
        raise KeyboardInterrupt
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError), new_folder(tmp_path / "file" / "model"):
        pass
    assert sorted(os.listdir(tmp_path)) == ["file", "in"]


def test_of_two_that_make_a_folder_the_slower_one_is_told_so(tmp_path):
    with pytest.raises(FileExistsError, match=f"{tmp_path / 'model'} already exists"), new_folder(tmp_path / "model") as slow:
        (slow / "facts").write_text("slow")
        with new_folder(tmp_path / "model") as fast:
            (fast / "facts").write_text("fast")
    assert os.listdir(tmp_path) == ["model"] and (tmp_path / "model" / "facts").read_text() == "fast"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_permissions_of_folders_follow_the_umask_too(tmp_path, umask):
    before = os.umask(umask)
    try:
        saved = make_model().save(tmp_path / "model").path
    finally:
        os.umask(before)
    assert saved.stat().st_mode & 0o777 == 0o777 & ~umask
