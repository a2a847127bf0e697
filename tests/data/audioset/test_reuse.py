"""A set that has grown: what it had is copied, and the rest decoded."""

import dataclasses
import os
import shutil

import numpy as np
import pytest

from perceiver_jax.data.audioset import convert as audioset_convert
from perceiver_jax.data.audioset import shards
from perceiver_jax.data.audioset.audioset import RecordingsConfig
from perceiver_jax.data.audioset.prepare import prepare
from perceiver_jax.errors import DataError
from tests.data.audioset.sets import TEST, TRAIN, convert_here, row, write_set
from tests.data.media.clips import write_clip

pytest.importorskip("tensorflow_datasets")

ID = "--4gqARaEJE"


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(audioset_convert, "_LEAST_CLIPS", 3)
    monkeypatch.setattr("perceiver_jax.data.audioset.prepare.convert", convert_here)


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("lists"))


def run(layout, data_dir, name, said, **options):
    lists = ([layout.segments], [layout.eval_segments], layout.classes, layout.clips)
    return prepare(*lists, str(data_dir), name=name, report=said.append, **options)


def counting(monkeypatch):
    """The names of files that are decoded from now on."""
    read, real = [], shards.read_recording

    def reading(path, *args, **options):
        read.append(path.name)
        return real(path, *args, **options)

    monkeypatch.setattr(shards, "read_recording", reading)
    return read


def stored(done):
    """All files of a set but TFDS's description, which has its name."""
    return {
        path.name.removeprefix(done.folder.parent.name): path.read_bytes()
        for path in done.folder.iterdir()
        if path.name not in ("dataset_info.json", "features.json")
    }


def test_a_grown_set_is_the_same_as_one_of_its_own(layout, tmp_path, monkeypatch):
    said = []
    some = shutil.copytree(layout.clips, tmp_path / "clips")
    later = [f"Y{TRAIN[0]}.mkv", f"Y{TRAIN[1]}.wav", f"{TEST[0]}.wav"]
    for name in later:
        (some / name).unlink()
    run(dataclasses.replace(layout, clips=str(some)), tmp_path, "first", said)
    anew = run(layout, tmp_path, "anew", said)

    # Another file of the same name is another one: of another size, or written later.
    for name in later:
        shutil.copy2(f"{layout.clips}/{name}", some)
    with (some / f"Y{TRAIN[3]}.wav").open("ab") as file:
        file.write(b"\0")
    written = (some / "silent_clip.wav").stat().st_mtime
    os.utime(some / "silent_clip.wav", (written + 1, written + 1))
    grown = dataclasses.replace(layout, clips=str(some))
    read, said = counting(monkeypatch), []
    done = run(grown, tmp_path, "grown", said, reuse="first")
    damaged = ["text_file_1.mp4", "empty_file1.wav", "no_streams1.mkv"]  # In no set.
    assert sorted(read) == sorted([*later, f"Y{TRAIN[3]}.wav", "silent_clip.wav", *damaged])
    assert "Recordings to be copied from the set first: 7." in said
    ours, theirs = stored(done), stored(anew)
    assert theirs.pop("made_of_train.txt") != ours.pop("made_of_train.txt")  # The two.
    # Reasons have the folder in them.
    left_out, expected = (each.pop("left_out.json").decode() for each in (ours, theirs))
    assert left_out.replace(os.fspath(some), layout.clips) == expected
    assert ours == theirs and {each.name for each in done.remarks} >= {"silent_clip.wav"}


def test_labels_and_split_are_those_of_the_new_lists(layout, tmp_path, monkeypatch):
    said = []
    run(layout, tmp_path, "first", said, store="none")
    other = tmp_path / "other.csv"
    other.write_text(row(TRAIN[0], 1.4, "/m/b") + row("silent_clip", 1.4, "/m/c"))
    swapped = dataclasses.replace(layout, segments=layout.eval_segments, eval_segments=str(other))
    read = counting(monkeypatch)
    done = run(swapped, tmp_path, "other", said, store="none", reuse="first")
    assert read == []
    found = RecordingsConfig(name="other", data_dir=str(tmp_path)).open("test")
    before = RecordingsConfig(name="first", data_dir=str(tmp_path)).open("train")
    example, same = found[found.ids.index(TRAIN[0])], before[before.ids.index(TRAIN[0])]
    np.testing.assert_array_equal(example["label"], [0, 1, 0])
    np.testing.assert_array_equal(same["label"], [0, 0, 1])
    np.testing.assert_array_equal(example["audio"], same["audio"])
    remarks = [(each.name, each.split, each.reason) for each in done.remarks]
    assert remarks == [("silent_clip.wav", "test", "silent")]

    with pytest.raises(DataError, match=r"first/1.0.0 is made with --store=none\. Give the same"):
        run(layout, tmp_path, "more", said, reuse="first")
    with pytest.raises(DataError, match=r"nothing/1.0.0 is no set whose recordings can be copied"):
        run(layout, tmp_path, "more", said, reuse="nothing")
    assert not (tmp_path / "more.parts").exists()  # Or other flags would be refused there.
    assert run(layout, tmp_path, "more", said).fingerprints["test"].num_clips == 2
    # A damaged set says so.
    for shard in (tmp_path / "first" / "1.0.0").glob("*train.array_record*"):
        shard.write_bytes(b"")
    with pytest.raises(DataError, match=r"--reuse: recording \d+ to train on of .* cannot be read"):
        run(layout, tmp_path, "last", said, store="none", reuse="first")


def test_remarks_are_of_segments_and_not_of_files(layout, tmp_path):
    (tmp_path / "clips").mkdir()
    whole = tmp_path / "clips" / f"{ID}.wav"
    write_clip(whole, seconds=4, times=None)  # It clicks at each whole second.
    lists = tmp_path / "lists.csv"
    lists.write_text(f'{ID}, 0.200, 0.800, "/m/a"\n{ID}, 0.900, 1.500, "/m/b"\n')
    own = dataclasses.replace(layout, segments=str(lists), clips=str(tmp_path / "clips"))
    options = {"report": lambda line: None, "store": "none"}
    for name, reuse in (("first", None), ("second", "first"), ("third", "second")):
        done = prepare(
            [own.segments], [], own.classes, own.clips, str(tmp_path), name=name, reuse=reuse,
            **options,
        )  # fmt: skip
        assert [(each.name, each.reason) for each in done.remarks] == [(whole.name, "silent")]
