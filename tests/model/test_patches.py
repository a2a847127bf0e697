"""Patches of images and videos: golden arrays, round trips, a plain loop, errors."""

import hypothesis
import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax.model import patches
from tests import golden_cases

pytestmark = [pytest.mark.core, pytest.mark.usefixtures("quick_compilation")]
small = st.integers(1, 3)


def counted(*shape: int) -> np.ndarray:
    """All values different, so that every misplaced one shows."""
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def test_space_to_depth_equals_golden():
    case = golden_cases.load("space_to_depth")
    for output, settings in case.config.items():
        blocks = {key.removesuffix("_block_size"): size for key, size in settings.items()}
        blocks = {f"{key}_block": size for key, size in blocks.items()}
        x = patches.space_to_depth(jnp.asarray(case.inputs[output.removesuffix("_t")]), **blocks)
        np.testing.assert_array_equal(x, case.outputs[output])
        if output in ("rank4", "rank5"):
            reversed_ = patches.depth_to_space(jnp.asarray(case.outputs[output]), **blocks)
            np.testing.assert_array_equal(reversed_, case.outputs[f"rev{output[-1]}"])


@pytest.mark.parametrize("output", golden_cases.manifest()["extract_patches"]["config"])
def test_extract_patches_equals_golden(output):
    case = golden_cases.load("extract_patches")
    settings = case.config[output]
    args = {key: tuple(settings[key][1:3]) for key in ("sizes", "strides", "rates")}
    x = patches.extract_patches(
        jnp.asarray(case.inputs["images"]), padding=settings["padding"], **args
    )
    np.testing.assert_array_equal(x, case.outputs[output])


def test_neighbourhoods_equal_golden():
    case = golden_cases.load("patches_for_flow")
    x = patches.neighbourhoods(jnp.asarray(case.inputs["inputs"]), 3)
    np.testing.assert_array_equal(x, case.outputs["out"])


@hypothesis.settings(max_examples=100, deadline=None, derandomize=True)
@hypothesis.given(b=small, t=small, y=small, x=small, c=small, time=small, space=small)
def test_space_to_depth_and_back(b, t, y, x, c, time, space):
    # NumPy's arrays, which both functions take as well, are not compiled for every shape.
    video = counted(b, t * time, y * space, x * space, c)
    blocks = {"temporal_block": time, "spatial_block": space}
    deep = patches.space_to_depth(video, **blocks)
    assert deep.shape == (b, t, y, x, time * space * space * c)
    np.testing.assert_array_equal(patches.depth_to_space(deep, **blocks), video)
    # One patch, cut out by hand: the last.
    last = video[-1, -time:, -space:, -space:]
    np.testing.assert_array_equal(deep[-1, -1, -1, -1], last.reshape(-1))
    # An image is a video of one frame.
    image = patches.space_to_depth(video[:, 0], spatial_block=space)
    frame = patches.space_to_depth(video[:, :1], spatial_block=space)
    np.testing.assert_array_equal(image, frame[:, 0])
    np.testing.assert_array_equal(patches.depth_to_space(image, spatial_block=space), video[:, 0])


def patches_by_hand(images, sizes, strides, rates, padding):
    """The definition, pixel by pixel; zeros outside."""
    b, height, width, c = images.shape
    extents = [(n - 1) * rate + 1 for n, rate in zip(sizes, rates, strict=True)]
    counts, starts = [], []
    for n, extent, stride in zip((height, width), extents, strides, strict=True):
        if padding == "VALID":
            counts.append((n - extent) // stride + 1)
            starts.append(0)
        else:
            counts.append((n + stride - 1) // stride)
            starts.append(-(max((counts[-1] - 1) * stride + extent - n, 0) // 2))
    out = np.zeros((b, *counts, *sizes, c), images.dtype)
    for i, j, k, m in np.ndindex(*counts, *sizes):
        y = starts[0] + i * strides[0] + k * rates[0]
        x = starts[1] + j * strides[1] + m * rates[1]
        if 0 <= y < height and 0 <= x < width:
            out[:, i, j, k, m] = images[:, y, x]
    return out.reshape(b, *counts, -1)


@hypothesis.settings(max_examples=15, deadline=None, derandomize=True)
@hypothesis.given(
    height=st.integers(5, 8),
    width=st.integers(5, 8),
    sizes=st.tuples(small, small),
    strides=st.tuples(small, small),
    rates=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    padding=st.sampled_from(["VALID", "SAME"]),
)
def test_extract_patches_equals_a_plain_loop(height, width, sizes, strides, rates, padding):
    images = 1 + counted(2, height, width, 3)
    args = {"sizes": sizes, "strides": strides, "rates": rates, "padding": padding}
    actual = patches.extract_patches(jnp.asarray(images), **args)
    np.testing.assert_array_equal(actual, patches_by_hand(images, **args))


def test_neighbourhoods_by_hand():
    frames = 1 + counted(1, 1, 2, 3, 1)  # 1 2 3 / 4 5 6
    around = patches.neighbourhoods(jnp.asarray(frames), 3)
    np.testing.assert_array_equal(around[0, 0, 0, 0], [0, 0, 0, 0, 1, 2, 0, 4, 5])
    np.testing.assert_array_equal(around[0, 0, 1, 2], [2, 3, 0, 5, 6, 0, 0, 0, 0])


class TestErrors:
    def test_size_is_no_multiple_of_the_block(self):
        with pytest.raises(ValueError, match=r"\(6, 7\) .* 7 is not a multiple of 3"):
            patches.space_to_depth(jnp.zeros((1, 6, 7, 2)), spatial_block=3)

    def test_channels_do_not_fill_a_block(self):
        with pytest.raises(ValueError, match="10 channels .* multiple of 4"):
            patches.depth_to_space(jnp.zeros((1, 2, 2, 10)), spatial_block=2)

    def test_images_have_no_time(self):
        with pytest.raises(ValueError, match="temporal_block=2"):
            patches.space_to_depth(jnp.zeros((1, 6, 6, 2)), temporal_block=2)

    def test_extract_patches_takes_images(self):
        with pytest.raises(ValueError, match=r"\[batch, y, x, channels\]; got \(1, 2, 3\)"):
            patches.extract_patches(jnp.zeros((1, 2, 3)), sizes=(1, 1))

    def test_padding(self):
        with pytest.raises(ValueError, match="'VALID' or 'SAME'; got 'FULL'"):
            patches.extract_patches(jnp.zeros((1, 2, 3, 1)), sizes=(1, 1), padding="FULL")
