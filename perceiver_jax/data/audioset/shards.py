"""One shard of a set: clips are decoded, and their recordings written as TFDS reads them."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from perceiver_jax.atomic import replacing
from perceiver_jax.data.audioset.clip_names import Clip
from perceiver_jax.data.audioset.clips import LOST, spare
from perceiver_jax.data.audioset.decode import Recording, Store, read_recording
from perceiver_jax.data.audioset.jpeg import Jpeg
from perceiver_jax.data.audioset.records import features, to_record
from perceiver_jax.data.audioset.reuse import Copy, OtherSet, note
from perceiver_jax.data.conversion.disk import free_bytes, size
from perceiver_jax.data.source import CorruptExample
from perceiver_jax.errors import DataError, UserError


def write_shard(
    shard: Path,
    report: Path,
    clips: Sequence[Clip],
    *,
    root: str,
    class_names: Sequence[str],
    store: Store,
    jpeg: Jpeg,
    given_up: Mapping[int, str],
    copies: Mapping[int, Copy],
    other: OtherSet | None,
    done: Callable[[int], None] = lambda number: None,
) -> None:
    """Decodes clips into a shard, and then writes what became of them.

    Args:
      shard: the file to write.
      report: the JSON file to write after it: ids, made_of, bytes, left_out, remarks, spare.
      clips: in the order in which they are stored.
      root: the folder that they are in.
      class_names: of all classes.
      store: what to store of video.
      jpeg: what pictures are to be like.
      given_up: numbers of clips that are not to be read, and why.
      copies: numbers of clips whose recordings are in another set, and where,
      other: which is this one.
      done: called with the number of each clip.

    Raises:
      DataError: see `read_clip`; or the other set is damaged.
      UserError: the file system refuses what is written: no space, no permission.
    """
    import tensorflow_datasets as tfds
    from array_record.python.array_record_module import ArrayRecordWriter

    stored = features(class_names)
    serializer = tfds.core.example_serializer.ExampleSerializer(stored.get_serialized_info())
    ids, sources, left_out, remarks, spares, size = [], [], [], [], [], 0
    with replacing(shard) as temporary:
        # One record a group: any is read without its neighbours.
        writer = ArrayRecordWriter(str(temporary), "group_size:1")
        for number, clip in enumerate(clips):
            try:
                if number in given_up:
                    raise CorruptExample(given_up[number])
                if other is not None and number in copies:
                    copy = copies[number]
                    record, odd, rest = other.record(copy, clip), copy.remarks, copy.spare
                else:
                    recording = read_clip(clip, root, store, jpeg)
                    record, odd = to_record(clip.segment, clip.path, recording), recording.remarks
                    rest = spare(clip, root, recording.read, odd)
            except CorruptExample as error:
                left_out.append((clip.segment.id, clip.path, str(error)))
                spares.append(dict.fromkeys(clip.others, LOST))
            else:
                data = serializer.serialize_example(stored.encode_example(record))
                with _writing(shard):
                    writer.write(data)
                ids.append(clip.segment.id)
                sources.append(note(clip, root, odd, rest))
                remarks += [(clip.segment.id, clip.path, remark) for remark in odd]
                spares.append(dict(rest))
                size += len(data)
            done(number)
        with _writing(shard):
            writer.close()
    found = {
        "ids": ids,
        "made_of": sources,
        "bytes": size,
        "left_out": left_out,
        "remarks": remarks,
        "spare": [each for each in spares if each],
    }
    with replacing(report) as temporary:
        temporary.write_text(json.dumps(found), encoding="utf-8")


@contextlib.contextmanager
def _writing(shard: Path) -> Iterator[None]:
    """What ArrayRecord raises where the file system refuses, which it may notice later."""
    try:
        yield
    except RuntimeError as error:
        raise UserError(
            f"{shard} cannot be written: {str(error).split(';')[0]}. {size(free_bytes(shard))} are "
            "free there. When it can, the same command goes on."
        ) from error


def read_clip(clip: Clip, root: str, store: Store, jpeg: Jpeg) -> Recording:
    """Decodes a clip of a folder; see `read_recording`.

    Raises:
      CorruptExample: what is in the file is no recording, or a damaged one, or may not be read.
      DataError: it cannot be read any more: a disk that fails is no damaged clip, and no
        set should be made of what it still gives.
    """
    path, *others = (Path(root) / each for each in (clip.path, *clip.others))
    try:
        return read_recording(
            path,
            clip.segment,
            cut=clip.cut,
            skip=clip.skip,
            others=others,
            store=store,
            jpeg=jpeg,
        )
    except CorruptExample as damage:
        for each in (path, *others):
            _check_readable(each)
        raise damage


def _check_readable(path: Path) -> None:
    """Reads a file that is said to be damaged; see `read_clip`."""
    try:
        with path.open("rb") as file:
            while file.read(1 << 20):
                pass
    except PermissionError as error:
        raise CorruptExample(f"{str(path)!r} may not be read by this user.") from error
    except OSError as error:
        raise DataError(
            f"{path} was there and cannot be read any more ({error.strerror or error}). When it "
            "can, the same command goes on."
        ) from error
