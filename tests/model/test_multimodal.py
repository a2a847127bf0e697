"""Several modalities: golden arrays, padding, masking, order, errors."""

import haiku as hk
import jax
import numpy as np
import pytest

from perceiver_jax.model import multimodal, postprocessors
from perceiver_jax.model.byte_array import ByteArray
from perceiver_jax.model.decoders import DecoderConfig, QueryConfig
from perceiver_jax.model.multimodal import MaskProbability, MultimodalConfig
from perceiver_jax.model.position_encoding import FourierConfig, LearnedConfig
from perceiver_jax.model.postprocessors import (
    AudioOutputConfig,
    ClassOutputConfig,
    ProjectionOutputConfig,
)
from perceiver_jax.model.preprocessors import AudioConfig, ImageConfig, LabelConfig
from tests import golden_cases
from tests.random_params import transformed

pytestmark = [pytest.mark.core, pytest.mark.usefixtures("highest_precision", "quick_compilation")]

FOURIER = FourierConfig(num_bands=2)


def preprocess(config, is_training=False):
    def forward(inputs):
        preprocessors = {
            name: multimodal.make_preprocessor(modality)
            for name, modality in config.modalities.items()
        }
        module = multimodal.MultimodalPreprocessor(config, preprocessors)
        return module(inputs, is_training=is_training)

    return forward


def test_preprocessor_equals_golden():
    case = golden_cases.load("preproc_multimodal_no_mask")
    config = MultimodalConfig(
        modalities={
            "b_audio": AudioConfig(num_samples=24, samples_per_patch=4, position=FOURIER),
            "a_image": ImageConfig((8, 12), prep="patches", spatial_downsample=4, position=FOURIER),
            "c_label": LabelConfig(num_classes=5),
        },
        min_padding_size=case.config["min_padding_size"],
    )
    golden_cases.assert_init_makes_tree_of(preprocess(config), case, dict(case.inputs))
    joined = golden_cases.run(preprocess(config), case, dict(case.inputs))
    golden_cases.assert_close(joined.features, case.outputs["out"])
    assert list(joined.by_modality) == ["a_image", "b_audio", "c_label"]
    for name, elements in joined.by_modality.items():
        golden_cases.assert_close(
            elements.without_position, case.outputs[f"without_pos/{name}"], name
        )
        assert elements.features.shape[1] == case.outputs[f"sizes/{name}"]


def test_splitting_equals_golden():
    case = golden_cases.load("restructure")
    parts = multimodal.split_modalities(case.inputs["x"], case.config["modality_sizes"])
    assert set(parts) == set(case.outputs)
    for name, part in parts.items():
        np.testing.assert_array_equal(part, case.outputs[name])


def test_postprocessors_equal_golden():
    case = golden_cases.load("postproc_multimodal")
    outputs = {
        "audio": AudioOutputConfig(samples_per_patch=4),
        "image": ProjectionOutputConfig(channels=3),
        "label": ClassOutputConfig(num_classes=5),
    }

    def forward(x):
        parts = multimodal.split_modalities(x, case.config["modality_sizes"])
        return {
            name: postprocessors.make_postprocessor(outputs[name])(part)
            for name, part in parts.items()
        }

    golden_cases.assert_init_makes_tree_of(forward, case, case.inputs["x"])
    for name, out in golden_cases.run(forward, case, case.inputs["x"]).items():
        golden_cases.assert_close(out, case.outputs[name], name)


def two_modalities(probability: MaskProbability | None) -> MultimodalConfig:
    """500 elements of sound beside a label."""
    return MultimodalConfig(
        modalities={
            "sound": AudioConfig(num_samples=1000, samples_per_patch=2),
            "label": LabelConfig(num_classes=5),
        },
        min_padding_size=3,
        mask_probabilities=probability
        and {"sound": probability, "label": MaskProbability(0.0, 0.0)},
    )


INPUTS = {
    "sound": np.random.default_rng(3).standard_normal((2, 1000, 1)).astype(np.float32),
    "label": np.eye(5, dtype=np.float32)[[1, 4]],
}


def test_padding_is_trainable_and_stands_after_the_content():
    params, call = transformed(preprocess(two_modalities(None)), INPUTS)
    assert {name: a["pos_embs"].shape for name, a in params.items()} == {
        "multimodal_preprocessor/label_padding": (1, 3),
        "multimodal_preprocessor/sound_padding": (1, 6),
    }
    features = np.asarray(call(params, INPUTS).features)
    assert features.shape == (2, 501, 8)
    np.testing.assert_array_equal(features[:, 0, :5], INPUTS["label"])
    np.testing.assert_array_equal(features[:, 1:, :2], INPUTS["sound"].reshape(2, 500, 2))
    padding = params["multimodal_preprocessor/sound_padding"]["pos_embs"]
    np.testing.assert_array_equal(features[:, 1:, 2:], np.broadcast_to(padding, (2, 500, 6)))


