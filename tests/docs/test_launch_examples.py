"""The launch examples: they parse, their fields and flags exist, their scripts do what they say.

Schedulers are played by scripts of a few lines; no cluster has seen these files.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from perceiver_jax.config import load_experiment, override

ROOT = Path(__file__).parents[2]
LAUNCH = ROOT / "examples" / "launch"
SCRIPTS = ("slurm.sbatch", "tpu_vm.sh")
JOBSETS = ("jobset_gpu.yaml", "jobset_tpu.yaml")
RESUME = 75  # What the trainer returns after it has been stopped, and has saved.


def _jobset(name: str) -> dict[str, Any]:
    return yaml.safe_load((LAUNCH / name).read_text())


def _job(name: str) -> dict[str, Any]:
    (replicated,) = _jobset(name)["spec"]["replicatedJobs"]
    return replicated["template"]["spec"]


def _container(name: str) -> dict[str, Any]:
    (container,) = _job(name)["template"]["spec"]["containers"]
    return container


def _program(path: Path, lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/bash\n{lines}\n")
    path.chmod(0o755)


def _run(tmp_path: Path, *command: str, **variables: str) -> subprocess.CompletedProcess:
    """Runs a script with the programs in tmp_path/bin before all others."""
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", **variables}
    return subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_are_valid_bash(name: str) -> None:
    result = subprocess.run(
        ["bash", "-n", LAUNCH / name], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")


def _flags(name: str) -> dict[str, str]:
    """Returns the flags that a file gives to the trainer, comments included."""
    text = (LAUNCH / name).read_text()
    if name in JOBSETS:
        assert _container(name)["command"][-2:] == ["-m", "perceiver_jax.train"]
        text = "\n".join(_container(name)["args"])
    return dict(re.findall(r"--(config\b[\w.]*|workdir|coordinator\w*|num_\w+|process_\w+|"
                           r"distributed\w*)=(\S+)", text))  # fmt: skip


@pytest.fixture(scope="module")
def known_flags() -> set[str]:
    """The trainer's flags, as its --help lists them."""
    result = subprocess.run(
        [sys.executable, "-m", "perceiver_jax.train", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return set(re.findall(r"^  --(?:\[no\])?(\w+):", result.stdout, re.MULTILINE))


@pytest.mark.parametrize("name", (*SCRIPTS, *JOBSETS))
def test_flags_of_the_trainer_exist(name: str, known_flags: set[str]) -> None:
    flags = _flags(name)
    changes = {
        flag.removeprefix("config."): value
        for flag, value in flags.items()
        if flag.startswith("config.")
    }
    assert {"config", "workdir"} <= set(flags)
    assert {flag for flag in flags if not flag.startswith("config.")} <= known_flags
    config = override(load_experiment(str(ROOT / flags["config"])), changes)
    # The batch can be shared by all devices of the example.
    devices = 1 if name == "tpu_vm.sh" else 16
    assert config.trainer.batch_size % devices == config.trainer.eval_batch_size % devices == 0


@pytest.mark.parametrize("name", JOBSETS)
def test_jobsets_have_what_the_schema_requires(name: str) -> None:
    jobset = _jobset(name)
    assert jobset["apiVersion"] == "jobset.x-k8s.io/v1alpha2" and jobset["kind"] == "JobSet"
    assert re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", jobset["metadata"]["name"])
    assert set(jobset["spec"]) <= {"network", "failurePolicy", "replicatedJobs"}
    for rule in jobset["spec"]["failurePolicy"]["rules"]:
        assert rule["name"] and rule["action"] == "RestartJobSetAndIgnoreMaxRestarts"
        assert rule["onJobFailureReasons"] == ["PodFailurePolicy"]
    (replicated,) = jobset["spec"]["replicatedJobs"]
    assert set(replicated) == {"name", "replicas", "template"}
    job, pod = _job(name), _job(name)["template"]["spec"]
    # All pods run at once, and one that fails fails the job.
    assert job["parallelism"] == job["completions"] > 1 and job["backoffLimit"] == 0
    # A pod failure policy is allowed with this restart policy only, and names a container.
    assert pod["restartPolicy"] == "Never"
    exit_codes = job["podFailurePolicy"]["rules"][0]["onExitCodes"]
    assert exit_codes["values"] == [RESUME]
    assert exit_codes["containerName"] == _container(name)["name"]
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for mount in _container(name)["volumeMounts"]} == volumes


def test_the_tpu_jobset_has_one_pod_for_each_host() -> None:
    job, container = _job("jobset_tpu.yaml"), _container("jobset_tpu.yaml")
    rows, columns = job["template"]["spec"]["nodeSelector"][
        "cloud.google.com/gke-tpu-topology"
    ].split("x")
    chips = container["resources"]["limits"]["google.com/tpu"]
    assert chips == container["resources"]["requests"]["google.com/tpu"]
    assert job["parallelism"] * chips == int(rows) * int(columns)


def test_the_gpu_jobset_tells_its_pods_of_one_another() -> None:
    jobset, job = _jobset("jobset_gpu.yaml"), _job("jobset_gpu.yaml")
    flags = dict(flag.split("=", 1) for flag in _container("jobset_gpu.yaml")["args"])
    name, replicated = jobset["metadata"]["name"], jobset["spec"]["replicatedJobs"][0]["name"]
    (port,) = (port["containerPort"] for port in _container("jobset_gpu.yaml")["ports"])
    assert flags["--coordinator_address"] == f"{name}-{replicated}-0-0.{name}:{port}"
    assert int(flags["--num_processes"]) == job["parallelism"]
    assert flags["--process_id"] == "$(JOB_COMPLETION_INDEX)"
    assert job["completionMode"] == "Indexed"


@pytest.mark.parametrize(("status", "requeued"), [(RESUME, True), (0, False), (134, False)])
def test_slurm_requeues_what_wants_to_be_resumed(
    tmp_path: Path, status: int, requeued: bool
) -> None:
    _program(tmp_path / "bin" / "srun", f'echo "$SRUN_CPUS_PER_TASK $@"; exit {status}')
    _program(tmp_path / "bin" / "scontrol", 'echo "scontrol $@"')
    result = _run(
        tmp_path, "bash", str(LAUNCH / "slurm.sbatch"), SLURM_JOB_ID="71", SLURM_CPUS_PER_TASK="12"
    )
    assert (result.returncode, result.stderr) == (status, "")
    assert result.stdout.startswith("12 --kill-on-bad-exit=0 --label python -u -m perceiver_jax")
    assert ("scontrol requeue 71" in result.stdout) == requeued


def test_tpu_vms_start_again_until_the_run_is_done(tmp_path: Path) -> None:
    """gcloud hands the command to a shell on a host, whose trainer ends with 75, 134 and 0."""
    _program(
        tmp_path / "bin" / "gcloud",
        'printf "%s\\n" "${@:1:$#-1}"; c="${!#}"; exec bash -c "${c#--command=}"',
    )
    _program(tmp_path / "bin" / "sleep", "")
    _program(
        tmp_path / "perceiver" / ".venv" / "bin" / "python",
        'printf "<%s>" "$@"; echo; echo >> ended; set -- 75 134 0; n=$(wc -l < ended); exit ${!n}',
    )
    result = _run(
        tmp_path, str(LAUNCH / "tpu_vm.sh"), "--config=a.py", "--workdir=/mnt/two words",
        TPU="slice", ZONE="zone-a", REPO="perceiver",
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, "")
    *gcloud, first, second, third = result.stdout.splitlines()
    assert gcloud == ["compute", "tpus", "tpu-vm", "ssh", "slice", "--zone=zone-a", "--worker=all"]
    started = "<-u><-m><perceiver_jax.train><--config=a.py><--workdir=/mnt/two words>"
    assert [first, second, third] == [started] * 3


def test_tpu_vms_need_a_name(tmp_path: Path) -> None:
    result = _run(tmp_path, str(LAUNCH / "tpu_vm.sh"), TPU="")
    assert result.returncode != 0 and "the name of the TPU" in result.stderr


def test_the_page_shows_every_example() -> None:
    page = (ROOT / "docs" / "distributed.md").read_text()
    for path in LAUNCH.iterdir():
        assert f"examples/launch/{path.name}" in page
