"""AudiosetConfig: which clips, sound and frames together, what is left out, with which errors."""

import pickle
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from perceiver_jax import config as config_lib
from perceiver_jax.data.audioset.audioset import read_frames
from perceiver_jax.data.audioset.clip_times import spread_clips
from perceiver_jax.data.audioset.config import AudiosetConfig, RawAudio, length_of
from perceiver_jax.data.audioset.decode import read_recording
from perceiver_jax.data.audioset.labels import Segment
from perceiver_jax.data.audioset.mel import MelSpectrogram
from perceiver_jax.data.audioset.records import to_example, to_record
from perceiver_jax.data.audioset.spec_augment import SpecAugment
from perceiver_jax.data.audioset.video import VideoConfig
from perceiver_jax.data.shown import NamesClasses, ShowsPictures
from perceiver_jax.data.source import (
    CorruptExample,
    DataConfig,
    HasTrainingSource,
    KnowsIds,
    Source,
    ids_digest,
    training_source,
)
from perceiver_jax.errors import ConfigError
from tests.data.audioset.stored import CLASSES, InMemory, jpeg, recording
from tests.data.media.clips import click_times, flash_times, frame_times, write_clip

# Frames as they are, but for their size.
PLAIN = VideoConfig(size=(24, 32), crop=None, flip=False, colour=None, eval_crop=1.0)


def _config(**fields: Any) -> AudiosetConfig:
    given = {"recordings": InMemory(), "video": PLAIN, "num_frames": 8, "eval_clips": 3}
    return AudiosetConfig(**{**given, **fields})


def _frame_numbers(video: np.ndarray) -> np.ndarray:  # [..., t, y, x, 3] -> [..., t]
    """Which frames of a `recording` are seen: a grey of 10 k on the left."""
    return (video[..., 2:-2, 2:-18, :].mean(axis=(-3, -2, -1)) + 1) * 127.5 / 10


def _heard(audio: np.ndarray) -> np.ndarray:  # [..., samples, 1] -> [..., t]
    """The frames that are heard: sound of 1,000 k at each."""
    return audio.reshape(*audio.shape[:-2], -1, 1920).mean(axis=-1) * 2**15 / 1000


def test_protocols() -> None:
    config = _config()
    for protocol in (DataConfig, HasTrainingSource, NamesClasses, ShowsPictures):
        assert isinstance(config, protocol)
    source = config.make_source("test")
    assert isinstance(source, Source) and isinstance(source, KnowsIds)
    assert len(source) == 3 and source.describe(2) == "test-00002"
    assert config.class_names() == CLASSES
    # What `printf 'test-00000\ntest-00001\ntest-00002\n' | b2sum -l 64` prints.
    assert ids_digest(source) == {"ids": "17880803c86499fb"}
    assert ids_digest(training_source(config)) != ids_digest(source)
    unpickled = pickle.loads(pickle.dumps(source))[1]  # For reader processes.
    np.testing.assert_array_equal(unpickled["inputs"]["video"], source[1]["inputs"]["video"])


def test_evaluation_is_of_clips_that_cover_the_recording() -> None:
    example = _config().evaluated(recording())
    inputs = example["inputs"]
    assert set(example) == {"inputs", "label"}
    assert inputs["audio"].shape == (3, 8 * 1920, 1)
    assert inputs["video"].shape == (3, 8, 24, 32, 3)
    assert inputs["audio"].dtype == inputs["video"].dtype == np.float32
    np.testing.assert_array_equal(example["label"], [1, 0, 1])
    # 25 frames: clips of 8 start at 0, 8.5 (rounded to even) and 17.
    wanted = np.arange(8) + np.array([[0], [8], [17]])
    np.testing.assert_allclose(_frame_numbers(inputs["video"]), wanted, atol=0.15)
    np.testing.assert_allclose(_heard(inputs["audio"]), wanted, atol=1e-4)
    middle = _config(eval_clips=None).evaluated(recording())["inputs"]
    np.testing.assert_array_equal(middle["audio"], inputs["audio"][1])
    np.testing.assert_array_equal(middle["video"], inputs["video"][1])


