"""predict --task=tag: windows are the clips of an evaluation; what is missing; the outputs."""

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from perceiver_jax import config as config_lib
from perceiver_jax import zoo
from perceiver_jax.checkpoints.load import run_config
from perceiver_jax.config import load_experiment
from perceiver_jax.data.audioset.clip_times import Clip, hopping_clips
from perceiver_jax.data.audioset.config import AudiosetConfig, RawAudio
from perceiver_jax.data.audioset.decode import read_recording
from perceiver_jax.data.audioset.labels import Segment
from perceiver_jax.data.audioset.mel import MelSpectrogram
from perceiver_jax.data.audioset.records import to_example, to_record
from perceiver_jax.data.audioset.sound_changes import SoundChanges
from perceiver_jax.data.audioset.video import VideoConfig
from perceiver_jax.data.digits import DigitsConfig
from perceiver_jax.errors import ModelError
from perceiver_jax.infer import tag_files, tagging
from perceiver_jax.infer.commands.names import distinct
from perceiver_jax.infer.loaded import LoadedModel
from tests import tiny_models
from tests.data.media.clips import write_clip
from tests.infer.command_line import predict
from tests.infer.tiny_loaded import loaded as make_loaded

pytestmark = pytest.mark.usefixtures("quick_compilation")

NAMES = ("Speech", "Cat, meow", "Dog")
DATA = AudiosetConfig(
    audio=RawAudio(), video=VideoConfig(size=(8, 12)), num_frames=8, eval_clips=3, drop_video=0.3
)


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    """Reads 8 frames and their sound."""
    config = zoo.PerceiverConfig(
        preprocessor=zoo.MultimodalConfig(
            modalities={
                "audio": zoo.AudioConfig(8 * 1920, 128, position=zoo.FourierConfig(num_bands=2)),
                "video": zoo.ImageConfig(
                    (8, 8, 12), prep="patches", temporal_downsample=2, spatial_downsample=4,
                    position=zoo.FourierConfig(num_bands=2),
                ),
            },
            min_padding_size=4,
        ),
        encoder=tiny_models.encoder(),
        decoder=zoo.ProjectionDecoderConfig(num_classes=3),
    )  # fmt: skip
    return dataclasses.replace(make_loaded(config, NAMES), data=DATA)


def run(model: LoadedModel, *arguments: Any) -> Any:
    return predict("--task=tag", "--checkpoint=x", "--batch_size=2", *arguments, model=model)


def _sigmoid(logits: Any) -> np.ndarray:
    return 1 / (1 + np.exp(-np.asarray(logits, np.float64)))


def test_windows_start_at_a_hop_and_the_last_one_ends_with_the_file() -> None:
    for length, hop, starts in (
        (250, 16, [*range(0, 218, 16), 218]),
        (64, 16, [0, 16, 32]),
        (33, 40, [0, 1]),
        (32, 16, [0]),
        (3, 16, [0]),
    ):
        clips = hopping_clips(length, 32, hop)
        assert [clip.first for clip in clips] == starts
        assert {clip.num_frames for clip in clips} == {32}
    assert tagging.hop_frames(DATA, None) == 4
    assert tagging.hop_frames(DATA, 0.5) == 12 and tagging.hop_frames(DATA, 0.001) == 1


@pytest.mark.core
def test_windows_of_a_file_are_what_the_evaluation_reads_of_it(
    model: LoadedModel, tmp_path: Path
) -> None:
    path = write_clip(tmp_path / "clip.mkv", seconds=1.2, sound_from=0.1, sample_rate=22_050)
    segment = Segment("clip", 0.0, 1.2, (1,))
    record = to_record(segment, path.name, read_recording(path, segment))
    evaluated = DATA.evaluated(to_example({**record, "id": b"clip"}, 3))["inputs"]

    config = tagging.data_config(model)
    media = tagging.read_media(path, config)
    assert media.seconds == 1.2 and media.notes == ()
    # Clips of the evaluation start at 0, 11 and 22.
    clips = hopping_clips(30, 8, 11)
    for name, stream in config.streams(media.example, clips).items():
        np.testing.assert_array_equal(stream, evaluated.pop(name))
        assert np.ptp(stream) > 0.5
    assert not evaluated

    tags = tagging.tag(model, config, media.example, hop=11, batch_size=2)
    assert tags.spans == [(0.0, 0.32), (0.44, 0.76), (0.88, 1.2)]
    two = config.streams(media.example, clips[1:])
    np.testing.assert_allclose(tags.windows[1:], _sigmoid(model.apply(two)), atol=1e-6)
    (record,) = run(model, path, "--hop=0.44", "--top_k=2", "--output=json").records()
    mean = tags.windows.mean(axis=0)
    best = np.argsort(-mean)[:2]
    assert [each["index"] for each in record["predictions"]] == list(best)
    for each in record["predictions"]:
        assert each["name"] == NAMES[each["index"]]
        assert each["probability"] == pytest.approx(mean[each["index"]], abs=1e-6)
        np.testing.assert_allclose(each["windows"], tags.windows[:, each["index"]], atol=1e-6)
    assert [(each["start"], each["end"]) for each in record["windows"]] == tags.spans


