"""Synthetic data: of the shapes of any model, and the same every time."""

import jax
import numpy as np
import pytest

import perceiver_jax
from perceiver_jax import config as config_lib
from perceiver_jax.data.loader import train_batches
from perceiver_jax.data.synthetic import ArrayConfig, SyntheticConfig
from perceiver_jax.errors import ConfigError, DataError

_SMALL = SyntheticConfig(arrays={"image": ArrayConfig(shape=(5, 7, 3))}, num_classes=11)


@pytest.mark.parametrize(
    "model",
    [
        "imagenet_fourier",  # images
        "perceiver_modelnet40",  # points
        "perceiver_audioset_raw",  # sound
        "perceiver_audioset_video",  # frames
        "perceiver_audioset_audio_video_mel",  # two modalities in a dict
        "video_autoencoding",  # three
        "mlm",  # token ids
    ],
)
def test_examples_are_the_inputs_of_any_model(model: str) -> None:
    inputs = perceiver_jax.build(model).example_inputs(2)[0]
    data = SyntheticConfig.for_inputs(inputs, name="x", num_examples=3)
    batch = next(
        train_batches(data, data.make_source("train"), batch_size=2, seed=0, start_step=0,
                      stop_step=1, threads=0)
    )  # fmt: skip
    expected = jax.tree.map(lambda each: (each.shape, each.dtype), inputs)
    assert jax.tree.map(lambda each: (each.shape, each.dtype), batch["x"]) == expected
    for each in jax.tree.leaves(batch["x"]):
        assert each.std() > 0.9 and not np.array_equal(each[0], each[1])
    assert config_lib.from_dict(config_lib.to_dict(data)) == data  # it is saved with a run


def test_an_example_is_a_function_of_its_index_and_split() -> None:
    first, again = _SMALL.make_source("train"), _SMALL.make_source("train")
    for index in (0, 3, 1023):
        np.testing.assert_array_equal(first[index]["image"], again[index]["image"])
        assert first[index]["label"] == again[index]["label"]
    test = _SMALL.make_source("test")
    assert (len(first), len(test)) == (1024, 256)
    assert not np.array_equal(first[3]["image"], test[3]["image"])
    images = np.stack([first[i]["image"] for i in range(500)])
    assert images.dtype == np.float32
    assert abs(images.mean()) < 0.1 and abs(images.std() - 1) < 0.1
    assert len({image.tobytes() for image in images}) > 450  # windows seldom coincide
    counts = np.bincount([first[i]["label"] for i in range(1024)], minlength=11)
    assert counts.min() > 60 and len(counts) == 11  # 93 each on average
    with pytest.raises(ValueError, match="read-only"):
        first[0]["image"][0, 0, 0] = 0.0


def test_integers_and_several_labels() -> None:
    data = SyntheticConfig(
        arrays={"ids": ArrayConfig(shape=(300,), dtype="int16", num_values=5)},
        num_classes=23,
        multi_label=True,
        labels_per_example=3,
    )
    example = data.make_source("train")[17]
    assert example["ids"].dtype == np.int16 and set(example["ids"]) == set(range(5))
    assert example["label"].shape == (23,) and example["label"].dtype == np.float32
    assert sorted(example["label"])[-4:] == [0, 1, 1, 1]
    assert not np.array_equal(example["label"], data.make_source("train")[18]["label"])


def test_mistakes() -> None:
    with pytest.raises(DataError, match="no split 'valid'; they have: train, test"):
        _SMALL.make_source("valid")
    with pytest.raises(ConfigError, match=r"shape=\(3, 0\)"):
        ArrayConfig(shape=(3, 0))
    for dtype in ("float33", "object", "bool"):
        with pytest.raises(ConfigError, match=f"dtype='{dtype}' .* such as float32"):
            ArrayConfig(shape=(3,), dtype=dtype)
    with pytest.raises(ConfigError, match="num_values=257 .* uint8"):
        ArrayConfig(shape=(3,), dtype="uint8", num_values=257)
    with pytest.raises(ConfigError, match="must not hold 'label'"):
        SyntheticConfig(arrays={"label": ArrayConfig(shape=(3,))})
    with pytest.raises(ConfigError, match="labels_per_example=3 must lie in .0, 2."):
        SyntheticConfig(arrays=_SMALL.arrays, num_classes=2, labels_per_example=3)
    with pytest.raises(ConfigError, match="data.num_examples=0"):
        SyntheticConfig(arrays=_SMALL.arrays, num_examples=0)
    with pytest.raises(ConfigError, match="at least one array"):
        SyntheticConfig(arrays={})
