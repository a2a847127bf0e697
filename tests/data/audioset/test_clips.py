"""Which file has which segment, by its name."""

from pathlib import Path

import pytest

from perceiver_jax.data.audioset.clip_names import Clip
from perceiver_jax.data.audioset.clips import Unused, find_clips, media_files, never_read, spare
from perceiver_jax.data.audioset.labels import Segment
from perceiver_jax.errors import DataError

ID = "--4gqARaEJE"
SEGMENT = Segment(ID, 30.0, 40.0, (0,))


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return str(root)


@pytest.mark.parametrize(
    ("name", "cut"),
    [
        (f"{ID}.mp4", False),
        (f"Y{ID}.wav", False),
        (f"Some title [{ID}].webm", False),
        (f"sounds/0/{ID}.MKV", False),
        (f"{ID}_30.flac", True),
        (f"Y{ID}_30.000_40.000.wav", True),
        (f"{ID}_30000.mp4", True),
        (f"{ID}_30000_40000.mp4", True),
        (f"{ID} 30,40.m4a", True),
        (f"id_{ID}-30.0.mp4", True),
        (f"{ID}_00-00-30.mkv", True),
        (f"{ID}_720.mkv", False),  # The height of frames.
        (f"{ID}_1080p.mkv", False),
        (f"Some title [{ID}].f137.mp4", False),
        *((f"{ID}.{suffix}", False) for suffix in ("m4v", "3gp", "aac", "mpg", "ts", "wmv", "flv")),
    ],
)
def test_names(tmp_path, name, cut):
    found = find_clips(touch(tmp_path, name), [SEGMENT])
    assert found.clips == (Clip(SEGMENT, name, cut),) and not found.missing and not found.unused


@pytest.mark.parametrize(
    "name",
    [
        f"{ID}_60.wav",  # Another segment of the recording.
        f"{ID}.txt",
        f".{ID}.wav",
        "--4gqARaEJ.wav",
        ID.lower() + ".wav",
    ],
)
def test_other_names(tmp_path, name):
    found = find_clips(touch(tmp_path, name, "other.wav"), [SEGMENT])
    assert found.clips == () and found.missing == (SEGMENT,)


def test_several_segments_and_several_files(tmp_path):
    later, other = Segment(ID, 60.0, 70.0, (1,)), Segment("0123456789_", 0.5, 9.0, ())
    root = touch(
        tmp_path, f"{ID}.wav", f"{ID}_60.mp4", "0123456789_.wav", "0123456789_.mp4", "x.avi"
    )
    found = find_clips(root, [other, SEGMENT, later])
    assert found.clips == (
        # Rather one with frames,
        Clip(other, "0123456789_.mp4", False, others=("0123456789_.wav",)),
        Clip(SEGMENT, f"{ID}.wav", False),
        Clip(later, f"{ID}_60.mp4", True),  # and rather one with a time.
    )
    assert found.unused == (
        Unused("x.avi", "its name has no id that is in the lists"),
    )  # And not what is at hand: it may be used.


def test_what_is_not_read_is_spare_where_it_is_for_all_segments():
    read = [Path("/r/a/seen.mp4"), Path("/r/heard.m4a")]
    first = Clip(SEGMENT, "a/seen.mp4", False, others=("heard.m4a", "more.wav"))
    spares = [
        spare(first, "/r", read, ["its sound is that of heard.m4a"]),
        spare(first, "/r", read[:1], ["heard.m4a has sound, and is 45.0 s long, not 10.0"]),
        spare(first, "/r", [Path("/r/more.wav")], []),
    ]
    after = "of its segment a/seen.mp4 comes first, and lacks nothing that this one has"
    assert spares == [
        {"more.wav": after},
        {"heard.m4a": "it is not joined to a/seen.mp4: it is 45.0 s long, not 10.0",
         "more.wav": after},
        {"a/seen.mp4": "it lacks sound or video, or cannot be read; more.wav is read in its place",
         "heard.m4a": "of its segment more.wav comes first, and lacks nothing that this one has"},
    ]  # fmt: skip
    assert list(never_read([first] * 3, spares)) == []
    assert list(never_read([first] * 2, spares[:2])) == [Unused("more.wav", after)]


@pytest.mark.parametrize(
    ("name", "skip"),
    [
        (f"{ID}_0.000_60.000.mkv", 30.0),
        (f"{ID}_0_60000.mkv", 30.0),
        (f"{ID}_20000_60000.mkv", 10.0),
        (f"{ID}_29_41.mkv", 1.0),
        (f"{ID}_30_90.mkv", 0.0),
    ],
)
def test_a_longer_part_that_has_the_segment(tmp_path, name, skip):
    assert find_clips(touch(tmp_path, name), [SEGMENT]).clips == (Clip(SEGMENT, name, True, skip),)


