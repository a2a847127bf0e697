"""The command line: classify, fill_mask and attention, as a user types them."""

import dataclasses
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from perceiver_jax import zoo
from perceiver_jax.checkpoints import native
from perceiver_jax.infer import classify, images
from perceiver_jax.infer.commands.report import Report
from perceiver_jax.infer.progress import progress
from tests import tiny_models
from tests.infer.command_line import predict
from tests.infer.tiny_loaded import loaded, rereading, rgb_classifier

pytestmark = pytest.mark.usefixtures("quick_compilation")

ROOT = Path(__file__).parents[2]
NAMES = ("ant", "bee", "cat", "dog", "elk", "fox", "gnu")


@pytest.fixture(scope="module")
def classifier():
    return loaded(rereading(rgb_classifier(), 2, "none"), NAMES)


@pytest.fixture(scope="module")
def language_model():
    return loaded(tiny_models.language_model())


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "b.jpg", "c.webp"):
        Image.fromarray(rng.integers(0, 256, (16, 20, 3), dtype=np.uint8)).save(folder / name)
    (folder / "notes.txt").touch()
    return folder


CLASSIFY = ("--task=classify", "--checkpoint=x")


@pytest.mark.core
def test_classify_a_folder_as_json(classifier, photos):
    arguments = ("--output=json", "--top_k=2", "--batch_size=2", photos)
    result = predict(*CLASSIFY, *arguments, model=classifier)
    assert result.code == 0 and "skipped 1 file that is no image" in result.err
    records = result.records()
    assert [record["input"] for record in records] == [
        str(photos / name) for name in ("a.png", "b.jpg", "c.webp")
    ]
    prepared = [images.prepare(images.read_image(each["input"]), (6, 5)) for each in records]
    expected = classify.classify(classifier, prepared, top_k=2)
    for record, predictions in zip(records, expected, strict=True):
        for found, each in zip(record["predictions"], predictions, strict=True):
            assert (found["name"], found["index"]) == (each.name, each.index)
            assert found["probability"] == pytest.approx(each.probability, abs=1e-5)


def test_one_input_that_is_missing_does_not_stop_the_others(classifier, photos, tmp_path):
    (tmp_path / "empty").mkdir()
    missing = (tmp_path / "nothere.jpg", tmp_path / "empty")
    result = predict(
        *CLASSIFY, "--output=json", photos / "a.png", *missing, photos / "b.jpg", model=classifier
    )
    assert result.code == 1
    assert [Path(record["input"]).name for record in result.records()] == ["a.png", "b.jpg"]
    assert "nothere.jpg" in result.err and "empty has no image" in result.err
    assert predict(*CLASSIFY, missing[0], model=classifier).code == 2


