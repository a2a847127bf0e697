"""Sizes and costs of models: `python -m perceiver_jax.inspect --model=NAME`.

  --model=imagenet_fourier                parameters, FLOPs by part and sizes of a model of the zoo
  --model=mlm --config.encoder.num_latents=128          the same, with changes of its config
  --config=experiments/digits.py:permuted               the model of an experiment
  --config=experiments/dry_run.py --mesh=data=8,fsdp=8  what its training step needs of each device
  --config=experiments/digits.py --show_batch=out.png   a picture of its first training batch
  --model=mlm --routes                                  also why attentions take the routes they do
  --checkpoint=PATH                       the model that a file of weights belongs to
  --list                                  all models, with parameters and FLOPs
  --paper_tables                          the papers' figures beside ours, row by row

Nothing is computed: everything follows from shapes. Costs are those of one example. With --mesh the
training step is compiled, for as many virtual devices as the mesh has. With --show_batch examples
are read, augmented and mixed as training does it at its first step.
"""

import json
import math
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags

from perceiver_jax.errors import ModelError, UserError, run_main_with_overrides

_USAGE = """Say what to inspect:

    python -m perceiver_jax.inspect --model=imagenet_fourier
    python -m perceiver_jax.inspect --config=experiments/digits.py
    python -m perceiver_jax.inspect --config=experiments/dry_run.py --mesh=data=8,fsdp=8
    python -m perceiver_jax.inspect --config=experiments/digits.py --show_batch=out.png
    python -m perceiver_jax.inspect --checkpoint=PATH
    python -m perceiver_jax.inspect --list
    python -m perceiver_jax.inspect --paper_tables
"""


def define_flags() -> None:
    """Defines the flags; here and not on import, so that importing this file changes nothing."""
    flags.DEFINE_string("model", None, "Name of a model of the zoo; --list shows all.")
    flags.DEFINE_string(
        "config",
        None,
        "Experiment file, and optionally one of its variants: FILE.py[:VARIANT]. Any field of it, "
        "or with --model of the model, is changed by --config.NAME=VALUE.",
    )
    flags.DEFINE_string(
        "checkpoint",
        None,
        "File or folder with weights, of any format; with --model where it does not tell its own.",
    )
    flags.DEFINE_string(
        "mesh",
        None,
        "With --config: sizes of the mesh of devices, such as data=8,fsdp=8. Shows where "
        "parameters lie, what a training step takes of each device, and what they send each other.",
    )
    flags.DEFINE_string(
        "show_batch",
        None,
        "With --config: a PNG file to write. Shows the first training batch as the model sees it, "
        "augmented and mixed, with its labels.",
    )
    flags.DEFINE_bool("list", False, "Lists all models of the zoo.")
    flags.DEFINE_bool("paper_tables", False, "Compares with the figures that the papers print.")
    flags.DEFINE_bool("all", False, "Shows every block instead of folding those that repeat.")
    flags.DEFINE_bool("routes", False, "Says of every attention why it takes no other route.")
    flags.DEFINE_bool("json", False, "Prints JSON.")
    flags.DEFINE_bool("markdown", False, "Prints Markdown tables.")


