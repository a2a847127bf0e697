"""Checks an installed perceiver_jax against its checkout; see .ci/run.

    python check_package.py CHECKOUT

Run from outside the checkout: the package that is imported must be the installed one.
"""

import pathlib
import sys

import perceiver_jax


def main(checkout: pathlib.Path) -> None:
    """Fails unless the installed package holds every file of the checkout's and works."""
    source = checkout / "perceiver_jax"
    installed = pathlib.Path(perceiver_jax.__file__).parent
    if installed.samefile(source):
        sys.exit(f"imported from the checkout {source}, not from an installed package")
    missing = [
        str(path.relative_to(source))
        for path in sorted(source.rglob("*"))
        if path.is_file()
        and "__pycache__" not in path.parts
        and not (installed / path.relative_to(source)).is_file()
    ]
    if missing:
        sys.exit("setup.py leaves out: " + ", ".join(missing))

    count = perceiver_jax.build("imagenet_fourier").num_params()
    if count != 48_440_627:
        sys.exit(f"imagenet_fourier has {count:,} parameters instead of 48,440,627")
    print(f"perceiver_jax {perceiver_jax.__version__} is complete and builds its models.")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
