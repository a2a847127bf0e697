"""The counter against numbers worked out by hand."""

import jax
import jax.numpy as jnp
import pytest

from perceiver_jax.model.attention import attend
from perceiver_jax.report.flops import Flops, count_flops, total

pytestmark = pytest.mark.core


def shape(*dims, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(dims, dtype)


def counted(function, *args):
    return total(count_flops(function, *args))


def test_a_product_costs_two_for_each_multiply_add():
    assert counted(jnp.dot, shape(3, 5), shape(5, 7)) == Flops(matmul=2 * 3 * 5 * 7)


def test_batch_axes_multiply_and_both_contracted_axes_count():
    einsum = lambda x, y: jnp.einsum("bijk,bjkl->bil", x, y)  # noqa: E731
    assert counted(einsum, shape(2, 3, 5, 7), shape(2, 5, 7, 11)).matmul == 2 * 2 * 3 * 11 * 35


def test_a_convolution_costs_a_kernel_for_each_output():
    def convolve(images, kernel):
        return jax.lax.conv_general_dilated(
            images, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    # 7 x 9 images give 4 x 5 outputs at stride 2; each is 3 * 3 * 2 products in each of 5 channels.
    cost = counted(convolve, shape(1, 7, 9, 2), shape(3, 3, 2, 5))
    assert cost.matmul == 2 * (4 * 5 * 5) * (3 * 3 * 2)


def test_a_grouped_convolution_costs_its_group():
    def convolve(images, kernel):
        return jax.lax.conv_general_dilated(
            images,
            kernel,
            (1, 1),
            "VALID",
            feature_group_count=3,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )

    # Each of 6 outputs channels sees 2 of 6 input channels: 5 x 5 -> 3 x 3 outputs.
    cost = counted(convolve, shape(1, 5, 5, 6), shape(3, 3, 2, 6))
    assert cost.matmul == 2 * (3 * 3 * 6) * (3 * 3 * 2)


def test_what_is_no_product_costs_nothing():
    def forward(x, table, ids):
        return jnp.tanh(x).sum() + table[ids].mean() + jnp.exp(x).max() + jnp.sort(x)[0, 0]

    assert counted(forward, shape(3, 5), shape(7, 5), shape(2, dtype=jnp.int32)) == Flops()


def test_a_scan_counts_every_trip_and_scans_multiply():
    def forward(x, w):
        def inner(x, _):
            return jax.jit(jnp.dot)(x, w), None

        def outer(x, _):
            return jax.lax.scan(inner, x, None, length=5)[0], None

        return jax.lax.scan(outer, x, None, length=3)[0]

    assert counted(forward, shape(7, 2), shape(2, 2)).matmul == 3 * 5 * (2 * 7 * 2 * 2)


def test_a_layer_inside_remat_and_custom_derivatives_counts_once():
    @jax.custom_vjp
    def product(x, w):
        return x @ w

    product.defvjp(lambda x, w: (product(x, w), (x, w)), lambda r, g: (g @ r[1].T, r[0].T @ g))

    @jax.custom_jvp
    def other(x, w):
        return x @ w

    other.defjvp(lambda primals, tangents: (other(*primals), other(*primals)))

    def forward(x, w):
        return jax.checkpoint(product)(x, w) + product(x, w) + other(x, w)

    assert counted(forward, shape(3, 5), shape(5, 7)).matmul == 3 * (2 * 3 * 5 * 7)


def test_of_two_branches_the_dearer_counts():
    def forward(flag, x, w):
        return jax.lax.cond(flag, lambda: x @ w @ w, lambda: x @ w)

    cost = counted(forward, shape(dtype=jnp.bool_), shape(3, 5), shape(5, 5))
    assert cost.matmul == 2 * (2 * 3 * 5 * 5)


def test_a_loop_of_unknown_length_is_refused_only_if_it_costs_something():
    def loop(body):
        return lambda x: jax.lax.while_loop(lambda x: x.sum() < 9, body, x)

    assert counted(loop(lambda x: x + 1), shape(3, 3)) == Flops()
    with pytest.raises(ValueError, match="'while'.*cannot be counted"):
        count_flops(loop(lambda x: x @ x), shape(3, 3))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_attention_costs_its_products_and_three_for_each_score(masked, dtype):
    queries = shape(1, 3, 2, 7, dtype=dtype)
    keys, values = shape(1, 5, 2, 7, dtype=dtype), shape(1, 5, 2, 11, dtype=dtype)
    mask = (shape(1, 3, 5, dtype=jnp.int32),) if masked else ()
    cost = counted(attend, queries, keys, values, *mask)
    heads_times_scores = 2 * 3 * 5
    assert cost == Flops(
        matmul=2 * heads_times_scores * 7 + 2 * heads_times_scores * 11,
        scores=3 * heads_times_scores,
    )


def test_scores_that_are_streamed_in_chunks_cost_what_they_cost_at_once():
    """A running maximum rescales sums by exponentials of its own, which are no scores."""

    def forward(queries, keys, values):
        def read(carry, chunk):
            highest, norm, summed = carry
            k, v = chunk
            scores = jnp.where(k[:, 0] > 0, queries @ k.T * 0.5, -1e30)
            new_highest = jnp.maximum(highest, scores.max(axis=-1))
            rescale = jnp.exp(highest - new_highest)
            weights = jnp.exp(scores - new_highest[:, None])
            norm = norm * rescale + weights.sum(axis=-1)
            return (new_highest, norm, summed * rescale[:, None] + weights @ v), None

        zeros = jnp.zeros(queries.shape[0])
        start = (zeros - 1e30, zeros, jnp.zeros((queries.shape[0], values.shape[-1])))
        (_, norm, summed), _ = jax.lax.scan(read, start, (keys, values))
        return summed / norm[:, None]

    # 4 chunks of 5 keys.
    cost = counted(forward, shape(3, 7), shape(4, 5, 7), shape(4, 5, 11))
    assert cost == Flops(matmul=2 * 3 * 20 * 7 + 2 * 3 * 20 * 11, scores=3 * 3 * 20)


def test_operations_are_known_by_the_modules_around_them():
    def forward(x, w):
        with jax.named_scope("tower"):

            def layer(x, _):
                with jax.named_scope("mlp"):
                    return jax.jit(jnp.dot)(x, w), None

            x, _ = jax.lax.scan(layer, x, None, length=2)
        return x @ w

    one = 2 * 3 * 5 * 5
    by_scope = count_flops(forward, shape(3, 5), shape(5, 5))
    assert by_scope == {("tower", "mlp"): Flops(2 * one), (): Flops(one)}
