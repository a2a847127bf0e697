"""Prepares a set of TensorFlow Datasets, once, so that it can be read without TensorFlow.

    python -m perceiver_jax.data.images.prepare --manual_dir=FOLDER --data_dir=DATA

writes DATA/imagenet2012, from ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar in FOLDER. It
needs the packages of the extras `data` and `tensorflow`; only this command does. (TFDS's own
`tfds build` does the same, but imports Apache Beam, which nothing here needs.)
"""

import os
from collections.abc import Sequence

from absl import flags

from perceiver_jax.data.stored import FORMAT
from perceiver_jax.errors import DataError, require, run_main

_FLAGS = flags.FLAGS

ARCHIVES = {"imagenet2012": ("ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar")}


def command(name: str, data_dir: str) -> str:
    """Returns the command that prepares a set, for messages."""
    parts = ["python -m perceiver_jax.data.images.prepare"]
    if name != "imagenet2012":
        parts.append(f"--name={name}")
    if _archives(name):
        parts.append("--manual_dir=FOLDER")
    return " ".join([*parts, f"--data_dir={data_dir}"])


def prepare(name: str, data_dir: str, manual_dir: str | None = None) -> str:
    """Prepares a set; if it is there already, nothing is done.

    Args:
      name: as TFDS calls it.
      data_dir: where to; the set gets a folder there.
      manual_dir: where the archives are that TFDS does not download.

    Returns:
      The folder of the set.

    Raises:
      DataError: TFDS has no such set, an archive is missing, or the set is there in another format.
      UserError: a package is missing.
    """
    for package, pip_name in (
        ("tensorflow_datasets", "tensorflow-datasets"),
        ("tensorflow", "tensorflow"),
        ("importlib_resources", "importlib_resources"),
    ):
        require(package, purpose="Preparing a TFDS set", pip_name=pip_name)
    import tensorflow_datasets as tfds

    if manual_dir is not None:
        manual_dir = os.path.expanduser(manual_dir)
    for archive in _archives(name):
        if manual_dir is None or not os.path.isfile(os.path.join(manual_dir, archive)):
            raise DataError(
                f"{name} is made of {' and '.join(_archives(name))}, and {archive} is not in "
                f"{manual_dir or 'a folder that was named'}. Get them from image-net.org, and name "
                "their folder with --manual_dir=FOLDER."
            )
    try:
        builder = tfds.builder(name, data_dir=os.path.expanduser(data_dir), file_format=FORMAT)
    except tfds.core.DatasetNotFoundError as error:
        raise DataError(f"TFDS has no set {name!r}: {error}") from error
    except ValueError as error:  # It says that it is there in another format.
        raise DataError(f"{name} in {data_dir}: {error}") from error
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=manual_dir)
    )
    return os.fspath(builder.data_dir)


def _archives(name: str) -> tuple[str, ...]:
    return ARCHIVES.get(name.split(":")[0].split("/")[0], ())


def main(argv: Sequence[str]) -> None:
    """Prepares the set that the flags name, and says where it is."""
    folder = prepare(_FLAGS.name, _FLAGS.data_dir, _FLAGS.manual_dir)
    print(
        f"{_FLAGS.name} is in {folder}; train with --config.data.images.data_dir={_FLAGS.data_dir}"
    )


if __name__ == "__main__":
    flags.DEFINE_string("name", "imagenet2012", "The set, as TFDS calls it.")
    flags.DEFINE_string("data_dir", None, "Where prepared sets go.", required=True)
    flags.DEFINE_string("manual_dir", None, "Where ImageNet's two archives are.")
    run_main(main)
