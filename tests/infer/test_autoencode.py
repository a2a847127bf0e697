"""Autoencoding of video with sound: in chunks, in pieces, and how good it is."""

import dataclasses

import numpy as np
import pytest

import perceiver_jax
from perceiver_jax import zoo
from perceiver_jax.errors import ModelError
from perceiver_jax.infer import autoencode
from perceiver_jax.infer.loaded import LoadedModel
from tests import golden_cases, golden_models, tiny_models
from tests.random_params import model_params

pytestmark = pytest.mark.usefixtures("quick_compilation")

PER_FRAME = 5  # Samples of the tiny model, whose pieces are two frames of 4 x 6 pixels.


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    model = perceiver_jax.build(tiny_models.video_autoencoder())
    return LoadedModel(model, *model_params(model))


def video(num_frames: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(num_frames)
    frames = rng.uniform(size=(num_frames, 4, 6, 3)).astype(np.float32)
    return frames, rng.uniform(-1, 1, (num_frames * PER_FRAME, 1)).astype(np.float32)


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)


@pytest.mark.core
@pytest.mark.parametrize("num_chunks", [1, 4, 5])
def test_golden(highest_precision, num_chunks):
    """The released procedure in four chunks; it must not matter how many there are."""
    case = golden_cases.load("video_autoencoding_full")
    params = golden_cases.load("video_autoencoding").params
    loaded = LoadedModel(golden_models.build("video_autoencoding"), params, {})
    layout = autoencode.piece_layout(loaded.config)
    for example in range(len(case.inputs["images"])):
        # The golden pixels are normally distributed, which autoencode itself refuses.
        result = autoencode.autoencode_piece(
            loaded,
            layout,
            case.inputs["images"][example],
            case.inputs["audio"][example],
            num_chunks,
        )
        golden_cases.assert_close(result.frames, case.outputs["image"][example])
        golden_cases.assert_close(result.audio, case.outputs["audio"][example])
        expected = softmax(case.outputs["label"][example : example + 1])
        golden_cases.assert_close(result.probabilities, expected)


class TestChunks:
    @pytest.mark.core
    @pytest.mark.parametrize("num_chunks", [2, 3, 7, 48, 10_000])
    def test_number_does_not_matter(self, loaded, num_chunks):
        """Few and many, dividing the 48 pixels and 5 patches of sound or not."""
        frames, audio = video(2)
        expected = autoencode.autoencode(loaded, frames, audio, num_chunks=1)
        actual = autoencode.autoencode(loaded, frames, audio, num_chunks=num_chunks)
        for one, other in zip(actual, expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)

    def test_outputs_are_placed_by_index(self, loaded):
        """Also in a single chunk: a whole grid would have other positions (FIDELITY)."""
        frames, audio = video(2)
        inputs = {"image": frames[None], "audio": audio[None]}
        points = {"image": np.arange(48), "audio": np.arange(5)}
        by_index = loaded.apply(inputs, subsampled_output_points=points)
        whole = loaded.apply(inputs)
        actual = autoencode.autoencode(loaded, frames, audio, num_chunks=1)
        expected = np.asarray(by_index["image"]).reshape(2, 4, 6, 3)
        np.testing.assert_allclose(actual.frames, expected, atol=1e-5)
        difference = np.abs(actual.frames.ravel() - np.asarray(whole["image"]).ravel())
        assert difference.max() > 1e-2

    def test_compiled_once(self, loaded):
        fresh = LoadedModel(loaded.model, loaded.params, loaded.state)
        autoencode.autoencode(fresh, *video(5), num_chunks=7)
        assert fresh._encode._cache_size() == fresh._decode._cache_size() == 1

    def test_impossible_number(self, loaded):
        with pytest.raises(ModelError, match="num_chunks must be at least 1; got 0"):
            autoencode.autoencode(loaded, *video(2), num_chunks=0)