@pytest.mark.parametrize("store", ["jpeg", "video"])
def test_flash_and_click_of_a_file_stay_together_in_every_clip(tmp_path: Path, store: str) -> None:
    """From an odd file to what the model reads: within a frame of each other, and of the second."""
    path = write_clip(
        tmp_path / "a.mkv", seconds=3.4, times=frame_times(Fraction(30_000, 1001), 3.4, first=0.2),
        sample_rate=22_050, layout="stereo", sound_from=0.1,
    )  # fmt: skip
    segment = Segment("abcdefghijk", 0.0, 3.4, (0,))
    record = to_record(segment, "a.mkv", read_recording(path, segment, store=store))
    raw = to_example({**record, "id": b"abcdefghijk"}, 3)
    config = _config(num_frames=32, eval_clips=5, video=VideoConfig(size=(48, 64), eval_crop=1.0))
    starts = [clip.first for clip in spread_clips(length_of(raw), 32, 5)]
    assert starts[-1] > 45
    inputs = config.evaluated(raw)["inputs"]
    for start, audio, video in zip(starts, inputs["audio"], inputs["video"], strict=True):
        clicks = click_times(audio[:, 0] * 2**15)
        flashes = flash_times(config.video.pixels(video))
        assert 1 <= len(clicks) == len(flashes) <= 2
        for click, flash in zip(clicks, flashes, strict=True):
            assert abs(flash - click) <= 0.04
            # The clock of the file starts at 0.1 s, with its sound.
            second = start / 25 + click + 0.1
            assert second == pytest.approx(round(second), abs=0.005)


def test_raw_sound_may_be_fewer_and_larger_values() -> None:
    plain, changed = (
        _config(video=None, audio=audio) for audio in (RawAudio(), RawAudio(mean_of=6, stddev=0.1))
    )
    for make in (
        lambda config: config.evaluated(recording(frames=None)),
        lambda config: config.augment(recording(frames=None), np.random.default_rng(7)),
    ):
        sound, found = (make(config)["inputs"] for config in (plain, changed))
        assert found.shape == (*sound.shape[:-2], 8 * 320, 1) and found.dtype == np.float32
        means = sound.reshape(*sound.shape[:-2], -1, 6).mean(axis=-1)
        np.testing.assert_allclose(found[..., 0], 10 * means, rtol=1e-5)
    silent = changed.evaluated(recording(samples=None))["inputs"]
    assert silent.shape == (3, 8 * 320, 1) and not silent.any()
    # The picture is of the sound, not of the values.
    example = plain.evaluated(recording(frames=None)), changed.evaluated(recording(frames=None))
    one, other = (
        config.picture(each) for config, each in zip((plain, changed), example, strict=True)
    )
    assert np.mean(one != other) < 0.02
    with pytest.raises(ConfigError, match=r"mean_of=7 must divide the 1,920 samples"):
        RawAudio(mean_of=7)
    with pytest.raises(ConfigError, match="stddev=0 must be above 0"):
        RawAudio(stddev=0.0)


def test_training_is_a_random_clip_of_both_at_one_time() -> None:
    config, raw, starts = _config(), recording(), set()
    for seed in range(40):
        inputs = config.augment(raw, np.random.default_rng(seed))["inputs"]
        assert inputs["audio"].shape == (8 * 1920, 1) and inputs["video"].shape == (8, 24, 32, 3)
        start = round(_heard(inputs["audio"])[0])
        starts.add(start)
        np.testing.assert_allclose(_heard(inputs["audio"]), start + np.arange(8), atol=1e-4)
        np.testing.assert_allclose(_frame_numbers(inputs["video"]), start + np.arange(8), atol=0.15)
    assert min(starts) == 0 and max(starts) == 17 and len(starts) > 12
    one, other = (config.augment(raw, np.random.default_rng(7))["inputs"] for _ in range(2))
    np.testing.assert_array_equal(one["video"], other["video"])


