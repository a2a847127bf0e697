"""Bicubic resizing against hand-computed weights, OpenCV and PyTorch."""

import numpy as np
import pytest

from perceiver_jax.data.images.resize import resize, resize_uint8, taps
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
    np.testing.assert_array_equal(resize_uint8(image, (1, 4), "opencv_linear")[0, :, 0], [0, 25, 75, 100])
    # Shrinking reads two samples all the same, at the new pixels' centres.
    row = np.arange(9, dtype=np.float32).reshape(1, 9, 1) ** 2
    np.testing.assert_allclose(resize(row, (1, 3), "opencv_linear")[0, :, 0], [1, 16, 49])
