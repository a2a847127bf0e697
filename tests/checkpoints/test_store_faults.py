"""The store where things go wrong: killed, damaged, refused by the file system, gone."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax.checkpoints import directory as directory_lib
from perceiver_jax.checkpoints.failures import describe
from perceiver_jax.checkpoints.store import CheckpointStore
from perceiver_jax.errors import CheckpointError


def _state(step: int) -> dict[str, Any]:
    key = jax.random.key(step)
    return {
        "params": {"w": jax.random.normal(key, (7, 1301))},
        "ema": None,
        "step": jnp.int32(step),
    }


def _abstract() -> Any:
    where = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where),
        jax.eval_shape(lambda: _state(0)),
    )


def _fail(number: int) -> Callable[[], None]:
    def fail() -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, lines: list[str]) -> CheckpointStore:
    return CheckpointStore(tmp_path / "c", report=lines.append)


def _names(path: Path) -> list[str]:
    return sorted(each.name for each in path.iterdir())


@pytest.mark.core
def test_a_failed_save_is_told_and_the_next_one_tried(
    store: CheckpointStore, lines: list[str]
) -> None:
    store.save(1, _state(1), {})
    store.save(2, _state(2), {}, before=_fail(errno.ENOSPC))
    assert lines == [
        f"Saving checkpoint 2 in {store.directory} failed: No space left on device. Free some "
        "space there. Training goes on, and the next one that is due is tried."
    ]
    store.save(3, _state(3), {})
    store.wait()
    assert store.steps() == [1, 3] and _names(store.directory) == ["1", "3"]
    found = store.restore_latest(_abstract())
    assert found is not None and found[0] == 3
    jax.tree.map(np.testing.assert_array_equal, found[1], _state(3))
    store.close()


def test_failures_in_a_row_end_the_run(store: CheckpointStore, lines: list[str]) -> None:
    store.save(1, _state(1), {})
    for step in (2, 3):
        store.save(step, _state(step), {}, before=_fail(errno.EIO))
    store.save(4, _state(4), {})  # in between one that works: counting starts anew
    for step in (5, 6):
        store.save(step, _state(step), {}, before=_fail(errno.EIO))
    with pytest.raises(CheckpointError) as caught:
        store.save(7, _state(7), {}, before=_fail(errno.EIO))
    message = str(caught.value)
    for part in ("checkpoint 7 in", "Input/output error", "Check the disk", "number 3 in a row",
                 "last good checkpoint is of step 4", "the same command again"):  # fmt: skip
        assert part in message
    assert len(lines) == 4
    store.close()


def test_the_last_save_must_succeed(store: CheckpointStore) -> None:
    store.save(1, _state(1), {})
    store.save(2, _state(2), {}, before=_fail(errno.EDQUOT))
    with pytest.raises(CheckpointError, match="Disk quota exceeded. Free .* is of step 1; run the"):
        store.wait()
    store.close()


def test_what_does_not_pass_ends_the_run_at_once(store: CheckpointStore) -> None:
    with pytest.raises(CheckpointError, match="Permission denied. Change .* no checkpoint yet"):
        store.save(1, _state(1), {}, before=_fail(errno.EACCES))
    store.close()


def test_a_failure_in_the_background(
    store: CheckpointStore, lines: list[str], monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """A directory in the way of Orbax's rename stands for what goes wrong late."""
    store.save(1, _state(1), {})
    store.wait()
    original = os.rename

    def refuse(source: Any, target: Any, **options: Any) -> None:
        if str(target).endswith("/2"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(source, target, **options)

    monkeypatch.setattr(os, "rename", refuse)
    store.save(2, _state(2), {})
    assert store._saver is not None and store._saver._waiter is not None
    store._saver._waiter.join()
    store.look()
    assert len(lines) == 1 and "checkpoint 2" in lines[0] and "No space left" in lines[0]
    store.look()
    monkeypatch.undo()
    store.save(3, _state(3), {})
    store.wait()
    assert len(lines) == 1 and _names(store.directory) == ["1", "3"]
    store.save(2, _state(2), {})  # nothing of it stands in the way
    store.wait()
    store.close()
    assert _names(store.directory) == ["1", "2", "3"]
    assert "Traceback" not in capfd.readouterr().err


def test_reasons_are_found_in_chains_and_texts() -> None:
    try:
        try:
            raise OSError(errno.ENOSPC, "x")
        except OSError as error:
            raise ValueError("wrapped") from error
    except ValueError as error:
        assert describe(error).reason == "No space left on device"
    text = "OUT_OF_RANGE: Failed to write 9 bytes to file 4: File too large [os_error_code='27']"
    assert describe(ValueError(text))[:2] == (
        "File too large", "Raise the limit on the size of files (ulimit -f)."
    )  # fmt: skip
    assert describe(TypeError("odd\nmore")) == ("TypeError: odd", "", False)


@pytest.mark.parametrize("replaced", [False, True])
def test_a_directory_that_vanishes_is_not_made_anew(
    store: CheckpointStore, tmp_path: Path, replaced: bool
) -> None:
    store.save(1, _state(1), {})
    store.wait()
    shutil.rmtree(store.directory)
    if replaced:
        store.directory.mkdir()
    with pytest.raises(CheckpointError, match="c has vanished: .* the same command again"):
        store.save(2, _state(2), {})
    store.close()
    assert list(tmp_path.rglob("*")) == ([store.directory] if replaced else [])
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be made: Not a directory"):
        CheckpointStore(tmp_path / "file" / "c")


class Killed(BaseException):
    """Stands for SIGKILL."""


def test_killed_while_deleting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = CheckpointStore(tmp_path / "c")
    for step in (1, 2, 3):
        store.save(step, _state(step), {})
    store.wait()
    store.keep = lambda steps: steps[-1:]
    real = shutil.rmtree

    def rmtree(path: Path, **options: Any) -> None:
        if not path.exists():
            return
        shutil.os.unlink(path / "state" / "manifest.ocdbt")  # type: ignore[attr-defined]
        raise Killed

    monkeypatch.setattr(directory_lib.shutil, "rmtree", rmtree)
    with pytest.raises(Killed):
        store.tidy()
    monkeypatch.setattr(directory_lib.shutil, "rmtree", real)
    assert _names(tmp_path / "c") == ["1.deleting", "2", "3"]

    reader = CheckpointStore(tmp_path / "c", read_only=True)
    assert reader.steps() == [2, 3]
    assert "1.deleting" in _names(tmp_path / "c")  # readers change nothing
    again = CheckpointStore(tmp_path / "c", keep=lambda steps: steps[-1:])
    assert _names(tmp_path / "c") == ["2", "3"]
    again.tidy()
    assert _names(tmp_path / "c") == ["3"]
    again.close()
    store.close()


def test_leftovers_of_a_killed_save_are_cleared_and_nothing_else(tmp_path: Path) -> None:
    directory = tmp_path / "c"
    for name in (
        "7.orbax-checkpoint-tmp",
        "8.orbax-checkpoint-tmp-3",
        "9.deleting",
        "notes",
        "old",
    ):
        (directory / name / "state").mkdir(parents=True)
    (directory / "5.deleting").write_text("a file of somebody's")
    store = CheckpointStore(directory)
    assert _names(directory) == ["5.deleting", "notes", "old"] and store.steps() == []
    store.save(7, _state(7), {})
    store.wait()
    assert store.steps() == [7]
    store.close()


def test_the_newest_stays_whatever_the_rule_says(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "c", keep=lambda steps: [])
    for step in (1, 2, 3):
        store.save(step, _state(step), {})
        # While 2 is being written, 1 is still there.
        assert step == 1 or step - 1 in store.steps()
    store.wait()
    assert store.steps() == [3]
    store.close()


def test_unplanned_checkpoints_go_with_the_next_one(tmp_path: Path) -> None:
    heard: list[list[int]] = []

    def keep(steps: Any) -> Any:
        heard.append(list(steps))
        return steps[-2:]

    store = CheckpointStore(tmp_path / "c", keep=keep)
    for step, planned in ((4, True), (8, True), (9, False)):
        store.save(step, _state(step), {}, planned=planned)
    store.wait()
    assert store.steps() == [4, 8, 9] and heard[-1] == [4, 8]
    store.close()
    again = CheckpointStore(tmp_path / "c", keep=keep)  # it is known to another process, too
    again.tidy()
    assert again.steps() == [4, 8, 9]
    again.save(12, _state(12), {})
    again.wait()
    assert again.steps() == [8, 12] and [4, 8, 12] in heard
    again.close()


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _largest(checkpoint: Path) -> Path:
    return max((checkpoint / "state").rglob("d/*"), key=lambda path: path.stat().st_size)


def _empty(checkpoint: Path) -> None:
    shutil.rmtree(checkpoint)
    checkpoint.mkdir()


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "truncated": lambda path: os.truncate(_largest(path), 1000),
    "emptied file": lambda path: os.truncate(_largest(path), 0),
    "missing file": lambda path: _largest(path).unlink(),
    "missing manifest": lambda path: (path / "state" / "manifest.ocdbt").unlink(),
    "flipped bit": lambda path: _flip(_largest(path)),
    "empty directory": _empty,
    "no arrays": lambda path: shutil.rmtree(path / "state"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_checkpoint_falls_back(
    store: CheckpointStore, lines: list[str], tmp_path: Path, damage: str
) -> None:
    for step in (1, 2, 3):
        store.save(step, _state(step), {})
    store.wait()
    for step in (2, 3):
        DAMAGES[damage](store.directory / str(step))
    found = store.restore_latest(_abstract())
    assert found is not None and found[0] == 1
    jax.tree.map(np.testing.assert_array_equal, found[1], _state(1))
    assert [line.split(" (")[0] for line in lines] == [
        "Checkpoint 3 is damaged", "Checkpoint 2 is damaged"
    ]  # fmt: skip
    assert all("Falling back to checkpoint 1." in line for line in lines)
    assert _names(tmp_path / "damaged") == ["checkpoint-2", "checkpoint-3"]
    store.save(2, _state(2), {})  # the step can be written again
    store.wait()
    jax.tree.map(np.testing.assert_array_equal, store.restore(2, _abstract()), _state(2))
    store.close()
