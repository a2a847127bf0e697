"""Odd files as recordings: each is handled or refused by name."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from perceiver_jax.data.audioset.decode import read_recording
from perceiver_jax.data.audioset.labels import Segment
from perceiver_jax.data.media import encoded
from perceiver_jax.data.media.files import open_media
from perceiver_jax.data.source import CorruptExample
from tests.data.audioset.stored import pictures
from tests.data.media.clips import (
    click_times,
    flash_times,
    frame_times,
    seconds_seen,
    write_clip,
    write_seconds,
)

TIMES = frame_times(25, 1.6)


def segment(start=0.0, seconds=1.6):
    return Segment("abcdefghijk", start, start + seconds, (0,))


def clip(tmp_path, name="a.mkv", **options):
    return write_clip(tmp_path / name, **{"seconds": 1.6, "times": TIMES, **options})


@pytest.mark.parametrize("store", ["jpeg", "video"])
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"times": frame_times(12, 1.6), "sample_rate": 8_000}, id="12 fps, 8 kHz"),
        pytest.param({"times": frame_times(60, 1.6), "sample_rate": 192_000}, id="60 fps, 192 kHz"),
        pytest.param({"layout": "5.1"}, id="5.1"),
        pytest.param({"layout": "stereo", "sound_from": 0.3}, id="late sound"),
        pytest.param({"times": frame_times(25, 1.6, first=0.3)}, id="late frames"),
    ],
)
def test_flash_and_click(tmp_path, options, store):
    recording = read_recording(clip(tmp_path, **options), segment(), store=store)
    assert recording.remarks == ()
    assert recording.audio.dtype == np.int16 and abs(len(recording.audio) - 76_800) <= 48
    frames = pictures(recording)
    assert 39 <= len(frames) == recording.num_frames <= 40
    assert recording.seconds == pytest.approx(1.6, abs=0.02)
    (click,) = click_times(recording.audio)
    (flash,) = flash_times(frames)
    assert click == pytest.approx(1, abs=0.002) and flash == pytest.approx(click, abs=0.04)


def test_the_clock_of_a_clip_starts_with_the_first_of_its_streams(tmp_path):
    """Players, too, begin there."""
    path = clip(tmp_path, sound_from=0.2, times=frame_times(25, 1.6, first=0.4))
    recording = read_recording(path, segment(seconds=1))
    assert click_times(recording.audio) == [pytest.approx(0.8, abs=0.002)]
    assert flash_times(pictures(recording)) == [pytest.approx(0.8, abs=0.04)]
    assert len(recording.audio) == 48_000 and recording.num_frames == 25
    assert recording.frames[0] is recording.frames[5] is not recording.frames[6]


def test_the_whole_recording_is_cut(tmp_path):
    path = clip(tmp_path, "a.mp4", seconds=4.4, times=frame_times(25, 4.4), audio_codec="aac")
    for store in ("jpeg", "video"):
        part = read_recording(path, segment(1.4, 1.2), store=store)
        assert part.remarks == () and part.num_frames == 30 and len(part.audio) == 57_600
        assert click_times(part.audio) == [pytest.approx(0.6, abs=0.002)]
        assert flash_times(pictures(part)) == [pytest.approx(0.6, abs=0.02)]
    # If its name says that it is a part, or it is about as long as the segment, it is the part.
    assert click_times(read_recording(path, segment(1.4, 1.2), cut=True).audio)[0] > 0.99
    assert click_times(read_recording(path, segment(30, 2.5)).audio)[0] > 0.99
    # One of a short recording is not taken from its beginning.
    later = read_recording(path, segment(1.4, 2.9))
    assert click_times(later.audio)[0] == pytest.approx(0.6, abs=0.002) and later.remarks == ()
    # What ends within the segment is kept with a remark.
    (remark,) = read_recording(path, segment(3.4, 2.2)).remarks
    assert re.fullmatch(r"has 1\.0\d of 2\.20 s", remark)


def test_a_file_that_may_be_the_segment_or_the_recording_is_remarked_on(tmp_path):
    """4.5 s for a segment of 3 s: taken for it, if its end is not rather that of the recording."""
    path = clip(tmp_path, "a.wav", seconds=4.5, times=None)
    for start, options, remarks in (
        (3, {}, ("taken for the segment, though 1.5 s longer",)),
        (5, {}, ()),  # It does not reach into the segment.
        (0, {}, ()),
        (3, {"cut": True}, ()),
    ):
        found = read_recording(path, segment(start, 3), **options)
        assert found.remarks == (*remarks, "no video") and len(found.audio) == 144_000
        assert click_times(found.audio) == [1, 2]
    # Half a second is what tools leave when they cut.
    assert read_recording(path, segment(3.8, 3.8)).remarks == ("no video",)


@pytest.mark.parametrize(
    ("start", "seconds", "message"),
    [
        (30, 1.2, r"ends at 4\.\d s, before the segment begins \(30\.0 s\), and is not as long as"),
        (30, 10, r"ends at 4\.\d s, before the segment begins \(30\.0 s\), and is not as long as"),
        (4, 10, r"ends at 4\.\d s, less than a second after the segment begins \(4\.0 s\)"),
        (
            4,
            1.2,
            r"ends at 4\.\d s, less than half of its length after the segment begins \(4\.0 s\)",
        ),
    ],
)
def test_what_is_neither_the_segment_nor_reaches_it_is_refused(tmp_path, start, seconds, message):
    """Its beginning would get the labels of something else."""
    path = clip(tmp_path, seconds=4.4, times=None)
    with pytest.raises(CorruptExample, match=message):
        read_recording(path, segment(start, seconds))
    # A name that says what the file is, is believed.
    assert click_times(read_recording(path, segment(start, seconds), cut=True).audio)[0] > 0.99


def test_a_part_that_begins_before_the_segment_is_cut(tmp_path):
    path = clip(tmp_path, seconds=4.4, times=frame_times(25, 4.4))
    part = read_recording(path, segment(100.4, 1.2), cut=True, skip=1.4)
    assert part.remarks == () and part.num_frames == 30
    assert click_times(part.audio) == [pytest.approx(0.6, abs=0.002)]
    with pytest.raises(CorruptExample, match=r"ends at 84.4 s, before the segment begins \(100.4"):
        read_recording(path, segment(100.4, 1.2), cut=True, skip=20.4)


def test_the_whole_recording_without_a_length_is_cut(tmp_path):
    """As streams are that were saved while they came."""
    path = clip(tmp_path, "a.mkv", seconds=4.4, times=frame_times(25, 4.4), live=True)
    with open_media(path) as file:
        assert file.duration is None
    assert click_times(read_recording(path, segment(1.4, 1.2)).audio) == [
        pytest.approx(0.6, abs=0.002)
    ]


@pytest.mark.parametrize("group", [250, 20])
def test_matroska_that_does_not_say_when_its_first_frames_are_decoded(tmp_path, group):
    """As FFmpeg reads it: at its beginning and wherever it is entered, if it has B-frames."""
    whole = write_seconds(tmp_path / "whole.mkv", 16, group)
    cut = write_seconds(tmp_path / "cut.mkv", 4, group)
    with open_media(whole) as file:
        assert next(file.demux(video=0)).dts is None
    for path, begins, options in ((whole, 9, {}), (cut, 0, {"cut": True})):
        for store in ("jpeg", "video"):
            part = read_recording(path, segment(9, 4), store=store, **options)
            assert part.remarks == ("no sound",) and part.num_frames == 100
            # In the middle of each fifth of a second; encoded, a grey is off by less than a half.
            assert seconds_seen(pictures(part)[2::5]) == [begins + k // 5 for k in range(20)]


def test_of_two_frames_that_are_equally_near_both_stores_take_the_same(tmp_path):
    """Second 0.3 is in the middle between frames at 0.2 and 0.4, and 0.3 is no binary number."""
    path = write_clip(tmp_path / "a.mp4", times=frame_times(5, 4), sample_rate=None)
    copied, stored = (
        pictures(read_recording(path, segment(0.3, 1.2), store=store))
        for store in ("video", "jpeg")
    )
    difference = [np.abs(x.astype(int) - y).mean() for x, y in zip(copied, stored, strict=True)]
    assert max(difference) < 5  # What JPEG loses; a flash is another frame.


def test_a_copy_that_has_not_the_beginning_of_the_video_is_told_or_refused(tmp_path, monkeypatch):
    path, real, least = write_seconds(tmp_path / "a.mkv", 8, 20), encoded._packets, 0
    monkeypatch.setattr(
        encoded, "_packets", lambda *args: [each for each in real(*args) if each[1] >= least]
    )
    assert read_recording(path, segment(3, 4), store="video").remarks == ("no sound",)
    least = 4_000  # Milliseconds.
    remarks = read_recording(path, segment(3, 4), store="video").remarks
    assert remarks == ("its copied video begins 1.00 s late", "no sound")
    least = 7_000
    with pytest.raises(CorruptExample, match=r"a.mkv' cannot be copied as it is \(nothing of the"):
        read_recording(path, segment(3, 4), store="video")


@pytest.mark.parametrize(
    ("options", "remarks"),
    [
        ({"click": False}, ("silent",)),
        ({"sample_rate": None}, ("no sound",)),
        ({"times": None}, ("no video",)),
        ({"sound_until": 0}, ("its sound has no samples",)),
        ({"times": []}, ("its video has no frames",)),
        ({"seconds": 1.2, "times": frame_times(25, 1.2)}, ("has 1.20 of 1.60 s",)),
        ({"sound_until": 1.2}, ("its sound ends after 1.20 s",)),
        ({"times": frame_times(25, 1.2)}, ("its video ends after 1.20 s",)),
    ],
)
def test_what_is_odd_is_said(tmp_path, options, remarks):
    recording = read_recording(clip(tmp_path, **options), segment())
    assert recording.remarks == remarks
    assert (recording.audio is None) == (remarks[0] in ("no sound", "its sound has no samples"))
    assert (recording.frames is None) == (remarks[0] in ("no video", "its video has no frames"))


def test_sound_alone_may_be_asked_for(tmp_path):
    recording = read_recording(clip(tmp_path), segment(), store="none")
    assert recording.num_frames == 0 and recording.remarks == ()
    with pytest.raises(CorruptExample, match=r"a.mkv' has no sound, and frames are not wanted"):
        read_recording(clip(tmp_path, sample_rate=None), segment(), store="none")


@pytest.mark.parametrize("suffix", ["wav", "flac", "m4a", "mp3", "ogg"])
def test_files_of_sound(tmp_path, suffix):
    codec = {"flac": "flac", "m4a": "aac", "mp3": "libmp3lame", "ogg": "libopus"}
    path = clip(tmp_path, f"a.{suffix}", times=None, audio_codec=codec.get(suffix, "pcm_s16le"))
    recording = read_recording(path, segment())
    assert click_times(recording.audio) == [pytest.approx(1, abs=0.03)]
    assert recording.remarks == ("no video",)


@pytest.mark.parametrize("suffix", ["m4v", "3gp", "ts", "flv"])
def test_other_files_of_video(tmp_path, suffix):
    path = clip(tmp_path, f"a.{suffix}", seconds=4.4, times=frame_times(25, 4.4), audio_codec="aac")
    part = read_recording(path, segment(1.4, 1.2))
    (click,), (flash,) = click_times(part.audio), flash_times(pictures(part))
    assert click == pytest.approx(0.6, abs=0.03) and flash == pytest.approx(click, abs=0.04)


def test_the_picture_on_a_sleeve_is_no_video(tmp_path):
    import av
    from av.stream import Disposition

    path = clip(tmp_path, "a.wav", times=None)
    Image.new("RGB", (32, 32), "red").save(tmp_path / "sleeve.png")
    with (
        av.open(str(path)) as sound,
        av.open(str(tmp_path / "sleeve.png")) as sleeve,
        av.open(str(tmp_path / "b.mp4"), "w") as file,
    ):
        audio = file.add_stream("aac", rate=48_000, layout="mono")
        picture = file.add_stream_from_template(sleeve.streams.video[0])
        picture.disposition = Disposition.attached_pic
        for packet in sleeve.demux():
            if packet.dts is not None:
                packet.stream = picture
                file.mux(packet)
        for frame in sound.decode(audio=0):
            file.mux(audio.encode(frame))
        file.mux(audio.encode(None))
    with av.open(str(tmp_path / "b.mp4")) as file:
        assert len(file.streams.video) == 1
    assert read_recording(tmp_path / "b.mp4", segment()).remarks == ("no video",)


def test_portrait(tmp_path):
    """A phone's note that the picture lies on its side; both ways of storing obey it."""
    path = clip(tmp_path, "a.mp4", rotation=90, audio_codec="aac")
    for store in ("jpeg", "video"):
        frame = pictures(read_recording(path, segment(), store=store))[0]
        assert frame.shape == (64, 48, 3)
        assert frame[-8:, :6, 0].mean() > 180 > 60 > frame[-8:, 20:, 0].mean()  # The mark.


