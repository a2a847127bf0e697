"""Sound and frames of any part of a file lie on one clock: flashes and clicks are seen together."""

import functools
import io
from fractions import Fraction

import av
import numpy as np
import pytest

from perceiver_jax.data.media.encoded import EncodedVideo, cut_video
from perceiver_jax.data.media.excerpts import first_times, frames_from, sound_from
from perceiver_jax.data.media.files import open_media
from perceiver_jax.data.media.frames import timed_frames, upright
from perceiver_jax.data.media.sound import read_sound
from tests.data.media.clips import click_times, flash_times, frame_times, write_clip

FRAME = 1 / 25
NTSC = Fraction(30_000, 1001)
AAC = {"audio_codec": "aac"}
# Of a camera that slows down in the dark: 25 frames in the first second, then 10, then 15.
UNEVEN = [
    *(Fraction(k, 25) for k in range(25)),
    *(1 + Fraction(k, 10) for k in range(10)),
    *(2 + Fraction(k, 15) for k in range(15)),
]


def read(path, start, seconds):
    """Frames and samples of a part of a file."""
    open_file = functools.partial(open_media, path)
    frames = []
    for frame in frames_from(open_file, path, Fraction(start)):
        if len(frames) == round(seconds * 25):
            break
        frames.append(upright(frame))
    return frames, sound_from(open_file, path, Fraction(start), round(seconds * 48_000))


def check(frames, samples, expected, name=""):
    """Flashes and clicks are at the expected times, and within one frame of each other."""
    flashes, clicks = flash_times(frames), click_times(samples)
    assert len(flashes) == len(clicks) == len(expected), (name, flashes, clicks)
    np.testing.assert_allclose(clicks, expected, atol=0.002, err_msg=name)
    np.testing.assert_allclose(flashes, clicks, atol=FRAME, err_msg=name)


@pytest.mark.core
@pytest.mark.parametrize(
    ("suffix", "times", "options"),
    [
        pytest.param("mkv", frame_times(12, 2.9), {"sample_rate": 8_000}, id="12"),
        pytest.param("mp4", frame_times(25, 2.9), {"audio_codec": "aac"}, id="25"),
        pytest.param("mp4", frame_times(NTSC, 2.9), {"sample_rate": 44_100, **AAC}, id="29.97"),
        pytest.param("mkv", frame_times(60, 2.9), {"sample_rate": 192_000}, id="60"),
        pytest.param("mkv", UNEVEN, {"layout": "stereo"}, id="uneven"),
        pytest.param("mp4", UNEVEN, {"sound_from": 0.45, **AAC}, id="uneven, late sound"),
        pytest.param("mkv", frame_times(25, 2.9, first=0.33), {"layout": "5.1"}, id="late frames"),
        pytest.param("mp4", frame_times(50, 2.9, first=0.7), AAC, id="later frames"),
        pytest.param("mov", frame_times(25, 2.9), {"sound_from": 0.61}, id="late sound"),
    ],
)
def test_flash_and_click_are_seen_together(tmp_path, suffix, times, options):
    path = write_clip(tmp_path / f"a.{suffix}", seconds=2.9, times=times, **options)
    check(*read(path, 0, 2.5), [1, 2])
    # Later parts are the same sound and the same frames, counted from there.
    check(*read(path, "1.5", 1), [0.5])
    frame, sample = first_times(functools.partial(open_media, path), path)
    # AAC begins with silence of its own, which players leave out.
    assert abs(frame - times[0]) < 0.002
    assert abs(sample - Fraction(options.get("sound_from", 0))) < 0.025


