"""From lists and clips to a set: what it has, what it leaves out, what it goes on with."""

import dataclasses
import hashlib
import json
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from perceiver_jax.data.audioset import convert as audioset_convert
from perceiver_jax.data.audioset.audioset import (
    RecordingsConfig,
    allow_open_files,
    num_frames,
    read_frames,
)
from perceiver_jax.data.audioset.config import AudiosetConfig
from perceiver_jax.data.audioset.prepare import prepare, show_set
from perceiver_jax.data.audioset.told import show_left_out, show_remarks
from perceiver_jax.data.source import CorruptExample, Source
from perceiver_jax.errors import ConfigError, DataError, UserError
from tests.data.audioset.sets import CLASSES, TEST, TRAIN, convert_here, write_set
from tests.data.media.clips import click_times, flash_times

pytest.importorskip("tensorflow_datasets")


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(audioset_convert, "_LEAST_CLIPS", 3)
    monkeypatch.setattr("perceiver_jax.data.audioset.prepare.convert", convert_here)


def run(layout, data_dir, name="own", said=None, **options):
    return prepare(
        [layout.segments],
        [layout.eval_segments],
        layout.classes,
        layout.clips,
        str(data_dir),
        name=name,
        report=(lambda line: None) if said is None else said.append,
        **options,
    )


