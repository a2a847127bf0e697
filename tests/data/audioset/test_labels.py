"""AudioSet's lists, in the form in which they are published."""

import pytest

from perceiver_jax.data.audioset.labels import (
    Classes,
    Segment,
    check_apart,
    check_distinct,
    read_classes,
    read_segments,
)
from perceiver_jax.errors import DataError

CLASSES = """\
index,mid,display_name
0,/m/09x0r,"Speech"
1,/m/05zppz,"Male speech, man speaking"
2,/m/068hy,"Domestic animals, pets"
"""
# The head of the published lists; their comments have commas.
SEGMENTS = """\
# Segments csv created Sun Mar  5 10:54:31 2017
# num_ytids=22160, num_segs=22160, num_unique_labels=527, num_positive_labels=52882
# YTID, start_seconds, end_seconds, positive_labels
--4gqARaEJE, 0.000, 10.000, "/m/068hy,/m/09x0r"
-0SdAVK79lg, 30.000, 37.500, "/m/05zppz"
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="list.csv"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return write


def test_the_published_form(write):
    classes = read_classes(write(CLASSES, "classes.csv"))
    assert classes == Classes(
        ("/m/09x0r", "/m/05zppz", "/m/068hy"),
        ("Speech", "Male speech, man speaking", "Domestic animals, pets"),
    )
    first, second = read_segments(write(SEGMENTS), classes)
    assert first == Segment("--4gqARaEJE", 0.0, 10.0, (0, 2))
    assert second == Segment("-0SdAVK79lg", 30.0, 37.5, (1,))
    assert (second.seconds, second.key) == (7.5, "-0SdAVK79lg_30.000")
    # With quotes in comments, and space where nobody sees it.
    spaced = '# "Speech", "it\'s\n  # x\n' + SEGMENTS.replace('"\n', '" \t\n')
    assert read_segments(write(spaced), classes) == [first, second]
    # As a spreadsheet saves them: without spaces and quotes, with a mark and Windows' line ends.
    saved = "\ufeff" + SEGMENTS.replace(", ", ",").replace("\n", "\r\n")
    assert read_segments(write(saved), classes) == [first, second]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a, 0, 10\n", "line 1: expected YTID, start_seconds, end_seconds"),
        ("# x\na b, 0, 10, /m/0\n", "line 2: expected YTID"),
        ("a, 0, ten, /m/0\n", "'ten' is no number of seconds"),
        ("a, 10, 10, /m/0\n", "a segment cannot be from second 10 to second 10"),
        ("a, 0, 99999, /m/0\n", "a segment cannot be from second 0 to second 99999"),
        ("a, -1, 9, /m/0\n", "a segment cannot be from second -1"),
        ('a, 0, 10, "/m/0,/m/9"\n', "'/m/9' is none of the 1 classes"),
        ("# nothing\n", "has no segments"),
        ('b, 0, 10, /m/0\na, 0, 10, "/m/0', "line 2, is no CSV: unexpected end of data"),
        ('a, 0, 10, "/m/0" "/m/0"\n', "line 1, is no CSV: ',' expected"),
    ],
)
def test_segments_of_another_form(write, text, message):
    with pytest.raises(DataError, match=message):
        read_segments(write(text), Classes(("/m/0",), ("Zero",)))


def test_other_text_than_utf_8(tmp_path):
    (tmp_path / "list.csv").write_text(SEGMENTS, encoding="utf-16")
    with pytest.raises(DataError, match=r"list.csv is no text in UTF-8 \(.*0xff.*\); save it so"):
        read_segments(str(tmp_path / "list.csv"), Classes(("/m/0",), ("Zero",)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("index,mid\n", "line 1: expected index,mid,display_name; got 'index,mid'"),
        ("0,/m/0,A\n2,/m/1,B\n", "line 2: expected the class with index 1"),
        ("0,/m/0,A\n1,/m/0,B\n", "two classes with the mid '/m/0'"),
        ("0,/m/0,A\n1,/m/1,A\n", "two classes with the display name 'A'"),
        ("index,mid,display_name\n", "has no classes"),
    ],
)
def test_classes_of_another_form(write, text, message):
    with pytest.raises(DataError, match=message):
        read_classes(write(text))
    with pytest.raises(DataError, match=r"the list of classes missing.csv cannot be read: No such"):
        read_classes("missing.csv")


def test_a_segment_is_listed_once(write):
    one, later = Segment("a", 0.0, 10.0, (1,)), Segment("a", 10.0, 20.0, (1,))
    check_distinct([one, later])
    with pytest.raises(DataError, match="the segment of a from second 0 is listed twice"):
        check_distinct([one, later, Segment("a", 0.0, 9.0, ())])


def test_no_moment_is_in_both_lists():
    train = [Segment("a", 0.0, 10.0, ()), Segment("b", 20.0, 30.0, ()), Segment("c", 0.0, 1.0, ())]
    assert check_apart(train, [Segment("d", 0.0, 10.0, ())]) == []
    beside = [Segment("a", 10.0, 20.0, ()), Segment("b", 10.0, 20.0, ()), Segment("b", 30, 31, ())]
    assert check_apart(train, beside) == ["a", "b"]
    message = "b is to test on from second 29.5 to 31, and to train on from 20 to 30"
    with pytest.raises(DataError, match=message):
        check_apart(train, [Segment("b", 29.5, 31.0, ())])
