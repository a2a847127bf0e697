"""A step whose loss or gradients are not finite: keeping it, and replaying it.

    DIR/diverged/checkpoints/41/...        the state before the step
    DIR/diverged/batch-0-of-1.safetensors  what each process had read of its batch
    DIR/diverged/config.json               the experiment

`python -m perceiver_jax.train --workdir=DIR --debug_step` runs the step again from these alone, and
says where the first value came up that is not finite.
"""

import json
import re
import shutil
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import numpy as np
import safetensors.numpy
from jax.sharding import NamedSharding

from perceiver_jax import config as config_lib
from perceiver_jax.atomic import replacing
from perceiver_jax.checkpoints.store import CheckpointStore
from perceiver_jax.errors import CheckpointError, UserError
from perceiver_jax.report import tables
from perceiver_jax.tasks.base import Batch
from perceiver_jax.train.agreement import AllProcesses
from perceiver_jax.train.assemble import assemble
from perceiver_jax.train.config import ExperimentConfig
from perceiver_jax.train.log import TrainingDiverged
from perceiver_jax.train.mesh import REPLICATED, put_batch
from perceiver_jax.train.sharding import path_name
from perceiver_jax.train.state import Model, TrainState
from perceiver_jax.train.step import make_gradients
from perceiver_jax.train.workdir import read_config

_BATCH = re.compile(r"batch-(\d+)-of-(\d+)\.safetensors$")


def kept(
    error: TrainingDiverged,
    workdir: Path,
    config: ExperimentConfig,
    state: TrainState,
    batch: Batch,
) -> TrainingDiverged:
    """Keeps the step that failed, and returns an error that also says where it is."""
    directory = workdir / "diverged"
    for path, leaf in jax.tree_util.tree_leaves_with_path(dict(batch)):
        bad = int(np.sum(~np.isfinite(np.asarray(leaf, np.float64))))
        if bad:
            error = TrainingDiverged(
                f"{error}\nThe batch itself has {bad:,} values in {path_name(path)!r} that are not "
                "finite: mend the data first.",
                error.step,
            )
    try:
        save(directory, config, state, error.step, batch)
    except UserError as refused:
        return TrainingDiverged(f"{error}\nIts state was not kept: {refused}", error.step)
    return TrainingDiverged(
        f"{error}\nIts state and its batch are in {directory}. To see where it went wrong:\n\n"
        f"    python -m perceiver_jax.train --workdir={workdir} --debug_step\n",
        error.step,
    )


def save(
    directory: Path, config: ExperimentConfig, state: TrainState, step: int, batch: Batch
) -> None:
    """Keeps what a step needs to be run again.

    Args:
      directory: made if need be; an earlier failure in it is replaced.
      config: the experiment.
      state: the state before the step.
      step: the step, counted from 1; `state` has done one less.
      batch: what this process read of the step's batch.

    Raises:
      UserError: the file system refuses it.
    """
    processes = AllProcesses()
    if processes.primary:
        shutil.rmtree(directory, ignore_errors=True)
    store = CheckpointStore(directory / "checkpoints", processes=processes)
    try:
        store.save(step - 1, state, config_lib.to_dict(config))
        store.wait()
    finally:
        store.close()
    arrays = {
        path_name(path): np.ascontiguousarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(dict(batch))
    }
    name = f"batch-{jax.process_index()}-of-{jax.process_count()}.safetensors"
    try:
        with replacing(directory / name) as temporary:
            safetensors.numpy.save_file(arrays, temporary)
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{directory / name} cannot be written: {error}") from error
    if processes.primary:
        with replacing(directory / "config.json") as temporary:
            temporary.write_text(json.dumps(config_lib.to_dict(config), indent=2) + "\n")
    processes.agree(None)  # All of it is there once this returns, for all of them.


def load_batch(directory: Path) -> dict[str, Any]:
    """Returns the whole batch, joined over the processes that had read it.

    Raises:
      CheckpointError: a part of it is missing or cannot be read.
    """
    files = {
        int(match.group(1)): (int(match.group(2)), path)
        for path in directory.glob("batch-*.safetensors")
        if (match := _BATCH.search(path.name))
    }
    if not files:
        raise CheckpointError(
            f"{directory.parent} holds no step that failed: there is no {directory}. A run whose "
            "loss or gradients stop being finite leaves one there."
        )
    count = next(iter(files.values()))[0]
    missing = sorted(set(range(count)) - set(files))
    if missing:
        raise CheckpointError(
            f"{directory} lacks the part of the batch that process {missing[0]} of {count} had "
            f"read, batch-{missing[0]}-of-{count}.safetensors; copy it there."
        )
    parts = []
    for index in range(count):
        path = files[index][1]
        try:
            parts.append(safetensors.numpy.load_file(path))
        except (OSError, safetensors.SafetensorError) as error:
            raise CheckpointError(f"{path} cannot be read: {error}. Copy it anew.") from error
    joined: dict[str, Any] = {}
    for name in parts[0]:
        node = joined
        *outer, last = name.split("/")
        for key in outer:
            node = node.setdefault(key, {})
        node[last] = np.concatenate([part[name] for part in parts])
    return joined


