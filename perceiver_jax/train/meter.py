"""How fast a run goes: over the last interval, without what is no training, by a steady clock.

`time.monotonic` throughout: the time of day may jump under a run that takes a week.
"""

import dataclasses
import time


@dataclasses.dataclass(frozen=True)
class Speed:
    """Of one interval between log entries."""

    examples_per_second: float
    data_wait_fraction: float  # Share of the time in which the loop waited for batches.
    flops_per_second: float | None  # Operations of the model, over all devices; see model_flops.py.
    utilization: float | None  # The same as a share of the devices' peak.
    paused_seconds: float  # Evaluations and saving in between, which the others leave out.

    def timing(self) -> dict[str, float]:
        """What of it is known, by the names in metrics.jsonl."""
        named = {
            "examples_per_second": self.examples_per_second,
            "data_wait_fraction": self.data_wait_fraction,
            "flops_per_second": self.flops_per_second,
            "model_flop_utilization": self.utilization,
            "paused_seconds": self.paused_seconds,
        }
        return {name: value for name, value in named.items() if value is not None}


class Meter:
    """Counts steps, and seconds by what they were spent on.

    It starts with the first step that is done: what comes before goes to compiling.
    """

    def __init__(self, *, num_steps: int, batch_size: int, peak: float | None = None):
        """Measures nothing yet.

        Args:
          num_steps: the step at which the run ends.
          batch_size: examples a step, over all devices.
          peak: operations a second that all devices reach at best, where that is known.
        """
        self._num_steps = num_steps
        self._batch_size = batch_size
        self._peak = peak
        self.step_flops: float | None = None  # Operations of a step, once they are counted.
        self._mark: tuple[int, float] | None = None  # Where the interval began.
        self._waited = self._paused = 0.0  # Seconds within the interval.
        self._before = (0, 0.0)  # Steps and training seconds of the intervals that are over.

    def start(self, step: int) -> None:
        """Begins the first interval after `step`, unless it has begun."""
        if self._mark is None:
            self._begin(step)

    def waited(self, seconds: float) -> None:
        """Adds time in which the loop waited for a batch."""
        self._waited += seconds

    def paused(self, seconds: float) -> None:
        """Adds time that was spent on an evaluation or on saving."""
        if self._mark is not None:
            self._paused += seconds

    def speed(self, step: int) -> Speed | None:
        """Returns the speed from the interval's beginning to `step`, just done, if there is one."""
        if self._mark is None:
            return None
        steps, seconds = self._elapsed(step)
        if not steps or seconds <= 0:
            return None
        rate = steps / seconds
        flops = None if self.step_flops is None else rate * self.step_flops
        return Speed(
            examples_per_second=rate * self._batch_size,
            data_wait_fraction=min(self._waited / seconds, 1.0),
            flops_per_second=flops,
            utilization=None if flops is None or self._peak is None else flops / self._peak,
            paused_seconds=self._paused,
        )

    def end_interval(self, step: int) -> Speed | None:
        """Returns the interval's speed, and begins the next one after `step`."""
        speed = self.speed(step)
        steps, seconds = self._elapsed(step)
        self._before = (self._before[0] + steps, self._before[1] + seconds)
        self._begin(step)
        return speed

    def steps_in(self, seconds: float) -> int:
        """Returns how many steps are done in that time, at least 1 and at most 32."""
        steps, training = self._before
        return min(max(int(seconds * steps / training), 1), 32) if training > 0 else 1

    def seconds_left(self, step: int) -> float | None:
        """Estimates how long the steps that are left take; evaluations come on top.

        By the mean over all steps of this process, which is steadier than the last interval's.
        """
        if self._mark is None:
            return None
        steps, seconds = self._elapsed(step)
        steps, seconds = self._before[0] + steps, self._before[1] + seconds
        return seconds / steps * (self._num_steps - step) if steps else None

    def _begin(self, step: int) -> None:
        self._mark = (step, time.monotonic())
        self._waited = self._paused = 0.0

    def _elapsed(self, step: int) -> tuple[int, float]:
        """Steps and training seconds since the interval began."""
        assert self._mark is not None
        return step - self._mark[0], time.monotonic() - self._mark[1] - self._paused