def test_only_the_frames_that_are_read_are_decoded() -> None:
    raw = recording()
    clip = _config().augment(raw, np.random.default_rng(3))["inputs"]["audio"]
    first = round(_heard(clip)[0])
    for k in range(25):
        if not first <= k < first + 8:
            raw["frames"][k] = b"damaged"
    found = _config().augment(raw, np.random.default_rng(3))["inputs"]["video"]
    np.testing.assert_allclose(_frame_numbers(found), first + np.arange(8), atol=0.15)
    raw["frames"][first + 2] = b"damaged"
    with pytest.raises(CorruptExample, match="recording abcdefghijk"):
        _config().augment(raw, np.random.default_rng(3))
    # Of a stream that is dropped, none is.
    dropped = _config(drop_video=1.0).augment(raw, np.random.default_rng(3))["inputs"]
    assert not dropped["video"].any() and dropped["audio"].any()


def test_a_frame_that_is_shown_again_is_decoded_once() -> None:
    raw = recording(frames=6)
    slow = {**raw, "frames": [raw["frames"][k] for k in (0, 0, 2, 2, 2, 0)]}
    slow["frames"][1] = bytes(bytearray(slow["frames"][0]))  # As read back: equal, not the same.
    found = read_frames(slow, 0, 6)
    assert [frame is found[place - 1] for place, frame in enumerate(found)] == [
        False, True, False, True, True, False,
    ]  # fmt: skip
    for frame, place in zip(found, (0, 0, 2, 2, 2, 0), strict=True):
        np.testing.assert_array_equal(frame, read_frames(raw, place, 1)[0])


def test_one_stream_alone_is_an_array() -> None:
    raw = recording()
    audio = _config(video=None).evaluated(raw)["inputs"]
    video = _config(audio=None).evaluated(raw)["inputs"]
    both = _config().evaluated(raw)["inputs"]
    np.testing.assert_array_equal(audio, both["audio"])
    np.testing.assert_array_equal(video, both["video"])
    mel = MelSpectrogram(hop=960, num_bands=10)
    found = _config(video=None, audio=mel).evaluated(raw)["inputs"]
    assert found.shape == (3, 16, 10, 1)
    np.testing.assert_array_equal(found[1, ..., 0], mel(audio[1, :, 0]))
    found = _config(video=None, audio=mel).augment(raw, np.random.default_rng(0))["inputs"]
    assert found.shape == (16, 10, 1)


def test_large_video_is_read_as_its_pictures_would_be(tmp_path: Path) -> None:
    """Lines as thin as a pixel are grey from afar, and no pattern of their own.

    And pixels are square: these were half as wide as high.
    """
    lines = np.zeros((512, 1280, 3), np.uint8)
    lines[::2], lines[:, :640] = 255, 60
    with av.open(str(tmp_path / "a.mp4"), "w") as file:
        stream = file.add_stream("libx264", rate=25, options={"qp": "4", "preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = 512, 1280, "yuv420p"
        stream.sample_aspect_ratio = Fraction(1, 2)
        for _ in range(2):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(lines, format="rgb24")))
        file.mux(stream.encode(None))
    segment = Segment("a", 0.0, 0.08, (0,))
    config = _config(audio=None, num_frames=2, eval_clips=None, video=VideoConfig(size=(224, 224)))
    seen = {}
    for store in ("jpeg", "video"):
        record = to_record(
            segment, "a.mp4", read_recording(tmp_path / "a.mp4", segment, store=store)
        )
        raw = to_example({**record, "id": b"a"}, 3)
        (first, *_) = read_frames(raw, 0, 1)
        assert first.shape == (256, 320, 3)
        seen[store] = config.video.pixels(config.evaluated(raw)["inputs"]).astype(float)
    np.testing.assert_allclose(seen["video"], seen["jpeg"], atol=6)
    np.testing.assert_allclose(seen["video"][..., :100, :], 60, atol=6)
    np.testing.assert_allclose(seen["video"][..., -100:, :], 127.5, atol=6)


