"""A row of results, and the ratios between rows."""

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.contenders import OTHERS
from perceiver_jax.atomic import replacing


@dataclasses.dataclass
class Row:
    """What one contender made of one piece of work. None: not measured."""

    model: str  # A name of the zoo.
    mode: str  # forward or train.
    batch: int  # Examples in a run.
    contender: str
    compile_s: float | None = None  # Lowering and compiling.
    run_s: float | None = None  # The median run.
    run_s_all: list[float] = dataclasses.field(default_factory=list)  # Every timed run, in order.
    peak_bytes: int | None = None  # Resident memory of its process at its peak, over its life.
    gflop: float | None = None  # Of the model's mathematics in a run, equal for all contenders.
    gflop_per_s: float | None = None  # gflop / run_s.
    matmul_gflop_per_s: float | None = None  # Of a matrix product, timed between the same runs.
    error: str | None = None  # Why it was not measured.
    notes: list[str] = dataclasses.field(default_factory=list)  # What to know beside the numbers.
    settings: str = ""  # How it computes.
    version: str = ""
    device: str = ""
    extrapolated_from: str | None = None  # The part that was timed, where it was not all.
    first_run_s: float | None = None  # Before the timed ones; to warm up.
    import_bytes: int | None = None  # Resident memory after imports, of that peak,
    weights_bytes: int | None = None  # and with the weights made.
    temp_bytes: int | None = None  # What XLA plans beside arguments and results.
    device_peak_bytes: int | None = None  # Of an accelerator's memory.
    changes: dict[str, str] = dataclasses.field(default_factory=dict)  # Of the model's config.

    @property
    def work(self) -> tuple[str, str, int]:
        """What the row shares with those that it is compared with."""
        return self.model, self.mode, self.batch


@dataclasses.dataclass(frozen=True)
class Ratios:
    """A row's figures over those of another; None where either was not measured."""

    time: float | None
    memory: float | None


def ratios(row: Row, other: Row | None) -> Ratios:
    """A row over another."""

    def over(mine: float | None, theirs: float | None) -> float | None:
        return None if mine is None or not theirs else mine / theirs

    if other is None:
        return Ratios(None, None)
    return Ratios(over(row.run_s, other.run_s), over(row.peak_bytes, other.peak_bytes))


def plain_of(row: Row, rows: Iterable[Row]) -> Row | None:
    """The plain path on the same work, where it was measured."""
    found = [each for each in rows if each.work == row.work and each.contender == "plain"]
    return next((each for each in found if each.run_s is not None), None)


def fastest_peer_of(row: Row, rows: Iterable[Row]) -> Row | None:
    """The fastest peer on PyTorch on the same work, where one was measured."""
    peers = [
        each
        for each in rows
        if each.work == row.work
        and each.contender in OTHERS
        and OTHERS[each.contender].is_peer
        and each.run_s is not None
    ]
    return min(peers, key=lambda each: each.run_s or 0.0, default=None)


def write(path: str | os.PathLike[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows as a JSON list; the file is whole or not there.

    Raises:
      UserError: the file cannot be written.
    """
    with replacing(Path(path)) as temporary:
        temporary.write_text(json.dumps(list(rows), indent=1) + "\n")