class TestPieces:
    @pytest.mark.core
    def test_are_independent(self, loaded):
        frames, audio = video(4)
        whole = autoencode.autoencode(loaded, frames, audio, num_chunks=2)
        second = autoencode.autoencode(loaded, frames[2:], audio[2 * PER_FRAME :], num_chunks=2)
        np.testing.assert_array_equal(whole.frames[2:], second.frames)
        np.testing.assert_array_equal(whole.audio[2 * PER_FRAME :], second.audio)
        np.testing.assert_array_equal(whole.probabilities[1:], second.probabilities)
        np.testing.assert_allclose(whole.probabilities.sum(axis=1), [1, 1])

    def test_last_one_is_filled_up(self, loaded):
        frames, audio = video(3)
        odd = autoencode.autoencode(loaded, frames, audio, num_chunks=2)
        filled = np.concatenate([frames, frames[-1:]])
        silence = np.concatenate([audio, np.zeros((PER_FRAME, 1), np.float32)])
        even = autoencode.autoencode(loaded, filled, silence, num_chunks=2)
        assert odd.frames.shape == (3, 4, 6, 3) and odd.audio.shape == (15, 1)
        assert odd.probabilities.shape == (2, 3)
        np.testing.assert_array_equal(odd.frames, even.frames[:3])
        np.testing.assert_array_equal(odd.audio, even.audio[:15])

    def test_no_sound_is_silence(self, loaded):
        frames, _ = video(2)
        actual = autoencode.autoencode(loaded, frames, num_chunks=1)
        expected = autoencode.autoencode(loaded, frames, np.zeros((10, 1)), num_chunks=1)
        np.testing.assert_array_equal(actual.frames, expected.frames)

    def test_released_layout(self):
        layout = autoencode.piece_layout(zoo.get_config("video_autoencoding"))
        assert layout == ("image", "audio", "label", 16, (224, 224), 1920, 802_816, 1920, 700)


class TestErrors:
    def test_another_kind_of_model(self):
        model = perceiver_jax.build(tiny_models.optical_flow())
        with pytest.raises(ModelError, match="optical flow model cannot do --task=autoencode"):
            autoencode.autoencode(LoadedModel(model, {}, {}), *video(2))

    def test_label_that_is_read(self):
        config = tiny_models.video_autoencoder()
        config = perceiver_jax.config.override(
            config, {"preprocessor.mask_probabilities.label.evaluation": 0.0}
        )
        with pytest.raises(ModelError, match="reads the label 'label' instead of predicting"):
            autoencode.piece_layout(config)

    def test_no_sound_in_the_model(self):
        config = tiny_models.video_autoencoder()
        config = dataclasses.replace(
            config,
            preprocessor=dataclasses.replace(
                config.preprocessor,
                modalities={"image": config.preprocessor.modalities["image"]},
                mask_probabilities=None,
            ),
        )
        with pytest.raises(ModelError, match="one video, one sound"):
            autoencode.piece_layout(config)

    @pytest.mark.parametrize("shape", [(2, 4, 5, 3), (2, 4, 6), (0, 4, 6, 3)])
    def test_frames_of_another_shape(self, loaded, shape):
        with pytest.raises(ModelError, match=r"reads frames \[t, 4, 6, 3\]"):
            autoencode.autoencode(loaded, np.zeros(shape))

    def test_sound_of_another_length(self, loaded):
        with pytest.raises(ModelError, match=r"need sound \[10, 1\], 5 samples a frame"):
            autoencode.autoencode(loaded, np.zeros((2, 4, 6, 3)), np.zeros((11, 1)))

    @pytest.mark.parametrize(("part", "value"), [(0, 255.0), (0, -0.1), (1, -2.0), (1, np.nan)])
    def test_values_out_of_range(self, loaded, part, value):
        inputs = video(2)
        inputs[part].flat[3] = value
        with pytest.raises(ModelError, match=rf"the {('frames', 'sound')[part]} must be in \["):
            autoencode.autoencode(loaded, *inputs)


class TestPSNR:
    @pytest.mark.core
    def test_by_hand(self):
        # Squared errors 0.01, 0.09, 0, 0: a mean of 0.025, and 10 log10(40) = 16.0206.
        original, reconstruction = np.array([0.5, 0.5, 1, 0]), np.array([0.6, 0.2, 1, 0])
        assert autoencode.psnr(original, reconstruction) == pytest.approx(16.0206, abs=1e-4)

    def test_equal(self):
        assert autoencode.psnr(np.ones(3), np.ones(3)) == float("inf")

    def test_piece_by_piece(self):
        original, reconstruction = np.random.default_rng(0).uniform(size=(2, 5, 4))
        meter = autoencode.PSNRMeter()
        assert np.isnan(meter.value)
        meter.add(original[:1], reconstruction[:1])
        meter.add(original[1:], reconstruction[1:])
        assert meter.value == pytest.approx(autoencode.psnr(original, reconstruction), abs=1e-12)
