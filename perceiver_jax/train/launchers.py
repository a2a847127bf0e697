"""What the environment tells about how this process was launched, alone or as one of several.

JAX itself finds the coordinator, and a process's place, under Open MPI up to version 4, Slurm, on
Cloud TPU (its VMs and GKE), and in Kubernetes jobs if the package `kubernetes` is there. Here is
only what has to be known before it is asked: whether several processes were launched at all, so
that a single one does not wait for others, and several do not train side by side unawares.
"""

import dataclasses
import glob
import importlib.util
import os
from collections.abc import Mapping

# What JAX looks for in a Slurm task; the last two are there in tasks of srun only.
_SLURM = ("SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_STEP_NODELIST", "SLURM_LOCALID")


@dataclasses.dataclass(frozen=True)
class Launch:
    """One process of a launch. `num_processes` and `process_id` are None where only JAX can tell.

    Attributes:
      found_by: the launcher, as the subject of a sentence: "Slurm (job 71)".
      num_processes: how many processes were launched, more than one.
      process_id: which of them this is.
      obstacle: why JAX cannot join them by itself, and the mend; empty where it can.
      certain: other processes do exist, so that going on alone would be a mistake.
    """

    found_by: str
    num_processes: int | None = None
    process_id: int | None = None
    obstacle: str = ""
    certain: bool = True


def find_launch(environment: Mapping[str, str] | None = None) -> Launch | None:
    """Returns how this process was launched if that was, or may have been, as one of several.

    Args:
      environment: the environment variables; those of this process if None.
    """
    variables = os.environ if environment is None else environment
    for find in (_open_mpi, _slurm, _tpu, _kubernetes):
        launch = find(variables)
        if launch is not None:
            return launch
    return None


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def _open_mpi(variables: Mapping[str, str]) -> Launch | None:
    size = _number(variables.get("OMPI_COMM_WORLD_SIZE"))
    if size is None or size < 2:
        return None
    obstacle = ""
    if "OMPI_MCA_orte_hnp_uri" not in variables:
        obstacle = (
            "Open MPI 5 does not tell its processes where the first one runs. Give all three of "
            f"--coordinator_address=HOST:PORT --num_processes={size} "
            "--process_id=$OMPI_COMM_WORLD_RANK (the last one through a shell: mpirun bash -c '…')."
        )
    rank = _number(variables.get("OMPI_COMM_WORLD_RANK"))
    return Launch("Open MPI", size, rank, obstacle)


def _slurm(variables: Mapping[str, str]) -> Launch | None:
    # The step's own count, where there is one: `srun --ntasks=1` in a larger allocation is alone.
    tasks = variables.get("SLURM_STEP_NUM_TASKS", variables.get("SLURM_NTASKS"))
    size = _number(tasks)
    if "SLURM_JOB_ID" not in variables or size is None or size < 2:
        return None
    found_by = f"Slurm (job {variables['SLURM_JOB_ID']})"
    if "SLURM_STEP_NODELIST" not in variables:
        return Launch(
            found_by,
            size,
            obstacle=f"The job has {size} tasks, but this process is none of them: it was not "
            "started with srun. Put srun before the command to use all of them.",
            certain=False,
        )
    missing = [name for name in _SLURM if name not in variables]
    obstacle = ""
    if missing:
        obstacle = (
            f"Slurm's {' and '.join(missing)} did not reach this process, and JAX needs them. "
            "Start it with srun, with --export=ALL if variables are held back."
        )
    return Launch(found_by, size, _number(variables.get("SLURM_PROCID")), obstacle)


def _tpu(variables: Mapping[str, str]) -> Launch | None:
    if importlib.util.find_spec("libtpu") is None or not _has_tpu_chips():
        return None
    hosts = variables.get("TPU_PROCESS_ADDRESSES", variables.get("TPU_WORKER_HOSTNAMES"))
    slices = _number(variables.get("MEGASCALE_NUM_SLICES")) or 1
    if hosts is not None:
        size = len(hosts.split(",")) * slices
        if size == 1:
            return None
        worker = _number(variables.get("TPU_WORKER_ID"))
        return Launch("Cloud TPU on GKE", size, worker if slices == 1 else None)
    if "TPU_SKIP_MDS_QUERY" in variables:
        return None  # Not a TPU VM of Compute Engine: nothing could be asked about other hosts.
    # The VM's metadata server knows the others, and JAX asks it. One host joins itself, at no cost.
    return Launch("Cloud TPU VM", certain=False)


def _has_tpu_chips() -> bool:
    return bool(glob.glob("/dev/accel[0-9]*") or glob.glob("/dev/vfio/[0-9]*"))


def _kubernetes(variables: Mapping[str, str]) -> Launch | None:
    index = _number(variables.get("JOB_COMPLETION_INDEX"))
    if "KUBERNETES_SERVICE_HOST" not in variables or index is None:
        return None
    obstacle = ""
    if importlib.util.find_spec("kubernetes") is None:
        obstacle = (
            "If its pods are to train together, give each --coordinator_address=HOST:PORT "
            "--num_processes=N --process_id=$(JOB_COMPLETION_INDEX), or install jax[k8s]."
        )
    return Launch("Kubernetes (an indexed job)", None, index, obstacle, certain=False)
