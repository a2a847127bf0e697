"""How much each deviation of Hugging Face's port changes the outputs, one by one.

    python -m benchmarks.huggingface_numerics [--folder=tests/golden/hf_small]

Every small model of the folder runs with the port's numerics, which gives its recorded outputs,
and then with one setting at a time as in the released models, and with all. Prints a Markdown
table of the largest differences. Weights are random: the sizes say which deviations are gross and
which are rounding, not what they do to the published models.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import flags
from safetensors.numpy import load_file

import perceiver_jax
from perceiver_jax import zoo
from perceiver_jax.checkpoints import huggingface
from perceiver_jax.checkpoints.numerics import STEM_KERNEL, with_rounding
from perceiver_jax.errors import UserError, run_main

_FOLDER = flags.DEFINE_string("folder", "tests/golden/hf_small", "Folder of small models.")
_CASE = "case0"

Inputs = tuple[tuple[Any, ...], dict[str, Any]]


class Variant(NamedTuple):
    """A model with one setting, or all, as released."""

    what: str
    setting: str
    params: Any
    config: zoo.PerceiverConfig


def main(argv: Sequence[str]) -> None:
    del argv
    folders = sorted(path for path in Path(_FOLDER.value).glob("*") if path.is_dir())
    if not folders:
        raise UserError(f"--folder={_FOLDER.value} has no models.")
    print("| deviation | our setting | model | largest output | largest difference |")
    print("| --- | --- | --- | --- | --- |")
    for folder in folders:
        theirs = huggingface.read(folder, numerics="huggingface")
        released = huggingface.read(folder)
        inputs = read_inputs(folder)
        base = run(theirs.params, theirs.state, theirs.config, inputs)
        largest = max(float(np.abs(x).max()) for x in base.values())
        for variant in variants(theirs, released):
            outputs = run(variant.params, theirs.state, variant.config, inputs)
            difference = max(float(np.abs(outputs[key] - x).max()) for key, x in base.items())
            print(
                f"| {variant.what} | {variant.setting} | {folder.name} | {largest:.3g} | "
                f"{difference:.1e} |",
                flush=True,
            )


def variants(theirs: huggingface.Loaded, released: huggingface.Loaded) -> Iterator[Variant]:
    """The settings that differ between both numerics, each alone, and all together."""
    config, target = theirs.config, released.config
    assert isinstance(config, zoo.PerceiverConfig) and isinstance(target, zoo.PerceiverConfig)

    def alone(what: str, setting: str, **changes: Any) -> Variant:
        return Variant(what, setting, theirs.params, dataclasses.replace(config, **changes))

    yield alone("GELU's exact form", "`exact_gelu`", exact_gelu=False)
    inputs, decoder = config.preprocessor, config.decoder
    if target.decoder != with_rounding(decoder, "jax"):
        yield alone("decoder's residual", "`decoder.use_query_residual`", decoder=target.decoder)
    if isinstance(inputs, zoo.ImageConfig) and inputs.prep == "conv":
        same = dataclasses.replace(inputs, stem_padding="same")
        yield alone("stem's padding", "`preprocessor.stem_padding`", preprocessor=same)
        module, name = STEM_KERNEL
        kernel = np.ascontiguousarray(theirs.params[module][name].swapaxes(0, 1))
        params = {**theirs.params, module: {**theirs.params[module], name: kernel}}
        yield Variant("stem's kernel turned round", "`kernel_layout`", params, config)
    if isinstance(decoder, zoo.DecoderConfig) and not config.mask_outputs:
        yield alone("outputs at padding", "`mask_outputs`", mask_outputs=True)
    plain = {
        "preprocessor": with_rounding(inputs, "jax"),
        "decoder": with_rounding(decoder, "jax"),
    }
    if dataclasses.replace(config, **plain) != config:
        yield alone("rounding of positions and bands", "`rounded_as`", **plain)
    yield Variant("all", "`numerics`", released.params, target)


def run(params: Any, state: Any, config: Any, inputs: Inputs) -> dict[str, np.ndarray]:
    """The outputs by modality, computed in full float32."""
    model = perceiver_jax.build(config)
    call: Callable[..., Any] = jax.jit(model.apply)
    with jax.default_matmul_precision("highest"):
        outputs, _ = call(params, state, None, *inputs[0], **inputs[1])
    outputs = outputs if isinstance(outputs, dict) else {"": outputs}
    return {key: np.asarray(x) for key, x in outputs.items()}


def read_inputs(folder: Path) -> Inputs:
    """The inputs of the first case, images with their channels last."""
    arrays = {
        key.removeprefix(f"{_CASE}."): x
        for key, x in load_file(folder / "inputs.safetensors").items()
        if key.startswith(f"{_CASE}.")
    }
    if "attention_mask" in arrays:
        return (arrays["inputs"], arrays["attention_mask"]), {}
    if "frames" in arrays:
        return (np.moveaxis(arrays["frames"], -3, -1),), {}
    if "inputs" in arrays:
        return (np.moveaxis(arrays["inputs"], -3, -1),), {}
    parts: dict[str, dict[str, np.ndarray]] = {"inputs": {}, "subsampled_output_points": {}}
    for key, x in arrays.items():
        kind, _, name = key.partition(".")
        parts[kind][name] = np.moveaxis(x, -3, -1) if name == "image" and x.ndim > 1 else x
    points = parts["subsampled_output_points"]
    return (parts["inputs"],), {"subsampled_output_points": points}


if __name__ == "__main__":
    run_main(main)
