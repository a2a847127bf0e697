"""The loader: what a step holds is a function of (seed, step), and nothing is lost or repeated."""

import dataclasses
import itertools
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from perceiver_jax.data.loader import Shard, eval_batches, train_batches
from perceiver_jax.errors import ConfigError, DataError


@dataclasses.dataclass(frozen=True)
class Numbers:
    """Examples that say which they are; augmentation adds a random number."""

    count: int = 13

    def make_source(self, split: str) -> list[dict[str, Any]]:
        return [{"id": np.int32(i), "nested": {"x": np.full(2, i)}} for i in range(self.count)]

    def augment(self, example: Any, rng: np.random.Generator) -> Any:
        return {**example, "noise": np.float64(rng.random())}


def _batches(count: int = 13, take: int | None = None, **changes: Any) -> list[dict[str, Any]]:
    options = {"batch_size": 5, "seed": 0, "start_step": 0, "stop_step": 11} | changes
    data = Numbers(count)
    return list(itertools.islice(train_batches(data, data.make_source("train"), **options), take))


def _stream(batches: list[dict[str, Any]], key: str = "id") -> np.ndarray:
    return np.concatenate([batch[key] for batch in batches])


def test_every_example_once_in_every_pass() -> None:
    ids = _stream(_batches(stop_step=13))  # 65 positions: five passes over 13 examples
    passes = ids.reshape(5, 13)
    for order in passes:
        assert sorted(order) == list(range(13))
    assert len({tuple(order) for order in passes}) == 5  # a fresh order each time
    assert not any(np.array_equal(order, np.arange(13)) for order in passes)


def test_nested_arrays_stay_together() -> None:
    batch = _batches()[2]
    np.testing.assert_array_equal(batch["nested"]["x"], np.stack([batch["id"]] * 2, axis=1))


def test_seed_decides_order_and_noise() -> None:
    assert np.array_equal(_stream(_batches()), _stream(_batches()))
    assert not np.array_equal(_stream(_batches()), _stream(_batches(seed=1)))
    noise = _stream(_batches(), "noise")
    assert np.array_equal(noise, _stream(_batches(), "noise"))
    assert len(set(noise)) == 55  # different for every position, also for the same example
    assert not set(noise) & set(_stream(_batches(seed=1), "noise"))


@pytest.mark.parametrize("start", [1, 2, 3, 7, 10])
@pytest.mark.parametrize("threads", [0, 3])
def test_a_later_start_reads_the_same_steps(start: int, threads: int) -> None:
    whole = _batches(threads=threads)
    rest = _batches(threads=threads, start_step=start)
    assert len(rest) == 11 - start
    for expected, found in zip(whole[start:], rest, strict=True):
        for key in ("id", "noise"):
            np.testing.assert_array_equal(expected[key], found[key])


@pytest.mark.parametrize("count", [2, 3])
def test_processes_share_the_same_batches(count: int) -> None:
    whole = _batches(batch_size=6)
    shards = [_batches(batch_size=6, shard=Shard(i, count)) for i in range(count)]
    for step, expected in enumerate(whole):
        for key in ("id", "noise"):
            found = np.concatenate([shard[step][key] for shard in shards])
            np.testing.assert_array_equal(expected[key], found)


@hypothesis.given(
    count=st.integers(1, 40),
    batch_size=st.sampled_from([4, 8, 12]),
    seed=st.integers(0, 2**32 - 1),
    pieces=st.lists(st.tuples(st.integers(0, 5), st.sampled_from([1, 2, 4])), max_size=5),
)
def test_any_resume_on_any_number_of_processes_goes_on_in_the_one_stream(
    count: int, batch_size: int, seed: int, pieces: list[tuple[int, int]]
) -> None:
    """Runs of some steps each, on some number of processes each, one after the other."""
    shared = {"count": count, "batch_size": batch_size, "seed": seed, "threads": 0}
    step, ids, noise = 0, [], []
    for num_steps, num_shards in pieces:
        parts = [
            _batches(**shared, start_step=step, stop_step=1000, shard=Shard(i, num_shards),
                     take=num_steps)
            for i in range(num_shards)
        ]  # fmt: skip
        for number in range(num_steps):
            for part in parts:
                ids += list(part[number]["id"])
                noise += list(part[number]["noise"])
        step += num_steps
    whole = _batches(**shared, stop_step=step)
    assert ids == [each for batch in whole for each in batch["id"]]
    assert noise == [each for batch in whole for each in batch["noise"]]
    # All of the data in every pass that was finished, and nothing twice in the one that was not.
    for start in range(0, len(ids), count):
        seen = ids[start : start + count]
        assert len(set(seen)) == len(seen)
        assert len(seen) < count or sorted(seen) == list(range(count))


def test_batches_larger_than_the_data() -> None:
    ids = _stream(_batches(count=3, batch_size=7, stop_step=3))
    for order in ids.reshape(7, 3):
        assert sorted(order) == [0, 1, 2]


def test_no_steps_left() -> None:
    assert _batches(start_step=11) == []


@pytest.mark.parametrize(("count", "batch_size"), [(13, 5), (10, 5), (3, 7), (1, 1)])
@pytest.mark.parametrize("processes", [1, 2])
def test_evaluation_reads_everything_once(count: int, batch_size: int, processes: int) -> None:
    batch_size *= processes
    source = Numbers(count).make_source("test")
    shards = [
        list(eval_batches(source, batch_size=batch_size, shard=Shard(i, processes)))
        for i in range(processes)
    ]
    assert len({len(shard) for shard in shards}) == 1
    ids = []
    for step in range(len(shards[0])):
        for shard in shards:
            assert shard[step]["mask"].shape == (batch_size // processes,)
            ids += list(shard[step]["id"][shard[step]["mask"] > 0])
            assert not shard[step]["nested"]["x"][shard[step]["mask"] == 0].any()
    assert ids == list(range(count))


def test_mistakes() -> None:
    with pytest.raises(ConfigError, match="batch_size=5 cannot be shared by 2 .* such as 6"):
        _batches(shard=Shard(0, 2))
    with pytest.raises(DataError, match="training split is empty"):
        _batches(count=0)
    with pytest.raises(DataError, match="evaluate is empty"):
        eval_batches([], batch_size=2)
