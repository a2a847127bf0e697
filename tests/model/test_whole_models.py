"""Whole small models: outputs, inner outputs, gradients and new state equal the golden arrays."""

import collections
import functools
from collections.abc import Callable, Mapping
from typing import Any
from unittest import mock

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax.model import traced_once
from perceiver_jax.model.byte_array import ByteArray
from tests import golden_cases
from tests.golden_models import build, call_args, video_inputs

pytestmark = [pytest.mark.core, pytest.mark.usefixtures("highest_precision")]

Outputs = Mapping[str, Any]


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
        return jnp.concatenate([joined(value[name]) for name in sorted(value)], axis=1)
    if isinstance(value, ByteArray):
        return value.dense()
    return joined(value[0]) if isinstance(value, tuple) else value


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
            stored = []
            then = kwargs.get("then")
            if then is not None:
                # The stored value is that before the decoder's projection.
                kwargs = {**kwargs, "then": lambda x: then(stored.append(x) or x)}
            value = next_f(*args, **kwargs)
            key = context.module.module_name
            if context.method_name != "__call__":
                key += f".{context.method_name}"
            inner[f"{key}#{calls[key]}"] = stored[0] if stored else value
            calls[key] += 1
            return value

        # Every layer is to be seen.
        with (
            hk.intercept_methods(record),
            mock.patch.object(traced_once, "allowed", return_value=False),
        ):
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