def test_short_recordings_and_missing_streams() -> None:
    config = _config()
    # Sound of 10 frames, video of 5: the last frame stays.
    inputs = config.evaluated(recording(frames=5, samples=10 * 1920))["inputs"]
    seen = _frame_numbers(inputs["video"])
    np.testing.assert_allclose(seen[0], [0, 1, 2, 3, 4, 4, 4, 4], atol=0.15)
    np.testing.assert_allclose(seen[2], [2, 3, 4, 4, 4, 4, 4, 4], atol=0.15)
    # A video that is over before the clip begins: its last frame.
    late = config.evaluated(recording(frames=2, samples=25 * 1920))["inputs"]
    np.testing.assert_allclose(_frame_numbers(late["video"])[2], [1] * 8, atol=0.15)
    # Video of 25, sound of 3: silence.
    inputs = config.evaluated(recording(samples=3 * 1920))["inputs"]
    np.testing.assert_allclose(_heard(inputs["audio"])[0], [0, 1, 2, 0, 0, 0, 0, 0], atol=1e-4)
    assert not inputs["audio"][1:].any()
    # Shorter than a clip: all clips are the same.
    inputs = config.evaluated(recording(frames=3, samples=3 * 1920))["inputs"]
    np.testing.assert_array_equal(inputs["video"][0], inputs["video"][2])
    for missing, there in (("audio", "video"), ("video", "audio")):
        raw = recording()
        raw.pop("frames" if missing == "video" else "audio")
        for found in (config.evaluated(raw), config.augment(raw, np.random.default_rng(0))):
            assert not found["inputs"][missing].any() and found["inputs"][there].any()
        shape = config.evaluated(recording())["inputs"][missing].shape
        assert config.evaluated(raw)["inputs"][missing].shape == shape
    # Without a track a spectrogram is zeros, with a silent one it is silence.
    mel = _config(audio=MelSpectrogram(hop=960))
    assert not mel.evaluated(recording(samples=None))["inputs"]["audio"].any()
    assert (mel.evaluated(recording(samples=1920))["inputs"]["audio"] == -2).all()


def test_streams_are_dropped_as_often_as_said() -> None:
    small = VideoConfig(size=(2, 2), crop=None, flip=False, colour=None)
    mel = MelSpectrogram(hop=1920, window=1920, num_bands=2)
    config = _config(
        video=small, audio=mel, num_frames=1, drop_video=0.3, drop_audio=0.1, spec_augment=None
    )
    raw, gone = recording(frames=1, samples=1920), []
    raw["frames"] = [jpeg(np.full((2, 2, 3), 200, np.uint8))]
    for seed in range(2000):
        inputs = config.augment(raw, np.random.default_rng(seed))["inputs"]
        gone.append([not inputs["video"].any(), not inputs["audio"].any()])
    video, audio = np.array(gone).T
    assert video.mean() == pytest.approx(0.3, abs=0.03)  # Three standard deviations.
    assert audio.mean() == pytest.approx(0.1, abs=0.02)
    assert (video & audio).mean() == pytest.approx(0.03, abs=0.012)  # Independent.
    kept = config.evaluated(raw)["inputs"]
    assert kept["video"].any() and kept["audio"].any()


def test_spec_augment_is_of_training_alone() -> None:
    fields = {"video": None, "audio": MelSpectrogram(hop=960, num_bands=40)}
    without, with_it = _config(**fields), _config(**fields, spec_augment=SpecAugment())
    raw, covered = recording(), 0
    for seed in range(10):
        plain = without.augment(raw, np.random.default_rng(seed))["inputs"]
        found = with_it.augment(raw, np.random.default_rng(seed))["inputs"]
        np.testing.assert_array_equal(found[found != 0], plain[found != 0])
        covered += (found == 0).sum()
    assert covered > 0
    np.testing.assert_array_equal(
        with_it.evaluated(raw)["inputs"], without.evaluated(raw)["inputs"]
    )


