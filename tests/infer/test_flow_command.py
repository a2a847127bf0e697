"""predict --task=flow."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from perceiver_jax.errors import UserError
from perceiver_jax.infer import flow, flow_files, video_files, video_writing
from perceiver_jax.infer.commands.flow import parse_frames
from tests import tiny_models
from tests.infer.command_line import predict
from tests.infer.tiny_loaded import loaded as make_loaded

pytestmark = pytest.mark.usefixtures("quick_compilation")

SIZE = (6, 8)


@pytest.fixture(scope="module")
def model():
    return make_loaded(tiny_models.optical_flow())


def run(model, out_dir, *arguments):
    return predict(
        "--task=flow",
        "--checkpoint=x",
        "--output=json",
        f"--out_dir={out_dir}",
        *arguments,
        model=model,
    )


def pictures(folder, count, size=SIZE):
    """Writes frames as PNG files, returns them and their paths."""
    folder.mkdir(exist_ok=True)
    frames = np.random.default_rng(0).integers(0, 256, (count, *size, 3), np.uint8)
    paths = [folder / f"frame{index}.png" for index in range(count)]
    for path, frame in zip(paths, frames, strict=True):
        Image.fromarray(frame).save(path)
    return frames, paths


@pytest.mark.core
def test_two_images(model, tmp_path):
    frames, paths = pictures(tmp_path / "in", 2)
    result = run(model, tmp_path / "out", *paths)
    assert result.code == 0, result.err
    (record,) = result.records()
    expected = flow.predict_flow(model, frames[0], frames[1])
    np.testing.assert_array_equal(flow_files.read_flo(tmp_path / "out/frame0.flo"), expected)
    check = flow_files.check_flow(frames[0], frames[1], expected)
    lengths = np.hypot(expected[..., 0], expected[..., 1])
    assert record["mean_flow"] == pytest.approx(lengths.mean())
    assert record["max_flow"] == pytest.approx(lengths.max())
    assert record["photometric_error_before"] == pytest.approx(check.before)
    assert record["photometric_error_after"] == pytest.approx(check.after)
    assert (record["height"], record["width"]) == SIZE
    assert (record["first"], record["second"]) == (str(paths[0]), str(paths[1]))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "frame0.flo",
        "frame0_flow.png",
        "frame0_warp.png",
    }
    colours = np.asarray(Image.open(tmp_path / "out/frame0_flow.png"))
    np.testing.assert_array_equal(colours, flow_files.flow_to_colours(expected))
    shown = np.asarray(Image.open(tmp_path / "out/frame0_warp.png"))
    np.testing.assert_array_equal(shown, check.picture)


def test_max_flow(model, tmp_path):
    _, paths = pictures(tmp_path / "in", 2)
    run(model, tmp_path, *paths, "--max_flow=0.01", "--chunk_size=4")
    expected = flow_files.flow_to_colours(flow_files.read_flo(tmp_path / "frame0.flo"), 0.01)
    colours = np.asarray(Image.open(tmp_path / "frame0_flow.png"))
    np.testing.assert_array_equal(colours, expected)


@pytest.mark.core
def test_folder(model, tmp_path):
    """One scale of colours for all frames, and a video of them."""
    frames, _ = pictures(tmp_path / "in", 4)
    result = run(model, tmp_path / "out", tmp_path / "in")
    assert result.code == 0, result.err
    records = result.records()
    assert len(records) == 3
    longest = max(record["max_flow"] for record in records)
    for index in range(3):
        found = flow_files.read_flo(tmp_path / f"out/frame{index}.flo")
        np.testing.assert_array_equal(
            found, flow.predict_flow(model, frames[index], frames[index + 1])
        )
        colours = np.asarray(Image.open(tmp_path / f"out/frame{index}_flow.png"))
        np.testing.assert_array_equal(colours, flow_files.flow_to_colours(found, longest))
    video = list(video_files.read_frames(tmp_path / "out/in_flow.mp4"))
    assert [frame.shape for frame in video] == [(*SIZE, 3)] * 3


@pytest.mark.core
def test_video(model, tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (6, *SIZE, 3), np.uint8)
    with video_writing.writing_video(tmp_path / "clip.mp4", size=SIZE, rate=30) as writer:
        writer.write(frames)
    result = run(model, tmp_path / "out", tmp_path / "clip.mp4", "--frames=1:6:2")
    assert result.code == 0, result.err
    decoded = list(video_files.read_frames(tmp_path / "clip.mp4"))
    for first, second in ((1, 3), (3, 5)):
        found = flow_files.read_flo(tmp_path / f"out/clip_{first:05d}.flo")
        expected = flow.predict_flow(model, decoded[first], decoded[second])
        np.testing.assert_array_equal(found, expected)
    assert len(result.records()) == 2
    assert result.records()[1]["second"] == f"{tmp_path / 'clip.mp4'}:5"
    info = video_files.video_info(tmp_path / "out/clip_flow.mp4")
    assert info.rate == 15 and not info.has_audio


def test_folder_with_folders_and_equal_names(model, tmp_path):
    """Frames of one folder only, and a file of its own for each pair."""
    frames, paths = pictures(tmp_path / "in", 3)
    pictures(tmp_path / "in" / "other", 2)
    Image.fromarray(frames[1]).save(tmp_path / "in" / "frame0.tiff")  # Between frames 0 and 1.
    result = run(model, tmp_path / "out", tmp_path / "in")
    assert result.code == 0, result.err
    records = result.records()
    assert len(records) == 3 and not any("other" in record["second"] for record in records)
    assert [record["flow_file"].rpartition("/")[2] for record in records] == [
        "frame0.flo",
        "frame0-2.flo",
        "frame1.flo",
    ]
    expected = flow.predict_flow(model, frames[0], frames[1])
    np.testing.assert_array_equal(flow_files.read_flo(records[0]["flow_file"]), expected)
    for record in records:
        for kind in ("flow_file", "warp_file", "colour_file", "video_file"):
            assert Path(record[kind]).is_file(), kind


class TestErrors:
    def fails(self, words, model, out_dir, *arguments):
        result = run(model, out_dir, *arguments)
        assert result.code == 2 and words in result.err and not result.out

    def test_no_folder_to_write_to(self, model, tmp_path):
        _, paths = pictures(tmp_path, 2)
        result = predict("--task=flow", "--checkpoint=x", *paths, model=model)
        assert result.code == 2 and "give --out_dir=FOLDER" in result.err

    def test_images_smaller_than_a_tile(self, model, tmp_path):
        _, paths = pictures(tmp_path, 2, (2, 9))
        self.fails("2 x 9 pixels", model, tmp_path, *paths)

    def test_three_inputs(self, model, tmp_path):
        _, paths = pictures(tmp_path, 3)
        self.fails("got 3 inputs", model, tmp_path, *paths)

    def test_frames_of_two_images(self, model, tmp_path):
        _, paths = pictures(tmp_path, 2)
        self.fails("two images need none", model, tmp_path, *paths, "--frames=0:2")

    def test_too_few_frames(self, model, tmp_path):
        pictures(tmp_path / "in", 3)
        words = "fewer than two of the frames asked for"
        self.fails(words, model, tmp_path, tmp_path / "in", "--frames=2:")

    def test_another_model(self, tmp_path):
        _, paths = pictures(tmp_path, 2)
        model = make_loaded(tiny_models.classifier())
        self.fails("cannot do --task=flow", model, tmp_path, *paths)


class TestFrames:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (None, slice(0, None, 1)),
            ("3:9", slice(3, 9, 1)),
            (":9:2", slice(0, 9, 2)),
            ("100::", slice(100, None, 1)),
            ("::3", slice(0, None, 3)),
            (":", slice(0, None, 1)),
        ],
    )
    def test_parsed(self, text, expected):
        assert parse_frames(text) == expected

    @pytest.mark.parametrize("text", ["", "5", "a:b", "1:2:3:4", "-3:5", "3:4", "0:9:0", "1.5:3"])
    def test_refused(self, text):
        with pytest.raises(UserError, match=f"--frames={text} must be START:STOP"):
            parse_frames(text)
