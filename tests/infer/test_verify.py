"""The check of released files, on stand-ins whose outputs transformers computed."""

import dataclasses
import gc
import shutil

import jax
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

import perceiver_jax
from perceiver_jax import zoo
from perceiver_jax.checkpoints import native
from perceiver_jax.errors import DataError
from perceiver_jax.infer import images, verify
from perceiver_jax.infer import released_expectations as published
from perceiver_jax.infer import released_procedures as procedures
from perceiver_jax.infer.released_expectations import RELEASED
from tests import golden_cases, released_settings, tiny_models
from tests.infer.command_line import predict
from tests.infer.verify_stand_ins import (
    COCO_NAME,
    GOLDEN,
    PICKLES,
    SINTEL_NAME,
    SMALL,
    STAND_INS,
    change,
    copy_model,
    kinds,
    picture,
    results_of,
    write_picture,
)

pytestmark = pytest.mark.usefixtures("quick_compilation")

CHECKS = {
    "language-perceiver": [
        "logits, [CLS] text [SEP]",
        "prediction, [CLS] text [SEP]",
        "logits, text alone",
        "prediction, text alone",
    ],
    "vision-perceiver-learned": ["logits", "top 5"],
    "vision-perceiver-fourier": ["logits", "top 5"],
    "vision-perceiver-conv": ["logits", "top 5"],
    "optical-flow-perceiver": ["outputs"],
    "multimodal-perceiver": ["shapes (no numbers are published)", "outputs are finite"],
}


@pytest.mark.core
@pytest.mark.parametrize("name", CHECKS)
def test_a_sound_model_passes(name, tmp_path):
    copy_model(name, tmp_path / "models" / name)
    write_picture(tmp_path / "a" / "b" / "c" / "d" / "e" / COCO_NAME, (480, 640))
    write_picture(tmp_path / "MPI" / "clean" / SINTEL_NAME, (436, 1024))
    there, missing = results_of(tmp_path)
    assert len(missing) == 5 and verify.exit_code([*there, *missing]) == 0
    assert [(each.check, each.result) for each in there] == [
        (check, verify.PASS) for check in CHECKS[name]
    ]
    for each in there:
        assert each.file == f"models/{name}" and each.model == name
        assert each.difference <= each.tolerance and not each.rounding


def add(index, value):
    """A change of an array at one place."""

    def changed(array):
        array[index] += value
        return array

    return changed


HEAD = "perceiver.decoder.decoder.final_layer.bias"


@pytest.mark.core
def test_one_changed_weight_of_a_classifier(tmp_path):
    change(copy_model("vision-perceiver-learned", tmp_path), HEAD, add(1, 0.03))
    write_picture(tmp_path / COCO_NAME, (480, 640))
    (logits, top), missing = results_of(tmp_path)
    assert verify.exit_code([logits, top, *missing]) == 1
    assert logits.result == top.result == verify.FAIL
    assert logits.difference == pytest.approx(0.03, abs=1e-4)
    assert logits.tolerance == 1e-4 and "(1,)" in logits.reason and "2.0539" in logits.reason


def test_one_changed_weight_of_flow(tmp_path):
    change(copy_model("optical-flow-perceiver", tmp_path), HEAD, add(0, 0.03))
    write_picture(tmp_path / "sintel_frame1.png", (436, 1024))
    ((flow,), _) = results_of(tmp_path)
    # The network's output is a hundredth of the last layer's.
    assert flow.result == verify.FAIL and flow.difference == pytest.approx(3e-4, rel=1e-2)


def test_changed_weights_of_the_language_model(tmp_path):
    # Deep inside, so that everything changes.
    file = copy_model("language-perceiver", tmp_path)
    change(file, "perceiver.embeddings.latents", lambda array: array[::-1].copy() * 2)
    text = kinds(results_of(tmp_path)[0])
    assert text["logits, text alone"] == text["logits, [CLS] text [SEP]"] == verify.FAIL
    # Predicts one byte everywhere.
    change(copy_model("language-perceiver", tmp_path), "embedding_decoder.bias", add(100, 1e3))
    there, _ = results_of(tmp_path)
    (prediction,) = [each for each in there if each.check == "prediction, text alone"]
    assert prediction.result == verify.FAIL and prediction.difference == 9
    assert "'^^^^^^^^^'" in prediction.reason and "was published" in prediction.reason


