"""Five languages: a prompt is in one split in all of them, and each sound is there once."""

import csv
import wave
from pathlib import Path

import numpy as np
import pytest

from perceiver_jax.data.audioset import asterisk
from perceiver_jax.data.audioset.asterisk import Prompt
from perceiver_jax.data.audioset.clips import find_clips
from perceiver_jax.data.audioset.labels import read_classes, read_segments
from perceiver_jax.errors import DataError, UserError

VOICES = {"en": "en_US_f_A", "es": "es_MX_f_A", "fr": "fr_CA_f_B", "it": "it_IT_m_C",
          "ru": "ru_RU_f_D"}  # fmt: skip
NAMES = [f"digits/{number}" for number in range(12)]


def write_wav(path: Path, samples: np.ndarray, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(samples.astype("<i2").tobytes())


def noise(seed: int, size: int = 400) -> np.ndarray:
    return np.random.default_rng(seed).integers(-9000, 9000, size)


@pytest.fixture
def voices(tmp_path: Path) -> Path:
    """Five voices that say twelve prompts each, and what is no prompt."""
    root = tmp_path / "sounds"
    for number, voice in enumerate(VOICES.values()):
        for index, name in enumerate(NAMES):
            write_wav(root / voice / f"{name}.wav", noise(100 * number + index, 400 + 8 * index))
        write_wav(root / voice / "silence/1.wav", np.full(800, 2))
        write_wav(root / voice / "beep.wav", noise(900 + number))
    write_wav(root / VOICES["ru"] / "is.wav", noise(0, 0))
    write_wav(root / VOICES["fr"] / "digits/3again.wav", noise(203, 424))  # As digits/3.
    for language in ("it", "ru"):
        write_wav(root / VOICES[language] / "ring.wav", noise(77))  # Of no language.
    return root


def test_the_folder_is_split_by_prompt(voices: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "clips"
    counts = asterisk.write_languages(voices, out)
    assert (counts.silent, counts.tones, counts.twice) == (6, 5, 3)
    in_test = [name for name in NAMES if Prompt("en", name, "").split == "eval"]
    assert 0 < len(in_test) < len(NAMES)
    each = {"train": len(NAMES) - len(in_test), "eval": len(in_test)}
    assert counts.prompts == {split: dict.fromkeys(VOICES, each[split]) for split in each}

    # As the commands of AudioSet read it.
    classes = read_classes(str(out / "class_labels_indices.csv"))
    assert classes.names == ("English", "Spanish", "French", "Italian", "Russian")
    with open(out / "recordings.csv", newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    seconds = {"train": 0.0, "eval": 0.0}
    for split in each:
        segments = read_segments(str(out / f"{split}.csv"), classes)
        assert len(segments) == 5 * each[split]
        found = find_clips(str(out / "clips"), segments)
        assert not found.missing and {clip.path for clip in found.clips} == {
            f"{segment.id}.wav" for segment in segments
        }
        for segment in segments:
            row = rows.pop(segment.id)
            voice, _, name = row["original"].removesuffix(".wav").partition("/")
            assert len(segment.id) == 11 and row["split"] == split
            assert (name in in_test) == (split == "eval") and VOICES[row["language"]] == voice
            assert [classes.mids[label] for label in segment.labels] == [
                f"/asterisk/{row['language']}"
            ]
            original = (voices / row["original"]).read_bytes()
            assert (out / "clips" / f"{segment.id}.wav").read_bytes() == original
            assert segment.seconds == (len(original) - 44) / 16000
            seconds[split] += segment.seconds
    assert not rows and counts.seconds == pytest.approx(seconds)
    # What is to train on is listed once more, a prompt in one of two lists.
    train, fit, valid = (
        [segment.id for segment in read_segments(str(out / f"{name}.csv"), classes)]
        for name in ("train", "fit", "valid")
    )
    assert sorted(fit + valid) == sorted(train)
    assert fit and valid and not {id[3:] for id in fit} & {id[3:] for id in valid}
    readme = (out / "README.txt").read_text()
    assert "CC-BY-SA 3.0" in readme and "CC-BY 3.0" in readme and "Maxim Topal" in readme
    assert asterisk.table(counts).splitlines()[1].split() == [
        "English", str(each["train"]), str(each["eval"]),
    ]  # fmt: skip
    with pytest.raises(UserError, match="exists already"):
        asterisk.write_languages(voices, out)


def test_ids_and_splits_stay_as_they_are() -> None:
    """What was measured is of these."""
    prompt = Prompt("fr", "digits/7", "fr_CA_f_June/digits/7.wav")
    assert (prompt.id, prompt.split) == ("fr-4cfa215b", "eval")
    splits = [Prompt("en", f"prompt-{number}", "").split for number in range(1000)]
    assert splits.count("eval") == 260
    assert prompt.lists == ("eval",)
    assert Prompt("it", "digits/0", "").lists == ("train", "fit")
    lists = [Prompt("en", f"prompt-{number}", "").lists for number in range(1000)]
    assert (lists.count(("train", "fit")), lists.count(("train", "valid"))) == (564, 176)


def test_what_is_no_folder_of_voices_is_refused(voices: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"of 'en' it holds none[\s\S]*apt-get download"):
        asterisk.write_languages(tmp_path, tmp_path / "out")
    stereo = voices / VOICES["es"] / "vm-stereo.wav"
    write_wav(stereo, noise(1), channels=2)
    with pytest.raises(DataError, match="vm-stereo.wav must be a wav file.*2 channels of 16 bits"):
        asterisk.write_languages(voices, tmp_path / "out")
    stereo.write_bytes(b"no sound")
    with pytest.raises(DataError, match=r"vm-stereo.wav must be a wav file.*RIFF"):
        asterisk.write_languages(voices, tmp_path / "out")
    stereo.unlink()
    (voices / "en_AU_f_E").mkdir()
    with pytest.raises(DataError, match="of 'en' it holds en_AU_f_E, en_US_f_A"):
        asterisk.write_languages(voices, tmp_path / "out")
    assert not (tmp_path / "out").exists()
