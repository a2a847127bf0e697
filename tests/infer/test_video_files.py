"""Reading and writing videos with PyAV: files that the tests write themselves."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from perceiver_jax.data.media import frames as media_frames
from perceiver_jax.errors import DataError
from perceiver_jax.infer import pictures, video_files, video_writing

SIZE = (32, 48)


def grey_frames(count: int, size: tuple[int, int] = SIZE, first: int = 40) -> np.ndarray:
    """Frames that tell their number by their brightness, four grey levels a frame."""
    levels = (first + 4 * np.arange(count)).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (count, *size, 3)).copy()


def number_of(frame: np.ndarray) -> int:
    """The number of a frame of `grey_frames`."""
    return round((float(frame.mean()) - 40) / 4)


def write(path: Path, frames: np.ndarray, times: list[Fraction], *, rotation: int = 0) -> None:
    """Writes frames with time stamps in seconds."""
    clock = Fraction(1, 1000)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt, stream.time_base = "yuv420p", clock
        stream.codec_context.time_base = clock
        stream.options = {"crf": "1", "bf": "0"}
        if rotation:
            stream.set_display_rotation(rotation)
        for pixels, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = round(time / clock), clock
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_video(path: Path, frames: np.ndarray, audio: np.ndarray | None = None, **options) -> None:
    sample_rate = None if audio is None else 48_000
    with video_writing.writing_video(
        path, size=frames.shape[1:3], sample_rate=sample_rate, **options
    ) as writer:
        writer.write(frames, audio)


def read(path: Path, **options) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """All of a video, joined, and what was noted."""
    notes: list[str] = []
    options = {"size": SIZE, **options}
    pieces = list(video_files.read_pieces(path, note=notes.append, **options))
    frames = np.concatenate([piece.frames for piece in pieces])
    return frames, np.concatenate([piece.audio for piece in pieces]), notes


def tone(num_samples: int, frequency: float) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(num_samples)[:, None] / 48_000)


class TestRoundTrip:
    @pytest.mark.core
    def test_frames_and_sound(self, tmp_path):
        frames, audio = grey_frames(20), tone(20 * 1920, 440)
        audio[:9600] = 0  # The first five frames are silent: shows whether sound is in step.
        write_video(tmp_path / "a.mp4", frames, audio)
        assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]
        assert media_frames.video_info(tmp_path / "a.mp4") == (25, True)
        read_frames, read_audio, notes = read(tmp_path / "a.mp4")
        assert not notes
        assert read_frames.dtype == np.uint8 and read_audio.dtype == np.float32
        assert read_audio.shape == (20 * 1920, 1)
        assert [number_of(frame) for frame in read_frames] == list(range(20))
        assert np.abs(read_audio[:8000]).max() < 0.01
        # AAC loses little of a tone; a shift by one frame would lose everything.
        error = np.abs(read_audio[12_000:36_000] - audio[12_000:36_000])
        assert error.max() < 0.02

    def test_pieces(self, tmp_path):
        write_video(tmp_path / "a.mp4", grey_frames(20), tone(20 * 1920, 100))
        whole = read(tmp_path / "a.mp4")
        pieces = list(video_files.read_pieces(tmp_path / "a.mp4", size=SIZE))
        assert [len(piece.frames) for piece in pieces] == [16, 4]
        assert [len(piece.audio) for piece in pieces] == [16 * 1920, 4 * 1920]
        for options, frames in (
            ({"start": 0.2}, slice(5, 20)),
            ({"start": 0.2, "seconds": 0.4}, slice(5, 15)),
            ({"seconds": 0.64}, slice(0, 16)),
            ({"seconds": 0.0001}, slice(0, 1)),
        ):
            part = read(tmp_path / "a.mp4", **options)
            np.testing.assert_array_equal(part[0], whole[0][frames])
            samples = slice(frames.start * 1920, frames.stop * 1920)
            np.testing.assert_array_equal(part[1], whole[1][samples])

    def test_without_sound(self, tmp_path):
        write_video(tmp_path / "a.mp4", grey_frames(3))
        frames, audio, notes = read(tmp_path / "a.mp4")
        assert len(frames) == 3
        assert audio.shape == (3 * 1920, 1) and not audio.any()
        assert len(notes) == 1 and "no sound in this file; silence is used" in notes[0]
        assert not media_frames.video_info(tmp_path / "a.mp4").has_audio

    def test_odd_sizes_are_written(self, tmp_path):
        frames = grey_frames(2, (5, 7))
        write_video(tmp_path / "a.mp4", frames, rate=Fraction(5, 2))
        (shape,) = {frame.shape for frame in media_frames.read_frames(tmp_path / "a.mp4")}
        assert shape == (6, 8, 3)
        assert media_frames.video_info(tmp_path / "a.mp4").rate == Fraction(5, 2)

    def test_nothing_is_left_of_a_video_that_fails(self, tmp_path):
        (tmp_path / "a.mp4").write_bytes(b"what was there before")
        with (
            pytest.raises(RuntimeError, match="half-way"),
            video_writing.writing_video(tmp_path / "a.mp4", size=SIZE) as writer,
        ):
            writer.write(grey_frames(2))
            raise RuntimeError("half-way")
        assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]
        assert (tmp_path / "a.mp4").read_bytes() == b"what was there before"

    def test_frames_of_another_size_are_refused(self, tmp_path):
        with (
            pytest.raises(DataError, match=r"expected uint8 frames \[t, 32, 48, 3\]"),
            video_writing.writing_video(tmp_path / "a.mp4", size=SIZE) as writer,
        ):
            writer.write(grey_frames(2, (48, 32)))

    def test_encoders_that_are_not_there(self, tmp_path, monkeypatch):
        monkeypatch.setattr(video_writing, "VIDEO_ENCODERS", ("no_such_codec", "mpeg4"))
        write_video(tmp_path / "a.mp4", grey_frames(3))
        with av.open(str(tmp_path / "a.mp4")) as container:
            assert container.streams.video[0].codec_context.name == "mpeg4"
        monkeypatch.setattr(video_writing, "VIDEO_ENCODERS", ("no_such_codec",))
        with pytest.raises(DataError, match="can encode none of no_such_codec"):
            write_video(tmp_path / "b.mp4", grey_frames(3))


class TestRates:
    @pytest.mark.core
    def test_fifty_a_second_are_halved(self, tmp_path):
        write_video(tmp_path / "a.mp4", grey_frames(12), rate=50)
        frames, audio, notes = read(tmp_path / "a.mp4")
        assert [number_of(frame) for frame in frames] == [0, 2, 4, 6, 8, 10]
        assert len(audio) == 6 * 1920
        assert any("50 frames a second, brought to 25" in note for note in notes)

    def test_ten_a_second_are_repeated(self, tmp_path):
        write_video(tmp_path / "a.mp4", grey_frames(4), rate=10)
        # Shown from 0, 0.1, 0.2 and 0.3 s on; ticks at 0, 0.04, 0.08, ..., 0.36.
        numbers = [number_of(frame) for frame in read(tmp_path / "a.mp4")[0]]
        assert numbers == [0, 0, 1, 1, 2, 2, 2, 3, 3, 3]

    def test_changing_rate(self, tmp_path):
        times = [Fraction(t, 1000) for t in (0, 40, 200, 210, 220, 240)]
        write(tmp_path / "a.mkv", grey_frames(6), times)
        # Ticks at 0, 40, 80, ..., 240 ms; 120 is as near to 40 as to 200, and goes to the later.
        numbers = [number_of(frame) for frame in read(tmp_path / "a.mkv")[0]]
        assert numbers[:7] == [0, 1, 1, 2, 2, 2, 5]

    def test_time_begins_with_the_first_frame(self, tmp_path):
        times = [Fraction(3, 1) + Fraction(k, 25) for k in range(5)]
        write(tmp_path / "a.mkv", grey_frames(5), times)
        numbers = [number_of(frame) for frame in read(tmp_path / "a.mkv")[0]]
        assert numbers == [0, 1, 2, 3, 4]

    def test_damaged_time_stamp(self, tmp_path):
        write(tmp_path / "a.mkv", grey_frames(3), [Fraction(0), Fraction(1, 25), Fraction(10**5)])
        with pytest.raises(DataError, match="time jumps from second 0.040 to 100000.000"):
            read(tmp_path / "a.mkv")

    def test_sound_at_another_rate_and_in_two_channels(self, tmp_path):
        samples = tone(48_000, 200)[::3, 0]  # 16 kHz.
        path = tmp_path / "a.mkv"
        with av.open(str(path), "w") as container:
            video = container.add_stream("mpeg4", rate=25)
            video.height, video.width = SIZE
            sound = container.add_stream("pcm_s16le", rate=16_000, layout="stereo")
            for pixels in grey_frames(25):
                container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            both = (np.stack([samples, samples], -1) * 32767).astype(np.int16).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(both, format="s16", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = 16_000, 0, Fraction(1, 16_000)
            container.mux([*sound.encode(frame), *sound.encode(None), *video.encode(None)])
        _, audio, _ = read(path)
        assert audio.shape == (48_000, 1)
        error = np.abs(audio[4000:44_000] - tone(48_000, 200)[4000:44_000])
        assert error.max() < 0.01

    def test_sound_that_begins_later(self, tmp_path):
        """Before it, silence; after its end, silence."""
        path = tmp_path / "a.mkv"
        with av.open(str(path), "w") as container:
            video = container.add_stream("mpeg4", rate=25)
            video.height, video.width = SIZE
            sound = container.add_stream("pcm_s16le", rate=48_000, layout="mono")
            for pixels in grey_frames(25):
                container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            loud = np.full((1, 9600), 16384, np.int16)
            frame = av.AudioFrame.from_ndarray(loud, format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48_000, 24_000, Fraction(1, 48_000)
            container.mux([*sound.encode(frame), *sound.encode(None), *video.encode(None)])
        _, audio, _ = read(path)
        assert audio.shape == (48_000, 1)
        np.testing.assert_array_equal(audio[:24_000], 0)
        np.testing.assert_array_equal(audio[24_000:33_600], 0.5)
        np.testing.assert_array_equal(audio[33_600:], 0)


class TestFrames:
    @pytest.mark.core
    def test_chosen_by_number(self, tmp_path):
        write_video(tmp_path / "a.mp4", grey_frames(10))
        chosen = media_frames.read_frames(tmp_path / "a.mp4", start=2, stop=9, step=3)
        assert [number_of(frame) for frame in chosen] == [2, 5, 8]

    @pytest.mark.parametrize("rotation", [90, 180, -90])
    def test_rotated(self, tmp_path, rotation):
        """A phone's note that the picture lies on its side."""
        scene = np.zeros((1, 32, 48, 3), np.uint8)
        scene[:, :16, :24] = 250  # The upper left quarter is white.
        write(tmp_path / "a.mp4", scene, [Fraction(0)], rotation=rotation)
        (frame,) = media_frames.read_frames(tmp_path / "a.mp4")
        expected = np.rot90(scene[0], rotation // 90)
        assert frame.shape == expected.shape
        assert np.abs(frame.astype(int) - expected).mean() < 5

    def test_cropped_and_resized(self, tmp_path):
        scene = np.zeros((1, 32, 96, 3), np.uint8)
        scene[:, :, 32:64] = (250, 0, 0)  # The middle third is red.
        write(tmp_path / "a.mp4", scene, [Fraction(0)])
        frames, _, _ = read(tmp_path / "a.mp4", size=(16, 16))
        assert frames.shape[1:] == (16, 16, 3)
        assert frames[0, :, 2:14, 0].min() > 200 and frames[0, :, 2:14, 1:].max() < 40

    def test_crop(self):
        image = np.arange(5 * 8).reshape(5, 8, 1)
        np.testing.assert_array_equal(pictures.crop_to_aspect(image, (7, 7)), image[:, 1:6])
        tall = image.transpose(1, 0, 2)
        np.testing.assert_array_equal(pictures.crop_to_aspect(tall, (7, 7)), tall[1:6])
        np.testing.assert_array_equal(pictures.crop_to_aspect(image, (1, 4)), image[1:3])

    def test_a_picture_is_a_video_of_one_frame(self, tmp_path):
        from PIL import Image

        Image.fromarray(grey_frames(1)[0]).save(tmp_path / "a.png")
        frames, audio, _ = read(tmp_path / "a.png")
        assert frames.shape == (1, *SIZE, 3) and audio.shape == (1920, 1)


class TestBadFiles:
    def test_missing(self, tmp_path):
        with pytest.raises(DataError, match="there is no video file .*a.mp4"):
            read(tmp_path / "a.mp4")

    def test_folder(self, tmp_path):
        with pytest.raises(DataError, match="there is no video file"):
            read(tmp_path)

    def test_no_video(self, tmp_path):
        (tmp_path / "a.mp4").write_text("Not a video, whatever its name.")
        with pytest.raises(DataError, match=r"a.mp4' cannot be read as a video \(Invalid data"):
            read(tmp_path / "a.mp4")

    def test_empty(self, tmp_path):
        (tmp_path / "a.mp4").touch()
        with pytest.raises(DataError, match="cannot be read as a video"):
            read(tmp_path / "a.mp4")

    def test_sound_only(self, tmp_path):
        path = tmp_path / "a.wav"
        with av.open(str(path), "w") as container:
            sound = container.add_stream("pcm_s16le", rate=48_000, layout="mono")
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 99), np.int16), "s16", "mono")
            frame.sample_rate = 48_000
            container.mux([*sound.encode(frame), *sound.encode(None)])
        with pytest.raises(DataError, match="has no video stream"):
            read(path)

    @pytest.mark.core
    @pytest.mark.parametrize("suffix", ["mp4", "mkv"])
    def test_truncated(self, tmp_path, suffix):
        """At any length: an error that names the file, or the frames that are still there."""
        noise = np.random.default_rng(0).integers(0, 256, (20, *SIZE, 3), np.uint8)
        write(tmp_path / f"whole.{suffix}", noise, [Fraction(k, 25) for k in range(20)])
        content = (tmp_path / f"whole.{suffix}").read_bytes()
        outcomes = set()
        for share in np.linspace(0, 0.98, 15):
            path = tmp_path / f"cut.{suffix}"
            path.write_bytes(content[: int(share * len(content))])
            try:
                frames = read(path)[0]
                outcomes.add("frames")
                assert 0 < len(frames) <= 20
            except DataError as error:
                outcomes.add("error")
                assert f"cut.{suffix}" in str(error)
        # This mp4 has its index at the end, so that nothing is left of it.
        assert outcomes == ({"error"} if suffix == "mp4" else {"error", "frames"})

    def test_damaged(self, tmp_path):
        """Flipped bits in the middle never crash anything, and never give another error."""
        noise = np.random.default_rng(0).integers(0, 256, (10, *SIZE, 3), np.uint8)
        write_video(tmp_path / "whole.mp4", noise, tone(19_200, 300))
        content = (tmp_path / "whole.mp4").read_bytes()
        rng = np.random.default_rng(1)
        for _ in range(30):
            damaged = np.frombuffer(content, np.uint8).copy()
            places = rng.integers(0, len(damaged), 20)
            damaged[places] ^= rng.integers(1, 256, 20, np.uint8)
            (tmp_path / "bad.mp4").write_bytes(damaged.tobytes())
            try:
                assert len(read(tmp_path / "bad.mp4")[0])
            except DataError as error:
                assert "bad.mp4" in str(error)

    def test_start_after_the_end(self, tmp_path):
        write_video(tmp_path / "a.mp4", grey_frames(3))
        with pytest.raises(DataError, match="ends before second 7"):
            read(tmp_path / "a.mp4", start=7)
