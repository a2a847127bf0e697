"""Which file has which segment, by its name."""

import pytest

from perceiver_jax.data.audioset.clips import Clip, find_clips, media_files
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
        Clip(other, "0123456789_.mp4", False),  # Rather one with frames,
        Clip(SEGMENT, f"{ID}.wav", False),
        Clip(later, f"{ID}_60.mp4", True),  # and rather one with a time.
    )
    assert found.unused == 2


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
    assert [clip.path for clip in found.clips] == ["Yman-speech1.wav"] and found.unused == 3


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