def test_a_stream_that_is_missing_is_zeros_with_a_note(model: LoadedModel, tmp_path: Path) -> None:
    sound = write_clip(tmp_path / "sound.wav", seconds=1.2, times=None)
    video = write_clip(tmp_path / "video.mkv", seconds=1.2, sample_rate=None)
    config = tagging.data_config(model)
    for path, missing, note in ((sound, "video", "no video"), (video, "audio", "no sound")):
        media = tagging.read_media(path, config)
        (told,) = media.notes
        assert note in told and "zeros" in told
        streams = config.streams(media.example, hopping_clips(30, 8, 11))
        assert not streams.pop(missing).any()
        assert next(iter(streams.values())).any()
    # Where nothing else is read, there is nothing to say about the file; others go on.
    only = tagging._of_shapes(zoo.AudioConfig(8 * 1920, 128), None)
    with pytest.raises(tagging.DataError, match=r"video.mkv' has no sound, and the model reads"):
        tagging.read_media(video, only)
    assert "frames" not in tagging.read_media(write_clip(tmp_path / "both.mkv"), only).example
    (tmp_path / "text.mp4").write_text("no video")
    result = run(model, tmp_path / "text.mp4", sound)
    assert result.code == 1 and "text.mp4" in result.err and "no video" in result.err
    assert "sound.wav: 1.20 s, windows of 0.32 s: 7\n" in result.out


def test_a_file_shorter_than_a_window(model: LoadedModel, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "short.wav", seconds=0.2, times=None)
    media = tagging.read_media(path, DATA)
    assert "0.20 s, less than the 0.32 s" in media.notes[-1]
    longer = tagging.read_media(write_clip(tmp_path / "b.mkv", seconds=1.4), DATA, seconds=1.2)
    assert longer.seconds == 1.2 and longer.notes == ()


def test_a_short_file_lies_where_the_evaluation_has_it() -> None:
    """At several places, for models of sound that are evaluated so."""
    data = AudiosetConfig(video=None, num_frames=8, eval_clips=3, sound_changes=SoundChanges())
    config = zoo.PerceiverConfig(
        preprocessor=zoo.AudioConfig(8 * 1920, 128, position=zoo.FourierConfig(num_bands=2)),
        encoder=tiny_models.encoder(),
        decoder=zoo.ProjectionDecoderConfig(num_classes=3),
    )
    model = dataclasses.replace(make_loaded(config, NAMES), data=data)
    read = tagging.data_config(model)
    noise = np.random.default_rng(0).integers(1, 2**15, 9_600, np.int16)
    example = {"id": "short", "label": np.zeros(0, np.float32), "audio": noise}
    inputs = data.evaluated(example)["inputs"]
    assert [int((each != 0).argmax()) for each in inputs] == [5760, 2880, 0]
    each = _sigmoid(model.apply(inputs))
    tags = tagging.tag(model, read, example, hop=4)
    np.testing.assert_allclose(tags.windows, each.mean(axis=0, keepdims=True), atol=1e-6)
    assert tags.spans == [(0.0, 0.32)] and np.ptp(each, axis=0).max() > 1e-4
    # Windows of a longer one begin with frames, as those of any model.
    example["audio"] = np.tile(noise, 3)
    assert tagging.tag(model, read, example, hop=4).windows.shape == (3, 3)


