"""Files and folders that are whole or not there at all."""

import os

import pytest

from perceiver_jax.atomic import making_folder, replacing
from perceiver_jax.errors import UserError


def test_a_block_that_ends_well(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with replacing(path) as temporary:
        assert temporary.suffix == ".txt" and temporary.parent == path.parent
        temporary.write_text("whole")
        temporary.chmod(0o600)
        assert not path.exists()
    assert path.read_text() == "whole"
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_block_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("before")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "before" and [path] == list(tmp_path.iterdir())


def test_what_the_file_system_refuses_is_said_in_words(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"file/x\.txt cannot be written: (Not a dir|File exists)"):
        with replacing(tmp_path / "file" / "x.txt") as temporary:
            temporary.write_text("x")
    with pytest.raises(UserError, match="y.txt cannot be written: No space left on device"):
        with replacing(tmp_path / "y.txt"):
            raise OSError(28, "No space left on device")


def test_a_folder_is_whole_or_not_there(tmp_path):
    path = tmp_path / "new" / "folder"
    with making_folder(path) as temporary:
        (temporary / "file").write_text("x")
        assert temporary.parent == path.parent and not path.exists()
    assert [each.name for each in path.iterdir()] == ["file"]
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(ZeroDivisionError), making_folder(tmp_path / "other") as temporary:
        (temporary / "file").write_text("half")
        raise ZeroDivisionError
    assert [each.name for each in tmp_path.iterdir()] == ["new"]


def test_a_folder_that_exists_is_left_alone(tmp_path):
    with pytest.raises(
        UserError, match="is left as it is. Delete it to make it anew, or name another"
    ):
        with making_folder(tmp_path):
            raise AssertionError("never begun")
    assert tmp_path.is_dir()
