"""What a model is made of, from shapes alone: parameters, operations by part, sizes."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax

from perceiver_jax.report.flops import Flops, Scope, count_jaxpr
from perceiver_jax.zoo import BaselineConfig, Model, count

# The parts of a model, in the order in which they run.
PREPROCESSOR = "preprocessor"
CROSS_ATTENDS = "encoder cross-attends"
TOWERS = "latent towers"
DECODER = "decoder"
POSTPROCESSOR = "postprocessor"
NETWORK = "network"  # All of a model that is no Perceiver.
PARTS = (PREPROCESSOR, CROSS_ATTENDS, TOWERS, DECODER, POSTPROCESSOR, NETWORK)

# The kinds of attention, in the order in which they run.
_KINDS = ("cross-attends", "self-attends", "decoder")

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Attention:
    """The attentions of one kind in a model; width of keys and queries is over all heads."""

    calls: int  # How often one runs.
    heads: int
    queries: int
    keys: int
    qk_channels: int
    v_channels: int
    mlp_channels: int  # Hidden width of the MLP behind it.


@dataclasses.dataclass(frozen=True)
class Anatomy:
    """A model's sizes and costs, for one example in evaluation."""

    name: str
    params: Mapping[str, Mapping[str, Shape]]  # Shapes by module and name.
    state: Mapping[str, Mapping[str, Shape]]
    num_params: int
    num_state: int
    flops: Mapping[str, Flops]  # By part, without those that have none.
    inputs: Mapping[str, Shape]  # Input arrays, without the batch.
    outputs: Mapping[str, Shape]  # Output arrays, without the batch.
    # The papers' letters; None where a model has no such thing.
    elements: tuple[int, int] | None  # M x C: input elements and their channels.
    latents: tuple[int, int] | None  # N x D.
    queries: tuple[int, int] | None  # O x E: output queries and their channels.
    attentions: Mapping[str, Attention]  # "cross-attends", "self-attends", "decoder".

    @property
    def total_flops(self) -> Flops:
        """Operations of all parts."""
        return sum(self.flops.values(), Flops())


def dissect(model: Model, *, subsampled_output_points: Any = None) -> Anatomy:
    """Measures a model without allocating or computing anything.

    Args:
      model: the model, of its natural input size.
      subsampled_output_points: arrays or shapes (`jax.ShapeDtypeStruct`) of the indices of the
        outputs to compute, as for `Model.apply`; None computes all.

    Returns:
      Its anatomy for a batch of one in evaluation.
    """
    params, state = model.abstract_params()
    examples = model.example_inputs()

    def forward(params: Any, state: Any, points: Any, *inputs: Any) -> Any:
        returned: Any = model.apply(
            params, state, None, *inputs, subsampled_output_points=points, capture="*attention"
        )
        outputs, _, captured = returned
        return outputs, captured

    trace: Any = jax.make_jaxpr(forward, return_shape=True)
    program, (outputs, captured) = trace(params, state, subsampled_output_points, *examples)
    encoder = "" if isinstance(model.config, BaselineConfig) else model.config.encoder_name
    param_shapes, state_shapes = _shapes(params), _shapes(state)
    weights = {name: value.shape for name, value in captured.items()}
    latents = _find(param_shapes, f"{encoder}/~/trainable_position_encoding", "pos_embs")
    first_read = weights.get(f"{encoder}/~/cross_attention/attention#0")
    width = _find(param_shapes, f"{encoder}/~/cross_attention/layer_norm_1", "scale")
    reading = [name for name in weights if "decoder" in name.split("/")[0]]
    queries = None
    if reading:
        module = reading[0].partition("#")[0].removesuffix("/attention")
        query_width = _find(param_shapes, f"{module}/layer_norm", "scale")
        queries = (weights[reading[0]][2], query_width[0]) if query_width else None
    return Anatomy(
        name=model.name,
        params=param_shapes,
        state=state_shapes,
        num_params=count(params),
        num_state=count(state),
        flops=_by_part(count_jaxpr(program), encoder),
        inputs=_named(_example_by_name(examples)),
        outputs=_named(outputs if isinstance(outputs, Mapping) else {"outputs": outputs}),
        elements=(first_read[3], width[0]) if first_read and width else None,
        latents=(latents[0], latents[1]) if latents else None,
        queries=queries,
        attentions=_attentions(weights, param_shapes, encoder),
    )


def part_of(scope: Scope, encoder: str) -> str:
    """The part of the model that a module belongs to.

    Args:
      scope: names of the modules around an operation, outermost first.
      encoder: name of the encoder's module; "" for a model without.
    """
    top = scope[0] if scope else ""
    inside = scope[1] if len(scope) > 1 else ""
    if not encoder:
        return NETWORK
    if top == encoder:
        return TOWERS if inside.startswith("self_attention") else CROSS_ATTENDS
    if top.endswith("postprocessor") or top == "embedding_decoder":
        return POSTPROCESSOR
    if "decoder" in top:
        return DECODER
    return PREPROCESSOR


def _by_part(by_scope: Mapping[Scope, Flops], encoder: str) -> dict[str, Flops]:
    parts: dict[str, Flops] = {}
    for scope, flops in by_scope.items():
        part = part_of(scope, encoder)
        parts[part] = parts.get(part, Flops()) + flops
    return {part: parts[part] for part in PARTS if part in parts and parts[part].total}


def _attentions(
    weights: Mapping[str, Shape], params: Mapping[str, Mapping[str, Shape]], encoder: str
) -> dict[str, Attention]:
    """One entry for each kind; within a kind all are of one size."""
    kinds: dict[str, list[str]] = {}
    for name in weights:
        top, *path = name.split("/")
        if not encoder:
            kind = "self-attends"  # A transformer without latents has no others.
        elif top != encoder:
            kind = "decoder"
        else:
            inner = path[1] if path[0] == "~" else path[0]
            kind = "self-attends" if inner.startswith("self_attention") else "cross-attends"
        kinds.setdefault(kind, []).append(name)
    result = {}
    for kind, names in sorted(kinds.items(), key=lambda item: _KINDS.index(item[0])):
        module = names[0].partition("#")[0]
        _, heads, queries, keys = weights[names[0]]
        result[kind] = Attention(
            calls=len(names),
            heads=heads,
            queries=queries,
            keys=keys,
            qk_channels=params[f"{module}/linear"]["w"][1],
            v_channels=params[f"{module}/linear_2"]["w"][1],
            mlp_channels=params[f"{module.removesuffix('attention')}mlp/linear"]["w"][1],
        )
    return result


def _find(params: Mapping[str, Mapping[str, Shape]], module: str, name: str) -> Shape | None:
    return params.get(module, {}).get(name)


def _shapes(tree: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Shape]]:
    return {
        module: {name: tuple(leaf.shape) for name, leaf in leaves.items()}
        for module, leaves in tree.items()
    }


def _example_by_name(examples: tuple) -> Mapping[str, Any]:
    if isinstance(examples[0], Mapping):
        return examples[0]
    names = ("ids", "mask") if len(examples) == 2 else ("inputs",)
    return dict(zip(names, examples, strict=True))


def _named(arrays: Mapping[str, Any]) -> dict[str, Shape]:
    """Shapes without the batch."""
    return {name: tuple(array.shape[1:]) for name, array in arrays.items()}
