"""Sizes and costs of models: `python -m perceiver_jax.inspect --model=NAME`.

  --model=imagenet_fourier                parameters, FLOPs by part and sizes of a model of the zoo
  --model=mlm --config.encoder.num_latents=128          the same, with changes of its config
  --config=experiments/digits.py:permuted               the model of an experiment
  --list                                  all models, with parameters and FLOPs
  --paper_tables                          the papers' figures beside ours, row by row

Nothing is allocated or computed: everything follows from shapes. Costs are those of one example.
"""

import json
import sys
from collections.abc import Sequence

from absl import flags

from perceiver_jax.errors import EXIT_USER_ERROR, ModelError, UserError, run_main

_USAGE = """Say what to inspect:

    python -m perceiver_jax.inspect --model=imagenet_fourier
    python -m perceiver_jax.inspect --config=experiments/digits.py
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
    flags.DEFINE_bool("list", False, "Lists all models of the zoo.")
    flags.DEFINE_bool("paper_tables", False, "Compares with the figures that the papers print.")
    flags.DEFINE_bool("all", False, "Shows every block instead of folding those that repeat.")
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
    modes = ("model", "config", "list", "paper_tables")
    wanted = [name for name in modes if arguments[name].value]
    if not wanted:
        raise UserError(_USAGE.rstrip())
    if len(wanted) > 1:
        raise UserError(f"Give one of {' and '.join('--' + name for name in wanted)}, not both.")
    if changes and wanted[0] not in ("model", "config"):
        raise UserError(
            f"--config.{next(iter(changes))} changes a config, and --{wanted[0]} has none; "
            "use it with --model or --config."
        )
    if arguments.json and arguments.markdown:
        raise UserError("Give --json or --markdown, not both.")
    # Imported late, so that --help and mistakes in flags are answered at once.
    import perceiver_jax
    from perceiver_jax import config as config_lib
    from perceiver_jax.report import overview, paper_tables

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
        if arguments.model:
            model = perceiver_jax.build(arguments.model, **changes)
        else:
            experiment = config_lib.override(config_lib.load_experiment(arguments.config), changes)
            model = perceiver_jax.build(experiment.model)
        try:
            anatomy = overview.dissect(model)
        except ValueError as error:
            # Some widths only meet when the model is traced.
            raise ModelError(f"this config makes no model that works: {error}") from error
        if arguments.json:
            print(json.dumps(overview.as_json(anatomy), indent=1))
        else:
            print(overview.render(anatomy, fold=not arguments.all, markdown=arguments.markdown))


def main() -> None:
    """Takes the overrides out of the command line, and runs the rest under absl."""
    from perceiver_jax.config import split_overrides

    try:
        argv, changes = split_overrides(sys.argv)
    except UserError as error:
        print(f"\nerror: {error}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)
    define_flags()
    run_main(lambda rest: inspect_main(rest, changes), argv)


if __name__ == "__main__":
    main()
