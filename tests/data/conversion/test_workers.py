"""Processes that die, or whose code fails, are reported with the item they were at."""

import pytest

from perceiver_jax.data.conversion.workers import work_through
from perceiver_jax.errors import DataError
from tests.data.conversion.trouble import Trouble


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("killed", r"was killed by SIGKILL, at mesh 6\. That is .* memory runs out: fewer --work"),
        ("gone", r"ended by itself, with exit code 3, at mesh 6\. .*the same command goes on"),
        ("bug", r"(?s)Converting mesh 6 failed:.*ZeroDivisionError: by zero"),
        ("mistake", r"^the disk is full$"),
    ],
)
def test_a_process_that_dies_is_reported_with_the_mesh_it_was_at(kind, message):
    items = []
    with pytest.raises(DataError, match=message):
        work_through(Trouble(kind), [0, 1, 2], 1, items.append)
    assert items == [0, 1, 2, 3, 4, 5]
