"""Peak memory of inference at full size, on this machine, with random weights.

    python -m benchmarks.inference_memory [--task=flow|video|load] [--models=optical_flow,mlm]

  flow    a checkpoint is loaded, and the flow of two frames of 436 x 1024 pixels predicted
  video   a checkpoint is loaded, and a video of 16 frames with sound reconstructed whole
  load    what loading adds to a process that has imported all it needs, at its peak and
          afterwards, beside the size of the file; our own format and Hugging Face's

Each is measured in a process of its own, from what the kernel says of it (Linux): the peak of its
resident memory. `--task` picks one; all by default. The weights are written to a temporary folder.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from perceiver_jax.errors import UserError, run_main

_TASK = flags.DEFINE_enum("task", "all", ["all", "flow", "video", "load"], "What to measure.")
_MODELS = flags.DEFINE_list(
    "models",
    ["optical_flow", "video_autoencoding", "imagenet_fourier", "mlm"],
    "Which models to load for --task=load.",
)
_FORMATS = ("safetensors", "huggingface")
MEGABYTE = 1e6


def memory(field: str) -> int:
    """A figure of this process in bytes: VmRSS is what is resident now, VmHWM its peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise UserError(f"/proc/self/status has no {field}; this benchmark needs Linux.")


def restart_peak() -> None:
    """Makes VmHWM the peak from now on."""
    Path("/proc/self/clear_refs").write_text("5")


def write_checkpoint(name: str, path: str, form: str) -> None:
    """Writes random weights of a model of the zoo."""
    import numpy as np

    import perceiver_jax
    from perceiver_jax.checkpoints import hf_export, native

    model = perceiver_jax.build(name)
    rng = np.random.default_rng(0)

    def draw(entry: str, shape: tuple[int, ...]) -> "np.ndarray":
        if entry == "scale":
            return np.ones(shape, np.float32)
        values = rng.standard_normal(shape, np.float32)
        return values / np.sqrt(np.float32(np.prod(shape[:-1]) if entry == "w" else 100))

    params, state = (
        {
            module: {entry: draw(entry, x.shape) for entry, x in entries.items()}
            for module, entries in tree.items()
        }
        for tree in model.abstract_params()
    )
    if form == "safetensors":
        native.save(path, params, state, model.config)
    else:
        hf_export.write(path, params, state, model.config)


def measure_load(path: str) -> dict[str, float]:
    """What loading a checkpoint adds to this process."""
    import jax
    import safetensors.numpy  # noqa: F401  What loading imports late is no part of it.

    import perceiver_jax
    from perceiver_jax.checkpoints.load import load_checkpoint

    jax.block_until_ready(jax.numpy.zeros(3) + 1)  # The backend is up,
    perceiver_jax.build("optical_flow").abstract_params()  # and a model has been traced.
    before = memory("VmRSS")
    restart_peak()
    start = time.perf_counter()
    params, _, _ = load_checkpoint(path)
    jax.block_until_ready(params)
    return {
        "seconds": time.perf_counter() - start,
        "peak": memory("VmHWM") - before,
        "after": memory("VmRSS") - before,
    }


def measure_flow(path: str) -> dict[str, float]:
    """Loads a flow model and predicts the flow of a pair of Sintel's size."""
    import numpy as np

    from perceiver_jax.infer import flow, loaded

    frames = np.random.default_rng(0).integers(0, 256, (2, 436, 1024, 3), np.uint8)
    start = time.perf_counter()
    result = flow.predict_flow(loaded.load(path), frames[0], frames[1])
    seconds = time.perf_counter() - start
    assert result.shape == (436, 1024, 2) and np.isfinite(result).all()
    return {"seconds": seconds, "peak": memory("VmHWM")}


def measure_video(path: str) -> dict[str, float]:
    """Loads a video autoencoder and reconstructs one piece."""
    import numpy as np

    from perceiver_jax.infer import autoencode, loaded

    rng = np.random.default_rng(0)
    frames = rng.uniform(size=(16, 224, 224, 3)).astype(np.float32)
    audio = rng.uniform(-1, 1, (16 * 1920, 1)).astype(np.float32)
    start = time.perf_counter()
    result = autoencode.autoencode(loaded.load(path), frames, audio)
    seconds = time.perf_counter() - start
    assert result.frames.shape == frames.shape and np.isfinite(result.frames).all()
    return {"seconds": seconds, "peak": memory("VmHWM")}


def in_child(function: str, *arguments: str) -> dict[str, float]:
    """Calls a function of this file in a new process, and returns what it returns."""
    code = (
        "import json, sys\n"
        "from benchmarks import inference_memory\n"
        f"result = inference_memory.{function}(*sys.argv[1:])\n"
        "print(json.dumps(result))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise UserError(f"{function}({', '.join(arguments)}) failed in its process; see above.")
    return json.loads(done.stdout.splitlines()[-1])


def size_of(path: Path) -> int:
    """Bytes of a file, or of the weights in a folder."""
    return path.stat().st_size if path.is_file() else (path / "model.safetensors").stat().st_size


def main(argv: Sequence[str]) -> None:
    del argv
    tasks = ("flow", "video", "load") if _TASK.value == "all" else (_TASK.value,)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for task, model in (("flow", "optical_flow"), ("video", "video_autoencoding")):
            if task in tasks:
                path = folder / f"{model}.safetensors"
                in_child("write_checkpoint", model, str(path), "safetensors")
                found = in_child(f"measure_{task}", str(path))
                path.unlink()
                print(
                    f"{task:6} peak of the whole process {found['peak'] / MEGABYTE:7.0f} MB   "
                    f"{found['seconds']:6.1f} s, loading and compiling included",
                    flush=True,
                )
        if "load" not in tasks:
            return
        print("load                                file      added: peak          afterwards")
        for model in _MODELS.value:
            for form in _FORMATS:
                path = folder / (f"{model}.safetensors" if form == "safetensors" else model)
                in_child("write_checkpoint", model, str(path), form)
                size = size_of(path)
                found = in_child("measure_load", str(path))
                print(
                    f"  {model:20} {form:12} {size / MEGABYTE:7.1f} MB"
                    + "".join(
                        f"   {found[key] / MEGABYTE:7.1f} MB ({found[key] / size:4.2f} x)"
                        for key in ("peak", "after")
                    )
                    + f"   {found['seconds']:5.1f} s",
                    flush=True,
                )
                for file in [path] if path.is_file() else path.iterdir():
                    file.unlink()


if __name__ == "__main__":
    run_main(main)