def test_outputs_that_are_no_numbers_or_of_another_shape(tmp_path):
    (other,) = [each for each in STAND_INS if each.name == "multimodal-perceiver"]
    procedure = dataclasses.replace(other.procedure, audio=(1, 63))
    other = dataclasses.replace(other, procedure=procedure)
    bias = "perceiver.output_postprocessor.modalities.audio.classifier.bias"
    change(copy_model("multimodal-perceiver", tmp_path), bias, add(0, np.nan))
    (shapes, finite), _ = results_of(tmp_path, [other])
    assert shapes.result == verify.FAIL and shapes.difference == 1
    assert "(1, 64)" in shapes.reason and "(1, 63)" in shapes.reason
    assert finite.result == verify.FAIL and finite.difference == 4  # One for each patch.


@pytest.mark.slow
def test_pictures_that_are_missing_or_others(tmp_path):
    file = copy_model("vision-perceiver-learned", tmp_path)
    (result,), missing = results_of(tmp_path)
    assert result.result == verify.NOT_CHECKED and "000000039769.png" in result.reason
    assert result.file == tmp_path.name and result.model == "vision-perceiver-learned"
    assert len(missing) == 5 and verify.exit_code([result, *missing]) == 2
    write_picture(tmp_path / COCO_NAME, (48, 64))
    (result,), _ = results_of(tmp_path)
    assert result.result == verify.NOT_CHECKED and "64 x 48 pixels" in result.reason
    (tmp_path / COCO_NAME).write_bytes(b"\x89PNG\r\n\x1a\n")
    (result,), _ = results_of(tmp_path)
    assert result.result == verify.NOT_CHECKED and COCO_NAME in result.reason
    # A good one, and the PNG is taken before the JPEG.
    write_picture(tmp_path / COCO_NAME, (480, 640))
    Image.new("RGB", (640, 480)).save(tmp_path / "000000039769.jpg")
    assert {each.result for each in results_of(tmp_path)[0]} == {verify.PASS}
    (tmp_path / COCO_NAME).unlink()
    assert {each.result for each in results_of(tmp_path)[0]} == {verify.FAIL}
    assert file.is_file()


def test_which_file_is_the_picture(tmp_path):
    def found():
        path = verify.find_picture(tmp_path, published.SINTEL)
        return path and str(path.relative_to(tmp_path))

    # In order of preference, the worst first; others are other pictures.
    for name in (
        "x/final/cave_3/frame_0001.png",
        "clean/ambush_1/frame_0001.png",
        "clean/cave_3/frame_0002.png",
        ".hidden/cave_3/frame_0001.png",
        "other/frame_0001.png",
        "not_sintel_frame1.png",
    ):
        write_picture(tmp_path / name, (3, 4))
        assert found() is None
    for name in (
        "frame_0001.png",
        "a/Sintel_Frame1.PNG",
        "cave_3/frame_0001.png",
        "z/z/z/z/z/test/clean/cave_3/frame_0001.png",
    ):
        write_picture(tmp_path / name, (3, 4))
        assert found() == name


