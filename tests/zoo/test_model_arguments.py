"""Arguments that make no sense are refused in words, whichever part of the model they reach."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import perceiver_jax
from perceiver_jax import zoo
from perceiver_jax.errors import ConfigError, ModelError
from tests import golden_cases, golden_models

CONFIG = zoo.PerceiverConfig(
    preprocessor=zoo.ImageConfig(shape=(3, 5), channels=1, position=zoo.FourierConfig(num_bands=2)),
    encoder=zoo.EncoderConfig(
        num_latents=5,
        latent_channels=14,
        num_blocks=1,
        self_attends_per_block=1,
        self_attend_heads=2,
    ),
    decoder=zoo.ClassificationDecoderConfig(num_classes=3, query_channels=11),
)


@pytest.fixture(scope="module")
def model_and_params():
    model = perceiver_jax.build(CONFIG)
    return model, *model.init(jax.random.key(0))


def test_inputs_in_a_wrong_container(model_and_params):
    model, params, state = model_and_params
    with pytest.raises(ValueError, match=r"images must be an array .* got a dict"):
        model.apply(params, state, None, {"image": jnp.ones((2, 3, 5, 1))})
    with pytest.raises(ValueError, match="state must be the two mappings that init returns"):
        model.apply(params, None, None, jnp.ones((2, 3, 5, 1)))


def test_masks_may_be_lists(model_and_params):
    model, params, state = model_and_params
    images = jax.random.normal(jax.random.key(1), (1, 3, 5, 1))
    mask = [[1] * 14 + [0]]
    listed, _ = model.apply(params, state, None, images, input_mask=mask)
    array, _ = model.apply(params, state, None, images, input_mask=jnp.asarray(mask))
    assert jnp.array_equal(listed, array)


def test_a_pattern_that_captures_nothing(model_and_params):
    model, params, state = model_and_params
    with pytest.raises(ValueError, match="matches no module"):
        model.apply(params, state, None, jnp.ones((2, 3, 5, 1)), capture="*no_such_module*")


def test_build_wants_a_model():
    with pytest.raises(ModelError, match="takes a name of list_models"):
        perceiver_jax.build(5)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("self_attend_heads", 3, "v_channels=14 is not divisible|qk_channels=14 is not divisible"),
        ("self_attend_heads", 0, "self_attend_heads=0 must be at least 1"),
        ("num_blocks", -1, "num_blocks=-1 must not be negative"),
        ("num_latents", 0, "num_latents=0 must be at least 1"),
    ],
)
def test_encoders_that_cannot_be(path, value, words):
    with pytest.raises(ConfigError, match=words):
        perceiver_jax.build(CONFIG, encoder={path: value})


class TestGoldenModels:
    """What models of every kind say of inputs that they cannot take."""

    def fails(self, words, name, *args, **kwargs):
        case, model = golden_cases.load(name), golden_models.build(name)
        with pytest.raises(ValueError, match=words):
            jax.eval_shape(lambda: model.apply(case.params, case.state, None, *args, **kwargs))

    def test_two_inputs_to_a_model_of_one(self):
        images = golden_cases.load("imagenet_fourier").inputs["images"]
        self.fails("one input; got 2", "imagenet_fourier", images, images)

    def test_channels(self):
        self.fails("images must have shape", "imagenet_fourier", np.zeros((2, 9, 7, 4)))

    def test_input_mask_of_another_size(self):
        images = golden_cases.load("imagenet_fourier").inputs["images"]
        words = r"input_mask must have shape .*\(2, 63\); got \(2, 62\)"
        self.fails(words, "imagenet_fourier", images, input_mask=np.ones((2, 62)))

    def test_mapping_for_a_model_of_one_output(self):
        images = golden_cases.load("imagenet_fourier").inputs["images"]
        words = "one output: pass an array"
        self.fails(words, "imagenet_fourier", images, query_mask={"out": np.ones((2, 1))})

    def test_projection_has_no_queries(self):
        images = golden_cases.load("perceiver_projection_decoder").inputs["images"]
        name = "perceiver_projection_decoder"
        self.fails("takes no query_mask", name, images, query_mask=np.ones((2, 1)))
        self.fails("takes no subsampled_output_points", name, images, subsampled_output_points=[0])

    def test_one_array_for_several_modalities(self):
        words = r"mapping by modality.*got a single array of shape \(2, 5, 1\)"
        self.fails(words, "video_autoencoding", np.zeros((2, 5, 1), np.float32))

    def test_unknown_modality_of_output_points(self):
        inputs = golden_models.video_inputs(golden_cases.load("video_autoencoding"))
        for argument in ("subsampled_output_points", "query_mask"):
            words = r"unknown modalities \['smell'\].*\['audio', 'image', 'label'\]"
            kwargs = {argument: {"smell": np.arange(3)}}
            self.fails(words, "video_autoencoding", inputs, **kwargs)
            kwargs = {argument: np.arange(3)}
            self.fails("mapping by modality", "video_autoencoding", inputs, **kwargs)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"decoder": zoo.DecoderConfig(3)}, "go together"),
            ({"postprocessor": None}, "go together"),
            (
                {"postprocessor": zoo.MultimodalOutputConfig({"audio": zoo.AudioOutputConfig(4)})},
                r"\['audio', 'image', 'label'\], .*postprocessor's are \['audio'\]",
            ),
        ],
    )
    def test_multimodal_parts_that_do_not_fit(self, changes, words):
        config = golden_models.video_autoencoder()
        parts = {
            "preprocessor": config.preprocessor,
            "encoder": config.encoder,
            "decoder": config.decoder,
            "postprocessor": config.postprocessor,
        }
        with pytest.raises(ValueError, match=words):
            zoo.PerceiverConfig(**{**parts, **changes})

    def test_tied_embedding_needs_tokens(self):
        encoder = zoo.EncoderConfig(num_latents=3, latent_channels=8)
        with pytest.raises(ValueError, match="tied embedding needs a preprocessor that embeds"):
            zoo.PerceiverConfig(
                zoo.ImageConfig((4, 4)), encoder, zoo.DecoderConfig(None), zoo.TiedEmbeddingConfig()
            )
