"""Five spoken languages in AudioSet's layout: `python -m perceiver_jax.data.audioset.asterisk`.

  --source=DIR     the folder of the voices: usr/share/asterisk/sounds of the Debian packages
  --out=FOLDER     the folder to make; there must be nothing there yet

The packages are what the telephone exchange Asterisk says, recorded by one voice for each language,
18 to 24 MB each; they need not be installed, and to unpack them takes no root:

    apt-get download asterisk-core-sounds-{en,es,fr,it,ru}-wav
    for file in asterisk-core-sounds-*.deb; do dpkg -x $file asterisk; done
    python -m perceiver_jax.data.audioset.asterisk \\
        --source=asterisk/usr/share/asterisk/sounds --out=data/languages_clips

Where there is no apt, packages.debian.org has the files; what is told here is of version 1.6.1-1.
English and Spanish are the same speaker's, so that two of the five are told apart by language
alone. Who speaks is known of the others too, and this says little of languages in general.

What is said in one language is said in the others: all recordings of a prompt, such as digits/7,
are to train on or all to test on, by a hash of its name. Left out are silence, tones, which are of
no language, and sounds that are there twice, bit for bit.
"""

from perceiver_jax.errors import exit_on_interrupt

if __name__ == "__main__":
    exit_on_interrupt()  # Now: until then Ctrl-C shows a traceback, and imports take a moment.

import dataclasses
import hashlib
import os
import wave
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from perceiver_jax.data.audioset.layout import SPLITS, Listed, write_lists
from perceiver_jax.data.conversion.command import check_arguments
from perceiver_jax.errors import DataError, run_main

LANGUAGES = {"en": "English", "es": "Spanish", "fr": "French", "it": "Italian", "ru": "Russian"}
TEST_SHARE = 4  # One prompt in so many is to test on.
TONES = ("ascending-2tone", "beep", "beeperr", "descending-2tone")
QUIET = 33  # Of 32,768: what is nowhere louder, -60 dB, is silence.

README = """Five languages in AudioSet's layout, made by perceiver_jax.data.audioset.asterisk
from the Debian packages asterisk-core-sounds-LANGUAGE-wav: prompts of the telephone exchange
Asterisk. The sound is unchanged; files have other names, and recordings.csv says which is which.

  English, Spanish   Allison Smith, http://www.theivrvoice.com
                     2003-2010; financial contributions by Digium, Inc.; CC-BY-SA 3.0
  French             June Wallack, http://www.junewallack.com
                     2006-2008; translated by Clod Patry, Kristopher Lalletti and June Wallack;
                     financial contributions by Digium, Inc., Unlimitel, BGM Informatique;
                     CC-BY-SA 3.0
  Italian            Carlo Flora, http://www.carloflora.com, http://www.segreterietelefoniche.it
                     2012; translated by Silvia Petrin; CC-BY-SA 3.0
  Russian            Maxim Topal, http://www.ivrvoice.ru
                     2010; CC-BY 3.0

https://creativecommons.org/licenses/by-sa/3.0/ and https://creativecommons.org/licenses/by/3.0/
Each package has these terms in usr/share/doc/PACKAGE/copyright.
"""


@dataclasses.dataclass(frozen=True)
class Prompt:
    """What is said, in one of the languages."""

    language: str  # "en"
    name: str  # The same in all languages: "digits/7".
    file: str  # In the folder of the voices: "en_US_f_Allison/digits/7.wav"

    @property
    def id(self) -> str:
        """Eleven characters, as YouTube's: "en-0a1b2c3d"."""
        return f"{self.language}-{_hash(self.name)[:8]}"

    @property
    def split(self) -> str:
        """ "train" or "eval": a function of what is said, whatever the language."""
        return SPLITS[int(_hash(self.name)[-8:], 16) % TEST_SHARE == 0]


@dataclasses.dataclass(frozen=True)
class Counts:
    """What a folder was made of."""

    prompts: dict[str, dict[str, int]]  # By split and language.
    seconds: dict[str, float]  # By split, all languages together.
    silent: int  # Left out: silence.
    tones: int  # Left out: of no language.
    twice: int  # Left out: the same sound is there under another name.


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def find_prompts(source: Path) -> list[Prompt]:
    """Returns the prompts of a folder of voices, in the order of their files.

    Raises:
      DataError: a language is missing, or there twice.
    """
    voices: dict[str, list[str]] = {language: [] for language in LANGUAGES}
    for folder in sorted(source.glob("*_*")):
        if folder.is_dir() and folder.name[:2] in voices:
            voices[folder.name[:2]].append(folder.name)
    if wrong := [language for language, found in voices.items() if len(found) != 1]:
        found = ", ".join(voices[wrong[0]]) or "none"
        raise DataError(
            f"--source={source} must hold one voice for each of {', '.join(LANGUAGES)}, folders "
            f"such as en_US_f_Allison; of {wrong[0]!r} it holds {found}. They are in the Debian "
            "packages asterisk-core-sounds-LANGUAGE-wav, under usr/share/asterisk/sounds:\n\n"
            "    apt-get download asterisk-core-sounds-{en,es,fr,it,ru}-wav\n"
            "    for file in asterisk-core-sounds-*.deb; do dpkg -x $file asterisk; done\n"
        )
    return [
        Prompt(language, path.relative_to(source / voice).with_suffix("").as_posix(),
               path.relative_to(source).as_posix())
        for language, (voice,) in voices.items()
        for path in sorted((source / voice).rglob("*.wav"))
    ]  # fmt: skip


