"""Whole small models: outputs, inner outputs, gradients and new state equal the golden arrays."""

import collections
import functools
from collections.abc import Callable, Mapping
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import perceiver_jax
from perceiver_jax.model.decoders import (
    DecoderConfig,
    FlowDecoderConfig,
    ProjectionDecoderConfig,
    QueryConfig,
)
from perceiver_jax.model.encoder import EncoderConfig
from perceiver_jax.model.multimodal import (
    MaskProbability,
    MultimodalConfig,
    MultimodalDecoderConfig,
)
from perceiver_jax.model.perceiver import PerceiverConfig
from perceiver_jax.model.position_encoding import FourierConfig, LearnedConfig
from perceiver_jax.model.postprocessors import (
    AudioOutputConfig,
    ClassOutputConfig,
    MultimodalOutputConfig,
    ProjectionOutputConfig,
    TiedEmbeddingConfig,
)
from perceiver_jax.model.preprocessors import (
    AudioConfig,
    ImageConfig,
    LabelConfig,
    TokensConfig,
)
from tests import golden_cases, released_settings

pytestmark = [pytest.mark.core, pytest.mark.usefixtures("highest_precision")]

Outputs = Mapping[str, Any]


def projection_classifier() -> PerceiverConfig:
    """The case perceiver_projection_decoder, whose settings are written as sentences."""
    settings = golden_cases.manifest()["perceiver_projection_decoder"]["config"]
    assert settings["pre"] == "pixels fourier num_bands=4 max_resolution=(7,6)"
    assert settings["decoder"] == "ProjectionDecoder(6)"
    return PerceiverConfig(
        preprocessor=ImageConfig((7, 6), position=FourierConfig(4, max_resolution=(7, 6))),
        encoder=released_settings.encoder(settings["encoder"]),
        decoder=ProjectionDecoderConfig(num_classes=6),
    )


def language_model() -> PerceiverConfig:
    settings = golden_cases.manifest()["mlm"]["config"]
    length, channels = settings["max_seq_len"], settings["d_model"]
    return PerceiverConfig(
        preprocessor=TokensConfig(length, settings["vocab_size"], channels),
        encoder=released_settings.encoder(settings["resolved"]["encoder"]),
        decoder=released_settings.basic_decoder(settings["resolved"]["decoder"]),
        postprocessor=TiedEmbeddingConfig(),
    )


def optical_flow() -> PerceiverConfig:
    settings = golden_cases.manifest()["optical_flow"]["config"]
    height, width = settings["train_size"]
    preprocessor = released_settings.image(
        settings["resolved"]["input_preprocessor"], (2, height, width)
    )
    decoder = settings["resolved"]["decoder"]
    return PerceiverConfig(
        # The released pipeline cuts the 3 x 3 surroundings out before the model.
        preprocessor=perceiver_jax.config.override(preprocessor, {"neighbourhood": 3}),
        encoder=released_settings.encoder(settings["resolved"]["encoder"]),
        decoder=FlowDecoderConfig(
            shape=(height, width),
            decoder=DecoderConfig(
                output_channels=decoder["output_num_channels"],
                use_query_residual=decoder["use_query_residual"],
                output_init=decoder["output_w_init"],
            ),
            rescale_factor=decoder["rescale_factor"],
        ),
    )


