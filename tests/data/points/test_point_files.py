"""Files of points are read as they come, and refused by name and line where they are none."""

import numpy as np
import pytest

from perceiver_jax.data.points.point_files import looks_like_points, read_points
from perceiver_jax.data.source import CorruptExample
from perceiver_jax.errors import DataError

POINTS = np.float32([[10, 0.5, -2], [1e3, 7, 3]])


def test_points_are_read_as_they_are_stored(tmp_path):
    expected = np.float32([[10, 0.5, -2], [1e3, 7, 3]])
    text = b"10,0.5,-2,0,0,1\n1e3,7,3,0,1,0\n"  # With normals, as in the resampled set.
    np.testing.assert_array_equal(read_points(text, "a.txt"), expected)
    (tmp_path / "a.xyz").write_bytes(text.replace(b",", b" "))
    np.testing.assert_array_equal(read_points(tmp_path / "a.xyz"), expected)
    np.save(tmp_path / "a.npy", expected.astype(np.float64))
    points = read_points(tmp_path / "a.npy")
    assert points.dtype == np.float32
    np.testing.assert_array_equal(points, expected)
    marked = b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n")  # As Windows' editors save it.
    np.testing.assert_array_equal(read_points(marked, "a.txt"), expected)
    for array, message in (
        (np.zeros((3, 100)), "it has 3 rows of 100 numbers"),
        (np.array([["a", "b", "c"]]), r"three coordinates a point; got shape \[1, 3\] of <U1"),
        (np.zeros((5, 3), complex), "of complex128"),
    ):
        np.save(tmp_path / "b.npy", array)
        with pytest.raises(CorruptExample, match=message):
            read_points(tmp_path / "b.npy")
    np.savez(tmp_path / "several.npz", expected)
    with pytest.raises(CorruptExample, match="magic"):
        read_points((tmp_path / "several.npz").read_bytes(), "a.npy")
    for bad in (
        b"",
        b"\n\n",
        b"1 2\n3 4\n",
        b"a b c\n",
        b"1 2 nan\n",
        b"1 2 3\n4 5\n",
        b"\xff\xfe",
    ):
        with pytest.raises(CorruptExample, match=r"^bad\.txt: ."):
            read_points(bad, "bad.txt")
    with pytest.raises(CorruptExample, match=r"bad\.npy"):
        read_points(b"\x93NUMPY", "bad.npy")
    with pytest.raises(DataError, match="gone.txt cannot be read"):
        read_points(tmp_path / "gone.txt")


@pytest.mark.parametrize(
    "text",
    [
        "x,y,z\n10,0.5,-2\n1e3,7,3\n",
        "# a chair\n\nx y z nx ny nz\n10 0.5 -2 0 0 1\n\n1e3 7 3 0 1 0 # the last\n",
        "//X;Y;Z\n10;0.5;-2\n1e3;7;3\n",
        "10; 0.5; -2;\n1e3; 7; 3;\n",
        "10,0;0,5;-2,0\n1000,0;7,0;3,0\n",  # As much of Europe writes it.
    ],
)
def test_headers_and_separators_as_they_come(text, tmp_path):
    np.testing.assert_array_equal(read_points(text.encode(), "a.csv"), POINTS)
    (tmp_path / "a.csv").write_text(text)
    assert looks_like_points(tmp_path / "a.csv")


def test_prose_does_not_look_like_points(tmp_path):
    path = tmp_path / "README.txt"
    for text in (
        "# Things\n\n3 beds, 2 chairs\n",
        "Some fine things\nare here\n",
        "1 2\n",
        "",
        "a b c",
    ):
        path.write_text(text)
        assert not looks_like_points(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is empty"),
        (b" \n\n", "it is empty"),
        (b"x,y,z\n", "it has no points"),
        (b"# nothing\n", "it has no points"),
        (b"x y z\n\n1 2 3\n4 nan 6\n", r"line 4 is \[4.0, nan, 6.0\], which is no place"),
        (b"x y z\n1 2 3\nx y z\n", "could not convert"),  # One line of names, and no more.
    ],
)
def test_what_is_wrong_is_said(data, message):
    with pytest.raises(CorruptExample, match=rf"^a\.txt: {message}"):
        read_points(data, "a.txt")


def test_a_row_that_is_no_place_is_named(tmp_path):
    array = np.ones((9, 6))
    array[5, 1], array[3, 4] = np.inf, np.nan  # A normal may be anything.
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(CorruptExample, match=r"row 5, counted from 0, is \[1.0, inf, 1.0\]"):
        read_points(tmp_path / "a.npy")
