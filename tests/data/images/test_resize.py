"""Resizing against hand-computed weights, TensorFlow, OpenCV and PyTorch."""

import numpy as np
import pytest

from perceiver_jax.data.images.resize import METHODS, resize, resize_uint8, taps
from tests.golden_cases import GOLDEN


def golden():
    # Made with OpenCV 5.0.0 (4.14 gives the same), from random images:
    # uint8 = cv2.resize(image, (W, H), interpolation=cv2.INTER_CUBIC), float32 = the same of
    # image.astype(np.float32).
    with np.load(GOLDEN / "resize.npz") as file:
        names = sorted({key.split("/")[0] for key in file.files})
        return [
            tuple(file[f"{name}/{kind}"] for kind in ("image", "uint8", "float32"))
            for name in names
        ]


@pytest.mark.core
def test_weights_by_hand():
    # Twice as many samples: positions -0.25, 0.25, 0.75, ...; with a = -3/4 the kernel at
    # distances 1.25, 0.25, 0.75 and 1.75 is -27/256, 225/256, 67/256 and -9/256.
    indices, weights = taps(3, 6)
    expected = np.array([-27, 225, 67, -9]) / 256
    np.testing.assert_allclose(weights[1], expected, atol=1e-12)
    np.testing.assert_allclose(weights[0], expected[::-1], atol=1e-12)
    assert indices[0].tolist() == [0, 0, 0, 1]  # -2 and -1 are beyond the border.
    assert indices[1].tolist() == [0, 0, 1, 2]
    assert indices[5].tolist() == [1, 2, 2, 2]
    np.testing.assert_allclose(weights.sum(axis=1), 1)


def test_halving_takes_four_samples_and_no_average():
    indices, weights = taps(8, 4)
    np.testing.assert_allclose(weights, np.tile([-3, 19, 19, -3], (4, 1)) / 32)
    assert indices.tolist() == [[0, 0, 1, 2], [1, 2, 3, 4], [3, 4, 5, 6], [5, 6, 7, 7]]


@pytest.mark.core
@pytest.mark.parametrize(("image", "uint8", "float32"), golden())
def test_as_opencv(image, uint8, float32):
    shape = uint8.shape[:2]
    np.testing.assert_allclose(resize(image, shape), float32, atol=2e-4)
    np.testing.assert_array_equal(resize_uint8(image, shape), uint8)


def test_as_pytorch():
    torch = pytest.importorskip("torch")
    image = np.random.default_rng(1).standard_normal((11, 7, 5)).astype(np.float32)
    for shape in ((20, 20), (4, 9)):
        batch = torch.from_numpy(image).permute(2, 0, 1)[None]
        expected = torch.nn.functional.interpolate(
            batch, size=shape, mode="bicubic", align_corners=False
        )
        np.testing.assert_allclose(
            resize(image, shape), expected[0].permute(1, 2, 0).numpy(), atol=1e-5
        )


def test_same_size_changes_nothing_and_constants_stay():
    image = np.random.default_rng(2).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resize_uint8(image, (5, 4)), image)
    np.testing.assert_allclose(resize(np.full((3, 5, 1), 7.0), (11, 2)), 7.0, rtol=1e-6)


def test_overshoot_is_clipped_in_8_bits():
    edge = np.repeat(np.array([0, 0, 255, 255], np.uint8), 4).reshape(4, 4, 1)
    assert resize(edge, (9, 4)).min() < 0 and resize(edge, (9, 4)).max() > 255
    resized = resize_uint8(edge, (9, 4))
    assert resized.min() == 0 and resized.max() == 255


def test_mistakes():
    with pytest.raises(ValueError, match=r"\[y, x, channels\]"):
        resize(np.zeros((3, 3)), (2, 2))
    with pytest.raises(ValueError, match="at least 1"):
        resize(np.zeros((3, 3, 1)), (0, 2))
    with pytest.raises(ValueError, match="float64"):
        resize_uint8(np.zeros((3, 3, 1)), (2, 2))


def test_linear_weights_by_hand():
    # Two samples to four: centres at -0.25, 0.25, 0.75 and 1.25; the border repeats.
    indices, weights = taps(2, 4, "opencv_linear")
    np.testing.assert_array_equal(indices, [[0, 0], [0, 1], [0, 1], [1, 1]])
    np.testing.assert_allclose(weights[1:3], [[0.75, 0.25], [0.25, 0.75]])
    image = np.array([[[0], [100]]], np.uint8)
    np.testing.assert_array_equal(
        resize_uint8(image, (1, 4), "opencv_linear")[0, :, 0], [0, 25, 75, 100]
    )
    # Shrinking reads two samples all the same, at the new pixels' centres.
    row = np.arange(9, dtype=np.float32).reshape(1, 9, 1) ** 2
    np.testing.assert_allclose(resize(row, (1, 3), "opencv_linear")[0, :, 0], [1, 16, 49])


