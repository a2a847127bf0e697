"""What sections are given."""

import dataclasses
from collections.abc import Sequence
from functools import cached_property

from perceiver_jax.data.shown import class_names
from perceiver_jax.report.predicted import Limits, RunModel
from perceiver_jax.report.run_record import Run


@dataclasses.dataclass(frozen=True, eq=False)
class Context:
    """The runs of a page, and for a single one its model."""

    runs: Sequence[Run]  # One, or several to be compared.
    limits: Limits = Limits()

    @property
    def run(self) -> Run:
        """The only run."""
        (run,) = self.runs
        return run

    @cached_property
    def model(self) -> RunModel:
        """The only run's model."""
        return RunModel(self.run, self.limits)

    def class_names(self, count: int) -> tuple[str, ...]:
        """The names of the classes; their numbers where the data set does not name them all."""
        return class_names(self.run.config.data, count)