def test_pictures_are_made_smaller_in_their_true_proportions(tmp_path):
    path = clip(tmp_path, size=(320, 512), times=TIMES[:2], sample_rate=None)
    (first, _) = read_recording(path, segment()).frames
    assert Image.open(io.BytesIO(first)).size == (410, 256)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.mp4", b"Not a video, whatever its name.", "cannot be read as sound or video"),
        ("a.wav", b"", "cannot be read as sound or video"),
        ("a.mkv", None, "there is no sound or video file"),
    ],
)
def test_what_is_no_recording_is_refused_by_name(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CorruptExample, match=message) as caught:
        read_recording(tmp_path / name, segment())
    assert name in str(caught.value)


def test_a_rate_that_cannot_be_is_damage(tmp_path):
    """FFmpeg would make a filter of gigabytes, and take a quarter of a minute."""
    content = bytearray(clip(tmp_path, "a.wav", times=None).read_bytes())
    content[24:28] = (1_275_116_416).to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(CorruptExample, match=r"a.wav' is damaged: it says .* 1,275,116,416 sampl"):
        read_recording(tmp_path / "a.wav", segment())


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_damaged_files_are_corrupt_examples_or_short(tmp_path, suffix):
    """Cut off or with flipped bits: never another error, which would end a conversion of many."""
    whole = clip(tmp_path, f"whole.{suffix}", audio_codec="aac").read_bytes()
    rng = np.random.default_rng(0)
    outcomes = set()
    for trial in range(24):
        damaged = np.frombuffer(whole, np.uint8).copy()
        if trial % 2:
            places = rng.integers(0, len(damaged), 20)
            damaged[places] ^= rng.integers(1, 256, 20, np.uint8)
        else:
            damaged = damaged[: len(damaged) * trial // 24]
        path = tmp_path / f"bad.{suffix}"
        path.write_bytes(damaged.tobytes())
        try:
            read_recording(path, segment(), store=("jpeg", "video")[trial % 4 > 1])
            outcomes.add("read")
        except CorruptExample as error:
            assert f"bad.{suffix}" in str(error)
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}