def files(folder):
    """What is in a folder, but for TFDS's description, by name."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.name not in ("dataset_info.json", "features.json")
    }


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("lists"))


@pytest.mark.core
def test_a_folder_of_clips_becomes_a_set(layout, tmp_path, capsys):
    said = []
    done = run(layout, tmp_path, said=said)
    assert done.folder == tmp_path / "own" / "1.0.0" and done.converted == 15
    assert said[:2] == [
        "To train on: 13 clips of 14 segments.",
        "To test on: 2 clips of 2 segments.",
    ]
    assert said[2].startswith("To be written: about 6.47 MB, 431 kB a recording; ")
    assert [path.name for path in tmp_path.iterdir()] == ["own"]
    # Five shards of the 13 clips, and one of the two.
    shards = sorted(path.name for path in done.folder.glob("*array_record*"))
    assert shards[0] == "own-test.array_record-00000-of-00001" and len(shards) == 6
    assert not [path for path in done.folder.iterdir() if "partial" in path.name or path.is_dir()]

    left_out = {each.name: each.reason for each in done.left_out}
    assert list(left_out)[0] == "not_there_1" and len(left_out) == 4
    assert left_out["not_there_1"] == "there is no clip of it"
    for name in ("text_file_1.mp4", "empty_file1.wav", "no_streams1.mkv"):
        assert name in left_out[name]
    remarks = {each.name: each.reason for each in done.remarks if each.reason != "no video"}
    assert remarks == {"silent_clip.wav": "silent", "ends_early1.wav": "has 0.50 of 1.40 s"}
    listed = json.loads((done.folder / "left_out.json").read_text())
    assert len(listed["left_out"]) == 4 and len(listed["remarks"]) == len(done.remarks)
    assert listed["unused"] == []
    # What there is no file of has none, and all have an id.
    assert listed["left_out"][0] == {
        "id": "not_there_1", "file": None, "split": "train", "reason": "there is no clip of it"
    }  # fmt: skip
    assert ("empty_file1", "empty_file1.wav") in [
        (each["id"], each["file"]) for each in listed["left_out"]
    ]
    assert ("silent_clip", "silent_clip.wav", "silent") in [
        (each["id"], each["file"], each["remark"]) for each in listed["remarks"]
    ]
    assert (done.folder / "missing.txt").read_text() == "not_there_1\n"
    again = (done.folder / "damaged.txt").read_text().split()
    assert sorted(again) == ["empty_file1", "no_streams1", "text_file_1"]
    show_set(done, "my_data", "own")
    assert capsys.readouterr().out.splitlines()[-1] == (
        "Train with --config.data.recordings.data_dir=my_data --config.data.recordings.name=own "
        "--config.task.num_classes=3 --config.model.decoder.num_classes=3"
    )
    show_set(dataclasses.replace(done, num_classes=527), "my_data", "audioset")
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "Train with --config.data.recordings.data_dir=my_data"
    show_remarks(done.remarks)
    # Two to test on, and of the others every second one and both that are odd, are sound alone.
    assert "odd         8 without video, such as" in capsys.readouterr().out

    recordings = RecordingsConfig(name="own", data_dir=str(tmp_path)).open("train")
    assert isinstance(recordings, Source) and recordings.class_names == CLASSES
    assert set(recordings.ids) == {*TRAIN, "silent_clip", "ends_early1"}
    copied = pickle.loads(pickle.dumps(recordings))
    for index, name in enumerate(recordings.ids):
        example = copied[index]
        assert example["id"] == name and name in copied.describe(index)
        if name not in TRAIN:
            continue
        number = TRAIN.index(name)
        np.testing.assert_array_equal(example["label"], [1, 1, 0] if number % 3 else [0, 0, 1])
        assert example["label"].dtype == np.float32
        assert click_times(example["audio"]) == [pytest.approx(1, abs=0.001)]
        if number % 2:
            assert "frames" not in example and num_frames(example) == 0
            assert read_frames(example, 0, 5) == []
        else:
            frames = read_frames(example, 0, 99)
            assert len(frames) == num_frames(example) == 34
            assert flash_times(frames) == [pytest.approx(1, abs=0.04)]
            np.testing.assert_array_equal(read_frames(example, 20, 3), frames[20:23])
    with pytest.raises(CorruptExample, match="recording torn"):
        read_frames({"id": "torn", "frames": [b"\xff\xd8\xff"]}, 0, 1)


def test_splits_and_fingerprints(layout, tmp_path):
    done = run(layout, tmp_path, store="none")
    config = RecordingsConfig(name="own", data_dir=str(tmp_path), hold_out=4)
    train, valid, test = (config.open(split) for split in ("train", "valid", "test"))
    assert (len(train), len(valid), len(test)) == (6, 4, 2)
    assert sorted((*train.ids, *valid.ids)) == sorted((*TRAIN, "silent_clip", "ends_early1"))
    # The ids are listed in the order of the records.
    for part in (train, valid, test):
        assert tuple(part[index]["id"] for index in range(len(part))) == part.ids
    # What `LC_ALL=C sort ids_test.txt | b2sum -l 64` prints.
    digest = hashlib.blake2b("".join(f"{each}\n" for each in sorted(TEST)).encode(), digest_size=8)
    assert done.fingerprints["test"] == test.fingerprint
    assert str(test.fingerprint) == f"2 clips, ids {digest.hexdigest()}"
    whole = RecordingsConfig(name="own", data_dir=str(tmp_path)).open("train").fingerprint
    assert whole == done.fingerprints["train"]
    assert len({whole, train.fingerprint, valid.fingerprint}) == 3
    with pytest.raises(IndexError):
        test[2]

    # Of sound alone: who looks is told so, who listens is not.
    recordings = RecordingsConfig(name="own", data_dir=str(tmp_path))
    sees = AudiosetConfig(recordings=recordings)
    for opened in (sees.make_training_source, lambda: sees.make_source("test")):
        with pytest.raises(DataError, match="'own' in .*--store=none, .*config.data.video=none"):
            opened()
    assert len(AudiosetConfig(recordings=recordings, video=None).make_source("test")) == 2

    for split, hold_out, message in (
        ("dev", 0, "has no split 'dev'; it has: train, valid, test"),
        ("valid", 0, "holds no training recordings out"),
        ("train", 10, "must leave some of the 10 training recordings"),
    ):
        with pytest.raises(DataError, match=message):
            RecordingsConfig(name="own", data_dir=str(tmp_path), hold_out=hold_out).open(split)
    with pytest.raises(DataError, match=r"(?s)'audioset' is not in .*--eval_segments="):
        RecordingsConfig(data_dir=str(tmp_path)).open("test")
    with pytest.raises(ConfigError, match="hold_out=-1"):
        RecordingsConfig(hold_out=-1)


def test_stopped_at_any_part_it_goes_on_and_the_set_is_the_same(layout, tmp_path, monkeypatch):
    whole = files(run(layout, tmp_path / "whole").folder)
    real = audioset_convert.write_shard

    class Stop(Exception):
        pass

    stopped = []

    def stopping(shard, *args, **options):
        """Every call ends half-way through, the second time for this shard it goes well."""
        if shard in stopped:
            return real(shard, *args, **options)
        stopped.append(shard)

        def done(number):
            raise Stop

        return real(shard, *args, **{**options, "done": done})

    monkeypatch.setattr(audioset_convert, "write_shard", stopping)
    for _ in range(6):
        with pytest.raises(Stop):
            run(layout, tmp_path)
    parts = tmp_path / "own.parts"
    assert not (tmp_path / "own").exists() and len(list(parts.glob("work/done-*"))) == 5
    left = parts / ".own-train.1.partial.array_record-00000-of-00005"
    left.touch()  # By a killed process: what it takes of the disk is needed when work goes on.

    # With other flags or clips it is not gone on with.
    with pytest.raises(DataError, match=r"interrupted conversion left, made with --store=jpeg\."):
        run(layout, tmp_path, store="none")
    other = shutil.copytree(layout.clips, tmp_path / "clips")
    (other / "Ytrain-_0000.mkv").unlink()
    with pytest.raises(DataError, match="interrupted conversion left, made of other files"):
        prepare([layout.segments], [], layout.classes, str(other), str(tmp_path), name="own")

    def converting(conversion, workers, done):
        assert not left.exists()
        convert_here(conversion, workers, done)

    monkeypatch.setattr("perceiver_jax.data.audioset.prepare.convert", converting)
    done = run(layout, tmp_path)
    assert done.converted == 2 and not parts.exists()
    assert files(done.folder) == whole

    # The same command finds it done; another one leaves it alone.
    said = []
    again = run(layout, tmp_path, said=said)
    assert again.converted == 0 and again.fingerprints == done.fingerprints
    assert again.left_out == done.left_out and again.remarks == done.remarks
    assert said[-1] == f"{done.folder} is there already, made of the same clips in the same way."
    with pytest.raises(
        DataError, match="is there already, made with --store=jpeg, and is left"
    ) as no:
        run(layout, tmp_path, store="video")
    assert "--reuse" not in str(no.value)  # It would be refused.
    with pytest.raises(
        DataError, match="made of other files, .* another --name; with that, prepare's --reuse=own "
    ):
        prepare([layout.segments], [], layout.classes, str(other), str(tmp_path), name="own")


def test_stopped_before_anything_is_converted_it_begins_anew(layout, tmp_path, monkeypatch):
    """While lists of parts are written, which takes a minute of two million clips."""
    listed, real = [], audioset_convert.Conversion._listed

    def stopping(self, part):
        listed.append(part)
        if len(listed) == 3:
            raise KeyboardInterrupt
        return real(self, part)

    monkeypatch.setattr(audioset_convert.Conversion, "_listed", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(layout, tmp_path, store="none")
    assert list((tmp_path / "own.parts" / "work").glob("clips-*.json"))
    assert run(layout, tmp_path, store="none").converted == 15


def test_video_kept_as_it_was_encoded(layout, tmp_path):
    run(layout, tmp_path, "jpeg")
    run(layout, tmp_path, "video", store="video")
    jpeg, video = (
        RecordingsConfig(name=name, data_dir=str(tmp_path)).open("train")
        for name in ("jpeg", "video")
    )
    assert jpeg.ids == video.ids
    index = jpeg.ids.index(TRAIN[2])
    one, other = jpeg[index], video[index]
    assert "video" not in one and "frames" not in other
    assert num_frames(one) == num_frames(other) == 34
    for first, count in ((0, 34), (24, 3), (33, 9)):
        pairs = zip(read_frames(one, first, count), read_frames(other, first, count), strict=True)
        for stored, kept in pairs:
            assert np.abs(stored.astype(int) - kept).mean() < 2  # What JPEG loses.


def test_a_disk_that_fails_is_no_damaged_clip(layout, tmp_path, monkeypatch):
    """Else a set would be finished that has only what was read before."""

    def failing(path, segment, **options):
        path.unlink(missing_ok=True)
        raise CorruptExample(f"{path} is damaged")

    clips = shutil.copytree(layout.clips, tmp_path / "clips")
    monkeypatch.setattr("perceiver_jax.data.audioset.shards.read_recording", failing)
    with pytest.raises(DataError, match=r"was there and cannot be read any more \(No such file"):
        run(dataclasses.replace(layout, clips=str(clips)), tmp_path)
    assert not (tmp_path / "own").exists()


def test_names_of_any_bytes(layout, tmp_path, capfd):
    """What was named in another alphabet's encoding: stored and printed, it is escaped."""
    clips = shutil.copytree(layout.clips, tmp_path / "clips")
    for number in (0, 3):
        (path,) = clips.glob(f"*{TRAIN[number]}.*")
        path.rename(f"{clips}/caf\udce9 [{TRAIN[number]}]{path.suffix}")
    (clips / f"caf\udce9 [{TRAIN[3]}].wav").write_bytes(b"no sound")
    done = run(dataclasses.replace(layout, clips=str(clips)), tmp_path, "any")
    recordings = RecordingsConfig(name="any", data_dir=str(tmp_path)).open("train")
    assert f"(caf\\udce9 [{TRAIN[0]}].mkv)" in recordings.describe(recordings.ids.index(TRAIN[0]))
    show_remarks(done.remarks)
    show_left_out(done.left_out, done.folder)
    assert f"/caf\\udce9 [{TRAIN[3]}].wav' cannot be read" in capfd.readouterr().out