class TestMasking:
    config = two_modalities(MaskProbability(train=0.5, evaluation=1.0))
    token = "multimodal_preprocessor/sound_mask_token"

    def masked(self, config, is_training, rng=None):
        """Which elements are the mask token, and all features."""
        params, call = transformed(preprocess(config, is_training), INPUTS)
        joined = call(params, INPUTS, rng=rng)
        token = params[self.token]["pos_embs"]
        np.testing.assert_array_equal(
            joined.by_modality["sound"].features, INPUTS["sound"].reshape(2, 500, 2)
        )
        return np.asarray(joined.features == token).all(axis=-1), np.asarray(joined.features)

    def test_half_of_the_elements_in_training(self):
        masked, features = self.masked(self.config, True, jax.random.key(0))
        assert not masked[:, 0].any()  # The label.
        assert 0.44 < masked[:, 1:].mean() < 0.56
        assert (masked[0] != masked[1]).any()  # Each example by itself.
        _, plain = self.masked(two_modalities(MaskProbability(0.0, 0.0)), True)
        np.testing.assert_array_equal(features[~masked], plain[~masked])

    def test_other_keys_mask_others(self):
        first, _ = self.masked(self.config, True, jax.random.key(0))
        second, _ = self.masked(self.config, True, jax.random.key(1))
        assert 0.4 < (first != second)[:, 1:].mean() < 0.6

    def test_all_of_them_without_a_key(self):
        masked, _ = self.masked(self.config, False)
        assert masked[:, 1:].all() and not masked[:, 0].any()

    def test_none_of_them_without_a_key(self):
        masked, _ = self.masked(two_modalities(MaskProbability(0.0, 0.0)), True)
        assert not masked.any()

    def test_drawing_needs_a_key(self):
        with pytest.raises(ValueError, match="(?i)rng"):
            self.masked(self.config, True)


def test_decoder_joins_queries_of_different_widths():
    """Each query is padded to one width, and each output has its modality's elements."""
    config = multimodal.MultimodalDecoderConfig(
        queries={
            "b": QueryConfig((2, 3), FourierConfig(1, max_resolution=(2, 3))),
            "a": QueryConfig((1,), LearnedConfig(11)),
        },
        decoder=DecoderConfig(output_channels=7),
        min_padding_size=4,
    )
    latents = np.random.default_rng(5).standard_normal((2, 3, 13)).astype(np.float32)

    def forward(latents, points, query_mask=None):
        makers = {name: multimodal.make_query_maker(q) for name, q in config.queries.items()}
        decoder = multimodal.MultimodalDecoder(config, makers)
        inputs = {"b": multimodal.Elements(ByteArray.of(latents), latents)}
        queries = decoder.decoder_query(inputs, {"b": points})
        written = {name: query.dense() for name, query in queries.items()}
        return decoder(queries, latents, query_mask), written

    points = np.array([4, 0])
    params, call = transformed(forward, latents, points)
    out, queries = call(params, latents, points)
    assert {name: x.shape for name, x in out.items()} == {"a": (2, 1, 7), "b": (2, 2, 7)}
    padding = params["multimodal_decoder/~decoder_query/b_padding"]["pos_embs"]
    assert padding.shape == (1, 15 - 6)
    np.testing.assert_array_equal(queries["b"][1, :, 6:], np.repeat(padding, 2, axis=0))
    # A masked output reads nothing; the others read on.
    shown, _ = call(params, latents, points, {"b": np.array([[1, 1], [1, 1]])})
    masked, _ = call(params, latents, points, {"b": np.array([[1, 0], [1, 1]])})
    changed = {name: np.asarray(masked[name] != shown[name]).any(axis=-1) for name in out}
    np.testing.assert_array_equal(changed["b"], [[False, True], [False, False]])
    assert not changed["a"].any()
    for name, x in out.items():
        golden_cases.assert_close(shown[name], x, name, atol=1e-5)


def test_labels_that_nobody_sees_may_be_left_out_of_evaluation():
    config = two_modalities(None)
    never, always = MaskProbability(0.0, 0.0), MaskProbability(train=0.5, evaluation=1.0)
    config = MultimodalConfig(
        config.modalities, mask_probabilities={"sound": never, "label": always}
    )
    params, call = transformed(preprocess(config), INPUTS)
    expected = call(params, INPUTS).features
    actual = call(params, {"sound": INPUTS["sound"]}).features
    np.testing.assert_array_equal(actual, expected)
    with pytest.raises(ValueError, match=r"\['label', 'sound'\]; got \['sound'\]"):
        transformed(preprocess(config, is_training=True), {"sound": INPUTS["sound"]})


class TestErrors:
    def test_missing_and_unknown_modalities(self):
        with pytest.raises(ValueError, match=r"\['label', 'sound'\]; got \['label', 'smell'\]"):
            transformed(
                preprocess(two_modalities(None)),
                {"label": INPUTS["label"], "smell": INPUTS["sound"]},
            )

    def test_mask_probabilities_of_other_modalities(self):
        with pytest.raises(ValueError, match=r"\['smell'\], but the modalities are \['label'\]"):
            MultimodalConfig({"label": LabelConfig(5)}, 2, {"smell": MaskProbability(0.0, 0.0)})

    def test_probabilities(self):
        with pytest.raises(ValueError, match=r"between 0 and 1; got 1\.5"):
            MaskProbability(train=1.5, evaluation=0.0)

    def test_sizes_that_do_not_add_up(self):
        with pytest.raises(ValueError, match="6 elements cannot be split into"):
            multimodal.split_modalities(np.zeros((2, 6, 3)), {"a": 2, "b": 3})

    def test_query_of_the_inner_decoder(self):
        query = QueryConfig((1,), LearnedConfig(11))
        with pytest.raises(ValueError, match="given by modality"):
            multimodal.MultimodalDecoderConfig({"a": query}, DecoderConfig(3, query))


def test_modalities_need_not_be_sorted_by_the_caller():
    config = two_modalities(None)
    backwards = MultimodalConfig(dict(reversed(config.modalities.items())), config.min_padding_size)
    params, call = transformed(preprocess(config), INPUTS)
    f = hk.transform(preprocess(backwards))
    out = f.apply(params, None, dict(reversed(INPUTS.items())))
    np.testing.assert_array_equal(out.features, call(params, INPUTS).features)
