"""The tasks of `python -m perceiver_jax.predict`, one module each.

A module has

    define_flags() -> None                                         its own absl flags
    run(loaded: LoadedModel, inputs: list[str], report: Report) -> None

and imports nothing heavy at the top, because it is imported before the flags are parsed. `inputs`
are the positional arguments; `report` takes what is found (report.py).
"""
