"""What is told of a set: what was left out, what is odd, which files were not used."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from perceiver_jax.data.audioset.described import ClipLeftOut
from perceiver_jax.data.audioset.jpeg import DEFAULT
from perceiver_jax.data.audioset.planning import plan
from perceiver_jax.data.audioset.prepare import prepare
from perceiver_jax.data.audioset.told import counted, show_left_out, show_remarks
from perceiver_jax.data.conversion.parts import LeftOut
from tests.data.audioset.sets import TEST, TRAIN, convert_here, row, write_set
from tests.data.media.clips import frame_times, write_clip

pytest.importorskip("tensorflow_datasets")


@pytest.fixture(autouse=True)
def no_processes(monkeypatch):
    monkeypatch.setattr("perceiver_jax.data.audioset.prepare.convert", convert_here)


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("lists"))


def test_what_is_left_out_is_told_by_kinds(capsys):
    left_out = [LeftOut(f"id-{k}", "train", "there is no clip of it") for k in range(1_200)]
    left_out += [LeftOut("later", "test", "only a file of second 60: later_60.wav")]
    left_out += [LeftOut("a/b.mp4", "train", "'/clips/a/b.mp4' is damaged: it ends early")]
    show_left_out(left_out, Path("data/own/1.0.0"))
    assert capsys.readouterr().out.splitlines() == [
        "left out    1 damaged:",
        "            from train: '/clips/a/b.mp4' is damaged: it ends early",
        "left out    1,201 without a clip:",
        *(f"            from train: id-{k}: there is no clip of it" for k in range(5)),
        "            and 1,196 more",
        "What was left out, is odd, or was not used: data/own/1.0.0/left_out.json; ids without a "
        "clip: data/own/1.0.0/missing.txt; ids of clips that are left out: "
        "data/own/1.0.0/damaged.txt",
    ]
    assert counted(left_out) == "1,201 without a clip, 1 damaged" and counted([]) == "none"
    show_remarks([LeftOut("b.wav", "train", "has 0.42 of 10.00 s")])
    show_remarks([LeftOut("c.wav", "train", "its sound ends after 1.20 s")])
    show_left_out([], Path("data/own/1.0.0"))
    assert capsys.readouterr().out.splitlines() == [
        "odd         1 short, such as b.wav: has 0.42 of 10.00 s",
        "odd         1 whose sound ends early, such as c.wav: its sound ends after 1.20 s",
        "What was left out, is odd, or was not used: data/own/1.0.0/left_out.json",
    ]


def test_files_that_are_not_used(layout, tmp_path):
    clips = shutil.copytree(layout.clips, tmp_path / "clips")
    other = tmp_path / "later.csv"
    other.write_text('evalClip_99, 30.000, 31.400, "/m/b"\n')
    (clips / "holiday.wav").touch()
    (clips / f"{TEST[0]}_720.wav").touch()
    (clips / "evalClip_99_60.wav").touch()
    said = []
    layout = dataclasses.replace(layout, clips=str(clips))
    lists = ([layout.segments, str(other)], [layout.eval_segments], layout.classes, layout.clips)
    done = prepare(*lists, str(tmp_path), name="own", store="none", report=said.append)
    assert said[2:6] == [
        "At hand where another file of the segment has no sound, or no video: 1 file, such as "
        f"{TEST[0]}_720.wav",
        f"Not used: 2 files of {clips}:",
        "    1 of another time than the segment, such as evalClip_99_60.wav: it is of second 60 by "
        "its name, and the segment begins at 30",
        "    1 of no segment, such as holiday.wav: its name has no id that is in the lists",
    ]
    listed = json.loads((done.folder / "left_out.json").read_text())
    unused = {each["file"]: each["reason"] for each in listed["unused"]}
    assert list(unused) == ["evalClip_99_60.wav", "holiday.wav", f"{TEST[0]}_720.wav"]
    assert unused[f"{TEST[0]}_720.wav"] == (
        f"of its segment {TEST[0]}.wav comes first, and lacks nothing that this one has"
    )
    reasons = {each.name: each.reason for each in done.left_out}
    assert reasons["evalClip_99"] == "only a file of second 60: evalClip_99_60.wav"


def test_sound_and_video_in_files_of_their_own_are_used(layout, tmp_path):
    """Of three pairs one is joined, one not, and one is of a segment that has a file with both."""
    clips = tmp_path / "clips"
    clips.mkdir()
    ids = ("pair-joined", "pair-apart_", "pair-before")
    for id_, seconds in zip(ids, (1.4, 4, 1.4), strict=True):
        path = clips / f"a [{id_}].f140.m4a"
        write_clip(path, seconds=seconds, times=None, audio_codec="aac")
        alone = {"sample_rate": None} if id_ != ids[2] else {"audio_codec": "aac"}
        write_clip(clips / f"a [{id_}].f137.mp4", seconds=1.4, times=frame_times(25, 1.4), **alone)
    (tmp_path / "list.csv").write_text("".join(row(id_, 1.4, "/m/a") for id_ in ids))
    lists = ([str(tmp_path / "list.csv")], [], layout.classes, str(clips))
    said = []
    expected = [
        {
            "file": "a [pair-apart_].f140.m4a",
            "reason": "it is not joined to a [pair-apart_].f137.mp4: it is 4.0 s long, not 1.4",
        },
        {
            "file": "a [pair-before].f140.m4a",
            "reason": "of its segment a [pair-before].f137.mp4 comes first, and lacks nothing that "
            "this one has",
        },
    ]
    for name, reuse in (("own", None), ("copied", "own")):
        done = prepare(*lists, str(tmp_path), name=name, reuse=reuse, report=said.append)
        unused = json.loads((done.folder / "left_out.json").read_text())["unused"]
        assert unused == expected
    assert said[1] == (
        "At hand where another file of the segment has no sound, or no video: 3 files, such as "
        "a [pair-apart_].f140.m4a"
    )
    assert not any(line.startswith("Not used") for line in said)


def test_a_recording_in_both_lists_at_different_times_is_told(layout, tmp_path):
    later = tmp_path / "later.csv"
    warning = "Warning: recordings of which one part is to train on and another to test on:"
    told = f"6 ({', '.join(TRAIN[1:6])}, ...)"  # The first five.
    for ids, expected in ((TRAIN[1:2], f"1 ({TRAIN[1]})"), (TRAIN[1:7], told)):
        later.write_text("".join(f'{id_}, 1.400, 2.800, "/m/b"\n' for id_ in ids))
        lists = ([layout.segments], [str(later)], layout.classes, layout.clips, str(tmp_path))
        said = []
        plan(*lists, name="own", store="none", jpeg=DEFAULT, report=said.append)
        assert said[0] == f"{warning} {expected}."


def test_what_is_told_of_a_clip_is_read_again():
    """Also of sets that were made when there was a name alone."""
    for each in (
        ClipLeftOut.of("an id", "a/file.wav", "silent", "train"),
        ClipLeftOut.of("an id", None, "there is no clip of it", "test"),
    ):
        assert ClipLeftOut.read(each.stored()) == ClipLeftOut.read(each.stored("remark")) == each
    old = ClipLeftOut.read({"name": "a/file.wav", "split": "train", "remark": "silent"})
    assert (old.name, old.split, old.reason) == ("a/file.wav", "train", "silent")