@pytest.mark.core
def test_tensorflow_weights_by_hand():
    # With a = -1/2 the kernel at distances 1.25, 0.25, 0.75 and 1.75 is -9/128, 111/128, 29/128 and
    # -3/128. Beyond the border there is nothing: what is left is scaled to sum to 1.
    indices, weights = taps(8, 16, "tensorflow")
    kernel = np.array([-9, 111, 29, -3]) / 128
    np.testing.assert_allclose(weights[5], kernel, atol=1e-12)
    np.testing.assert_allclose(weights[4], kernel[::-1], atol=1e-12)
    assert indices[5].tolist() == [1, 2, 3, 4] and indices[4].tolist() == [0, 1, 2, 3]
    # The first new sample is at -0.25: of the old ones at -2, -1, 0 and 1, two are there.
    np.testing.assert_allclose(weights[0], [0, 0, 111 / 102, -9 / 102], atol=1e-12)
    np.testing.assert_allclose(weights[1], [0, 111 / 137, 29 / 137, -3 / 137], atol=1e-12)
    np.testing.assert_allclose(weights[15], weights[0][::-1], atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("old", "new"), [(1, 7), (2, 5), (3, 3), (224, 224), (500, 224), (17, 2)])
def test_weights_sum_to_1_and_read_inside(method, old, new):
    indices, weights = taps(old, new, method)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-12)
    assert indices.min() >= 0 and indices.max() < old
    constant = resize(np.full((old, old, 3), 93, np.uint8), (new, new), method)
    np.testing.assert_allclose(constant, 93, rtol=2e-6)


def test_tensorflow_halving_takes_four_samples_and_no_average():
    _, weights = taps(8, 4, "tensorflow")
    np.testing.assert_allclose(weights[1], np.array([-1, 9, 9, -1]) / 16)
    # A tenth of the size: black lines between the samples are not seen at all.
    lines = np.full((1, 80, 1), 255, np.uint8)
    lines[0, 0::10] = lines[0, 1::10] = 0
    np.testing.assert_allclose(resize(lines, (1, 8), "tensorflow"), 255, rtol=1e-6)


def test_tensorflow_overshoots():
    edge = np.repeat(np.array([0, 255], np.uint8), 4).reshape(1, 8, 1)
    resized = resize(edge, (1, 16), "tensorflow")[0, :, 0]
    # Across the edge, at a quarter from each side: 255 * -3/128, 255 * (-3 + 29) / 128, ...
    steps = 255 * np.array([-3, -12, 26, 99 + 3, 128 + 12, 131]) / 128
    np.testing.assert_allclose(
        resized[[5, 6, 7]], [255 * -3 / 128, 255 * -9 / 128 - 0, 255 * 26 / 128], rtol=1e-5
    )
    np.testing.assert_allclose(resized[8:11], 255 - resized[7:4:-1], rtol=1e-5)
    assert resized.min() < 0 and resized.max() > 255 and len(steps) == 6


def test_one_axis_after_the_other():
    rng = np.random.default_rng(4)
    image = rng.integers(0, 256, (13, 7, 3), dtype=np.uint8)
    for method in METHODS:
        y, x = (np.zeros((new, old)) for new, old in ((5, 13), (11, 7)))
        for matrix in (y, x):
            indices, weights = taps(matrix.shape[1], matrix.shape[0], method)
            np.add.at(matrix, (np.arange(len(indices))[:, None], indices), weights)
        expected = np.einsum("Yy,Xx,yxc->YXc", y, x, image.astype(np.float64))
        found = resize(image, (5, 11), method)
        assert found.dtype == np.float32 and found.flags.c_contiguous
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_as_tensorflow():
    # Made with TensorFlow 2.21: tf.image.resize(image, shape, "bicubic"), and the same of crops.
    with np.load(GOLDEN / "resize_tensorflow.npz") as file:
        names = sorted({key.split("/")[0] for key in file.files})
        assert len(names) >= 4
        for name in names:
            image, expected = file[f"{name}/image"], file[f"{name}/resized"]
            found = resize(image, expected.shape[:2], "tensorflow")
            np.testing.assert_allclose(found, expected, atol=2e-3)
