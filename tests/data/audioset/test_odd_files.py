"""Odd files, each by its name: all in one conversion, which handles or refuses it and goes on."""

import numpy as np
import pytest

from perceiver_jax.data.audioset.audioset import RecordingsConfig, num_frames, read_frames
from perceiver_jax.data.audioset.prepare import prepare
from tests.data.audioset.sets import convert_here, row
from tests.data.media.clips import click_times, flash_times, frame_times, write_clip

pytest.importorskip("tensorflow_datasets")

SECONDS = 1.4
NO_VIDEO = {"times": None}
# Name: how it is made, and what is said of it.
KEPT = {
    "silence.wav": ({**NO_VIDEO, "click": False}, ["silent", "no video"]),
    "mono.wav": (NO_VIDEO, ["no video"]),
    "stereo.wav": ({**NO_VIDEO, "layout": "stereo"}, ["no video"]),
    "5.1.wav": ({**NO_VIDEO, "layout": "5.1"}, ["no video"]),
    "8kHz.wav": ({**NO_VIDEO, "sample_rate": 8_000}, ["no video"]),
    "192kHz.wav": ({**NO_VIDEO, "sample_rate": 192_000}, ["no video"]),
    "12fps.mkv": ({"times": frame_times(12, SECONDS)}, []),
    "60fps.mkv": ({"times": frame_times(60, SECONDS)}, []),
    "portrait.mkv": ({"size": (64, 48)}, []),
    "portrait_by_note.mp4": ({"rotation": 90, "audio_codec": "aac"}, []),
    "no_samples.mkv": ({"sound_until": 0}, ["its sound has no samples"]),
    "no_frames.mkv": ({"times": []}, ["its video has no frames"]),
    "ends_early.mkv": ({"seconds": 1.2}, ["has 1.20 of 1.40 s"]),
    "sound_ends_early.mkv": ({"sound_until": 1.2}, ["its sound ends after 1.20 s"]),
    "video_ends_early.mkv": ({"times": frame_times(25, 1.2)}, ["its video ends after 1.20 s"]),
}
REFUSED = {
    "text.mp4": b"Not a video, whatever its name.",
    "empty.wav": b"",
    "cut_off.mp4": None,
    "neither.mkv": None,
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The set, and what `prepare` said of it."""
    root = tmp_path_factory.mktemp("odd")
    clips = root / "clips"
    clips.mkdir()
    for name, (options, _) in KEPT.items():
        write_clip(clips / name, **{"seconds": SECONDS, **options})
    for name, content in REFUSED.items():
        if content is not None:
            (clips / name).write_bytes(content)
    write_clip(clips / "neither.mkv", times=[], sound_until=0)
    whole = write_clip(clips / "cut_off.mp4", seconds=SECONDS, audio_codec="aac").read_bytes()
    (clips / "cut_off.mp4").write_bytes(whole[: len(whole) // 2])
    names = (*KEPT, *REFUSED)
    rows = [row(name.rpartition(".")[0], SECONDS, "/m/a") for name in names]
    (root / "train.csv").write_text("".join(rows))
    (root / "classes.csv").write_text("0,/m/a,A\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("perceiver_jax.data.audioset.prepare.convert", convert_here)
        done = prepare(
            [str(root / "train.csv")], [], str(root / "classes.csv"), str(clips), str(root),
            name="odd", report=lambda line: None,
        )  # fmt: skip
    return done, RecordingsConfig(name="odd", data_dir=str(root)).open("train")


def test_what_is_refused_is_named(prepared):
    done, recordings = prepared
    assert {each.name for each in done.left_out} == set(REFUSED)
    for each in done.left_out:
        assert each.name in each.reason
    assert len(recordings) == len(KEPT)


@pytest.mark.parametrize("name", KEPT)
def test_what_is_kept(prepared, name):
    done, recordings = prepared
    assert [each.reason for each in done.remarks if each.name == name] == KEPT[name][1]
    example = recordings[recordings.ids.index(name.rpartition(".")[0])]
    if name in ("silence.wav", "no_samples.mkv"):
        assert not np.any(example.get("audio", 0))
    else:
        assert click_times(example["audio"]) == [pytest.approx(1, abs=0.002)]
    frames = read_frames(example, 0, 99)
    assert len(frames) == num_frames(example)
    if name.endswith(".wav") or name == "no_frames.mkv":
        assert not frames
    else:
        assert flash_times(frames) == [pytest.approx(1, abs=0.04)]
        assert frames[0].shape == ((64, 48, 3) if name.startswith("portrait") else (48, 64, 3))
