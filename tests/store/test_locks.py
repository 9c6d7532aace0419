"""One writer at a time: within a process, between processes, and after one was killed."""

import errno
import os
import signal
import threading
import time

import filelock
import pytest

from pyterrier_xetrieval.store.locks import locked
from tests.helpers.children import in_child


def test_one_at_a_time_and_nothing_is_left(tmp_path):
    with locked(tmp_path / "file"):
        assert os.listdir(tmp_path) == [".file.lock"]
        with pytest.raises(RuntimeError, match="file is being written by another run; wait for it, or choose another path"):
            with locked(tmp_path / "file"):
                pytest.fail("two at once")
        with locked(tmp_path / "other"):  # another file
            pass
        assert in_child(lambda: locked(tmp_path / "file").__enter__()) == 1
    assert os.listdir(tmp_path) == []
    with pytest.raises(KeyError), locked(tmp_path / "file"):
        raise KeyError
    assert os.listdir(tmp_path) == []


def test_a_killed_process_blocks_nobody(tmp_path):
    def killed():
        with locked(tmp_path / "file"):
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(killed) == -signal.SIGKILL
    assert os.listdir(tmp_path) == [".file.lock"]  # left behind, and free
    with locked(tmp_path / "file"):
        pass
    assert os.listdir(tmp_path) == []


def test_it_waits_as_long_as_it_is_told(tmp_path):
    held = locked(tmp_path / "file")
    held.__enter__()
    timer = threading.Timer(0.3, lambda: held.__exit__(None, None, None))
    timer.start()
    start = time.monotonic()
    with locked(tmp_path / "file", patience=20):
        assert 0.2 < time.monotonic() - start < 10
        assert in_child(lambda: locked(tmp_path / "file", patience=0.2).__enter__()) == 1
    timer.join()
    assert os.listdir(tmp_path) == []


def test_a_link_and_what_it_points_to_have_one_lock(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with locked(tmp_path / "link"), pytest.raises(RuntimeError), locked(tmp_path / "file"):
        pass


def test_the_lock_of_a_folder_that_gets_another_name_goes_with_it(tmp_path):
    (tmp_path / "job").mkdir()
    with locked(tmp_path / "job" / "facts"):
        (tmp_path / "job").rename(tmp_path / "gone")
        (tmp_path / "job").mkdir()
        with locked(tmp_path / "job" / "facts"):  # of the next job, which the first one's end must not touch
            assert os.listdir(tmp_path / "job") == [".facts.lock"]
    assert os.listdir(tmp_path / "gone") == [".facts.lock"] and os.listdir(tmp_path / "job") == []


def test_who_gets_a_lock_file_that_is_being_removed_does_not_count_as_its_holder(tmp_path, monkeypatch):
    lock = filelock.lock_descriptor

    def removed_meanwhile(fd, **options):
        (tmp_path / ".file.lock").unlink()
        return lock(fd, **options)

    monkeypatch.setattr(filelock, "lock_descriptor", removed_meanwhile)
    with pytest.raises(RuntimeError, match="another run"), locked(tmp_path / "file"):
        pytest.fail("nobody else would see this lock")


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_locks(tmp_path, monkeypatch, code):
    def refuse(fd, **options):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(filelock, "lock_descriptor", refuse)
    with locked(tmp_path / "file"), locked(tmp_path / "file"):
        pass
    assert os.listdir(tmp_path) == []


def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(FileNotFoundError), locked(tmp_path / "none" / "file"):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError), locked(tmp_path / "file" / "file"):
        pass
