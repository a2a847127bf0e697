"""A worker beside the contenders: describes the work, and measures the rate of matrix products.

Requests: `describe` (a `works.Work`, gives a `works.Description`) and `matmul` (gives GFLOP/s).
Models are traced here and never run.
"""

import dataclasses
import functools
import statistics
import time
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import models
from benchmarks.worker import serve
from benchmarks.works import ArraySpec, Description, Work, to_json
from perceiver_jax import config as config_lib
from perceiver_jax import zoo
from perceiver_jax.checkpoints import hf_fields
from perceiver_jax.checkpoints.hf_names import Tensor
from perceiver_jax.errors import CheckpointError
from perceiver_jax.infer.autoencode import NUM_CHUNKS, piece_layout
from perceiver_jax.infer.chunks import chunks_of
from perceiver_jax.infer.loaded import kind_of
from perceiver_jax.report.flops import count_flops, total
from perceiver_jax.train.model_flops import PASSES

MATMUL_SIZE = 2048  # Rows and columns of both matrices, float32.
_PRODUCTS = 9  # About as many as a short run takes; the fastest one would flatter the machine.


def describe(work: Mapping[str, Any]) -> dict[str, Any]:
    """Describes a `works.Work`."""
    return {"description": to_json(description(Work(**work)))}


def description(work: Work) -> Description:
    """Describes a piece of work; see `works.Description`."""
    model = models.build(work, attention="plain")
    config = models.config_of(model)
    chunks = output_chunks(config)
    points: Any = None
    if work.mode == "train" and chunks:
        unfinished = Description(work, 0.0, {}, {}, {}, chunks, {})
        points = unfinished.points(0)

    def forward(params: Any, state: Any, key: jax.Array, inputs: Any) -> Any:
        return model.apply(
            params,
            state,
            key,
            *inputs,
            is_training=work.mode == "train",
            subsampled_output_points=points,
        )[0]

    # One example stands for all: tracing costs the same for any number.
    one = (*model.abstract_params(), jax.eval_shape(lambda: jax.random.key(0)))
    gflop = total(count_flops(forward, *one, model.example_inputs())).total * work.batch / 1e9
    outputs = jax.eval_shape(forward, *one, model.example_inputs(work.batch))
    return Description(
        work=work,
        gflop=gflop * (PASSES if work.mode == "train" else 1),
        config=config_lib.to_dict(config),
        inputs=_inputs(model, work.batch),
        targets=_targets(config, outputs),
        chunks=chunks,
        huggingface=_huggingface(model),
    )


def output_chunks(config: zoo.ModelConfig) -> dict[str, tuple[int, int]]:
    """Outputs and outputs a call of the released procedure, by modality; see `Description`."""
    if kind_of(config) != "multimodal autoencoder":
        return {}
    layout = piece_layout(config)
    num_chunks = min(NUM_CHUNKS, layout.num_pixels)
    numbers = {layout.image: layout.num_pixels, layout.audio: layout.num_patches}
    return {
        name: (number, len(chunks_of(number, -(-number // num_chunks))[0]))
        for name, number in numbers.items()
    }


def _inputs(model: zoo.Model, batch: int) -> dict[str, ArraySpec]:
    inputs = model.example_inputs(batch)
    preprocessor = models.config_of(model).preprocessor
    if isinstance(preprocessor, zoo.TokensConfig):
        # The mask, their second input, hides nothing.
        return {"inputs": ArraySpec(inputs[0].shape, below=preprocessor.vocab_size)}
    by_name = inputs[0] if isinstance(inputs[0], dict) else {"inputs": inputs[0]}
    return {name: ArraySpec(struct.shape) for name, struct in by_name.items()}


def _targets(config: zoo.PerceiverConfig, outputs: Any) -> dict[str, ArraySpec]:
    """Classes where outputs are logits, numbers elsewhere."""
    if not isinstance(outputs, dict):
        kinds = (zoo.ClassificationDecoderConfig, zoo.ProjectionDecoderConfig)
        of_text = isinstance(config.postprocessor, zoo.TiedEmbeddingConfig)
        logits = of_text or isinstance(config.decoder, kinds)
        return {"outputs": _target(outputs, logits=logits)}
    assert isinstance(config.postprocessor, zoo.MultimodalOutputConfig)
    return {
        name: _target(
            struct, logits=isinstance(config.postprocessor.outputs[name], zoo.ClassOutputConfig)
        )
        for name, struct in outputs.items()
    }


def _target(struct: jax.ShapeDtypeStruct, *, logits: bool) -> ArraySpec:
    return ArraySpec(struct.shape[:-1], struct.shape[-1]) if logits else ArraySpec(struct.shape)


def _huggingface(model: zoo.Model) -> dict[str, Any]:
    # How attentions are computed is no matter of theirs.
    config = dataclasses.replace(models.config_of(model), attention="auto")
    shapes = {
        Tensor("params", module, name): struct.shape
        for module, entries in model.abstract_params()[0].items()
        for name, struct in entries.items()
    }
    try:
        family = hf_fields.family_of(config)
        return {
            "architecture": family.architecture,
            "fields": hf_fields.fields_of(config, shapes),
        }
    except CheckpointError as error:
        # Its last line tells of our own format, which is no help here.
        return {"refused": str(error).partition("\nOur own format")[0]}


@functools.cache
def _product() -> Any:
    """A compiled product of matrices, and its arguments."""
    x = jax.random.normal(jax.random.key(0), (MATMUL_SIZE, MATMUL_SIZE), jnp.float32)
    compiled = jax.jit(jnp.matmul).lower(x, x).compile()
    jax.block_until_ready(compiled(x, x))
    return compiled, x


def matmul() -> dict[str, float]:
    """The rate of a product of square matrices: the median of some, in GFLOP/s."""
    compiled, x = _product()
    seconds = []
    for _ in range(_PRODUCTS):
        start = time.perf_counter()
        jax.block_until_ready(compiled(x, x))
        seconds.append(time.perf_counter() - start)
    return {"gflop_per_s": 2 * MATMUL_SIZE**3 / statistics.median(seconds) / 1e9}


if __name__ == "__main__":
    serve({"describe": describe, "matmul": matmul})
