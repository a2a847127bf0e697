"""Optical flow in tiles and in chunks."""

import itertools

import numpy as np
import pytest

import perceiver_jax
from perceiver_jax.errors import ModelError
from perceiver_jax.infer import chunks, flow
from perceiver_jax.infer.loaded import LoadedModel
from tests import golden_cases, golden_models, tiny_models
from tests.random_params import model_params

pytestmark = pytest.mark.usefixtures("quick_compilation")

# Height and width, overlap, frame: steps of 3 and 5 rows, so that several tiles meet.
SIZE, OVERLAP = (5, 8), 2


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    model = perceiver_jax.build(tiny_models.optical_flow())
    return LoadedModel(model, *model_params(model))


def frames(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 256, (2, height, width, 3), np.uint8)
    return first, second


def released_stitching(predict, first, second, size, overlap):
    """The released procedure, transcribed: every tile of the list, repeated ones too."""
    height, width = first.shape[:2]
    ys = list(range(0, height, size[0] - overlap))
    xs = list(range(0, width, size[1] - overlap))
    ys[-1], xs[-1] = height - size[0], width - size[1]
    weights = np.zeros(size)
    for y, x in np.ndindex(*size):
        weights[y, x] = min(x + 1, size[1] - x, y + 1, size[0] - y)
    total, norm = np.zeros((height, width, 2)), np.zeros((height, width, 1))
    for y, x in itertools.product(ys, xs):
        window = np.s_[y : y + size[0], x : x + size[1]]
        total[window] += weights[..., None] * predict(first[window], second[window])
        norm[window] += weights[..., None]
    return total / norm


class FakeModel:
    """A flow that depends on the place in the tile and on both frames; counts its calls."""

    def __init__(self):
        self.calls = []

    def __call__(self, first, second):
        self.calls.append(first.tobytes())
        place = np.stack(np.mgrid[: first.shape[0], : first.shape[1]], axis=-1)
        return place**2 + first[..., :2] * 0.1 - second[..., 1:] * 0.2 + float(first.sum() % 7)


class TestTiles:
    @pytest.mark.core
    def test_released_size(self):
        """436 x 1024, Sintel's frames: the six tiles of the released procedure."""
        assert flow.tile_positions(436, 368, 20) == {0: 1, 68: 1}
        assert flow.tile_positions(1024, 496, 20) == {0: 1, 476: 1, 528: 1}

    def test_tile_that_meets_the_one_before_counts_twice(self):
        assert flow.tile_positions(368, 368, 20) == {0: 2}
        # 2 * 348 + 20: the third tile, moved back, is the second.
        assert flow.tile_positions(716, 368, 20) == {0: 1, 348: 2}

    def test_tile_that_would_stick_out_is_left_out(self):
        assert flow.tile_positions(700, 368, 20) == {0: 1, 332: 1}

    def test_one_tile_if_they_need_not_overlap(self):
        assert flow.tile_positions(8, 8, 0) == {0: 1}
        assert flow.tile_positions(16, 8, 0) == {0: 1, 8: 1}

    @pytest.mark.parametrize("overlap", [-1, 8])
    def test_impossible_overlap(self, overlap):
        with pytest.raises(ModelError, match=f"8 pixels cannot overlap by {overlap}; give 0 to 7"):
            flow.tile_positions(9, 8, overlap)

    @pytest.mark.parametrize("length", range(7, 40))
    def test_everything_is_covered(self, length):
        starts = flow.tile_positions(length, 7, 3)
        covered = {pixel for start in starts for pixel in range(start, start + 7)}
        assert covered == set(range(length))

    def test_weights(self):
        expected = [[1, 1, 1, 1, 1], [1, 2, 2, 2, 1], [1, 2, 2, 2, 1], [1, 1, 1, 1, 1]]
        np.testing.assert_array_equal(flow.feathering_weights((4, 5)), expected)


