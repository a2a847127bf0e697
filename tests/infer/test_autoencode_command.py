"""predict --task=autoencode."""

import numpy as np
import pytest
from PIL import Image

from perceiver_jax.infer import autoencode, pictures, video_files, video_writing
from tests import tiny_models
from tests.infer.command_line import predict
from tests.infer.tiny_loaded import loaded as make_loaded

pytestmark = pytest.mark.usefixtures("quick_compilation")

SIZE, PER_FRAME, RATE = (4, 6), 5, 125  # 25 frames of five samples a second.


@pytest.fixture(scope="module")
def model():
    return make_loaded(tiny_models.video_autoencoder(), ("dancing", "knitting", "yawning"))


def run(model, out_dir, *arguments):
    return predict(
        "--task=autoencode",
        "--checkpoint=x",
        "--output=json",
        f"--out_dir={out_dir}",
        *arguments,
        model=model,
    )


def clip(path, num_frames, *, has_audio=True):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (num_frames, *SIZE, 3), np.uint8)
    sample_rate = 8000 if has_audio else None
    with video_writing.writing_video(path, size=SIZE, sample_rate=sample_rate) as writer:
        writer.write(frames, rng.uniform(-1, 1, (num_frames * 320, 1)) if has_audio else None)
    return path


def test_videos_of_one_name(model, tmp_path):
    """Each has files of its own."""
    (tmp_path / "other").mkdir()
    paths = [clip(tmp_path / "clip.mp4", 2), clip(tmp_path / "other/clip.mp4", 3, has_audio=False)]
    result = run(model, tmp_path / "out", *paths)
    assert result.code == 0, result.err
    files = [tmp_path / f"out/{name}_reconstruction.mp4" for name in ("clip", "clip-2")]
    assert [record["video_file"] for record in result.records()] == list(map(str, files))
    assert [len(list(video_files.read_frames(file))) for file in files] == [2, 3]


@pytest.mark.core
def test_video_with_sound(model, tmp_path):
    path = clip(tmp_path / "clip.mp4", 5)
    result = run(model, tmp_path / "out", path, "--num_chunks=3", "--top_k=2")
    assert result.code == 0, result.err
    (record,) = result.records()

    pieces = list(
        video_files.read_pieces(path, size=SIZE, num_frames=2, samples_per_frame=PER_FRAME)
    )
    frames = np.concatenate([piece.frames for piece in pieces]) / np.float32(255)
    audio = np.concatenate([piece.audio for piece in pieces])
    expected = autoencode.autoencode(model, frames, audio)
    assert record["frames"] == 5
    assert record["psnr_image"] == pytest.approx(autoencode.psnr(frames, expected.frames), abs=1e-3)
    assert record["psnr_audio"] == pytest.approx(autoencode.psnr(audio, expected.audio), abs=1e-3)
    mean = expected.probabilities.mean(axis=0)
    best = np.argsort(-mean)[:2]
    assert [each["index"] for each in record["predictions"]] == list(best)
    for each, index in zip(record["predictions"], best, strict=True):
        assert each["name"] == ("dancing", "knitting", "yawning")[index]
        assert each["probability"] == pytest.approx(mean[index], abs=1e-5)
    assert any("no multiple of 2" in note for note in record["notes"])

    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "clip_frames.png",
        "clip_reconstruction.mp4",
    }
    shown = pictures.to_uint8(expected.frames)
    picture = np.asarray(Image.open(tmp_path / "out/clip_frames.png")).astype(int)
    assert picture.shape == (2 * SIZE[0], 2 * SIZE[1], 3)  # Input over output, of one piece.
    np.testing.assert_array_equal(picture[: SIZE[0], SIZE[1] :], pieces[0].frames[1])
    assert np.abs(picture[SIZE[0] :, : SIZE[1]] - shown[0]).max() <= 1
    written = tmp_path / "out/clip_reconstruction.mp4"
    assert video_files.video_info(written) == (25, True)
    (whole,) = video_files.read_pieces(written, size=SIZE, samples_per_frame=PER_FRAME)
    # H.264 loses much of noise in tiny frames; brightness stays.
    np.testing.assert_allclose(
        whole.frames.mean(axis=(1, 2, 3)), shown.mean(axis=(1, 2, 3)), atol=8
    )
    # 125 samples a second are no rate of AAC's: resampled to one and back.
    assert np.corrcoef(whole.audio[:15, 0], expected.audio[:15, 0])[0, 1] > 0.7


def test_text_output(model, tmp_path):
    path = clip(tmp_path / "clip.mp4", 2)
    result = predict(
        "--task=autoencode", "--checkpoint=x", f"--out_dir={tmp_path}", path, model=model
    )
    assert result.code == 0, result.err
    assert "2 frames, PSNR of the image" in result.out and "knitting" in result.out


def test_without_sound(model, tmp_path):
    path = clip(tmp_path / "clip.mp4", 2, has_audio=False)
    result = run(model, tmp_path, path)
    (record,) = result.records()
    assert record["psnr_audio"] is None and record["psnr_image"] > 0
    assert "silence is used" in record["notes"][0] and "silence is used" in result.err


@pytest.mark.core
def test_a_part_of_it(model, tmp_path):
    path = clip(tmp_path / "clip.mp4", 10)
    (record,) = run(model, tmp_path, path, "--start=0.08", "--seconds=0.16").records()
    assert record["frames"] == 4 and record["notes"] == []


def test_one_of_two_fails(model, tmp_path):
    path = clip(tmp_path / "clip.mp4", 2)
    (tmp_path / "bad.mp4").write_bytes(path.read_bytes()[:-700])
    result = run(model, tmp_path / "out", tmp_path / "bad.mp4", path)
    assert result.code == 1
    assert len(result.records()) == 1
    assert "bad.mp4' is damaged" in result.err
    assert not [file for file in (tmp_path / "out").iterdir() if "bad" in file.name]


def test_class_names_of_another_number(model, tmp_path):
    (tmp_path / "names.txt").write_text("one\ntwo\n")
    path = clip(tmp_path / "clip.mp4", 2)
    result = run(model, tmp_path / "out", path, f"--class_names={tmp_path / 'names.txt'}")
    assert result.code == 2 and "2 class names for a model of 3" in result.err


def test_another_model(tmp_path):
    model = make_loaded(tiny_models.optical_flow())
    result = run(model, tmp_path, clip(tmp_path / "clip.mp4", 2))
    assert result.code == 2 and "cannot do --task=autoencode" in result.err
