"""The TFDS builder that writes converted clouds as ArrayRecord, for which it needs no TensorFlow.

Imported late, as it imports TFDS. Reading a set needs nothing of this: see modelnet.py.
"""

import contextlib
import io
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from perceiver_jax.data.points.convert import VERSION, Conversion
from perceiver_jax.data.points.layouts import SPLITS
from perceiver_jax.data.stored import FORMAT, as_text


class CloudsBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Writes a finished conversion as a set with points, label and name of each cloud.

    The key of an example is its name, and TFDS stores examples in the order of a hash of their
    keys: so the order is random, and a function of the names alone.
    """

    name = "clouds"  # Each instance has a name of its own.
    VERSION = tfds.core.Version(VERSION)
    url_infos = None  # Nothing is downloaded. Looking for checksums would need another package.

    def __init__(self, name: str, data_dir: str, conversion: Conversion):
        """Makes the builder of a set; writes nothing.

        Args:
          name: of the set, "modelnet40": lower case, digits and underscores.
          data_dir: where sets are; this one gets a folder there.
          conversion: what to write; its parts must all be there.
        """
        self.name = name
        self._conversion = conversion
        super().__init__(data_dir=data_dir, file_format=FORMAT)

    def _info(self) -> tfds.core.DatasetInfo:
        num_points = self._conversion.num_points
        features = {
            # Bytes, since lists of numbers take a hundred times longer to read.
            "points": tfds.features.Tensor(
                shape=(num_points, 3), dtype=np.float32, encoding=tfds.features.Encoding.BYTES
            ),
            "label": tfds.features.ClassLabel(names=self._conversion.layout.class_names),
            "name": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description="Clouds of points on the surface of labelled objects.",
            features=tfds.features.FeaturesDict(features),
            metadata=tfds.core.MetadataDict(self._conversion.provenance()),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {split: self._generate_examples(split) for split in SPLITS}

    def _generate_examples(self, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for each in self._conversion.clouds(split):
            name = as_text(each.entry.name)
            yield name, {"points": each.points, "label": each.entry.label, "name": name}


def write(name: str, data_dir: str, conversion: Conversion) -> str:
    """Writes a set: it is there whole afterwards, or not at all.

    Returns:
      The folder of the set.
    """
    tfds.disable_progress_bar()
    builder = CloudsBuilder(name, data_dir, conversion)
    with contextlib.redirect_stdout(io.StringIO()):  # It tells of downloads; there are none.
        builder.download_and_prepare(download_dir=conversion.folder / "downloads")
    return os.fspath(builder.data_dir)