def video_autoencoder() -> PerceiverConfig:
    settings = golden_cases.manifest()["video_autoencoding"]["config"]
    frames, samples = settings["num_frames"], settings["samples_per_patch"]
    num_samples = frames * settings["audio_samples_per_frame"]
    shape = (frames, *settings["image_hw"])
    video = FourierConfig(
        settings["image_num_bands"], (frames, settings["img_sz"], settings["img_sz"])
    )
    sound = FourierConfig(settings["audio_num_bands"], (num_samples,))
    encoder = {
        key: settings[key]
        for key in (
            "num_self_attends_per_block",
            "num_blocks",
            "z_index_dim",
            "num_z_channels",
            "num_cross_attend_heads",
            "num_self_attend_heads",
        )
    }
    return PerceiverConfig(
        preprocessor=MultimodalConfig(
            modalities={
                "audio": AudioConfig(num_samples, samples, position=sound),
                "image": ImageConfig(
                    shape,
                    prep="patches",
                    spatial_downsample=settings["spatial_downsample"],
                    position=video,
                ),
                "label": LabelConfig(settings["num_classes"]),
            },
            min_padding_size=settings["min_padding_size"],
            mask_probabilities={
                name: MaskProbability(p, p) for name, p in settings["mask_probs"].items()
            },
        ),
        encoder=released_settings.encoder(encoder),
        decoder=MultimodalDecoderConfig(
            queries={
                "audio": QueryConfig((num_samples // samples,), sound),
                "image": QueryConfig(shape, video),
                "label": QueryConfig((1,), LearnedConfig(settings["label_query_channels"])),
            },
            decoder=DecoderConfig(settings["output_num_channels"]),
        ),
        postprocessor=MultimodalOutputConfig(
            {
                "audio": AudioOutputConfig(samples),
                "image": ProjectionOutputConfig(3),
                "label": ClassOutputConfig(settings["num_classes"]),
            }
        ),
        encoder_name="encoder",
    )


def video_inputs(case: golden_cases.Case) -> dict[str, np.ndarray]:
    """Images and sound of `case`, and a label that is not known."""
    label = np.zeros((len(case.inputs["audio"]), 5), np.float32)
    return {"image": case.inputs["images"], "audio": case.inputs["audio"], "label": label}


def build(name: str) -> perceiver_jax.Model:
    """The model of a golden case."""
    if name.startswith("imagenet_"):
        return perceiver_jax.build(
            released_settings.imagenet(golden_cases.manifest()[name]["config"])
        )
    makers: dict[str, Callable[[], PerceiverConfig]] = {
        "perceiver_projection_decoder": projection_classifier,
        "mlm": language_model,
        "optical_flow": optical_flow,
        "video_autoencoding": video_autoencoder,
    }
    return perceiver_jax.build(makers[name]())


def call_args(case: golden_cases.Case) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What the model of `case` is called with, after parameters, state and key."""
    if case.name == "mlm":
        return (case.inputs["inputs"], case.inputs["input_mask"]), {}
    if case.name == "video_autoencoding":
        points = {name: case.inputs[f"subsampling/{name}"] for name in ("image", "audio")}
        return (video_inputs(case),), {"subsampled_output_points": {**points, "label": None}}
    is_training = case.config.get("is_training", case.name.endswith("_train"))
    return (case.inputs["images"],), {"is_training": is_training}


def smoothed_cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean cross-entropy, a tenth of the target spread evenly over the classes."""
    targets = 0.9 * labels + 0.1 / logits.shape[-1]
    return -(targets * jax.nn.log_softmax(logits)).sum(axis=-1).mean()


def losses(case: golden_cases.Case) -> dict[str, Callable[[Outputs], jax.Array]]:
    """The functions of the outputs that the stored gradients belong to."""
    if case.name == "imagenet_fourier":
        labels = np.eye(7)[case.inputs["labels"]]
        mixed = np.eye(7)[case.inputs["mix_labels"]]
        ratio = case.inputs["ratio"][:, None]
        mixture = ratio * labels + (1 - ratio) * mixed
        return {
            "loss": lambda outputs: smoothed_cross_entropy(outputs["out"], labels),
            "loss_mixup": lambda outputs: smoothed_cross_entropy(outputs["out"], mixture),
        }
    if case.name == "mlm":
        targets, weights = case.inputs["targets"], case.inputs["weights"]

        def masked_loss(outputs):
            log_p = jax.nn.log_softmax(outputs["out"])
            hit = jnp.take_along_axis(log_p, targets[..., None], axis=-1)[..., 0]
            return -(weights * hit).sum() / weights.sum()

        return {"loss": masked_loss}
    cotangents = {
        "out" if key == "cotangent" else key.removeprefix("cotangent/"): x
        for key, x in case.extra.items()
        if key.startswith("cotangent")
    }
    return {"vjp": lambda outputs: sum((outputs[k] * x).sum() for k, x in cotangents.items())}


def atol(name: str, output: str) -> float:
    """The tolerance, and the stored value's own distance from the exact one, where measured."""
    errors = golden_cases.noise_floor().get(name, {}).get(f"outputs/{output}", {})
    return golden_cases.OUTPUT_ATOL + errors.get("max_abs_err", 0.0)


def joined(value: Any) -> jax.Array:
    """What a module returned, as it is stored: modalities joined, the first of several values."""
    if isinstance(value, Mapping):
        return jnp.concatenate([value[name] for name in sorted(value)], axis=1)
    return value[0] if isinstance(value, tuple) else value


# Queries of one modality are made by a decoder without parameters, named otherwise here.
ALIASES = {
    "basic_decoder_1.decoder_query#0": (
        "basic_video_autoencoding_decoder/~/basic_decoder.decoder_query#0"
    )
}


@functools.cache
def evaluate(name: str) -> tuple[Outputs, Any, dict[str, jax.Array], dict[str, Any]]:
    """Outputs, new state, inner outputs, and gradients of the losses of a case, in one program."""
    case, model = golden_cases.load(name), build(name)
    args, kwargs = call_args(case)
    loss_functions = losses(case)

    def forward(params):
        inner, calls = {}, collections.Counter()

        def record(next_f, args, kwargs, context):
            value = next_f(*args, **kwargs)
            key = context.module.module_name
            if context.method_name != "__call__":
                key += f".{context.method_name}"
            inner[f"{key}#{calls[key]}"] = value
            calls[key] += 1
            return value

        with hk.intercept_methods(record):
            outputs, state = model.apply(params, case.state, None, *args, **kwargs)
        if not isinstance(outputs, dict):
            # Stored in pixels for optical flow, which is learned in units of 20 of them.
            outputs = {"out": outputs * case.config.get("flow_scale_factor", 1)}
        named = {ALIASES.get(key, key): value for key, value in inner.items()}
        wanted = {key: joined(value) for key, value in named.items() if key in case.inter}
        values = {kind: loss(outputs) for kind, loss in loss_functions.items()}
        return values, (outputs, state, wanted)

    def program(params):
        values, pullback, (outputs, state, inner) = jax.vjp(forward, params, has_aux=True)
        gradients = {
            kind: pullback({other: jnp.float32(other == kind) for other in values})[0]
            for kind in values
        }
        return outputs, state, inner, gradients, values

    outputs, state, inner, gradients, values = jax.jit(program)(case.params)
    return {**outputs, **values}, state, inner, gradients


MODELS = [
    "imagenet_fourier",
    "imagenet_learned",
    "imagenet_conv_eval",
    "imagenet_conv_train",
    "mlm",
    "optical_flow",
    "video_autoencoding",
    "perceiver_projection_decoder",
]


@pytest.mark.parametrize("name", MODELS)
def test_tree_equals_golden(name):
    case = golden_cases.load(name)
    params, state = build(name).abstract_params()
    golden_cases.assert_same_tree(params, case.params)
    golden_cases.assert_same_tree(state, case.state)


@pytest.mark.parametrize("name", MODELS)
def test_outputs_equal_golden(name):
    case = golden_cases.load(name)
    outputs, state, inner, gradients = evaluate(name)
    # Errors of inner modules first: they say where the outputs' errors come from.
    missing = {key for key in case.inter if key not in inner}
    assert all(key.endswith(".latents#0") for key in missing), missing
    for key, value in inner.items():
        golden_cases.assert_close(value, case.inter[key], key)
    for key in case.outputs.keys() - {"out_no_mask"}:
        golden_cases.assert_close(outputs[key], case.outputs[key], key, atol=atol(name, key))
    if case.new_state:
        golden_cases.assert_same_tree(state, case.new_state)
        for path, value in golden_cases.flatten(state).items():
            golden_cases.assert_close(value, golden_cases.flatten(case.new_state)[path], path)
    assert gradients.keys() == case.grads.keys()
    for kind, expected in case.grads.items():
        golden_cases.assert_gradients_close(gradients[kind], expected)


def test_text_without_masks_equals_golden():
    case = golden_cases.load("mlm")
    apply = jax.jit(build("mlm").apply)
    out, _ = apply(case.params, {}, None, case.inputs["inputs"])
    golden_cases.assert_close(out, case.outputs["out_no_mask"], atol=atol("mlm", "out"))


def test_text_masks_may_be_given_by_name():
    case = golden_cases.load("mlm")
    mask = case.inputs["input_mask"]
    apply = jax.jit(build("mlm").apply)
    out, _ = apply(case.params, {}, None, case.inputs["inputs"], input_mask=mask, query_mask=mask)
    golden_cases.assert_close(out, case.outputs["out"], atol=atol("mlm", "out"))


def test_video_in_chunks_equals_golden():
    """All chunks of a video, one after another, as the released procedure decodes it."""
    case = golden_cases.load("video_autoencoding_full")
    params = golden_cases.load(case.config["params_from"].removesuffix(".npz")).params
    apply = jax.jit(build("video_autoencoding").apply)
    num_chunks, grid = case.config["nchunks"], case.outputs["image"].shape[1:]
    num_pixels = int(np.prod(grid[:-1]))
    num_patches = case.inputs["audio"].shape[1] // case.config["samples_per_patch"]
    chunks: dict[str, list[np.ndarray]] = {"image": [], "audio": []}
    for chunk in range(num_chunks):
        points = {
            name: np.arange(size // num_chunks * chunk, size // num_chunks * (chunk + 1))
            for name, size in (("image", num_pixels), ("audio", num_patches))
        }
        out, _ = apply(params, {}, None, video_inputs(case), subsampled_output_points=points)
        for name in chunks:
            chunks[name].append(np.asarray(out[name]))
        golden_cases.assert_close(out["label"], case.outputs["label"])
    image = np.concatenate(chunks["image"], axis=1).reshape(-1, *grid)
    audio = np.concatenate(chunks["audio"], axis=1)[..., None]
    golden_cases.assert_close(image, case.outputs["image"])
    golden_cases.assert_close(audio, case.outputs["audio"])


class TestErrors:
    """What a model says of inputs that it cannot take."""

    def fails(self, words, name, *args, **kwargs):
        case, model = golden_cases.load(name), build(name)
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

    def test_unknown_modality_of_output_points(self):
        inputs = video_inputs(golden_cases.load("video_autoencoding"))
        for argument in ("subsampled_output_points", "query_mask"):
            words = r"unknown modalities \['smell'\].*\['audio', 'image', 'label'\]"
            kwargs = {argument: {"smell": np.arange(3)}}
            self.fails(words, "video_autoencoding", inputs, **kwargs)
            kwargs = {argument: np.arange(3)}
            self.fails("mapping by modality", "video_autoencoding", inputs, **kwargs)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"decoder": DecoderConfig(3)}, "go together"),
            ({"postprocessor": None}, "go together"),
            (
                {"postprocessor": MultimodalOutputConfig({"audio": AudioOutputConfig(4)})},
                r"\['audio', 'image', 'label'\], .*postprocessor's are \['audio'\]",
            ),
        ],
    )
    def test_multimodal_parts_that_do_not_fit(self, changes, words):
        config = video_autoencoder()
        parts = {
            "preprocessor": config.preprocessor,
            "encoder": config.encoder,
            "decoder": config.decoder,
            "postprocessor": config.postprocessor,
        }
        with pytest.raises(ValueError, match=words):
            PerceiverConfig(**{**parts, **changes})

    def test_tied_embedding_needs_tokens(self):
        encoder = EncoderConfig(num_latents=3, latent_channels=8)
        with pytest.raises(ValueError, match="tied embedding needs a preprocessor that embeds"):
            PerceiverConfig(
                ImageConfig((4, 4)), encoder, DecoderConfig(None), TiedEmbeddingConfig()
            )
