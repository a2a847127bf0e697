"""The TFDS builder that decodes clips in an Apache Beam pipeline, on any number of machines.

Imported late, as it imports TFDS, and Beam when it runs. Reading a set needs nothing of this.
"""

import contextlib
import functools
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from tensorflow_datasets.core import hashing

from perceiver_jax.data.audioset.clip_names import Clip
from perceiver_jax.data.audioset.clips import LOST, spare
from perceiver_jax.data.audioset.convert import Conversion
from perceiver_jax.data.audioset.decode import Store
from perceiver_jax.data.audioset.described import ClipLeftOut, Outcome, describe_set
from perceiver_jax.data.audioset.jpeg import Jpeg
from perceiver_jax.data.audioset.records import SPLITS, VERSION, features, to_record
from perceiver_jax.data.audioset.reuse import note
from perceiver_jax.data.audioset.shards import read_clip
from perceiver_jax.data.source import CorruptExample
from perceiver_jax.data.stored import FORMAT

_TOLD = "told"  # The pipeline's second output: what became of each clip, a line of JSON.


class RecordingsBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Writes a set of recordings in a Beam pipeline, which decodes, shuffles and stores them.

    The key of an example is its segment's name, and TFDS stores examples in the order of a hash of
    their keys, which is not the order of `convert.py`; all else is the same.
    """

    name = "recordings"  # Each instance has a name of its own.
    VERSION = tfds.core.Version(VERSION)
    url_infos = None  # Nothing is downloaded. Looking for checksums would need another package.

    def __init__(self, conversion: Conversion, data_dir: str):
        """Makes the builder of a set; writes nothing.

        Args:
          conversion: what to convert; its folder gets the lists of what became of the clips.
          data_dir: where sets are; this one gets a folder there. All machines see it and the clips.
        """
        self.name = conversion.name
        self._conversion = conversion
        super().__init__(data_dir=data_dir, file_format=FORMAT)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Recordings with labels: sound at 48 kHz, frames at 25 a second.",
            features=features(self._conversion.classes.names),
            metadata=tfds.core.MetadataDict(self._conversion.provenance()),
        )

    def _split_generators(self, dl_manager: Any, pipeline: Any) -> dict[str, Any]:
        import apache_beam as beam

        examples = {}
        for split in SPLITS:
            clips = list(self._conversion.clips.get(split, ()))
            if not clips:
                continue
            decode = functools.partial(
                _decode,
                root=self._conversion.root,
                store=self._conversion.store,
                jpeg=self._conversion.jpeg,
            )
            outputs = (
                pipeline
                | f"Clips_{split}" >> beam.Create(clips)
                | f"Spread_{split}" >> beam.Reshuffle()
                | f"Decode_{split}" >> beam.FlatMap(decode).with_outputs(_TOLD, main="examples")
            )
            outputs[_TOLD] | f"Tell_{split}" >> beam.io.WriteToText(
                os.fspath(self._conversion.folder / split), file_name_suffix=".jsonl"
            )
            examples[split] = outputs["examples"]
        return examples

    def _generate_examples(self, **unused: Any) -> Iterator[Any]:
        raise NotImplementedError("the pipeline makes the examples")


def write(conversion: Conversion, data_dir: str, options: list[str]) -> None:
    """Runs the pipeline, and lists what became of the clips beside the set.

    Args:
      conversion: what to convert.
      data_dir: where to; the set gets a folder there, whole or not at all.
      options: Beam's own, as on its command line: ["--runner=DirectRunner"].
    """
    from apache_beam.options.pipeline_options import PipelineOptions

    tfds.disable_progress_bar()
    builder = RecordingsBuilder(conversion, data_dir)
    with contextlib.redirect_stdout(io.StringIO()):  # It tells of downloads; there are none.
        builder.download_and_prepare(
            download_dir=conversion.folder / "downloads",
            download_config=tfds.download.DownloadConfig(beam_options=PipelineOptions(options)),
        )
    describe_set(conversion, _outcome(conversion), Path(builder.data_dir))


def _decode(clip: Clip, root: str, store: Store, jpeg: Jpeg) -> Iterator[Any]:
    """An example, unless the clip cannot be read, and a line on what became of it."""
    import apache_beam as beam

    told: dict[str, Any] = {"key": clip.segment.key, "id": clip.segment.id, "path": clip.path}
    try:
        recording = read_clip(clip, root, store, jpeg)
    except CorruptExample as error:
        told["left_out"], told["spare"] = str(error), dict.fromkeys(clip.others, LOST)
    else:
        told["remarks"] = recording.remarks
        told["spare"] = spare(clip, root, recording.read, recording.remarks)
        told["made_of"] = note(clip, root, recording.remarks, told["spare"])
        yield clip.segment.key, to_record(clip.segment, clip.path, recording)
    yield beam.pvalue.TaggedOutput(_TOLD, json.dumps(told))


def _outcome(conversion: Conversion) -> Outcome:
    """Collects what became of the clips, in the order in which TFDS stores them."""
    ids: dict[str, list[str]] = {}
    sources: dict[str, list[str]] = {}
    left_out, remarks, spares = list(conversion.missing), [], []
    for split in SPLITS:
        hasher = hashing.Hasher(split)
        told = [
            json.loads(line)
            for path in sorted(conversion.folder.glob(f"{split}-*.jsonl"))
            for line in path.read_text("utf-8").splitlines()
        ]
        told.sort(key=lambda each: hasher.hash_key(each["key"]))
        ids[split] = [each["id"] for each in told if "left_out" not in each]
        sources[split] = [each["made_of"] for each in told if "left_out" not in each]
        for each in told:
            if "left_out" in each:
                left_out.append(ClipLeftOut.of(each["id"], each["path"], each["left_out"], split))
            remarks += [
                ClipLeftOut.of(each["id"], each["path"], what, split)
                for what in each.get("remarks", ())
            ]
            spares.append(each["spare"])
    return Outcome(ids, sources, {}, tuple(left_out), tuple(remarks), tuple(spares))