def test_greyscale_models_read_brightness(tmp_path):
    model = loaded(tiny_models.classifier())
    grey = np.random.default_rng(0).integers(0, 256, (5, 7), np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    arguments = (*CLASSIFY, "--output=json", "--top_k=5", tmp_path / "grey.png")
    for flag, pixels in (
        ((), grey / 255),
        (("--normalize=unit",), grey / 255),
        (("--normalize=symmetric",), grey / 127.5 - 1),
    ):
        (record,) = predict(*arguments, *flag, model=model).records()
        (expected,) = classify.classify(model, [pixels[..., None].astype(np.float32)], top_k=5)
        found = [each["probability"] for each in record["predictions"]]
        np.testing.assert_allclose(found, [each.probability for each in expected], atol=1e-5)
    refused = predict(*arguments, "--normalize=imagenet", model=model)
    assert refused.code == 2 and "1 channel; give --normalize=unit" in refused.err
    result = predict(
        "--task=attention", "--checkpoint=x", f"--out_dir={tmp_path}", arguments[-1], model=model
    )
    assert result.code == 0 and (tmp_path / "grey.attention.png").is_file()


def test_a_folder_for_files_that_is_a_file(classifier, photos):
    result = predict(
        "--task=attention",
        "--checkpoint=x",
        f"--out_dir={photos / 'notes.txt'}",
        photos / "a.png",
        model=classifier,
    )
    assert result.code == 2 and "notes.txt is a file, not a folder" in result.err
    assert not result.out


def test_one_text_that_hides_nothing_does_not_stop_the_others():
    model = loaded(tiny_models.language_model())
    texts = ("a[MASK]", "no mask", "[MASK*12]", "b[MASK]")
    result = predict("--task=fill_mask", "--checkpoint=x", "--output=json", *texts, model=model)
    assert result.code == 1 and len(result.records()) == 2
    assert "nothing is masked" in result.err and "takes 11" in result.err


def test_classify_as_text_with_names_and_another_size(classifier, photos, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("\n".join("uvwxyzq"))
    arguments = (f"--class_names={names}", "--image_size=12,10", photos / "a.png")
    result = predict(*CLASSIFY, *arguments, model=classifier)
    lines = result.out.splitlines()
    assert result.code == 0 and lines[0].endswith("a.png") and len(lines) == 6
    shares = [float(line.split("%")[0]) for line in lines[1:]]
    assert shares == sorted(shares, reverse=True)
    assert {line.split()[-2] for line in lines[1:]} <= set("uvwxyzq")


def test_unreadable_images_do_not_stop_the_others(classifier, photos):
    (photos / "aa.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    result = predict(*CLASSIFY, "--output=json", photos, model=classifier)
    assert result.code == 1 and len(result.records()) == 3
    assert "aa.png" in result.err and "Traceback" not in result.err
    names = [Path(record["input"]).name for record in result.records()]
    assert names == ["a.png", "b.jpg", "c.webp"]
    # Alone it is a mistake like any other.
    alone = predict(*CLASSIFY, photos / "aa.png", model=classifier)
    assert alone.code == 2 and not alone.out and "aa.png" in alone.err


def test_learned_positions_are_stretched_on_request(photos):
    model = loaded(rgb_classifier(position=zoo.LearnedConfig(channels=4)))
    arguments = (*CLASSIFY, "--image_size=9", "--output=json", photos / "a.png")
    refused = predict(*arguments, model=model)
    assert refused.code == 2 and "--interpolate_positions" in refused.err
    result = predict(*arguments, "--interpolate_positions", model=model)
    assert result.code == 0
    assert result.records()[0]["predictions"][0]["name"].startswith("class ")


@pytest.mark.core
def test_fill_mask(language_model):
    arguments = ("--task=fill_mask", "--checkpoint=x", "--top_k=3")
    result = predict(*arguments, "--output=json", "ab[MASK*2]e", "né[MASK]", model=language_model)
    assert result.code == 0
    first, second = result.records()
    assert first["input"] == "ab[MASK*2]e" and first["fillings"][0]["start"] == 2
    assert [each["position"] for each in first["bytes"]] == [2, 3]
    assert [each["position"] for each in second["bytes"]] == [3]  # Of bytes: é has two.
    assert all(len(each["candidates"]) == 3 for each in first["bytes"])
    for flag in ("--mask_span=2:4", "--mask_text=cd"):
        same = predict(*arguments, "--output=json", flag, "abcde", model=language_model)
        assert same.records()[0]["text"] == first["text"]
        assert same.records()[0]["fillings"] == first["fillings"]
    text = predict(*arguments, "--mask_span=2:4", "abcde", model=language_model)
    assert text.out.splitlines()[0] == first["text"] and len(text.out.splitlines()) == 3
    wrong = predict(*arguments, "--mask_span=4", "abcde", model=language_model)
    assert wrong.code == 2 and "START:STOP" in wrong.err
    long = predict(*arguments, "[MASK]" + "a" * 11, model=language_model)
    assert long.code == 2 and "12 bytes" in long.err and not long.out


def test_attention_to_images(classifier, photos, tmp_path):
    arguments = ("--task=attention", "--checkpoint=x", "--output=json")
    refused = predict(*arguments, photos, model=classifier)
    assert refused.code == 2 and "--out_dir" in refused.err
    out = tmp_path / "maps"
    result = predict(
        *arguments,
        f"--out_dir={out}",
        "--save_maps",
        "--latents=0,2",
        photos / "a.png",
        photos / "a.png",
        model=classifier,
    )
    assert result.code == 0
    first, second = result.records()
    assert first["cross_attends"] == ["cross-attend 1", "cross-attend 2"]
    assert first["grid"] == [6, 5] and first["shown_latents"] == [0, 2]
    assert first["predicted"] in NAMES
    maps = np.load(first["maps"])
    assert maps.shape == (2, 1, 3, 6, 5)
    np.testing.assert_allclose(maps.sum(axis=(-2, -1)), 1, rtol=1e-5)
    # Two inputs of one name do not overwrite each other, and nothing half-written is left.
    assert sorted(path.name for path in out.iterdir()) == [
        "a-2.attention.npy",
        "a-2.attention.png",
        "a.attention.npy",
        "a.attention.png",
    ]
    with Image.open(first["picture"]) as picture:
        # Input, mean and two latents in a row; two cross-attends.
        assert picture.width > 1.5 * picture.height
        assert len(np.unique(np.asarray(picture.convert("L")))) > 20
    wrong = predict(
        *arguments, f"--out_dir={out}", "--latents=3", photos / "a.png", model=classifier
    )
    assert wrong.code == 2 and "0 to 2" in wrong.err


def test_attention_to_text(language_model, tmp_path):
    result = predict(
        "--task=attention",
        "--checkpoint=x",
        "--output=json",
        f"--out_dir={tmp_path}",
        "--per_head",
        "$5 né[MASK]",
        model=language_model,
    )
    assert result.code == 0, result.err
    (record,) = result.records()
    assert record["grid"] == [7]  # Bytes and the mask, without padding.
    (most,) = record["most_read"].values()
    assert sum(each["weight"] for each in most) == pytest.approx(1, rel=1e-4)
    assert {each["text"] for each in most} == {"$", "5", " ", "n", "0xC3", "0xA9", "[MASK]"}
    assert (tmp_path / "text-1.attention.png").is_file()


def test_attention_to_sound(tmp_path):
    wave = pytest.importorskip("wave")
    pytest.importorskip("av")
    with wave.open(str(tmp_path / "tone.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        tone = np.sin(np.arange(10) / 2) * 20_000
        file.writeframes(tone.astype("<i2").tobytes())
    sound = zoo.AudioConfig(12, 3, position=zoo.FourierConfig(num_bands=2))
    result = predict(
        *("--task=attention", "--checkpoint=x", "--output=json", f"--out_dir={tmp_path}"),
        tmp_path / "tone.wav",
        tmp_path / "nothing.wav",
        model=loaded(dataclasses.replace(tiny_models.classifier(), preprocessor=sound)),
    )
    assert result.code == 1 and "10 samples" in result.err and "nothing.wav" in result.err
    assert result.records()[0]["grid"] == [4]
    assert Path(result.records()[0]["picture"]).is_file()


def run(*arguments):
    """A process of its own, as a user's."""
    return subprocess.run(
        [sys.executable, "-m", "perceiver_jax.predict", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.core
def test_the_command_and_a_file(photos, tmp_path):
    model = loaded(rgb_classifier(), NAMES)
    native.save(tmp_path / "tiny.safetensors", model.params, model.state, model.config)
    checkpoint = f"--checkpoint={tmp_path / 'tiny.safetensors'}"
    result = run("--task=classify", "--output=json", checkpoint, photos / "a.png")
    assert result.returncode == 0, result.stderr
    (line,) = result.stdout.splitlines()
    prepared = images.prepare(images.read_image(photos / "a.png"), (6, 5))
    ((best, *_),) = classify.classify(model, [prepared])
    assert f'"index": {best.index}, "probability": {best.probability:.4f}'[:-1] in line


def test_mistakes_are_answered(classifier, photos):
    usage = predict()
    assert usage.code == 2 and "--task=fill_mask" in usage.err
    assert "--task=classify needs an input" in predict(*CLASSIFY).err
    assert "--checkpoint" in predict("--task=classify", "x.jpg").err
    refused = predict("--task=flow", "--checkpoint=x", "a.png", "b.png", model=classifier)
    assert refused.code == 2 and "an image classifier cannot do --task=flow" in refused.err
    assert "classify, attention" in refused.err
    missing = predict("--task=classify", "--checkpoint=nowhere.pystate", "x.jpg")
    assert missing.code == 2 and "nowhere.pystate" in missing.err
    wrong = predict(*CLASSIFY, "--image_size=a,b", photos, model=classifier)
    assert wrong.code == 2 and "HEIGHT,WIDTH" in wrong.err
    assert "nowhere.jpg" in predict(*CLASSIFY, "nowhere.jpg", model=classifier).err
    unknown = predict("--task=sing", "--checkpoint=x", "a")
    assert unknown.code != 0 and "fill_mask" in unknown.err


def test_help_shows_the_flags_of_the_task():
    out = run("--task=attention", "--help").stdout
    for flag in ("--latents", "--image_size", "--mask_span", "--checkpoint", "--output"):
        assert flag in out, flag
    assert "--latents" not in run("--task=classify", "--help").stdout


def test_report():
    out, err = io.StringIO(), io.StringIO()
    report = Report(output="json", stdout=out, stderr=err)
    record = {"a": np.float32(0.5), "b": np.arange(2), "c": float("nan"), "d": Path("x")}
    report.result(record, "not shown")
    report.file("picture.png")
    assert out.getvalue() == '{"a": 0.5, "b": [0, 1], "c": null, "d": "x"}\n'
    assert "picture.png" in err.getvalue()
    assert report.exit_code == 0
    report.failure(ValueError("bad"))
    assert report.exit_code == 1
    assert list(progress([1, 2], "x")) == [1, 2]
