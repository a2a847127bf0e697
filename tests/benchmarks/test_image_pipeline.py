"""The benchmark of the image pipeline measures what training does."""

import numpy as np

from benchmarks.image_pipeline import Clock, make_files, one
from perceiver_jax.data.images.config import ImagesConfig
from perceiver_jax.data.images.decode import decode


def test_the_steps_are_those_of_augment() -> None:
    data, (file,) = ImagesConfig(size=(24, 20)), make_files(1)
    steps = {"decode", "crop", "randaugment", "to array", "resize", "normalise"}
    for seed in range(4):
        clock = Clock()
        found = one(data, file, np.random.default_rng(seed), clock)
        raw = {"image": decode(file, "image"), "label": 0}
        expected = data.augment(raw, np.random.default_rng(seed))["image"]
        np.testing.assert_array_equal(found, expected)
        assert steps <= set(clock.seconds) <= steps | {"flip"}
        assert all(seconds > 0 for seconds in clock.seconds.values())
