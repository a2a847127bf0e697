"""Flow files, flow colours, and warping."""

import struct

import numpy as np
import pytest

from perceiver_jax.errors import DataError
from perceiver_jax.infer import flow_files


class TestFlo:
    @pytest.mark.core
    def test_bytes(self, tmp_path):
        """Written by hand: one row of two vectors."""
        path = tmp_path / "a.flo"
        flow_files.write_flo(path, np.array([[[1.5, -2.0], [0.25, 8.0]]]))
        expected = b"PIEH" + struct.pack("<ii4f", 2, 1, 1.5, -2.0, 0.25, 8.0)
        assert path.read_bytes() == expected
        assert [file.name for file in tmp_path.iterdir()] == ["a.flo"]

    def test_round_trip(self, tmp_path):
        flow = np.random.default_rng(0).normal(size=(5, 7, 2)).astype(np.float32)
        flow_files.write_flo(tmp_path / "deep" / "a.flo", flow)
        read = flow_files.read_flo(tmp_path / "deep" / "a.flo")
        np.testing.assert_array_equal(read, flow)
        assert read.dtype == np.float32 and read.flags.writeable

    @pytest.mark.parametrize("length", range(29))
    def test_truncated(self, tmp_path, length):
        path = tmp_path / "a.flo"
        whole = b"PIEH" + struct.pack("<ii4f", 2, 1, 1.5, -2.0, 0.25, 8.0)
        path.write_bytes(whole[: length - 1] if length else whole + b"x")
        with pytest.raises(DataError, match="a.flo' (is no .flo file|says that it holds)"):
            flow_files.read_flo(path)

    def test_negative_size(self, tmp_path):
        path = tmp_path / "a.flo"
        path.write_bytes(b"PIEH" + struct.pack("<ii2f", -1, -1, 1, 1))
        with pytest.raises(DataError, match="-1 x -1"):
            flow_files.read_flo(path)

    def test_other_file(self, tmp_path):
        (tmp_path / "a.flo").write_bytes(b"\x89PNG and much more")
        with pytest.raises(DataError, match="is no .flo file"):
            flow_files.read_flo(tmp_path / "a.flo")

    def test_missing(self, tmp_path):
        with pytest.raises(DataError, match="cannot read the flow file"):
            flow_files.read_flo(tmp_path / "a.flo")

    def test_no_flow(self, tmp_path):
        with pytest.raises(DataError, match=r"got an array of shape \(3, 4, 3\)"):
            flow_files.write_flo(tmp_path / "a.flo", np.zeros((3, 4, 3)))


class TestColours:
    def test_wheel(self):
        wheel = flow_files.colour_wheel()
        assert wheel.shape == (55, 3)
        pure = {0: (255, 0, 0), 15: (255, 255, 0), 21: (0, 255, 0), 25: (0, 255, 255)}
        pure |= {36: (0, 0, 255), 49: (255, 0, 255)}
        for index, colour in pure.items():
            assert tuple(wheel[index]) == colour
        assert tuple(wheel[1]) == (255, 17, 0)  # A fifteenth of the way to yellow.
        assert tuple(wheel[54]) == (255, 0, 255 - 212)  # Five of six steps from magenta to red.

    @pytest.mark.core
    @pytest.mark.parametrize(
        ("vector", "colour"),
        [
            ((0, 0), (255, 255, 255)),
            ((4, 0), (255, 0, 0)),  # To the right: red.
            ((4, -0.0), (255, 0, 0)),
            ((2, 0), (255, 127, 127)),  # Half as long, half as full.
            ((8, 0), (191, 0, 0)),  # Beyond the longest: darker.
            # Downwards: 13.5 of 54 steps round the wheel, between two colours before yellow.
            ((0, 4), (255, 229, 0)),
            # To the left: step 27, the second after cyan, 2/11 of the way to blue.
            ((-4, 0), (0, 209, 255)),
            ((np.nan, 0), (0, 0, 0)),
            ((1e10, 0), (0, 0, 0)),
        ],
    )
    def test_known_colours(self, vector, colour):
        actual = flow_files.flow_to_colours(np.array([[vector]], np.float32), max_flow=4)
        assert actual.dtype == np.uint8
        np.testing.assert_array_equal(actual[0, 0], colour)

    def test_scaled_by_the_longest_known_vector(self):
        flow = np.array([[[3, 4], [0.5, 0.5], [1e10, 0], [np.nan, 1]]])
        assert flow_files.max_magnitude(flow) == 5
        np.testing.assert_array_equal(
            flow_files.flow_to_colours(flow), flow_files.flow_to_colours(flow, max_flow=5)
        )

    def test_longest_vector_is_not_darkened(self):
        rng = np.random.default_rng(0)
        for vector in rng.normal(size=(50, 2)).astype(np.float32):
            colour = flow_files.flow_to_colours(vector[None, None])[0, 0]
            assert colour.max() >= 254  # Some channel is full in every hue of the wheel.

    def test_no_motion_at_all(self):
        assert (flow_files.flow_to_colours(np.zeros((2, 3, 2))) == 255).all()