def read_wav(path: Path) -> tuple[int, np.ndarray]:
    """Reads a wav file of one channel of 16 bits.

    Returns:
      Samples a second, and the samples, int16 [n].

    Raises:
      DataError: it is no such file.
    """
    try:
        with wave.open(os.fspath(path)) as file:
            if (file.getnchannels(), file.getsampwidth()) != (1, 2):
                raise wave.Error(
                    f"{file.getnchannels()} channels of {8 * file.getsampwidth()} bits"
                )
            return file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), "<i2")
    except (wave.Error, EOFError, OSError) as error:
        raise DataError(
            f"{path} must be a wav file of one channel of 16 bits, as in the packages: {error}. "
            "Unpack them again."
        ) from error


def write_languages(source: Path, out: Path) -> Counts:
    """Writes the folder: clips/, the list of classes, train.csv, eval.csv and recordings.csv.

    Args:
      source: the folder of the voices.
      out: the folder to make; there must be nothing there yet.

    Raises:
      DataError: a language is not there, or a file is no such sound.
      UserError: the folder exists or cannot be written.
    """
    from perceiver_jax.atomic import making_folder

    prompts = find_prompts(source)
    counts = {split: dict.fromkeys(LANGUAGES, 0) for split in SPLITS}
    seconds = dict.fromkeys(SPLITS, 0.0)
    lists: dict[str, list[Listed]] = {split: [] for split in SPLITS}
    rows: list[tuple[str, ...]] = [("id", "split", "language", "original")]
    left_out = {"silent": 0, "tones": 0, "twice": 0}
    with making_folder(out) as folder:
        (folder / "clips").mkdir()
        for prompt, rate, samples in _heard(source, prompts, left_out):
            if (folder / "clips" / f"{prompt.id}.wav").exists():
                raise DataError(f"{prompt.file}: another prompt has the id {prompt.id} too.")
            (folder / "clips" / f"{prompt.id}.wav").write_bytes((source / prompt.file).read_bytes())
            counts[prompt.split][prompt.language] += 1
            seconds[prompt.split] += len(samples) / rate
            lists[prompt.split].append(
                Listed(prompt.id, 0, len(samples) / rate, (f"/asterisk/{prompt.language}",))
            )
            rows.append((prompt.id, prompt.split, prompt.language, prompt.file))
        classes = {f"/asterisk/{language}": name for language, name in LANGUAGES.items()}
        write_lists(folder, classes, lists, rows)
        (folder / "README.txt").write_text(README, encoding="utf-8")
    return Counts(counts, seconds, **left_out)


def _heard(
    source: Path, prompts: Sequence[Prompt], left_out: dict[str, int]
) -> Iterator[tuple[Prompt, int, np.ndarray]]:
    """Yields prompts that are speech, each sound once, and counts the others.

    A sound that several languages have is of none, and is left out wholly.
    """
    languages: dict[str, set[str]] = {}
    sounds = []
    for prompt in prompts:
        rate, samples = read_wav(source / prompt.file)
        if not len(samples) or np.abs(samples.astype(np.int32)).max() < QUIET:
            left_out["silent"] += 1
        elif prompt.name in TONES:
            left_out["tones"] += 1
        else:
            mark = hashlib.sha256(samples.tobytes()).hexdigest()
            languages.setdefault(mark, set()).add(prompt.language)
            sounds.append((prompt, rate, samples, mark))
    seen = set()
    for prompt, rate, samples, mark in sounds:
        if mark in seen or len(languages[mark]) > 1:
            left_out["twice"] += 1
        else:
            seen.add(mark)
            yield prompt, rate, samples


def table(counts: Counts) -> str:
    """The numbers of prompts by language and split, in lines."""
    train, test = (counts.prompts[split] for split in SPLITS)
    rows: list[tuple[str, int | str, int | str]] = [("language", *SPLITS)]
    rows += [(name, train[key], test[key]) for key, name in LANGUAGES.items()]
    rows.append(("all", sum(train.values()), sum(test.values())))
    minutes = {split: f"{counts.seconds[split] / 60:.0f}" for split in SPLITS}
    rows.append(("minutes", minutes["train"], minutes["eval"]))
    return "\n".join(f"{name:10}{one:>7}{other:>7}" for name, one, other in rows)


def define_flags() -> None:
    """Defines the flags; here and not on import, so that importing this file changes nothing."""
    from absl import flags

    flags.DEFINE_string("source", None, "The folder of the voices.")
    flags.DEFINE_string("out", None, "The folder to make.")


def main(argv: Sequence[str]) -> None:
    """Entry point; `argv` is what absl left of the command line."""
    from absl import flags

    check_arguments(argv, "source", "out")
    given = flags.FLAGS
    source, out = (Path(each).expanduser() for each in (given.source, given.out))
    counts = write_languages(source, out)
    print(f"{table(counts)}\n")
    print(
        f"Left out: {counts.silent} silent, {counts.tones} tones, {counts.twice} that are there "
        "twice."
    )
    print(f"{out}: a prompt is to train on in all languages or to test on in all.")


if __name__ == "__main__":
    define_flags()
    run_main(main)
