"""Counts of operations, of tiny models."""

import jax
import jax.numpy as jnp
import pytest

from benchmarks import models, operations
from benchmarks.operations import Count, Part
from benchmarks.reference_worker import description
from benchmarks.works import Work
from tests import tiny_models


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, config in tiny_models.ALL.items():
        monkeypatch.setitem(models.OURS, name, config)


def counted(model: str, mode: str) -> dict[str, Count]:
    return {
        each.variant: each
        for each in operations.counted(Work(model, mode, 1), with_xla=False)
        if each.error is None
    }


def test_forward_of_plain_is_the_work_and_training_more_than_twice_that() -> None:
    forward, train = counted("classifier", "forward"), counted("classifier", "train")
    work = description(Work("classifier", "forward", 1)).gflop * 1e9
    assert set(forward) == {"plain", "auto"} and set(train) == {"plain", "auto", "remat"}
    assert forward["plain"].total == round(work)
    # No gradient is asked for the pixels, so it is less than three times.
    assert 2 * work < train["plain"].total < 3 * work
    assert train["remat"].total > train["auto"].total


def test_the_video_is_encoded_once_by_auto() -> None:
    found = counted("video_autoencoder", "forward")
    told = description(Work("video_autoencoder", "forward", 1))
    model = models.build(told.work, attention="plain")
    (whole,) = operations.parts_of(model, told, "plain")
    once, chunks = operations.parts_of(model, told, "auto")
    assert (whole.times, once.times, chunks.times) == (48, 1, 48)
    assert found["auto"].total < found["plain"].total / 2


def test_xla_counts_programs_without_loops_only() -> None:
    x = jax.ShapeDtypeStruct((8, 8), jnp.float32)
    assert operations.xla_operations([Part(lambda x: x @ x, (x,), times=3)]) == 3 * 2 * 8**3

    def looped(x: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda x, _: (x @ x, None), x, length=5)[0]

    assert operations.xla_operations([Part(looped, (x,))]) is None


def test_xla_counts_every_variant_of_a_training_step() -> None:
    """Loops are written out for it, and layers traced once count as often as they are called."""
    for each in operations.counted(Work("classifier", "train", 1), with_xla=True):
        assert each.error is None and each.xla is not None, each
        # Elementwise operations come on top of the products, and are many in so small a model.
        assert each.total < each.xla < 2 * each.total, each


def test_table() -> None:
    counts = [
        Count("mlm", "train", "plain", matmul=3_999_000_000, scores=1_000_000, xla=8e9),
        Count("mlm", "train", "auto", matmul=1_000_000_000, scores=0, xla=None),
        Count("mlm", "train", "remat", error="a loop"),
    ]
    lines = operations.render(counts).splitlines()
    assert lines[2].split()[3:] == ["3.999", "0.001", "4", "1.000", "8", "1.000"]
    assert lines[3].split()[3:] == ["1", "0", "1", "0.250", "-", "-"]
    assert lines[4].split()[3:] == ["-"] * 6
    assert lines[-1] == "mlm train remat: not counted: a loop"
