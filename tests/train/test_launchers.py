"""What environments say: who was launched by whom, and when nobody was."""

import importlib.util

import pytest

from perceiver_jax.train import launchers
from perceiver_jax.train.launchers import Launch, find_launch

SLURM = {
    "SLURM_JOB_ID": "71",
    "SLURM_NTASKS": "8",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_PROCID": "3",
    "SLURM_STEP_NODELIST": "node[1-2]",
    "SLURM_LOCALID": "3",
}
OPEN_MPI = {
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1:34911",
}
POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "2"}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The optional packages that seem to be installed; none at first."""
    packages: set[str] = set()
    real = importlib.util.find_spec

    def find_spec(name: str) -> object:
        if name in ("libtpu", "kubernetes"):
            return object() if name in packages else None
        return real(name)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    return packages


@pytest.fixture
def tpu_host(installed: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    installed.add("libtpu")
    monkeypatch.setattr(launchers, "_has_tpu_chips", lambda: True)


def test_a_shell_is_no_launcher() -> None:
    assert find_launch({"HOME": "/root"}) is None


def test_slurm_tasks() -> None:
    assert find_launch(SLURM) == Launch("Slurm (job 71)", 8, 3)


def test_one_slurm_task_of_a_large_allocation_is_alone() -> None:
    assert find_launch({**SLURM, "SLURM_STEP_NUM_TASKS": "1"}) is None
    assert find_launch({**SLURM, "SLURM_NTASKS": "1", "SLURM_STEP_NUM_TASKS": "1"}) is None


def test_a_slurm_script_is_none_of_the_tasks() -> None:
    launch = find_launch({"SLURM_JOB_ID": "71", "SLURM_NTASKS": "8", "SLURM_PROCID": "0"})
    assert launch is not None and not launch.certain
    assert "not started with srun" in launch.obstacle


def test_slurm_variables_that_are_held_back() -> None:
    launch = find_launch({name: SLURM[name] for name in SLURM if name != "SLURM_LOCALID"})
    assert launch is not None and launch.certain
    assert "SLURM_LOCALID did not reach" in launch.obstacle


def test_open_mpi() -> None:
    assert find_launch(OPEN_MPI) == Launch("Open MPI", 4, 1)
    # mpirun in a Slurm job: each of its daemons is a task, and the ranks are what counts.
    assert find_launch({**SLURM, **OPEN_MPI}) == Launch("Open MPI", 4, 1)
    assert find_launch({**OPEN_MPI, "OMPI_COMM_WORLD_SIZE": "1"}) is None


def test_open_mpi_5_does_not_say_where_the_first_process_is() -> None:
    launch = find_launch({name: OPEN_MPI[name] for name in OPEN_MPI if "orte" not in name})
    assert launch is not None and launch.certain
    assert "--num_processes=4 --process_id=$OMPI_COMM_WORLD_RANK" in launch.obstacle


@pytest.mark.usefixtures("tpu_host")
def test_tpus_on_gke() -> None:
    hosts = {"TPU_WORKER_HOSTNAMES": "a,b,c,d", "TPU_WORKER_ID": "2"}
    assert find_launch(hosts) == Launch("Cloud TPU on GKE", 4, 2)
    slices = {**hosts, "MEGASCALE_NUM_SLICES": "2"}
    assert find_launch(slices) == Launch("Cloud TPU on GKE", 8, None)
    assert find_launch({"TPU_WORKER_HOSTNAMES": "localhost", "TPU_WORKER_ID": "0"}) is None


@pytest.mark.usefixtures("tpu_host")
def test_tpu_vms_ask_their_metadata_server() -> None:
    assert find_launch({}) == Launch("Cloud TPU VM", certain=False)
    assert find_launch({"TPU_SKIP_MDS_QUERY": "1"}) is None


def test_pods_of_an_indexed_job(installed: set[str]) -> None:
    launch = find_launch(POD)
    assert launch is not None and (launch.process_id, launch.certain) == (2, False)
    assert "--process_id=$(JOB_COMPLETION_INDEX)" in launch.obstacle
    installed.add("kubernetes")
    assert find_launch(POD) == Launch("Kubernetes (an indexed job)", None, 2, certain=False)
    assert find_launch({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}) is None