def test_a_full_disk_is_a_users_error(layout, tmp_path):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        with pytest.raises(
            UserError,
            match=r"^\S*own-train\S* cannot be written: [^;]*File too large\. "
            r"[\d.]+ .B are free there\. When it can, the same command goes on\.$",
        ):
            run(layout, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert not (tmp_path / "own").exists()
    assert run(layout, tmp_path).converted == 15  # None is taken for one that is done.


def test_a_clip_that_crashes_its_process_is_left_out(layout, tmp_path, monkeypatch):
    """As workers.py sees to; whoever goes on later knows of it."""

    def crashing(conversion, workers, done):
        conversion.begin()
        number = next(k for k, each in enumerate(conversion.ordered) if TRAIN[1] in each[1].path)
        assert conversion.give_up(number, "crashed (SIGSEGV)")
        assert not conversion.give_up(number, "crashed (SIGSEGV)")  # Of no use.
        raise KeyboardInterrupt

    monkeypatch.setattr("perceiver_jax.data.audioset.prepare.convert", crashing)
    with pytest.raises(KeyboardInterrupt):
        run(layout, tmp_path)
    monkeypatch.setattr("perceiver_jax.data.audioset.prepare.convert", convert_here)
    done = run(layout, tmp_path)
    name = f"Y{TRAIN[1]}.wav"
    reasons = {each.name: each.reason for each in done.left_out}
    assert reasons[name] == f"'{name}' crashed (SIGSEGV)" and len(reasons) == 5
    assert done.converted == 15 and done.fingerprints["train"].num_clips == 9


def test_room_for_open_shards():
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        allow_open_files(10)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(522, before[1])
        allow_open_files(2)  # Never fewer.
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(522, before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_nothing_to_convert(layout, tmp_path):
    lists = ([layout.segments], [layout.eval_segments])
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "other.wav").touch()
    with pytest.raises(DataError, match=r"clips of none of the 14 segments .* train-_0000\.mp4"):
        prepare(*lists, layout.classes, str(empty), str(tmp_path))
    for name in TRAIN:
        (empty / f"{name}.wav").touch()
    with pytest.raises(DataError, match=r"None of the clips to train on could be converted:\n"):
        prepare(lists[0], [], layout.classes, str(empty), str(tmp_path))
    for options, message in (
        ({"name": "Audio Set"}, "must be made of small letters"),
        ({"store": "gif"}, "--store=gif must be one of jpeg, video, none"),
        ({"workers": 0}, "--workers=0 must be 1 or more"),
    ):
        with pytest.raises(ConfigError, match=message):
            prepare(*lists, layout.classes, layout.clips, str(tmp_path), **options)
    shifted = tmp_path / "shifted.csv"
    shifted.write_text(f'{TRAIN[0]}, 1.200, 2.600, "/m/b"\n')
    with pytest.raises(
        DataError, match="to test on from second 1.2 to 2.6, and to train on from 0"
    ):
        prepare(lists[0], [str(shifted)], layout.classes, layout.clips, str(tmp_path))
    with pytest.raises(ConfigError, match="name lists"):
        prepare([], [], layout.classes, layout.clips, str(tmp_path))
    with pytest.raises(DataError, match="train-_0000 from second 0 is listed twice"):
        prepare(lists[0] * 2, [], layout.classes, layout.clips, str(tmp_path))


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("my_clips", "error: unexpected argument 'my_clips'; did you mean --clips=my_clips?"),
        (
            "--workers=0",
            "error: flag --workers=0: 0 is not a positive integer. --help lists the flags.",
        ),
    ],
)
def test_what_is_wrong_on_the_command_line_is_said(argument, message):
    done = subprocess.run(
        [sys.executable, "-m", "perceiver_jax.data.audioset.prepare", argument],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr.strip()) == (2, message)
