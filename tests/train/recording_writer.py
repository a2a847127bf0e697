"""A writer of one's own, as tests name it in a config: it keeps what it is told."""

from collections.abc import Mapping

from perceiver_jax.train.writers import Run

runs: list["Recorder"] = []
fails_at: list[int] = []


class Recorder:
    def __init__(self, run: Run):
        self.run = run
        self.calls: list[tuple[str, int, str, Mapping[str, float]]] = []
        runs.append(self)

    def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
        if step in fails_at:
            raise OSError("no space left")
        self.calls.append(("write", step, split, dict(values)))

    def flush(self) -> None:
        self.calls.append(("flush", -1, "", {}))

    def close(self) -> None:
        self.calls.append(("close", -1, "", {}))


def refused(run: Run) -> Recorder:
    raise ConnectionError("no such host")
