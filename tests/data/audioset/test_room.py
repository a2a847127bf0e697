"""What a set will take of the disk, before it does."""

import io
import re
import shutil
from collections import namedtuple

import pytest
from PIL import Image

from perceiver_jax.data.audioset import convert as audioset_convert
from perceiver_jax.data.audioset import room
from perceiver_jax.data.audioset.audioset import RecordingsConfig
from perceiver_jax.data.audioset.jpeg import DEFAULT, Jpeg
from perceiver_jax.data.audioset.planning import dry_run, plan
from perceiver_jax.data.audioset.prepare import prepare
from perceiver_jax.data.conversion.disk import size
from perceiver_jax.errors import ConfigError, DataError, UserError
from tests.data.audioset.sets import TRAIN, convert_here, write_set

pytest.importorskip("tensorflow_datasets")

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    layout = write_set(tmp_path_factory.mktemp("lists"))
    return [layout.segments], [layout.eval_segments], layout.classes, layout.clips


def free(monkeypatch, number):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(0, 0, number))


def planned(lists, data_dir, said=None, *, store="jpeg", jpeg=DEFAULT):
    report = (lambda line: None) if said is None else said.append
    return plan(*lists, str(data_dir), name="own", store=store, jpeg=jpeg, report=report)


def test_a_dry_run_tells_and_writes_what_is_missing(lists, tmp_path, monkeypatch):
    free(monkeypatch, 5_000_000)
    said = []
    path = dry_run(planned(lists, tmp_path / "data"), said.append)
    assert [each.name for each in (tmp_path / "data").iterdir()] == ["own.missing.txt"]
    assert path.read_text() == "not_there_1\n"
    # 15 recordings of 1.4 s of 96 kB, and 35 frames of 21.2 kB of the six whose names end so.
    assert said == [
        "To be written: about 6.47 MB, 431 kB a recording; 5 MB are free.",
        f"Warning: {tmp_path / 'data'} may have too little room. --store=none, --frame_size and "
        "--quality make sets smaller.",
        f"Nothing was decoded. Without a clip: 1; their ids: {path}",
    ]


def test_what_is_expected(lists, tmp_path):
    sound = 15 * 1.4 * 96_000
    for options, pictures in (
        ({"store": "none"}, 0),
        ({}, 6 * 35 * 21_200),
        ({"jpeg": Jpeg(128)}, 6 * 35 * 21_200 / 4),
    ):
        conversion = planned(lists, tmp_path, **options)
        clips = [clip for _, clip in conversion.ordered]
        assert room.expected_bytes(conversion, clips) == pytest.approx(sound + pictures)
    assert [size(each) for each in (12, 21_200, 6_300_000, 1.6e12, 1.07e13)] == [
        "12 bytes",
        "21.2 kB",
        "6.3 MB",
        "1.6 TB",
        "10.7 TB",
    ]


def test_too_little_room_by_the_first_parts_is_refused(lists, tmp_path, monkeypatch):
    monkeypatch.setattr(audioset_convert, "_LEAST_CLIPS", 3)
    monkeypatch.setattr("perceiver_jax.data.audioset.prepare.convert", convert_here)
    monkeypatch.setattr(room, "_EVERY", 4)
    free(monkeypatch, 1_000)
    said = []
    options = {"name": "own", "report": said.append}
    for clips in (12, 12):  # At once, when the same command finds the part.
        message = rf"own.parts has too little room: {clips} clips will take about .* 1 kB are free"
        with pytest.raises(UserError, match=message):
            prepare(*lists, str(tmp_path), **options)
    free(monkeypatch, 10**12)
    assert prepare(*lists, str(tmp_path), **options).converted == 12
    assert re.fullmatch(
        r"By the first parts: \S+ kB a clip, .* to come; 1\.0 TB are free.", said[-1]
    )


def test_the_first_part_of_a_large_set_is_looked_for_seldom():
    """A look asks the disk for all of its 1,024 parts."""
    looks = []

    class Nothing:
        def written_so_far(self):
            looks.append(count)
            return 0, 0

    found = room.Room(Nothing(), looks.append)
    for count in range(1, 100_001):
        found.done(count)
    assert looks[:3] == [16, 32, 48] and looks[-1] > 75_000 and len(looks) < 40


def test_smaller_pictures(lists, tmp_path, monkeypatch):
    monkeypatch.setattr("perceiver_jax.data.audioset.prepare.convert", convert_here)
    small = {"name": "small", "jpeg": Jpeg(24, 30), "report": lambda line: None}
    prepare(*lists, str(tmp_path), **small)
    recordings = RecordingsConfig(name="small", data_dir=str(tmp_path)).open("train")
    example = recordings[recordings.ids.index(TRAIN[0])]
    picture = Image.open(io.BytesIO(example["frames"][0]))
    # The first entry of JPEG's own table, 16, times 50 / 30.
    assert picture.size == (32, 24) and picture.quantization[0][0] == 27
    message = r"already, made with --frame_size=24 and with --quality=30, and is left as it is"
    with pytest.raises(DataError, match=message):
        prepare(*lists, str(tmp_path), **{**small, "jpeg": DEFAULT})
    with pytest.raises(DataError, match=r"already, made with --store=jpeg, and is left as it is"):
        prepare(*lists, str(tmp_path), **small, store="none")
    with pytest.raises(ConfigError, match="--frame_size=0 must be from 16 to 4096"):
        Jpeg(0)
    with pytest.raises(ConfigError, match="--quality=99 must be from 1 to 95"):
        Jpeg(quality=99)