@pytest.mark.core
def test_damaged_files_fail_and_others_go_on(tmp_path):
    data = copy_model("language-perceiver", tmp_path / "good").read_bytes()
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "model.safetensors").write_bytes(data[:-1000])
    pointer = copy_model("language-perceiver", tmp_path / "pointer")
    pointer.write_text("version https://git-lfs.github.com/spec/v1\n")
    pickle = (PICKLES / "language_perceiver_io_bytes.tiny.pickle").read_bytes()
    (tmp_path / "cut.anything").write_bytes(pickle[: len(pickle) // 2])
    (tmp_path / "page.pystate").write_text("<html>Not found</html>")
    (tmp_path / "empty.pickle").touch()
    tensors = load_file(tmp_path / "good" / "model.safetensors")
    tensors.pop("perceiver.embeddings.latents")
    save_file(tensors, tmp_path / "lacking.safetensors")
    (tmp_path / "notes.txt").write_text("nothing to do with it")
    there, missing = results_of(tmp_path)
    by_file = {each.file: each for each in there}
    assert set(by_file) == {
        *("cut", "pointer", "cut.anything", "page.pystate", "empty.pickle"),
        *("lacking.safetensors", "good"),
    }
    assert by_file.pop("good").result == verify.PASS
    for name, each in by_file.items():
        assert each.result == verify.FAIL and each.check == "loading", each
        assert name in each.reason and each.model is None
    assert len(missing) == 5 and verify.exit_code(there) == 1


def test_an_error_while_running_fails_that_model_alone(tmp_path, monkeypatch):
    copy_model("language-perceiver", tmp_path / "a")
    copy_model("multimodal-perceiver", tmp_path / "b")

    def broken(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(procedures, "_check_text", broken)
    there, _ = results_of(tmp_path)
    assert [each.result for each in there] == [verify.FAIL, verify.PASS, verify.PASS]
    assert there[0].check == "running" and "RuntimeError: out of memory" in there[0].reason


def test_nothing_to_check(tmp_path):
    there, missing = results_of(tmp_path, RELEASED)
    assert not there and [each.model for each in missing] == [each.name for each in RELEASED]
    assert verify.exit_code(missing) == 2
    assert "language_perceiver_io_bytes.pickle" in missing[0].reason
    with pytest.raises(DataError, match="there is no folder"):
        list(verify.verify(tmp_path / "nowhere"))


@pytest.mark.slow
def test_files_of_other_models_are_not_checked(tmp_path):
    copy_model("sequence-classification", tmp_path / "text")
    copy_model("language-perceiver", tmp_path / "small")
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "bert" / "model.safetensors").touch()
    for name in ("language_perceiver_io_bytes.tiny.pickle", "optical_flow_checkpoint.tiny.pystate"):
        shutil.copy(PICKLES / name, tmp_path / name)
    model = perceiver_jax.build(tiny_models.classifier())
    params = jax.tree.map(lambda x: np.ones(x.shape, x.dtype), model.abstract_params()[0])
    native.save(tmp_path / "ours", params, {}, tiny_models.classifier())
    there, missing = results_of(tmp_path, RELEASED)
    assert {each.result for each in there} == {verify.NOT_CHECKED} and len(missing) == 6
    reasons = {each.file: each.reason for each in there}
    assert "'text_classifier'" in reasons.pop("text") and "'bert'" in reasons.pop("bert")
    assert "perceiver_jax wrote it" in reasons.pop("ours")
    assert len(reasons) == 3
    assert all("not of the released size" in reason for reason in reasons.values())


@pytest.mark.slow
def test_pickles_pass_and_fail(tmp_path):
    """A pickle tells no heads, but the expectation does; it expects what the model itself gives."""
    file = tmp_path / "imagenet_fourier_position_encoding.tiny.pystate"
    shutil.copy(PICKLES / file.name, file)
    case = golden_cases.load("imagenet_fourier")
    config = released_settings.imagenet(case.config)
    assert isinstance(config, zoo.PerceiverConfig)
    params, state, ported = perceiver_jax.load_checkpoint(
        file, config=config, numerics="huggingface"
    )
    image = procedures.prepare_image(picture(480, 640), config.preprocessor.shape)
    logits, _ = perceiver_jax.build(ported).apply(params, state, None, image[None])
    logits = np.asarray(logits, np.float64)[0]
    probabilities = np.exp(logits) / np.exp(logits).sum()
    order = np.argsort(-probabilities)[:3]
    procedure = published.Image(
        picture=published.COCO,
        shape=(1, len(logits)),
        logits=published.Numbers(tuple(logits[:3]), **SMALL),
        top=tuple(f"class {index}" for index in order),
        probabilities=published.Numbers(tuple(probabilities[order]), **SMALL),
    )
    (released,) = [each for each in RELEASED if each.family == "imagenet_fourier"]
    expected = dataclasses.replace(released, config=lambda: config, procedure=procedure)
    write_picture(tmp_path / COCO_NAME, (480, 640))
    there, _ = results_of(tmp_path, [expected])
    assert kinds(there) == {"logits": verify.PASS, "top 3": verify.PASS}
    swapped = dataclasses.replace(procedure, top=procedure.top[::-1])
    there, _ = results_of(tmp_path, [dataclasses.replace(expected, procedure=swapped)])
    assert kinds(there) == {"logits": verify.PASS, "top 3": verify.FAIL}
    assert procedure.top[0] in there[1].reason


def test_where_checkpoints_are_found(tmp_path):
    # As in Hugging Face's cache: a folder of links to files of other names.
    snapshot = tmp_path / "models--deepmind--language-perceiver" / "snapshots" / "8f3a"
    weights = copy_model("language-perceiver", snapshot)
    blob = snapshot.parents[1] / "blobs" / "77aa"
    blob.parent.mkdir()
    weights.rename(blob)
    weights.symlink_to(blob)
    deep = tmp_path / "1" / "2" / "3" / "4"
    copy_model("language-perceiver", deep)
    copy_model("language-perceiver", tmp_path / ".cache" / "x")
    assert verify.find_checkpoints(tmp_path) == [snapshot]
    assert verify.find_checkpoints(deep.parent) == [deep]
    weights.unlink()
    assert verify.find_checkpoints(tmp_path) == [blob, snapshot]  # A folder without its weights.


def test_one_model_is_held_at_a_time(tmp_path):
    for name in ("a", "b"):
        copy_model("multimodal-perceiver", tmp_path / name)

    def held():
        gc.collect()
        return sum(array.nbytes for array in jax.live_arrays())

    before, seen = held(), []
    for _ in verify.verify(tmp_path, STAND_INS):
        seen.append(held() - before)
    assert max(seen) < 100_000  # A model has 1.5 MB.


def test_pictures_are_prepared_as_transformers_does():
    for case in GOLDEN["prepared"]:
        prepared = procedures.prepare_image(picture(*case["picture"]), (224, 224))
        assert prepared.shape == (224, 224, 3) and prepared.dtype == np.float32
        assert prepared.mean(dtype=np.float64) == pytest.approx(case["mean"], abs=1e-6)
        assert prepared.std(dtype=np.float64) == pytest.approx(case["std"], abs=1e-6)
        for channel, y, x, value in case["points"]:
            assert prepared[y, x, channel] == pytest.approx(value, abs=1e-6)
        # Ours is another.
        ours = images.prepare(picture(*case["picture"]), (224, 224))
        assert np.abs(ours - prepared).max() > 0.1


def test_comparison_by_hand():
    numbers = published.Numbers((2.0, -4.0), atol=0.1, rtol=0.01, rounding=0.05, source="me")

    def compare(*values):
        return procedures.compare("x", np.array([values], np.float32), (1, 3), numbers)

    # Allowed are 0.12 + 0.05 and 0.14 + 0.05.
    good = compare(2.1, -4.05, 99.0)
    assert good.passed and not good.reason and good.difference == pytest.approx(0.1, rel=1e-5)
    assert good.tolerance == pytest.approx(0.12) and good.rounding == 0.05
    rounded = compare(2.0, -4.17, 0.0)
    assert rounded.passed and "rounding" in rounded.reason
    bad = compare(2.3, -4.17, 0.0)
    assert not bad.passed and "(0,)" in bad.reason and "me" in bad.reason
    assert bad.difference == pytest.approx(0.3, rel=1e-5)  # The larger share of what is allowed.
    nan = compare(2.0, np.nan, 0.0)
    assert not nan.passed and "(1,)" in nan.reason
    shape = procedures.compare("x", np.zeros((1, 4)), (1, 3), numbers)
    assert not shape.passed and "(1, 4)" in shape.reason


def test_the_command(tmp_path):
    copy_model("multimodal-perceiver", tmp_path / "m")
    (tmp_path / "page.pystate").write_text("<html>")
    result = predict(f"--verify_released={tmp_path}", "--output=json")
    assert result.code == 1
    records = {record["file"]: record for record in result.records() if record["file"]}
    assert records["m"]["result"] == "not checked"  # It is not of the released size.
    assert records["page.pystate"]["result"] == "FAIL"
    assert set(records["m"]) == {field.name for field in dataclasses.fields(verify.Result)}
    assert len(result.records()) == 8 and "0 passed, 1 failed, 7 not checked" in result.err
    (tmp_path / "page.pystate").unlink()
    text = predict("--verify_released", tmp_path)
    assert text.code == 2
    header, first, reason, *_ = text.out.splitlines()
    assert header.split() == ["file", "model", "check", "difference", "tolerance", "result"]
    assert first.split()[0] == "m" and first.endswith("not checked")
    assert "not of the released size" in reason
    alone = predict("--verify_released", tmp_path, "--task=flow", "x.png")
    assert alone.code == 2 and "leave out --task, x.png" in alone.err and not alone.out
    assert "no folder" in predict("--verify_released=nowhere").err


def test_the_table():
    from perceiver_jax.infer.commands.verify import table

    results = [
        verify.Result("f", "m", "logits", verify.PASS, 3.21e-5, 1e-4, 2e-5, "note"),
        verify.Result(None, "model", "all", verify.NOT_CHECKED, reason="why"),
    ]
    assert table(results).splitlines() == [
        "file  model  check   difference  tolerance       result",
        "f     m      logits  3.2e-05     0.0001 + 2e-05  PASS",
        "    note",
        "-     model  all     -           -               not checked",
        "    why",
    ]
