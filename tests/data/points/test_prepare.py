"""The command that makes a set: what it says, what it leaves out, what it goes on with."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from perceiver_jax.config import load_experiment, override
from perceiver_jax.data.conversion.parts import alone
from perceiver_jax.data.points import known
from perceiver_jax.data.points.archive import Archive
from perceiver_jax.data.points.convert import Conversion, cloud
from perceiver_jax.data.points.layouts import Entry, Hdf5Clouds, find_layout
from perceiver_jax.data.points.modelnet import ModelNetConfig
from perceiver_jax.data.points.prepare import Prepared, _warn, prepare, training_flags
from perceiver_jax.errors import ConfigError, DataError
from tests.data.points.archives import (
    clouds,
    mesh_files,
    off,
    tetrahedron,
    text_files,
    write_folder,
    write_hdf5,
    write_zip,
)

pytest.importorskip("tensorflow_datasets")

BROKEN = {
    "bed/train/bed_0098.off": off([(0, 0, float("nan"))] * 3, [(0, 1, 2)]),
    "bed/test/bed_0099.txt": b"no mesh",
}


def _clouds(config, split="train"):
    source = config.open(split)
    return {
        source.describe(index).split("(")[1].rstrip(")"): source[index]
        for index in range(len(source))
    }


def _here(conversion, workers, done):
    """Converts without a process."""
    conversion.begin()
    for part in conversion.missing_parts():
        conversion.do(part, done)


@pytest.fixture
def without_processes(monkeypatch):
    monkeypatch.setattr("perceiver_jax.data.points.prepare.convert", _here)


def test_a_zip_file_becomes_a_set(tmp_path):
    said = []
    source = str(write_zip(tmp_path / "own.zip", {**mesh_files(), **BROKEN}))
    done = prepare(
        source, str(tmp_path), name="own", num_points=13, seed=3, workers=1, report=said.append
    )
    assert done.folder == tmp_path / "own" / "1.0.0" and done.name == "own"
    assert done.counts == {"train": 14, "test": 6} and done.converted == 21 and done.seconds > 0
    assert said == [f"{source}: meshes of 2 classes, 15 to train and 6 to test on."]
    # Nothing but the set is left, and in it the list of what it has not.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own", "own.zip"]
    listed = json.loads((done.folder / "left_out.json").read_text())
    assert listed["source"] == source
    assert [(each["name"], each["split"]) for each in listed["left_out"]] == [
        ("bed/test/bed_0099.txt", "test"),
        ("bed/train/bed_0098.off", "train"),
    ]
    assert listed["left_out"][1]["reason"].startswith("vertex 0 is [0.0, 0.0, nan]")
    assert [each.name for each in done.left_out] == [each["name"] for each in listed["left_out"]]

    config = ModelNetConfig(name="own", data_dir=str(tmp_path))
    layout = find_layout(str(write_folder(tmp_path / "folder", {**mesh_files(), **BROKEN})))
    for split in ("train", "test"):
        stored = _clouds(config, split)
        entries = [entry for entry in layout.entries if entry.split == split]
        assert set(stored) == {entry.name for entry in entries if "98" not in entry.name}
        for entry in entries:
            if entry.name in stored:
                example = stored[entry.name]
                np.testing.assert_array_equal(example["points"], cloud(layout, entry, 13, 3))
                assert example["label"] == entry.label

    # The same command finds it done, also from the folder; another one leaves it alone.
    said.clear()
    again = prepare(source, str(tmp_path), name="own", num_points=13, seed=3, report=said.append)
    assert (again.counts, again.left_out) == (done.counts, done.left_out)
    assert again.converted == 0
    assert said[1:] == [f"{done.folder} is there already, made of the same files in the same way."]
    with pytest.raises(DataError, match="is there already, made with --seed=3, and is left as it"):
        prepare(source, str(tmp_path), name="own", num_points=13, report=said.append)


@pytest.mark.usefixtures("without_processes")
def test_a_run_that_was_killed_at_the_end_is_finished_by_the_next(tmp_path):
    files = {**mesh_files(), **BROKEN}
    source = str(write_folder(tmp_path / "source", files))
    conversion = Conversion(find_layout(source), 13, 0, tmp_path / "own.parts")

    def prepared():
        return prepare(source, str(tmp_path), name="own", num_points=13, report=lambda line: None)

    def left():
        return sorted(path.name for path in tmp_path.iterdir())

    # While another one is at it.
    _here(conversion, 1, lambda item: None)
    with alone(conversion.folder), pytest.raises(DataError, match="Another process is making"):
        prepared()
    # While TFDS wrote: its folder is not the set's, and is taken away.
    torn = tmp_path / "own" / "incomplete.ABCDEF_1.0.0"
    torn.mkdir(parents=True)
    done = prepared()
    assert done.converted == 0 and done.counts == {"train": 14, "test": 6}
    assert not torn.exists() and left() == ["own", "source"]
    # After that, and before what was left out was listed.
    (done.folder / "left_out.json").unlink()
    _here(conversion, 1, lambda item: None)
    assert prepared().left_out == done.left_out and (done.folder / "left_out.json").exists()
    assert left() == ["own", "source"]
    # While the parts were taken away.
    conversion.begin()
    assert prepared().left_out == done.left_out and left() == ["own", "source"]


def test_damage_is_listed_without_the_name(tmp_path):
    """Also where what reads the zip file names it too."""
    path = write_zip(tmp_path / "own.zip", mesh_files())
    data = bytearray(path.read_bytes())
    data[data.index(b"bed/train/bed_0001.off") + 40] ^= 255
    path.write_bytes(data)
    conversion = Conversion(find_layout(str(path)), 5, 0, tmp_path / "own.parts")
    _here(conversion, 1, lambda item: None)
    (left_out,) = conversion.left_out()
    assert left_out.name == "bed/train/bed_0001.off" and "bed" not in left_out.reason


@pytest.mark.usefixtures("without_processes")
def test_another_command_is_refused_before_anything_is_said_of_going_on(tmp_path):
    source = str(write_folder(tmp_path / "source", mesh_files()))
    _here(Conversion(find_layout(source), 13, 0, tmp_path / "own.parts"), 1, lambda item: None)
    said = []

    def prepared(seed):
        prepare(source, str(tmp_path), name="own", num_points=13, seed=seed, report=said.append)

    with pytest.raises(DataError, match="left, made with --seed=0"):
        prepared(1)
    assert said == [f"{source}: meshes of 2 classes, 14 to train and 6 to test on."]
    prepared(0)
    assert said[2] == "Going on after 20 that an earlier run has converted."


def _run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "perceiver_jax.data.points.prepare", *arguments],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
    )


def test_what_is_missing_on_the_command_line_is_said():
    for given, message in (
        (["ModelNet40.zip"], "'ModelNet40.zip'; did you mean --source=ModelNet40.zip?"),
        (["--source=ModelNet40.zip"], "--data_dir is missing: Where prepared sets go."),
    ):
        refused = _run(*given)
        assert refused.returncode == 2 and refused.stderr.rstrip().endswith(message)


def test_what_trains_on_a_set():
    def given(name, num_classes):
        done = Prepared(name, Path(), {}, (), 0, 0.0, num_classes)
        return training_flags(done, "DATA")

    where = ["--config.data.points.data_dir=DATA", "--config.data.points.name=own"]
    assert given("own", 40) == where
    assert given("own", 6) == [
        *where,
        "--config.task.num_classes=6",
        "--config.model.decoder.num_classes=6",
    ]
    assert given("own", 5)[-1] == "--config.task.top_k=none"
    perceiver = load_experiment("experiments/modelnet40.py:perceiver")
    for num_classes in (2, 5, 6, 12, 40):  # They fit the experiment.
        changes = [each.removeprefix("--config.") for each in given("own", num_classes)]
        override(perceiver, dict(each.split("=") for each in changes))


@pytest.mark.usefixtures("without_processes")
def test_the_hdf5_and_the_text_set_become_the_same_set(tmp_path):
    stored = clouds(mesh_files())
    text = write_zip(tmp_path / "text.zip", text_files(stored, "modelnet2"))
    hdf5 = write_hdf5(tmp_path / "hdf5", stored)
    found = []
    for source, name in ((text, "text"), (hdf5, "hdf5")):
        prepare(str(source), str(tmp_path), name=name, num_points=20, report=lambda line: None)
        config = ModelNetConfig(name=name, data_dir=str(tmp_path))
        found.append(
            {
                (split, int(each["label"]), np.sort(each["points"], axis=0).tobytes())
                for split in ("train", "test")
                for each in _clouds(config, split).values()
            }
        )
    assert len(found[0]) == 20 and found[0] == found[1]
    names = set(_clouds(ModelNetConfig(name="hdf5", data_dir=str(tmp_path))))
    assert {"ply_data_train0.h5/0 ", "ply_data_train1.h5/3"} <= names


def test_the_hdf5_set_is_published_with_three_clouds_less():
    """It is not warned of, and other numbers are."""

    def said(train, kind):
        splits = ["train"] * train + ["test"] * 2468
        entries = tuple(Entry(str(index), 0, split) for index, split in enumerate(splits))
        lines = []
        layout = Hdf5Clouds(Archive(""), ("bed",), entries, {}, (), kind)
        _warn("modelnet40", layout, (), lines.append)
        return lines

    assert said(9840, Hdf5Clouds.kind) == []
    assert said(9843, Hdf5Clouds.kind) and said(9840, "meshes")


@pytest.mark.usefixtures("without_processes")
def test_file_names_of_any_bytes(tmp_path):
    source = write_folder(tmp_path / "source", mesh_files())
    odd = os.fsencode(source / "bed/train") + b"/b\xff.off"
    os.rename(source / "bed/train/bed_0001.off", odd)
    prepare(str(source), str(tmp_path), name="own", num_points=5, report=lambda line: None)
    assert "bed/train/b\\udcff.off" in _clouds(ModelNetConfig(name="own", data_dir=str(tmp_path)))


@pytest.mark.usefixtures("without_processes")
def test_a_published_set_that_is_not_whole_is_converted_with_a_warning(tmp_path):
    files = mesh_files(3, 2, classes=tuple(known.MODELNET10))
    said = []
    done = prepare(
        str(write_folder(tmp_path / "ModelNet10", {**files, **BROKEN})),
        str(tmp_path),
        num_points=5,
        report=said.append,
    )
    assert done.name == "modelnet10"  # As its classes are.
    assert said[1] == "Warning: This is not the whole of modelnet10:"
    assert said[2].strip() == ("bathtub: 3 / 2 to train / test on, 106 / 50 in the published set")
    assert said[3].strip().startswith("bed: 4 / 2 to train / test on, 515 / 100")
    assert said[12] == "Warning: With what was left out, this is not the whole of modelnet10:"
    assert said[14].strip().startswith("bed: 3 / 2")
    assert len(ModelNetConfig(name="modelnet10", data_dir=str(tmp_path)).open("train")) == 30


def test_the_published_counts():
    for name, train, test, classes in (
        ("modelnet40", 9843, 2468, 40),
        ("modelnet10", 3991, 908, 10),
    ):
        counts = known.KNOWN[name]
        assert len(counts) == classes
        assert [sum(column) for column in zip(*counts.values(), strict=True)] == [train, test]
        whole = [
            (folder, split)
            for folder, pair in counts.items()
            for split, count in zip(("train", "test"), pair, strict=True)
            for _ in range(count)
        ]
        assert known.surprises(name, whole) == []
        (line,) = known.surprises(name, [*whole, ("igloo", "test")])
        assert line == "igloo: 0 / 1 to train / test on, 0 / 0 in the published set"
        assert known.name_of(reversed([*counts])) == name
    assert known.name_of(["bed"]) is None and known.surprises("own", [("bed", "train")]) == []


@pytest.mark.usefixtures("without_processes")
def test_what_cannot_become_a_set_is_refused(tmp_path):
    source = str(write_folder(tmp_path / "source", mesh_files()))

    def refused(kind, message, **arguments):
        with pytest.raises(kind, match=message):
            prepare(source, str(tmp_path), report=lambda line: None, **arguments)

    refused(DataError, "has 2 classes: neither .* Give the set a name: --name=NAME")
    refused(ConfigError, "--name=My-Set must be made of small letters", name="My-Set")
    refused(ConfigError, "--num_points=0", name="own", num_points=0)
    refused(ConfigError, "--workers=0 must be 1", name="own", workers=0)
    one = {name: data for name, data in mesh_files().items() if name.startswith("bed/")}
    with pytest.raises(DataError, match="has 1 class: neither"):
        prepare(str(write_folder(tmp_path / "one", one)), str(tmp_path), report=lambda line: None)
    for index in range(3):
        for folder in ("bed", "night_stand"):
            path = Path(source, folder, "test", f"{folder}_{index + 8:04}.off")
            path.write_bytes(tetrahedron(0)[:20])
    message = (
        r"(?s)None of the meshes to test on could be converted:.*bed_0008.off: it is cut short"
    )
    refused(DataError, message, name="own")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_ctrl_c_ends_it_at_once_and_the_same_command_goes_on(tmp_path):
    source = write_folder(tmp_path / "source", mesh_files(40))  # 86 meshes: 3 parts.
    slow = source / "night_stand" / "train" / "night_stand_0040.off"
    slow.unlink()
    os.mkfifo(slow)  # Whoever reads it waits, until somebody writes.
    command = [sys.executable, "-m", "perceiver_jax.data.points.prepare", f"--source={source}"]
    command += [f"--data_dir={tmp_path}", "--name=own", "--num_points=5", "--workers=2"]
    root = Path(__file__).parents[3]
    said = tmp_path / "said.txt"
    with said.open("w") as file:
        process = subprocess.Popen(
            command, cwd=root, stdout=subprocess.DEVNULL, stderr=file, start_new_session=True
        )
    parts = tmp_path / "own.parts"
    while process.poll() is None and len(list(parts.glob("part-*"))) < 2:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # As a terminal does: to all its processes.
    assert process.wait() == 130
    assert said.read_text().strip() == (
        "Interrupted. What is converted is kept: the same command goes on from there."
    )
    assert not (tmp_path / "own").exists()
    slow.unlink()
    slow.write_bytes(b"")  # Of the same size; it is left out.
    finished = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert "Going on after 64 that an earlier run has converted." in finished.stdout
    assert "\nConverted 22 in " in finished.stdout
    assert (
        "left out    from train: night_stand/train/night_stand_0040.off: it is" in finished.stdout
    )
    assert "has 79 clouds to train and 6 to test on; 1 was left out." in finished.stdout
    assert not parts.exists()
