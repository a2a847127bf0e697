"""The table of parameters: what is folded, what is not, and that nothing is lost."""

import pytest

import perceiver_jax
from perceiver_jax.report.parameters import Row, parameter_rows, render_parameters

BLOCK = {"attention/linear": {"w": (3, 5), "b": (5,)}, "mlp/linear_1": {"w": (5, 7)}}


def tree(**blocks):
    return {
        f"encoder/~/{name}/{module}": dict(leaves)
        for name, content in blocks.items()
        for module, leaves in content.items()
    }


def test_equal_blocks_fold_and_roles_inside_a_block_do_not():
    shapes = {
        **tree(self_attention=BLOCK, self_attention_1=BLOCK, self_attention_2=BLOCK),
        "encoder/~/latents": {"pos_embs": (11, 13)},
    }
    prefix = "encoder/~/self_attention_{0..2}"
    assert parameter_rows(shapes) == [
        Row(f"{prefix}/attention/linear", "w", (3, 5), 3),
        Row(f"{prefix}/attention/linear", "b", (5,), 3),
        Row(f"{prefix}/mlp/linear_1", "w", (5, 7), 3),
        Row("encoder/~/latents", "pos_embs", (11, 13), 1),
    ]
    assert parameter_rows(shapes)[0].count == 45


def test_a_block_that_differs_stands_alone():
    other = {**BLOCK, "mlp/linear_1": {"w": (5, 17)}}
    shapes = tree(self_attention=BLOCK, self_attention_1=other, self_attention_2=BLOCK)
    rows = parameter_rows(shapes)
    assert [(row.module, row.times) for row in rows if row.module.endswith("linear_1")] == [
        ("encoder/~/self_attention_{0,2}/mlp/linear_1", 2),
        ("encoder/~/self_attention_1/mlp/linear_1", 1),
    ]


def test_all_shows_every_array():
    shapes = tree(self_attention=BLOCK, self_attention_1=BLOCK)
    rows = parameter_rows(shapes, fold=False)
    assert [row.module for row in rows] == [m for m, leaves in shapes.items() for _ in leaves]
    assert sum(row.count for row in rows) == sum(row.count for row in parameter_rows(shapes)) == 110


@pytest.mark.core
@pytest.mark.parametrize(
    ("name", "num_rows"), [("perceiver_imagenet_unshared", 37), ("video_autoencoding", 71)]
)
def test_folding_loses_no_parameter(name, num_rows):
    model = perceiver_jax.build(name)
    params, _ = model.abstract_params()
    shapes = {m: {n: leaf.shape for n, leaf in leaves.items()} for m, leaves in params.items()}
    rows = parameter_rows(shapes)
    assert sum(row.count for row in rows) == model.num_params()
    assert len(rows) == num_rows
    # Each array of the tree is named by exactly one row.
    assert sum(row.times for row in rows) == sum(len(leaves) for leaves in shapes.values())


def test_the_table_marks_state():
    text = render_parameters({"norm": {"scale": (3,)}}, {"norm/mean": {"counter": ()}})
    lines = [line.split() for line in text.splitlines()[2:]]
    assert lines == [
        ["norm", "scale", "3", "1", "3"],
        ["norm/mean", "counter", "scalar", "1", "1", "state"],
    ]
