"""Joining: what is waited for, and that every end of it comes in words."""

import os
import signal
from pathlib import Path

import pytest

from perceiver_jax.errors import ConfigError
from perceiver_jax.train import distributed
from perceiver_jax.train.distributed import JoinError
from tests.train.processes import Processes, child_environment, free_port

SLURM = {
    "SLURM_JOB_ID": "71",
    "SLURM_NTASKS": "8",
    "SLURM_PROCID": "3",
    "SLURM_STEP_NODELIST": "node[1-2]",
    "SLURM_LOCALID": "3",
}
OPEN_MPI_5 = {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "1"}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No launcher's variables; and nothing may really be joined."""
    for name in list(os.environ):
        if name.startswith(("SLURM_", "OMPI_", "JOB_COMPLETION", "TPU_")):
            monkeypatch.delenv(name)

    def refuse(sentence: str, arguments: dict, timeout: int) -> None:
        raise AssertionError(f"{sentence} {arguments}")

    monkeypatch.setattr(distributed, "_join", refuse)
    return monkeypatch


def _set(environment: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"coordinator_address": "a:1"}, "--num_processes and --process_id are missing"),
        ({"coordinator_address": "a:1", "num_processes": 2}, "--process_id is missing"),
        ({"coordinator_address": "a", "num_processes": 2, "process_id": 0}, "is not HOST:PORT"),
        ({"coordinator_address": "a:70000", "num_processes": 2, "process_id": 0}, "not HOST:PORT"),
        (
            {"coordinator_address": "a:1", "num_processes": 2, "process_id": 2},
            "numbered from 0 to 1",
        ),
        (
            {"mode": "off", "coordinator_address": "a:1", "num_processes": 2, "process_id": 1},
            "does not go with --distributed=off",
        ),
        ({"timeout": 0}, "too short"),
        ({"mode": "maybe"}, "auto, on or off"),
    ],
)
def test_flags_that_do_not_fit_together(
    environment: pytest.MonkeyPatch, arguments: dict, part: str
) -> None:
    with pytest.raises(ConfigError, match=part):
        distributed.initialize(**arguments)


def test_a_process_on_its_own_says_nothing(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    distributed.initialize()
    distributed.initialize("off")
    assert capsys.readouterr() == ("", "")


def test_what_a_launcher_tells_stands_in_the_line(environment: pytest.MonkeyPatch) -> None:
    _set(environment, SLURM)
    with pytest.raises(
        AssertionError,
        match=r"process 3 of 8 on .*, found by Slurm \(job 71\); coordinator chosen by JAX; "
        r"waiting up to 300 s for the others \{\}",
    ):
        distributed.initialize()


def test_flags_go_before_launchers(environment: pytest.MonkeyPatch) -> None:
    _set(environment, SLURM)
    with pytest.raises(
        AssertionError, match=r"process 1 of 2 on .*, found by flags; coordinator h:9; .*up to 7 s"
    ):
        distributed.initialize(coordinator_address="h:9", num_processes=2, process_id=1, timeout=7)


def test_on_asks_jax_where_no_launcher_is_known(environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError, match=r"this process on .*JAX's own search.* \{\}"):
        distributed.initialize("on")


def test_several_tasks_that_are_kept_apart_are_warned(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    _set(environment, SLURM)
    distributed.initialize("off")
    assert "Slurm (job 71) launched 8 processes" in capsys.readouterr().err


def test_several_processes_never_train_side_by_side_unawares(
    environment: pytest.MonkeyPatch,
) -> None:
    _set(environment, OPEN_MPI_5)
    with pytest.raises(JoinError, match="--num_processes=4 --process_id=.OMPI_COMM_WORLD_RANK"):
        distributed.initialize()


def test_an_allocation_without_srun_is_noted(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    _set(environment, {name: SLURM[name] for name in ("SLURM_JOB_ID", "SLURM_NTASKS")})
    distributed.initialize()
    assert "works alone. The job has 8 tasks" in capsys.readouterr().err
    with pytest.raises(JoinError, match="Put srun before the command"):
        distributed.initialize("on")


def test_failures_end_a_lone_process_as_ever(environment: pytest.MonkeyPatch) -> None:
    def fail() -> int:
        raise ConfigError("wrong")

    with pytest.raises(ConfigError, match="wrong"):
        distributed.leave_on_failure(fail)()
    assert distributed.leave_on_failure(lambda: 75)() == 75


def _train(address: str, number: int, *, processes: int = 2, timeout: int = 3) -> list[str]:
    experiment = Path(__file__).with_name("tiny_experiment.py")
    return [
        *("-m", "perceiver_jax.train", f"--config={experiment}", "--workdir=/dev/null/never"),
        *(f"--coordinator_address={address}", f"--num_processes={processes}"),
        *(f"--process_id={number}", f"--distributed_timeout={timeout}"),
    ]


@pytest.mark.slow
def test_every_failed_join_ends_in_words() -> None:
    nobody, alone, twice = (f"127.0.0.1:{free_port()}" for _ in range(3))
    commands = [
        _train(nobody, 1),
        _train(alone, 0),
        _train(twice, 0, processes=3, timeout=12),
        _train(twice, 1, processes=3, timeout=12),
        _train(twice, 1, processes=3, timeout=12),
    ]
    with Processes(commands, child_environment()) as running:
        codes = running.wait(together=False)
        errors = [running.output(number)[1] for number in range(len(commands))]
    # No coordinator: the process gives up before JAX aborts it.
    assert codes[0] == 2
    assert f"process 1 of 2 on {os.uname().nodename}, found by flags; coordinator" in errors[0]
    assert f"Nothing answers at the coordinator's address {nobody}" in errors[0]
    # The coordinator waits for one that never comes.
    assert codes[1] == 2
    assert f"coordinator at {alone}: at least one of the other 1 did not come" in errors[1]
    # Two with one id: JAX ends one of them from C++; the rest wait in vain, or are ended as well.
    aborted = [number for number in (2, 3, 4) if codes[number] == -signal.SIGABRT]
    assert set(aborted) & {3, 4}
    for number in aborted:
        assert "The process on" in errors[number] and "ended while it joined" in errors[number]
    assert any("newer incarnation" in errors[number] for number in aborted)
    for code, text in zip(codes, errors, strict=True):
        assert code in (2, -signal.SIGABRT)
        assert "each id from 0 exists exactly once" in text
        assert "Traceback" not in text
        assert text.count("What to check") == 1


@pytest.mark.slow
def test_a_failure_after_joining_ends_the_process_at_once() -> None:
    """JAX's shutdown would wait 300 s for the other process, which waits in a collective."""
    address = f"127.0.0.1:{free_port()}"
    with Processes(
        # Every --workdir fails, once they have joined.
        [_train(address, number, timeout=100) for number in (0, 1)],
        child_environment(),
    ) as running:
        codes = running.wait(timeout=100, together=False)
        errors = [running.output(number)[1] for number in (0, 1)]
    assert codes == [2, 2], errors
    for number, text in enumerate(errors):
        assert f"process {number} of 2 has joined in" in text
        assert "1 of the 2 cpu devices are its own" in text
        assert "The work directory /dev/null/never cannot be made" in text
        assert "so all of them end" in text and "Traceback" not in text
