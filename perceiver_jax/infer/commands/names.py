"""Names of the files that commands write."""

import os
import re
import unicodedata

# Bytes. File systems take 255; the rest is for what is appended, and for names while it is written.
_LONGEST = 180


def distinct(stems: list[str]) -> list[str]:
    """Makes names of files of those of inputs, so that no picture replaces another.

    Names that occur more than once get a number; those that differ in case alone are the same on
    some systems. Long ones are cut, and characters that end a line become "_".
    """
    taken: set[str] = set()
    numbers: dict[str, int] = {}  # The next of each name: ten thousand may be "audio".
    names = []
    for stem in map(_fitting, stems):
        name, key = stem, _key(stem)
        while _key(name) in taken:
            number = numbers.get(key, 2)
            name, numbers[key] = f"{stem}-{number}", number + 1
        taken.add(_key(name))
        names.append(name)
    return names


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _fitting(stem: str) -> str:
    stem = re.sub(r"[\x00-\x1f\x7f]", "_", stem)
    while len(os.fsencode(stem)) > _LONGEST:
        stem = stem[:-1]
    return stem