class TestStitching:
    # 5 + 3 k + r rows and 8 + 6 k + r columns; heights of 3 k + 1 the released code cannot do.
    @pytest.mark.core
    @pytest.mark.parametrize("height", [5, 6, 8, 9, 11, 12])
    @pytest.mark.parametrize("width", [8, 9, 11, 14, 15, 20])
    def test_equals_the_released_procedure(self, height, width):
        first, second = frames(height, width)
        fake = FakeModel()
        actual = flow.flow_by_tiles(fake, first, second, size=SIZE, overlap=OVERLAP)
        assert len(set(fake.calls)) == len(fake.calls)  # No tile twice.
        expected = released_stitching(FakeModel(), first, second, SIZE, OVERLAP)
        np.testing.assert_allclose(actual, expected, rtol=1e-6)
        assert actual.dtype == np.float32

    def test_counting_twice_matters(self):
        """Were repeated tiles counted once, this size would differ from the released result."""
        first, second = frames(8, 8)
        expected = released_stitching(FakeModel(), first, second, SIZE, OVERLAP)
        tiles = [FakeModel()(first[y : y + 5], second[y : y + 5]) for y in (0, 3)]
        weights = flow.feathering_weights(SIZE)[..., None]
        once = (weights[4] * tiles[0][4] + weights[1] * tiles[1][1]) / (weights[4] + weights[1])
        assert np.abs(once - expected[4]).max() > 0.1

    @pytest.mark.parametrize("shape", [(7, 9), (13, 13), (10, 19)])
    def test_constant_flow_stays_constant(self, shape):
        """Sizes that the released code fails on among them."""
        first, second = frames(*shape)
        actual = flow.flow_by_tiles(
            lambda a, b: np.broadcast_to([3.5, -2.0], (*a.shape[:2], 2)),
            first,
            second,
            size=SIZE,
            overlap=OVERLAP,
        )
        assert actual.shape == (*shape, 2)
        np.testing.assert_allclose(actual, np.broadcast_to([3.5, -2.0], actual.shape), rtol=1e-6)

    def test_smaller_than_a_tile(self):
        words = r"4 x 9 pixels \(height x width\) are smaller than this model's tiles of 5 x 8"
        with pytest.raises(ModelError, match=words):
            flow.flow_by_tiles(FakeModel(), *frames(4, 9), size=SIZE)

    def test_sizes_differ(self):
        first, second = frames(5, 8)[0], frames(5, 9)[0]
        with pytest.raises(ModelError, match=r"first has \(5, 8\) .*second \(5, 9\)"):
            flow.flow_by_tiles(FakeModel(), first, second, size=SIZE)

    @pytest.mark.parametrize("value", [256.0, -0.5, np.nan])
    def test_values_out_of_range(self, value):
        first, second = frames(5, 8)
        second = second.astype(np.float32)
        second[2, 3, 1] = value
        with pytest.raises(ModelError, match=r"second frame's values must be in \[0, 255\]"):
            flow.flow_by_tiles(FakeModel(), first, second, size=SIZE)

    def test_no_rgb(self):
        with pytest.raises(ModelError, match=r"first frame must be an RGB image .*\(5, 8\)"):
            flow.flow_by_tiles(FakeModel(), *np.zeros((2, 5, 8)), size=SIZE)


class TestModel:
    @pytest.mark.core
    def test_one_tile_equals_apply(self, loaded):
        first, second = frames(3, 5)
        images = np.stack([first, second]).astype(np.float32) / 255 * 2 - 1
        expected = np.asarray(loaded.apply(images[None]))[0] * 20
        actual = flow.predict_flow(loaded, first, second)
        assert np.abs(expected).max() > 0.01
        np.testing.assert_allclose(actual, expected, atol=1e-5)

    @pytest.mark.parametrize("chunk_size", [1, 4, 7, 14, 15, 1000])
    def test_chunk_size_does_not_matter(self, loaded, chunk_size):
        first, second = frames(3, 5)
        expected = flow.predict_flow(loaded, first, second)
        actual = flow.predict_flow(loaded, first, second, chunk_size=chunk_size)
        np.testing.assert_allclose(actual, expected, atol=1e-5)

    def test_larger_frames_take_two_programs(self, loaded):
        first, second = frames(7, 11)
        fresh = LoadedModel(loaded.model, loaded.params, loaded.state)
        actual = flow.predict_flow(fresh, first, second, chunk_size=4)

        def predict(first, second):
            return flow.predict_flow(loaded, first, second)

        expected = flow.flow_by_tiles(predict, first, second, size=(3, 5), overlap=1)
        np.testing.assert_allclose(actual, expected, atol=1e-5)
        assert fresh._encode._cache_size() == fresh._decode._cache_size() == 1

    def test_float_frames(self, loaded):
        first, second = frames(3, 5)
        expected = flow.predict_flow(loaded, first, second)
        actual = flow.predict_flow(loaded, first.astype(np.float64), second.astype(np.float32))
        np.testing.assert_array_equal(actual, expected)

    @pytest.mark.core
    @pytest.mark.parametrize("chunk_size", [48, 17])
    def test_golden(self, highest_precision, chunk_size):
        case, model = golden_cases.load("optical_flow"), golden_models.build("optical_flow")
        loaded = LoadedModel(model, case.params, case.state)
        for images, expected in zip(case.inputs["images"], case.outputs["out"], strict=True):
            actual = flow.predict_tile(loaded, images, chunk_size=chunk_size)
            golden_cases.assert_close(actual, expected)

    def test_another_kind_of_model(self):
        model = perceiver_jax.build(tiny_models.classifier())
        with pytest.raises(ModelError, match="image classifier cannot do --task=flow"):
            flow.predict_flow(LoadedModel(model, {}, {}), *frames(5, 8))


class TestChunks:
    def test_filled_up_with_the_last_point(self):
        actual = [list(chunk) for chunk in chunks.chunks_of(7, 3)]
        assert actual == [[0, 1, 2], [3, 4, 5], [6, 6, 6]]

    def test_about_equal(self):
        assert [len(chunk) for chunk in chunks.chunks_of(100, 99)] == [50, 50]

    def test_larger_than_needed(self):
        assert [list(chunk) for chunk in chunks.chunks_of(3, 10)] == [[0, 1, 2]]

    def test_impossible(self):
        with pytest.raises(ModelError, match="at least 1; got 0"):
            chunks.chunks_of(3, 0)
