"""Sound and video in files of their own, as downloaders leave them."""

import av
import pytest

from perceiver_jax.data.audioset.decode import read_recording
from perceiver_jax.data.audioset.labels import Segment
from perceiver_jax.data.source import CorruptExample
from tests.data.audioset.stored import pictures
from tests.data.media.clips import click_times, flash_times, frame_times, write_clip

LENGTH = 4.4
SEGMENT = Segment("abcdefghijk", 1.4, 2.6, (0,))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp("streams")
    made = {"times": frame_times(25, LENGTH), "seconds": LENGTH}
    return {
        "seen": write_clip(root / "x.f137.mp4", **made, sample_rate=None),
        "heard": write_clip(root / "x.f140.m4a", seconds=LENGTH, times=None, audio_codec="aac"),
        "both": write_clip(root / "x.mkv", **made),
        "longer": write_clip(root / "x.wav", seconds=LENGTH + 3, times=None),
    }


def read(files, *names, **options):
    first, *others = (files[name] for name in names)
    return read_recording(first, SEGMENT, others=others, **options)


@pytest.mark.parametrize("store", ["jpeg", "video"])
@pytest.mark.parametrize("names", [("seen", "heard"), ("heard", "seen")])
def test_sound_and_video_of_two_files_are_on_one_clock(files, names, store):
    found = read(files, *names, store=store)
    assert found.remarks == ("its sound is that of x.f140.m4a",)
    assert len(found.audio) == 57_600 and found.num_frames == 30
    assert click_times(found.audio) == [pytest.approx(0.6, abs=0.002)]
    assert flash_times(pictures(found)) == [pytest.approx(0.6, abs=0.04)]


@pytest.mark.parametrize("segment", [SEGMENT, Segment("abcdefghijk", 0, LENGTH, ())])
@pytest.mark.parametrize("late", [False, True])
def test_clocks_that_begin_anywhere(tmp_path, segment, late):
    """MPEG's streams count from where they were sent, or muxed."""
    times = frame_times(25, LENGTH)
    seen = write_clip(tmp_path / "x.ts", times=times, seconds=LENGTH, sample_rate=None)
    if late:
        shift(seen, 1_000)
    heard = write_clip(tmp_path / "x.m4a", seconds=LENGTH, times=None, audio_codec="aac")
    found = read_recording(seen, segment, others=[heard])
    clicks, flashes = click_times(found.audio), flash_times(pictures(found))
    assert len(clicks) >= 1
    assert flashes == [pytest.approx(each, abs=0.04) for each in clicks]


def shift(path, seconds):
    """Writes a file of video anew, with later times."""
    written = path.with_suffix(".late.ts")
    with av.open(str(path)) as file, av.open(str(written), "w") as copy:
        stream = file.streams.video[0]
        target = copy.add_stream_from_template(stream)
        for packet in file.demux(stream):
            if packet.pts is not None:
                packet.pts, packet.dts = (
                    time + round(seconds / packet.time_base) for time in (packet.pts, packet.dts)
                )
                packet.stream = target
                copy.mux(packet)
    written.replace(path)


def test_a_file_with_both_comes_before_two(files):
    found = read(files, "seen", "heard", "both")
    assert found.remarks == () and found.num_frames == 30 and len(found.audio) == 57_600
    # Where frames are not wanted, one with sound is enough.
    assert read(files, "seen", "heard", store="none").remarks == ()


def test_sound_of_something_longer_is_not_put_to_a_video(files):
    found = read(files, "seen", "longer")
    assert found.audio is None and found.num_frames == 30
    assert found.remarks == ("x.wav has sound, and is 7.4 s long, not 4.4", "no sound")


def test_what_cannot_be_opened_is_passed_over_if_another_can(files, tmp_path):
    files = {**files, "text": tmp_path / "text.mp4"}
    files["text"].write_text("no video")
    assert read(files, "text", "both").remarks == ()
    with pytest.raises(CorruptExample, match="text.mp4' cannot be read as sound or video"):
        read(files, "text", "text")