def test_a_longer_part_has_all_segments_that_lie_in_it(tmp_path):
    first, last = Segment(ID, 0.0, 10.0, (1,)), Segment(ID, 60.0, 70.0, (2,))
    segments = [first, SEGMENT, last]
    part = f"{ID}_0_60.mkv"
    found = find_clips(touch(tmp_path / "long", part), segments)
    assert found.clips == (Clip(first, part, True), Clip(SEGMENT, part, True, 30.0))
    assert found.missing == (last,)
    # Ten seconds in milliseconds are not three hours,
    names = [f"{ID}_0_10000.mkv", f"{ID}_30000_40000.mkv"]
    found = find_clips(touch(tmp_path / "short", *names), segments)
    assert found.clips == (Clip(first, names[0], True), Clip(SEGMENT, names[1], True))
    # and what might be both comes after what is just the segment.
    found = find_clips(touch(tmp_path / "short", *names), [SEGMENT])
    assert [clip.path for clip in found.clips] == names[1:]


def test_why_there_is_no_clip_of_a_segment(tmp_path):
    """What is at hand and not used is told, of the file and of the segment."""
    ids = [f"{number}23456789_-" for number in range(5)]
    segments = [Segment(id_, 30.0, 40.0, ()) for id_ in ids]
    names = (f"{ids[0]}_0.mkv", f"{ids[1]}_25_35.wav", f"{ids[2]}.mp4.part", f"{ids[3]}.mp4")
    found = find_clips(touch(tmp_path, *names, f"{ids[3]}.json", "notes.txt"), segments)
    assert [clip.path for clip in found.clips] == [names[3]]
    assert [found.reasons[each.key] for each in found.missing] == [
        f"only a file of second 0: {names[0]}",
        f"only a file of seconds 25 to 35: {names[1]}",
        f"only a file that is not read: {names[2]}",
        "there is no clip of it",
    ]
    assert found.unused == (
        Unused(names[0], "it is of second 0 by its name, and the segment begins at 30"),
        Unused(names[1], "it is of seconds 25 to 35 by its name, and the segment begins at 30"),
        Unused(names[2], "it is neither sound nor video by its name"),
    )


def test_ids_of_ones_own_are_whole_names(tmp_path):
    segments = [Segment(id_, 0.0, 2.0, ()) for id_ in ("en-digits-1", "en-digits-10", "yes_2")]
    # Names that say more are others, also where the id has 11 characters.
    more = ("en-digits-1_0.wav", "a/en-digits-1.wav.wav", "yes_2_0.wav", "en-digits.wav")
    root = touch(tmp_path, "en-digits-1.wav", "en-digits-10.wav", "yes_2.wav", *more)
    found = find_clips(root, segments)
    assert [(clip.segment.id, clip.path) for clip in found.clips] == [
        ("en-digits-1", "en-digits-1.wav"),
        ("en-digits-10", "en-digits-10.wav"),
        ("yes_2", "yes_2.wav"),
    ]


def test_an_id_is_no_part_of_a_longer_word(tmp_path):
    """Or the one would get the label of the other, silently."""
    segment = Segment("man-speech1", 0.0, 2.0, ())
    others = ("woman-speech1.mp4", "man-speech12.mp4", "Yes_YYman-speech1.mp4")
    found = find_clips(touch(tmp_path, *others, "Yman-speech1.wav"), [segment])
    assert [clip.path for clip in found.clips] == ["Yman-speech1.wav"]
    assert [each.path for each in found.unused] == sorted(others)


def test_the_time_in_a_name_is_rather_that_of_one_segment(tmp_path):
    half = Segment(ID, 30.5, 40.5, ())
    root = touch(tmp_path, f"{ID}_30.wav")
    found = find_clips(root, [half, SEGMENT])
    assert found.clips == (Clip(SEGMENT, f"{ID}_30.wav", True),) and found.missing == (half,)
    # Cut to whole seconds.
    assert find_clips(root, [half]).clips == (Clip(half, f"{ID}_30.wav", True),)


def test_links_that_lead_round(tmp_path):
    root = touch(tmp_path, "a/0.wav", "b/1.wav")
    for place in ("a/up", "b/up", "again"):
        (tmp_path / place).symlink_to(tmp_path)
    (tmp_path / "c").symlink_to(tmp_path / "b")
    assert list(media_files(root)) == ["a/0.wav", "b/1.wav"]


def test_folders_without_clips(tmp_path):
    with pytest.raises(DataError, match="there is no folder nowhere"):
        find_clips("nowhere", [SEGMENT])
    with pytest.raises(DataError, match="has no files of sound or video: mp4, mkv"):
        find_clips(touch(tmp_path, "notes.txt"), [SEGMENT])