def inspect_main(argv: Sequence[str], changes: dict[str, str]) -> None:
    """Entry point.

    Args:
      argv: what absl left of the command line.
      changes: overrides of the config, as text by dotted name.
    """
    arguments = flags.FLAGS
    if len(argv) > 1:
        raise UserError(f"Unexpected argument {argv[1]!r}.\n\n{_USAGE}")
    modes = ("model", "config", "checkpoint", "list", "paper_tables")
    wanted = [name for name in modes if arguments[name].value]
    if not wanted:
        raise UserError(_USAGE.rstrip())
    if arguments.checkpoint:
        # Beside it, --model tells what the file does not.
        wanted = [name for name in wanted if name != "model"]
    if len(wanted) > 1:
        raise UserError(f"Give one of {' and '.join('--' + name for name in wanted)}, not both.")
    if changes and wanted[0] not in ("model", "config", "checkpoint"):
        raise UserError(
            f"--config.{next(iter(changes))} changes a config, and --{wanted[0]} has none; "
            "use it with --model, --config or --checkpoint."
        )
    if arguments.show_batch is not None:
        others = ("mesh", "routes", "all", "json", "markdown")
        given = [name for name in others if arguments[name].value]
        if wanted[0] != "config" or given:
            without = f", without --{given[0]}" if given else ""
            raise UserError(f"--show_batch goes with --config{without}.")
        return _show_batch(arguments.config, arguments.show_batch, changes)
    if arguments.routes and (wanted[0] in ("list", "paper_tables") or arguments.mesh is not None):
        without = "mesh" if arguments.mesh is not None else wanted[0]
        raise UserError(f"--routes is about one model; --{without} does not go with it.")
    if arguments.json and arguments.markdown:
        raise UserError("Give --json or --markdown, not both.")
    if arguments.mesh is not None:
        if wanted[0] != "config" or arguments.markdown:
            raise UserError("--mesh goes with --config, and --json if need be.")
        return _inspect_mesh(arguments.config, arguments.mesh, changes, as_json=arguments.json)
    # Imported late, so that --help and mistakes in flags are answered at once.
    import perceiver_jax
    from perceiver_jax import config as config_lib
    from perceiver_jax.report import attention_routes, overview, paper_tables

    if arguments.paper_tables:
        comparisons = paper_tables.compare()
        if arguments.json:
            print(json.dumps([each.as_json() for each in comparisons], indent=1))
        else:
            print(paper_tables.render(comparisons, markdown=arguments.markdown))
    elif arguments.list:
        anatomies = overview.all_models()
        if arguments.json:
            print(json.dumps([overview.as_json(each) for each in anatomies], indent=1))
        else:
            for line in overview.list_lines(anatomies, markdown=arguments.markdown):
                print(line, flush=True)
    else:
        if arguments.checkpoint:
            model = _model_of_checkpoint(arguments.checkpoint, arguments.model, changes)
        elif arguments.model:
            model = perceiver_jax.build(arguments.model, **changes)
        else:
            experiment = config_lib.override(config_lib.load_experiment(arguments.config), changes)
            model = perceiver_jax.build(experiment.model)
        try:
            anatomy = overview.dissect(model)
        except ValueError as error:
            # Some widths only meet when the model is traced.
            raise ModelError(f"this config makes no model that works: {error}") from error
        taken = attention_routes.routes_of(model)
        if arguments.json:
            as_json = overview.as_json(anatomy)
            print(json.dumps({**as_json, "routes": attention_routes.as_json(taken)}, indent=1))
        else:
            print(overview.render(anatomy, fold=not arguments.all, markdown=arguments.markdown))
            if taken:
                head = "## " if arguments.markdown else ""
                print(f"\n{head}Routes of the attentions here, forward, one example\n")
                print(
                    attention_routes.render(
                        taken, reasons=arguments.routes, markdown=arguments.markdown
                    )
                )


def _inspect_mesh(config: str, mesh: str, changes: dict[str, str], *, as_json: bool) -> None:
    from perceiver_jax import config as config_lib
    from perceiver_jax.report import mesh_needs

    sizes = mesh_needs.parse_mesh(mesh)
    mesh_needs.use_virtual_devices(math.prod(sizes.values()))
    layout = {f"trainer.mesh.{axis}": size for axis, size in sizes.items()}
    experiment = config_lib.override(config_lib.load_experiment(config), {**changes, **layout})
    found = mesh_needs.needs(experiment)
    print(
        json.dumps(mesh_needs.as_json(*found), indent=1) if as_json else mesh_needs.render(*found)
    )


def _show_batch(config: str, path: str, changes: dict[str, str]) -> None:
    from perceiver_jax import config as config_lib
    from perceiver_jax.report import contact_sheet

    out = contact_sheet.check_path(path)
    experiment = config_lib.override(config_lib.load_experiment(config), changes)
    title = contact_sheet.write(experiment, out)
    print(f"{title}\nwritten     {out}")


def _model_of_checkpoint(path: str, model: str | None, changes: dict[str, str]) -> Any:
    import perceiver_jax
    from perceiver_jax import zoo
    from perceiver_jax.checkpoints import load

    config = load.load_checkpoint(path, model=model, overrides=changes).config
    names = [name for name in zoo.list_models() if zoo.get_config(name) == config]
    print(f"{path}: {load.WORDS[load.format_of(path)]}", file=sys.stderr)
    # Some names of the zoo are of the same model.
    return perceiver_jax.build(names[0] if names else config)


if __name__ == "__main__":
    run_main_with_overrides(inspect_main, define_flags)
