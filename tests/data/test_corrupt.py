"""Corrupt examples: left out the same way whoever reads, counted, and an error if they are many."""

from typing import Any

import numpy as np
import pytest

from perceiver_jax.data.loader import CorruptCount, Shard, eval_batches, train_batches
from perceiver_jax.data.readers import first_readable
from perceiver_jax.data.source import CorruptExample, decoding
from perceiver_jax.errors import ConfigError, DataError
from tests.data.sources import Faulty

DAMAGED = Faulty(corrupt=(2, 7), corrupt_in_augment=(11,))


def _train(data: Faulty, count: CorruptCount | None = None, **changes: Any) -> list[dict[str, Any]]:
    options = {"batch_size": 4, "seed": 0, "start_step": 0, "stop_step": 13} | changes
    return list(train_batches(data, data.make_source("train"), corrupt=count, **options))


def _stream(batches: list[dict[str, Any]], key: str = "id") -> np.ndarray:
    return np.concatenate([batch[key] for batch in batches])


@pytest.mark.core
def test_others_stand_in_their_place_and_all_else_stays() -> None:
    count = CorruptCount(limit=3, report=lambda line: None)
    whole, found = _train(Faulty()), _train(DAMAGED, count)
    before, after = _stream(whole), _stream(found)
    replaced = np.isin(before, [2, 7, 11])
    assert replaced.sum() == 12  # 3 examples in each of 4 passes
    np.testing.assert_array_equal(after[~replaced], before[~replaced])
    assert not np.isin(after, [2, 7, 11]).any()
    assert len(set(after[replaced])) > 4  # drawn among all, not always the same
    # What stands there is augmented as whatever stands at this position.
    np.testing.assert_array_equal(_stream(found, "noise"), _stream(whole, "noise"))
    assert len(count) == 3


@pytest.mark.parametrize("options", [{"threads": 0}, {"threads": 3}, {"processes": 2}])
@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("start", [0, 5])
def test_what_stands_in_is_a_function_of_seed_and_position(
    options: dict[str, int], shards: int, start: int
) -> None:
    quiet = {"report": lambda line: None}
    expected = _stream(_train(DAMAGED, CorruptCount(3, **quiet)))[4 * start :]
    counts = [CorruptCount(3, **quiet) for _ in range(shards)]
    parts = [
        _train(DAMAGED, count, shard=Shard(i, shards), start_step=start, **options)
        for i, count in enumerate(counts)
    ]
    found = [part[step]["id"] for step in range(13 - start) for part in parts]
    np.testing.assert_array_equal(np.concatenate(found), expected)
    # Each process counts what it reads itself; the two halves of 13 steps see all three.
    assert all(1 <= len(count) <= 3 for count in counts)
    other = _stream(_train(DAMAGED, CorruptCount(3, **quiet), seed=1))
    assert not np.array_equal(other[4 * start :], expected)


@pytest.mark.parametrize("options", [{"threads": 0}, {"processes": 1}])
def test_each_is_told_of_once(options: dict[str, int]) -> None:
    told: list[str] = []
    _train(DAMAGED, CorruptCount(3, told.append), **options)
    assert sorted(told) == [
        "left out    example 11 of train, which is corrupt: file_11.bin: cannot be augmented",
        "left out    example 2 of train, which is corrupt: file_2.bin: cut short",
        "left out    example 7 of train, which is corrupt: file_7.bin: cut short",
    ]


def test_what_was_read_ahead_is_not_counted_yet() -> None:
    count = CorruptCount(3, lambda line: None)
    batches = train_batches(
        DAMAGED, DAMAGED.make_source("train"), batch_size=4, seed=0, start_step=0, stop_step=13,
        prefetch=8, corrupt=count,
    )  # fmt: skip
    plain = _train(Faulty())
    met: set[int] = set()
    for step, _ in zip(range(3), batches, strict=False):
        met |= set(plain[step]["id"]) & {2, 7, 11}
        assert len(count) == len(met)


@pytest.mark.parametrize("options", [{"threads": 0}, {"threads": 2}, {"processes": 1}])
@pytest.mark.parametrize("batch_size", [1, 13])
def test_more_than_the_limit_is_an_error_that_names_files(
    options: dict[str, int], batch_size: int
) -> None:
    with pytest.raises(DataError) as caught:
        _train(DAMAGED, CorruptCount(2, lambda line: None), batch_size=batch_size, **options)
    message = str(caught.value)
    assert message.startswith("3 corrupt examples, and trainer.max_corrupt_examples=2 may be left")
    for line in ("train 2: file_2.bin: cut short", "train 7: file_7.bin: cut short",
                 "train 11: file_11.bin: cannot be augmented"):  # fmt: skip
        assert f"\n    {line}\n" in message
    assert "raise --config.trainer.max_corrupt_examples" in message