def test_a_part_is_what_the_whole_has_there(tmp_path):
    # Matroska's times are whole milliseconds, and so sound that is entered there is off by some.
    path = write_clip(tmp_path / "a.mov", times=UNEVEN, seconds=2.9)
    frames, samples = read(path, 0, 2.9)
    for start in ("0.04", "0.52", "1", "1.96", "2.4"):
        first = round(Fraction(start) * 25)
        part, sound = read(path, start, 0.4)
        assert len(part) == 10
        np.testing.assert_array_equal(part, frames[first : first + 10])
        np.testing.assert_array_equal(sound, samples[first * 1920 : (first + 10) * 1920])


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_video_kept_as_it_was_is_read_like_the_file(tmp_path, suffix):
    times = frame_times(30, 2.9, first=0.2)
    path = write_clip(tmp_path / f"a.{suffix}", times=times, sample_rate=None, seconds=2.9)
    open_file = functools.partial(open_media, path)
    frames, _ = read(path, 1, 1.2)
    data, start = cut_video(open_file, path, Fraction(1), Fraction(11, 5))
    video = EncodedVideo(data, start, 0, len(frames))
    for first, count in ((0, 30), (3, 5), (17, 20), (29, 1), (30, 5)):
        part = list(video.frames(first, count, "a"))
        np.testing.assert_array_equal(part, frames[first : first + count])
    # Only what is needed was copied: from the key frame before, to the end of the part.
    copied = sum(1 for _ in timed_frames(open_media("a", file=io.BytesIO(data)), "a"))
    assert 36 <= copied <= 36 + 10 + 3 < len(times)  # A group, B-frames.


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_sound_that_is_lost_is_silence(tmp_path, lost):
    """Packets of 21 ms: what comes after them must not be heard before it is seen."""
    path = write_clip(tmp_path / "whole.mkv", seconds=2.9)
    with av.open(str(path)) as whole, av.open(str(tmp_path / "a.mkv"), "w") as copy:
        streams = [copy.add_stream_from_template(stream) for stream in whole.streams]
        heard = 0
        for packet in whole.demux():
            heard += packet.stream.type == "audio"
            if packet.dts is None or (packet.stream.type == "audio" and 20 < heard <= 20 + lost):
                continue
            packet.stream = streams[packet.stream.index]
            copy.mux(packet)
    check(*read(tmp_path / "a.mkv", 0, 2.5), [1, 2])


def test_sound_that_becomes_another_goes_on(tmp_path):
    """Two broadcasts, one after the other: mono at 48 kHz, and stereo at 44.1 kHz."""
    options = {"times": None, "seconds": 2.9, "audio_codec": "aac"}
    first = write_clip(tmp_path / "1.ts", sound_until=1.4, **options)
    second = write_clip(
        tmp_path / "2.ts", sound_from=1.4, layout="stereo", sample_rate=44_100, **options
    )
    (tmp_path / "a.ts").write_bytes(first.read_bytes() + second.read_bytes())
    clicks = click_times(read_sound(tmp_path / "a.ts") * 2**15)
    # AAC begins with 21 ms of its own, and what is off by less than 20 ms is no gap.
    np.testing.assert_allclose(clicks, [1.021, 2], atol=0.02)


def test_video_is_copied_from_the_key_frame_on_also_where_a_file_has_no_index(tmp_path):
    """Or an hour of an .avi would be stored with the ten seconds after it."""
    path = write_clip(tmp_path / "a.avi", times=frame_times(25, 2.9), sample_rate=None, seconds=2.9)
    open_file = functools.partial(open_media, path)
    frames, _ = read(path, 2, 0.4)
    data, start = cut_video(open_file, path, Fraction(2), Fraction(12, 5))
    part = list(EncodedVideo(data, start, 0, len(frames)).frames(0, len(frames), "a"))
    np.testing.assert_array_equal(part, frames)
    copied = sum(1 for _ in timed_frames(open_media("a", file=io.BytesIO(data)), "a"))
    assert 10 <= copied <= 10 + 10 + 3  # The part, a group, B-frames.


def test_before_the_first_frame_it_is_shown_and_before_the_sound_is_silence(tmp_path):
    path = write_clip(
        tmp_path / "a.mkv", times=frame_times(25, 2.9, first=0.4), sound_from=0.2, seconds=2.9
    )
    frames, samples = read(path, 0, 1)
    assert len(frames) == 25
    for frame in frames[:10]:
        np.testing.assert_array_equal(frame, frames[10])
    assert not samples[:9600].any() and len(samples) == 48_000
    # And after the end there is nothing.
    frames, samples = read(path, "2.5", 1)
    assert len(frames) == 10 and abs(len(samples) - 0.4 * 48_000) <= 48
    frames, samples = read(path, "3.5", 1)
    assert len(frames) == 0 and len(samples) == 0


def test_five_channels_are_mixed_without_clipping(tmp_path):
    """The same in all channels is not louder than in one."""
    one = write_clip(tmp_path / "one.wav", times=None, seconds=1.2)
    six = write_clip(tmp_path / "six.wav", times=None, seconds=1.2, layout="5.1")
    assert click_times(read_sound(six) * 2**15) == [1.0]
    assert 0.5 < np.abs(read_sound(six)).max() / np.abs(read_sound(one)).max() < 1.05