def replay(
    workdir: str | Path,
    changes: Mapping[str, str] = MappingProxyType({}),
    *,
    model: Model | None = None,
    report: Callable[[str], None] = print,
) -> bool:
    """Runs a step that failed once more, and reports where it went wrong.

    On as many devices and processes as there are now. The line of code is looked for in one process
    only: of several, those that come upon no bad value would wait for the rest.

    Args:
      workdir: of the run.
      changes: of its config, by dotted name: of the mesh, where there are other devices now.
      model: used in place of the one that its config describes.
      report: takes the findings, as text; of several processes, that of the first.

    Returns:
      Whether the step failed again.

    Raises:
      UserError: the work directory holds no step that failed, or not all of it.
    """
    directory, processes = Path(workdir) / "diverged", AllProcesses()
    if not processes.primary:
        report = _say_nothing
    batch = load_batch(directory)
    parts = assemble(config_lib.override(read_config(directory), changes), model)
    store = CheckpointStore(
        directory / "checkpoints", read_only=True, report=report, processes=processes
    )
    try:
        restored = store.restore_latest(parts.state.abstract())
    finally:
        store.close()
    if restored is None:
        raise CheckpointError(f"{directory} has no checkpoint of the state before the step.")
    done, state = restored
    report(f"replaying   step {done + 1} of {parts.config.name}, from {directory}")

    compute = make_gradients(
        parts.model,
        parts.config.task,
        seed=parts.config.trainer.seed,
        placed=parts.placed,
        mesh=parts.mesh,
        options=parts.options,
    )
    on_devices = put_batch(_own_part(batch), parts.mesh)
    whole = NamedSharding(parts.mesh, REPLICATED)  # So that every process sees all of it.
    gradients, _, means = jax.jit(compute, out_shardings=whole)(state, on_devices)
    loss = float(means["loss"].value)
    rows = _gradient_rows(gradients)
    wrong = [row for row in rows if not np.isfinite(row[1])]
    report(f"loss        {loss:g}")
    if np.isfinite(loss) and not wrong:
        report(
            "The loss and all gradients of this step are finite here. Another device, library "
            "version or number of devices rounds differently; or the optimiser's update failed."
        )
        return False
    report(f"gradients   {len(wrong)} of {len(rows)} parameters are not finite")
    shown = [(name, f"{norm:g}") for name, norm in wrong[:12]]
    header = ("parameter", "gradient norm")
    report(_indented(tables.render(header, shown, right=header[1:])))
    _report_batch(batch, report)
    if jax.process_count() > 1:
        report("The line of code is shown by one process that runs this with --distributed=off.")
    else:
        report(f"first bad value:\n{_find(compute, state, on_devices)}")
    return True


def _say_nothing(text: str) -> None:
    pass


def _own_part(batch: Mapping[str, Any]) -> dict[str, Any]:
    """What this process would have read of a batch."""
    index, count = jax.process_index(), jax.process_count()
    return jax.tree.map(lambda array: np.split(array, count)[index], dict(batch))


def _gradient_rows(gradients: Any) -> list[tuple[str, float]]:
    return [
        (path_name(path), float(np.linalg.norm(np.asarray(leaf, np.float64))))
        for path, leaf in jax.tree_util.tree_leaves_with_path(gradients)
    ]


def _report_batch(batch: Mapping[str, Any], report: Callable[[str], None]) -> None:
    header, rows = ("array", "shape", "min", "max", "not finite"), []
    for path, leaf in jax.tree_util.tree_leaves_with_path(batch):
        values = np.asarray(leaf, np.float64)
        bad = int(np.sum(~np.isfinite(values)))
        rows.append(
            (path_name(path), str(leaf.shape), f"{values.min():g}", f"{values.max():g}", str(bad))
        )
    report(f"batch\n{_indented(tables.render(header, rows, right=header[2:]))}")


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def _find(compute: Callable[..., Any], state: TrainState, batch: Any) -> str:
    """Runs operation by operation, and returns the lines of code of the first bad value."""
    try:
        with jax.debug_nans(True), jax.debug_infs(True), jax.disable_jit():
            jax.block_until_ready(compute(state, batch))
    except FloatingPointError as error:
        frames = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if "site-packages" not in frame.filename and frame.name != "_find"
        ]
        shown = "".join(traceback.format_list(frames[-6:]))
        return f"{shown}  {str(error).splitlines()[0]}"
    return "  none when computed operation by operation: the fused program rounds differently."