def test_pictures_show_frames_and_sound() -> None:
    raw, rng = recording(), np.random.default_rng(0)
    config = _config()
    example = config.augment(raw, rng)
    picture = config.picture(example)
    # Four frames of 24 x 32 in a row, and sound of 96 rows under them.
    assert picture.shape == (24 + 96, 4 * 32, 3) and picture.dtype == np.uint8
    for place, frame in enumerate((0, 2, 5, 7)):
        shown = picture[:24, 32 * place : 32 * place + 32]
        np.testing.assert_array_equal(shown, PLAIN.pixels(example["inputs"]["video"][frame]))
    # The sound rises, from a line in the middle to above it.
    heights = [np.flatnonzero(column < 100).mean() for column in picture[24:, :, 0].T]
    assert heights[0] > heights[-1]
    # Of an evaluation the middle clip: that which `eval_clips=none` gives.
    alone = _config(eval_clips=None)
    np.testing.assert_array_equal(
        config.picture(config.evaluated(raw)), alone.picture(alone.evaluated(raw))
    )
    # A tone is a line at its height.
    tone = np.sin(2 * np.pi * 8000 * np.arange(48_000) / 48_000)
    raw["audio"] = (20_000 * tone).astype(np.int16)
    mel = _config(video=None, audio=MelSpectrogram(hop=960, num_bands=96))
    bright = mel.picture(mel.augment(raw, rng)).sum(axis=2)
    assert bright.shape == (96, 448)
    rows = bright[:, 100:300].argmax(axis=0)
    assert rows.max() < 40 and np.ptp(rows) == 0  # In the upper half, always the same.
    silent = mel.picture(mel.evaluated(recording(samples=None)))
    assert np.ptp(silent.reshape(-1, 3), axis=0).max() == 0
    # Said over pictures: of spectrograms one colour, of video another.
    red, green, blue = silent[0, 0].astype(int)
    assert "magenta" in mel.picture_note() and min(red, blue) > 2 * green
    assert "SpecAugment" not in mel.picture_note() and "rey" not in mel.picture_note()
    covered = _config(video=None, audio=mel.audio, spec_augment=SpecAugment())
    assert "covered by SpecAugment" in covered.picture_note()
    unseen = config.picture(config.evaluated({**raw, "frames": []}))[:24]
    assert set(np.unique(unseen)) <= {127, 128} and "Grey frames" in config.picture_note()


def test_what_makes_no_sense_is_refused() -> None:
    for changes, message in (
        ({"audio": None, "video": None}, "there is nothing to read"),
        ({"video": None, "drop_audio": 0.1}, "there is one stream only. Give --config.data.drop_"),
        ({"drop_video": 1.5}, r"drop_video=1.5 must lie in \[0, 1\]"),
        ({"num_frames": 0}, "num_frames=0 must be at least 1"),
        ({"eval_clips": 0}, "eval_clips=0 must be at least 1"),
        ({"spec_augment": SpecAugment()}, "data.audio has none"),
        ({"audio": MelSpectrogram(), "num_frames": 30}, "hop=1024 does not divide the 57,600"),
    ):
        with pytest.raises(ConfigError, match=message):
            _config(**changes)


def test_fields_are_changed_by_name_and_saved() -> None:
    changed = config_lib.override(
        AudiosetConfig(),
        {
            "audio": "mel_spectrogram",
            "audio.mean": "-30",
            "spec_augment": "spec_augment",
            "video.colour.hue": "0",
            "recordings.data_dir": "elsewhere",
            "eval_clips": "none",
        },
    )
    assert changed.audio == MelSpectrogram(mean=-30.0) and changed.video.colour.hue == 0
    assert changed.spec_augment == SpecAugment() and changed.eval_clips is None
    assert config_lib.from_dict(config_lib.to_dict(changed)) == changed
    assert config_lib.from_dict(config_lib.to_dict(AudiosetConfig())).audio == RawAudio()
