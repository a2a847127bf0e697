"""Sharding rules: what each parameter gets, and what is refused."""

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import perceiver_jax
from perceiver_jax.errors import ConfigError
from perceiver_jax.train.config import DEFAULT_RULES, MeshConfig, ShardingRule
from perceiver_jax.train.mesh import make_mesh
from perceiver_jax.train.sharding import place, placements, shardings

LAYOUT = MeshConfig(data=2, fsdp=2, tensor=2, min_split=0)
TOWER = "params/perceiver_encoder/~/self_attention_3/"
READ = "params/perceiver_encoder/~/cross_attention/attention/"


def _place(path: str, shape: tuple[int, ...], *rules: ShardingRule, **changes: int) -> P:
    layout = MeshConfig(
        **{"data": 2, "fsdp": 2, "tensor": 2, "min_split": 0, **changes}, rules=rules
    )
    return place(path, shape, make_mesh(layout), layout).spec


@pytest.mark.parametrize(
    ("path", "shape", "expected"),
    [
        # Megatron's layout: columns of what goes in, rows of what comes out.
        (TOWER + "attention/linear/w", (12, 20), P("fsdp", "tensor")),
        (TOWER + "attention/linear_2/w", (12, 20), P("fsdp", "tensor")),
        (TOWER + "attention/linear_3/w", (20, 12), P("tensor", "fsdp")),
        (TOWER + "attention/linear_1/b", (20,), P(("tensor", "fsdp"))),
        (TOWER + "attention/linear_3/b", (12,), P("fsdp")),
        (TOWER + "mlp/linear/w", (12, 48), P("fsdp", "tensor")),
        (TOWER + "mlp/linear_1/w", (48, 12), P("tensor", "fsdp")),
        # fsdp takes the largest dimension that it divides.
        (READ + "linear_1/w", (7, 6), P(None, "fsdp")),
        (READ + "linear_1/w", (8, 6), P("fsdp")),
        (READ + "linear_1/w", (7, 5), P()),
        # Moments lie where their parameters do; counters are whole.
        ("opt_state/1/mu/tower/~/self_attention/mlp/linear/w", (4, 4), P("fsdp", "tensor")),
        ("step", (), P()),
    ],
)  # fmt: skip
def test_default_rules(path: str, shape: tuple[int, ...], expected: P) -> None:
    assert _place(path, shape, *DEFAULT_RULES) == expected


def test_small_arrays_stay_whole() -> None:
    rule = ShardingRule("")
    assert _place("params/a/w", (4, 8), rule, min_split=32) == P(None, "fsdp")
    assert _place("params/a/w", (4, 8), rule, min_split=33) == P()


def test_the_first_rule_that_fits_decides() -> None:
    rules = (
        ShardingRule(r"a/~/linear/w$", ("fsdp",)),
        ShardingRule(r"w$", (None, "data"), fsdp="off"),
        ShardingRule(""),
    )
    assert _place("params/a/~/linear/w", (8, 3), *rules) == P("fsdp")
    assert _place("params/b/~/linear/w", (8, 4), *rules) == P(None, "data")
    # No rule: whole.
    assert _place("params/b/~/linear/b", (8,), *rules[:2]) == P()


@pytest.mark.parametrize(
    ("shape", "rule", "message"),
    [
        ((8, 3), ShardingRule("w", (None, "tensor")),
         r"splits params/m/w \(8, 3\) over tensor: 2 parts, which do not divide 3.*"
         r"trainer.mesh.tensor.*trainer.mesh.rules"),
        ((6, 3), ShardingRule("w", ("tensor+fsdp",)), r"tensor\+fsdp: 4 parts, .* not divide 6"),
        ((8, 4), ShardingRule("w", ("fsdp", "fsdp")), "splits params/m/w .* twice .* 'fsdp'"),
        ((8,), ShardingRule("w", (None, "fsdp")), r"names 2 axes, and params/m/w has .* \(8,\)"),
        ((8,), ShardingRule("w", ("model",)), "the axis 'model' for params/m/w; .* data, fsdp"),
    ],
)  # fmt: skip
def test_rules_that_do_not_fit_name_parameter_and_axis(
    shape: tuple[int, ...], rule: ShardingRule, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        _place("params/m/w", shape, rule)


def test_a_pattern_that_is_no_regular_expression() -> None:
    with pytest.raises(ConfigError, match=r"'\(w' .* no regular expression"):
        ShardingRule("(w")


def test_trees_get_shardings_and_devices_hold_their_part() -> None:
    mesh = make_mesh(LAYOUT)
    shapes = {"params": {"a": {"w": jax.ShapeDtypeStruct((8, 6), np.float32)}}, "step": np.int32(0)}
    placed = shardings(shapes, mesh, LAYOUT)
    assert placed["step"] == NamedSharding(mesh, P())
    w = jax.device_put(np.arange(48.0).reshape(8, 6), placed["params"]["a"]["w"])
    assert {shard.data.shape for shard in w.addressable_shards} == {(4, 6)}


@pytest.mark.core
@pytest.mark.parametrize("name", ["perceiver_imagenet", "imagenet_fourier", "mlm"])
def test_a_device_of_fsdp_holds_its_share_of_a_model(name: str) -> None:
    """What cannot be split, and what is too small to, is less than a hundredth."""
    layout = MeshConfig(data=1, fsdp=8)
    mesh = make_mesh(layout)
    params, _ = perceiver_jax.build(name).abstract_params()
    total = held = 0
    for each in placements({"params": params}, mesh, layout):
        size = int(np.prod(each.shape))
        total += size
        held += int(np.prod(NamedSharding(mesh, each.spec).shard_shape(each.shape)))
    assert 1 / 8 <= held / total < 1 / 8 + 0.01


def test_a_rule_that_decides_about_nothing() -> None:
    shapes = {"params": {"a": {"w": jax.ShapeDtypeStruct((8, 6), np.float32)}}}
    for rules in (
        (ShardingRule("typo/w$", ("fsdp",)), *DEFAULT_RULES),
        (*DEFAULT_RULES, ShardingRule("a/w$", ("fsdp",))),  # too late
    ):
        layout = MeshConfig(data=4, fsdp=2, rules=rules)
        with pytest.raises(ConfigError, match="/w[$]' .* decides about nothing"):
            shardings(shapes, make_mesh(layout), layout)