def test_picture_and_table(model: LoadedModel, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    write_clip(folder / "a.mkv", seconds=1.0)
    write_clip(folder / "b.wav", seconds=1.0, times=None)
    (folder / "notes.txt").write_text("no clip")
    out = tmp_path / "out"
    result = run(model, folder, f"--out_dir={out}", "--output=json", "--hop=0.32")
    assert result.code == 0, result.err
    assert "skipped 1 file" in result.err
    both, sound = result.records()
    assert [Path(each["table_file"]).name for each in (both, sound)] == ["a_tags.csv", "b_tags.csv"]
    with open(both["table_file"], newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["file", "start", "end", *NAMES] and len(rows) == 5
    assert rows[2][:3] == [str(folder / "a.mkv"), "0.32", "0.64"]
    for each in both["predictions"]:
        column = [float(row[3 + each["index"]]) for row in rows[1:]]
        np.testing.assert_allclose(column, each["windows"], atol=1e-6)
    pictures = [Image.open(each["picture_file"]).convert("RGB") for each in (both, sound)]
    # The one with frames of 4 to 3, eight in a row, is 0.7 inches higher, and red as their corner.
    assert pictures[0].height - pictures[1].height == 84
    reds = [_reds(np.asarray(picture)) for picture in pictures]
    assert reds[0] > 500 and reds[1] < 50
    # Silence is a line: the wave goes from left to right.
    red, _, blue = np.moveaxis(np.asarray(pictures[1])[:150, 100:900].astype(int), -1, 0)
    assert (blue - red > 40).any(axis=0).all()


def test_files_of_any_name_are_tagged(
    model: LoadedModel, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    clip = write_clip(tmp_path / "clip.wav", seconds=0.4, times=None)
    long, emoji, broken = "x" * 251, "猫 😀", "two\nlines"
    names = [f"{long}.wav", f"{emoji}.wav", f"{broken}.wav", "x/a.wav", "X/A.WAV"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(clip.read_bytes())
    out = tmp_path / "out"
    result = run(model, *(tmp_path / name for name in names), f"--out_dir={out}")
    assert result.code == 0 and "Glyph" not in result.err
    assert not [each for each in recwarn if "Glyph" in str(each.message)]
    stems = [long[:180], emoji, "two_lines", "a", "A-2"]
    assert sorted(path.name for path in out.iterdir()) == sorted(
        f"{stem}_tags.{suffix}" for stem in stems for suffix in ("csv", "png")
    )
    lines = result.out.splitlines()
    assert [line for line in lines if line.startswith("Wrote")] == [
        f"Wrote {out}/{stem}_tags.{suffix}" for stem in stems for suffix in ("png", "csv")
    ]
    assert f"{tmp_path}/two\\nlines.wav: 0.40 s, windows of 0.32 s: 2" in lines
    for stem, name in zip(stems, names, strict=True):
        with (out / f"{stem}_tags.csv").open(newline="", encoding="utf-8") as file:
            assert {row["file"] for row in csv.DictReader(file)} == {
                f"{tmp_path}/{name}".replace("\n", r"\n")
            }


def test_names_that_are_the_same_get_numbers() -> None:
    names = distinct(["a", "A", "a-2", "a", "b", "a-2", "A-3"])
    assert names == ["a", "A-2", "a-2-2", "a-3", "b", "a-2-3", "A-3-2"]
    # Each in a folder of its own: not every number is tried for every name.
    assert distinct(["audio"] * 20_000)[-1] == "audio-20000"


def test_windows_that_leave_gaps_are_told(model: LoadedModel, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.wav", seconds=2.0, times=None)
    for hop, told in ((0.32, None), (0.48, "0.16"), (1000, "1.36")):
        (record,) = run(model, path, f"--hop={hop}", "--output=json").records()
        gaps = [note for note in record["notes"] if "leave gaps" in note]
        assert [note.split("gaps of ")[1].split(" s,")[0] for note in gaps] == [told] * bool(told)


def _reds(picture: np.ndarray) -> int:
    """Pixels of the upper left corner that `write_clip` draws."""
    red, green, blue = np.moveaxis(picture[:150].astype(int), -1, 0)
    return int(((red > 170) & (green < 90) & (blue < 90)).sum())


def test_wave() -> None:
    samples = np.zeros(3000, np.int16)
    samples[[2, 2999]] = 2**14, -(2**15)
    at, low, high = tag_files.wave(samples)
    assert len(at) == 1500 and at[0] == 1 / 48_000 and at[-1] == 2999 / 48_000
    assert high[1] == 0.5 and low[-1] == -1.0
    assert not low[:-1].any() and not high[[0, *range(2, 1500)]].any()


def test_pictures_are_as_high_as_frames_and_sound_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for count, shape, height in (
        (8, (36, 64, 3), 0.527),
        (1, (9, 9, 3), 1.2),
        (8, (2, 80, 3), 0.35),
    ):
        assert tag_files.strip_height([np.zeros(shape)] * count) == pytest.approx(height, abs=1e-3)
    figures: list[Any] = []
    monkeypatch.setattr(tag_files, "save", lambda figure, _: figures.append(figure))
    tags = tagging.Tags((Clip(0, 25),), np.full((1, 3), 0.5))
    for loudest, end in ((328 * 2, 0.021), (3, 0.0105), (2**15 - 1, 1.05)):  # of 32,768
        sound = np.zeros(48_000, np.int16)
        sound[[7, 9]] = -loudest // 2, loudest
        tag_files.draw(tmp_path / "x.png", {"id": "x", "audio": sound}, tags, [(0, "a")])
        assert figures[-1].axes[0].get_ylim() == pytest.approx((-end, end), rel=2e-3)


@pytest.mark.parametrize(
    "variant", ["audio_raw", "audio_mel", "video", "audio_video_raw", "audio_video_mel", "io_mel"]
)
def test_bare_weights_read_as_their_experiment_does(variant: str) -> None:
    experiment = load_experiment(f"experiments/audioset.py:{variant}")

    class Bare:
        config, data = experiment.model, None

    found, wanted = tagging.data_config(Bare()), experiment.data  # type: ignore[arg-type]
    assert (found.audio, found.num_frames) == (wanted.audio, wanted.num_frames)
    assert (found.video is None) == (wanted.video is None)
    if wanted.video is not None:
        assert (found.video.size, found.video.eval_crop) == (
            wanted.video.size, wanted.video.eval_crop,
        )  # fmt: skip


def test_shapes_that_are_no_recordings() -> None:
    video = zoo.ImageConfig((32, 8, 8))
    # 120 x 40 beside 32 frames are hops of 512.
    both = tagging._of_shapes(zoo.ImageConfig((120, 40), channels=1), video)
    assert both.audio == MelSpectrogram(num_bands=40, hop=512)
    for sound, message in (
        (zoo.ImageConfig((28, 28), channels=1), "28,672 samples .* no whole frames"),
        (zoo.AudioConfig(16_000, 100), "16,000 samples .* no whole frames"),
        (zoo.ImageConfig((60, 80)), "neither raw sound nor a spectrogram"),
    ):
        with pytest.raises(ModelError, match=message):
            tagging._of_shapes(sound, None)
    with pytest.raises(ModelError, match="19,200 samples at a time, which are no 32 frames"):
        tagging._of_shapes(zoo.AudioConfig(19_200, 100), video)
    digits = dataclasses.replace(make_loaded(tiny_models.classifier()), data=DigitsConfig())
    with pytest.raises(ModelError, match="trained on DigitsConfig, and not on recordings"):
        tagging.data_config(digits)


def test_a_work_directory_says_what_is_read(tmp_path: Path) -> None:
    experiment = load_experiment("experiments/audioset.py:smoke")
    (tmp_path / "checkpoints" / "7").mkdir(parents=True)
    assert run_config(tmp_path) is None
    (tmp_path / "config.json").write_text(json.dumps(config_lib.to_dict(experiment)))
    for path in (tmp_path, tmp_path / "checkpoints" / "7"):
        assert run_config(path).data == experiment.data


def test_names_from_the_list_of_classes(model: LoadedModel, tmp_path: Path) -> None:
    (tmp_path / "classes.csv").write_text(
        'index,mid,display_name\n0,/m/a,"One"\n1,/m/b,"Two"\n2,/m/c,"Three, four"\n'
    )
    path = write_clip(tmp_path / "a.wav", seconds=0.4, times=None)
    result = run(model, path, f"--class_names={tmp_path / 'classes.csv'}")
    assert result.code == 0 and "Three, four (2)" in result.out
