"""The benchmark of recordings: its stages are the pipeline, and its tables add up."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from benchmarks import media_pipeline
from benchmarks.media_pipeline import Result, Variant
from perceiver_jax.data.audioset.config import AudiosetConfig
from perceiver_jax.data.audioset.mel import MelSpectrogram
from perceiver_jax.data.audioset.spec_augment import SpecAugment
from perceiver_jax.data.audioset.video import VideoConfig
from perceiver_jax.errors import UserError
from tests.data.audioset.stored import InMemory
from tests.data.media.clips import frame_times, write_clip

CONFIG = AudiosetConfig(
    recordings=InMemory(),
    audio=MelSpectrogram(num_bands=20),
    video=VideoConfig(size=(16, 16)),
    spec_augment=SpecAugment(),
    num_frames=8,
    eval_clips=3,
    drop_video=0.3,
)


def test_stages_make_what_the_pipeline_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # At 12 frames a second, one frame is stored several times.
    clip = write_clip(tmp_path / "a.mkv", seconds=0.6, times=frame_times(12, 0.6))
    write_clip(tmp_path / "b.mp4", seconds=0.6, sample_rate=None)
    (tmp_path / "c.mp4").write_text("no video")
    assert media_pipeline.find_clips(tmp_path, 5) == [clip]
    with pytest.raises(UserError, match="no files with sound and video"):
        (tmp_path / "empty").mkdir()
        media_pipeline.find_clips(tmp_path / "empty", 5)

    source = CONFIG.recordings.open("train")
    sound = dataclasses.replace(CONFIG, video=None, drop_video=0.0)
    configs = {media_pipeline.STAGED: CONFIG, "audio_mel": sound}
    result = media_pipeline.measure([clip], source, configs, repeats=1, seconds=0.5)
    assert list(result.preparing) == [
        "open and seek", "find the beginning", "decode frames", "JPEG of frames", "decode sound",
    ]  # fmt: skip
    assert list(result.training) == [
        "read the record", "mel", "SpecAugment", "decode 8 frames", "crop, resize, colour",
    ]  # fmt: skip
    assert set(result.variants) == set(configs)
    assert (result.recordings, result.repeats) == (3, 1)
    assert min(result.prepared, result.example) > 0
    # `measure` compares them itself.
    monkeypatch.setattr(media_pipeline, "to_float", lambda samples: samples / np.float32(2**14))
    with pytest.raises(RuntimeError, match="do not make what the pipeline makes"):
        media_pipeline.measure([clip], source, configs, repeats=1, seconds=0.5)
    monkeypatch.setattr(media_pipeline, "to_jpeg", lambda frame: b"another")
    with pytest.raises(RuntimeError, match="store other frames"):
        media_pipeline.measure([clip], source, configs, repeats=1, seconds=0.5)


def test_made_clips_are_as_said(tmp_path: Path) -> None:
    (path,) = media_pipeline.write_clips(tmp_path, 1, seconds=0.4)
    recording = media_pipeline.read_recording(path, media_pipeline.segment(0.4), cut=True)
    assert recording.num_frames == 10 and recording.audio is not None
    assert recording.frames is not None and len(set(recording.frames)) == 10  # It moves.
    assert np.abs(recording.audio.astype(int)).max() > 100


def test_hosts_that_keep_up() -> None:
    # 512 x 3.8 = 1,945.6 clips a second.
    assert media_pipeline.hosts(0.05, 512, 96) == (pytest.approx(97.28), 2)
    assert media_pipeline.hosts(0.05, 512, 112)[1] == 1


def test_the_tables_add_up() -> None:
    result = Result(
        preparing={"decode frames": 0.1, "JPEG of frames": 0.4},
        prepared=0.5,
        training={"read the record": 0.005, "mel": 0.001},
        example=0.05,
        variants={"audio_mel": Variant(0.005, 0.02), "video": Variant(0.1, 1.8)},
        recordings=4,
        repeats=3,
        jpeg_size=24_000.0,
    )
    text = media_pipeline.render(result, batch=512, cores=96, markdown=True)
    assert "4 recordings, 24.0 kB a stored frame, median of 3 rounds" in text
    assert "| JPEG of frames | 400.00 | 2.5 |" in text and "| mel | 1.00 | 1,000.0 |" in text
    assert "512 at 3.8 steps a second is 1,946 clips a second" in text
    assert "| audio_mel | 5.0 | 200.0 | 9.7 | 1 | 20 | 0.11 |" in text
    assert "| video | 100.0 | 10.0 | 194.6 | 3 | 1800 | 10.19 |" in text
    # 1.7 million x 0.5 s / 96.
    assert "1,700,000 recordings are prepared in 2.5 hours of a host of 96 cores" in text