class TestWarp:
    def test_whole_pixels(self):
        image = np.arange(2 * 4 * 1, dtype=np.uint8).reshape(2, 4, 1)
        flow = np.broadcast_to(np.float32([1, 0]), (2, 4, 2))
        warped = flow_files.warp(image, flow)
        np.testing.assert_array_equal(warped.image[..., 0], [[1, 2, 3, 0], [5, 6, 7, 0]])
        np.testing.assert_array_equal(warped.inside, [[True, True, True, False]] * 2)

    @pytest.mark.core
    def test_equals_scipy(self):
        scipy_ndimage = pytest.importorskip("scipy.ndimage")
        rng = np.random.default_rng(0)
        image = rng.uniform(0, 255, (7, 9, 3)).astype(np.float32)
        flow = rng.normal(scale=2, size=(7, 9, 2)).astype(np.float32)
        warped = flow_files.warp(image, flow)
        y, x = np.mgrid[:7, :9]
        place = [y + flow[..., 1], x + flow[..., 0]]
        expected = np.stack(
            [scipy_ndimage.map_coordinates(image[..., c], place, order=1) for c in range(3)], -1
        )
        assert 10 < warped.inside.sum() < 63
        np.testing.assert_allclose(
            warped.image[warped.inside], expected[warped.inside], rtol=1e-4, atol=1e-3
        )
        assert (warped.image[~warped.inside] == 0).all()

    def test_unknown_flow_is_outside(self):
        flow = np.zeros((2, 2, 2), np.float32)
        flow[0, 0, 1], flow[1, 1, 0] = np.nan, 1e10
        warped = flow_files.warp(np.ones((2, 2, 3), np.uint8), flow)
        np.testing.assert_array_equal(warped.inside, [[False, True], [True, False]])

    def test_another_size(self):
        with pytest.raises(DataError, match="cannot be warped"):
            flow_files.warp(np.zeros((2, 3, 3)), np.zeros((3, 2, 2)))


class TestCheck:
    @pytest.mark.core
    def test_right_flow_explains_the_difference(self):
        scene = np.random.default_rng(0).integers(0, 256, (6, 12, 3), np.uint8)
        first, second = scene[:, 2:], scene[:, :-2]  # Everything moves two pixels to the right.
        right = np.broadcast_to(np.float32([2, 0]), (6, 10, 2))
        check = flow_files.check_flow(first, second, right)
        assert check.after == 0 and check.before > 50
        # Both errors are those of the pixels that stay inside.
        difference = np.abs(first[:, :8].astype(float) - second[:, :8])
        assert check.before == pytest.approx(difference.mean())
        assert check.picture.shape == (6, 30, 3) and check.picture.dtype == np.uint8
        np.testing.assert_array_equal(check.picture[:, :10], first)
        np.testing.assert_array_equal(check.picture[:, 10:18], second[:, 2:])
        assert (check.picture[:, 18:] == 0).all()

    def test_no_motion(self):
        first, second = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), np.uint8)
        check = flow_files.check_flow(first, second, np.zeros((5, 4, 2), np.float32))
        assert check.before == check.after > 0

    def test_everything_leaves_the_frame(self):
        first, second = np.zeros((2, 5, 4, 3), np.uint8)
        check = flow_files.check_flow(first, second, np.full((5, 4, 2), 9.0))
        assert np.isnan(check.before) and np.isnan(check.after)