def test_the_error_does_not_list_thousands() -> None:
    data = Faulty(count=100, corrupt=tuple(range(100)))
    with pytest.raises(DataError) as caught:
        _train(data, CorruptCount(40), batch_size=100)
    assert "41 corrupt examples" in str(caught.value)
    assert str(caught.value).count("cut short") == 10 and "and 31 more" in str(caught.value)


def test_none_is_allowed_unless_a_limit_is_given() -> None:
    with pytest.raises(DataError, match="1 corrupt example, and .*max_corrupt_examples=0"):
        _train(DAMAGED)


def test_a_limit_that_would_leave_nothing() -> None:
    # Nothing could stand in their place: an error, and no search without end.
    with pytest.raises(DataError, match="13 corrupt examples, and .*=100 may"):
        _train(Faulty(corrupt=tuple(range(13))), CorruptCount(100, lambda line: None))
    only = Faulty(corrupt=tuple(range(12)))
    assert set(_stream(_train(only, CorruptCount(100, lambda line: None)))) == {12}


@pytest.mark.parametrize("options", [{"threads": 0}, {"processes": 2}])
def test_evaluation_masks_them_out(options: dict[str, int]) -> None:
    told: list[str] = []
    data = Faulty(corrupt=(0, 7))  # the first, which else tells what examples look like, too
    batches = list(
        eval_batches(
            data.make_source("test"), batch_size=5, corrupt=CorruptCount(2, told.append),
            split="valid", **options,
        )
    )  # fmt: skip
    ids, mask = _stream(batches), _stream(batches, "mask")
    expected = [i not in (0, 7, 13, 14) for i in range(15)]
    np.testing.assert_array_equal(mask, np.float32(expected))
    np.testing.assert_array_equal(ids, np.where(expected, np.arange(15), 0))
    assert not batches[1]["nested"]["x"][2].any() and batches[1]["nested"]["x"][1].all()
    assert told == [
        "left out    example 0 of valid, which is corrupt: file_0.bin: cut short",
        "left out    example 7 of valid, which is corrupt: file_7.bin: cut short",
    ]
    with pytest.raises(DataError, match="valid 0: file_0.bin.*\n.*valid 7: file_7.bin"):
        list(eval_batches(
            data.make_source("test"), batch_size=5, corrupt=CorruptCount(1, told.append),
            split="valid", **options,
        ))  # fmt: skip


def test_the_first_that_can_be_read() -> None:
    source = Faulty(corrupt=(0, 1)).make_source("train")
    assert first_readable(source, "train", limit=2)["id"] == 2
    with pytest.raises(DataError, match="2 corrupt examples"):
        first_readable(source, "train", limit=1)
    with pytest.raises(DataError, match="'train' is empty"):
        first_readable(Faulty(count=0).make_source("train"), "train", limit=1)


def test_only_what_a_decoder_says_of_bytes_is_corrupt() -> None:
    with pytest.raises(CorruptExample, match="^a.png: not a number$"):
        with decoding("a.png", ValueError, EOFError):
            raise ValueError("not a number")
    with pytest.raises(CorruptExample, match="^a.png: EOFError$"):
        with decoding("a.png", ValueError, EOFError):
            raise EOFError
    with pytest.raises(KeyError):
        with decoding("a.png", ValueError):
            raise KeyError("a bug")


def test_examples_of_different_shapes_are_named() -> None:
    class Ragged(Faulty):
        def augment(self, example: Any, rng: Any) -> Any:
            return {"image": np.zeros((4 + example["id"] % 2, 3))}

    with pytest.raises(DataError, match=r"have 'image' of different shapes: \(4, 3\) and \(5, 3\)"):
        _train(Ragged())


def test_the_limit_is_a_setting() -> None:
    from perceiver_jax.train.config import TrainerConfig, changes_trajectory

    for name in ("max_corrupt_examples", "reader_processes"):
        with pytest.raises(ConfigError, match=f"trainer.{name}=-1 must not be negative"):
            TrainerConfig(num_steps=1, **{name: -1})
        assert not changes_trajectory(f"trainer.{name}")
