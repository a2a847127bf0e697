"""What is said of a set that is made: what is left out, what is odd, what was not used; by kinds.

Of the two million segments of AudioSet hundreds of thousands have no clip. The three clips that are
damaged are told of first.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from perceiver_jax.data.audioset.clip_names import Clip
from perceiver_jax.data.audioset.clips import Unused
from perceiver_jax.data.audioset.described import DAMAGED, LEFT_OUT, MISSING
from perceiver_jax.data.conversion.parts import LeftOut
from perceiver_jax.data.stored import as_text

_SHOWN = 5  # So many of a kind are printed; the file has all.

_Told = TypeVar("_Told")
_Kinds = Sequence[tuple[str, str]]  # What reasons are like, and what those that have them are.

_MISSING = "without a clip"
_LEFT_OUT: _Kinds = (
    (r"there is no clip|only a file", _MISSING),
    (r".*(crashed|kept) the process", "killing the process that reads them"),
    (r".* may not be read by", "not to be read by this user"),
    (r".* ends at .* the segment begins", "ending before their segment"),
    (r".* has neither sound nor frames", "without sound and frames"),
    (r".* has no sound, and frames are not wanted", "without sound"),
    (r"", "damaged"),
)
_ODD: _Kinds = (
    (r"has \d", "short"),
    (r"its (sound|video) ends after", r"whose \1 ends early"),
    (r"taken for the segment", "taken for the segment, though longer"),
    (r"its copied video begins", "whose copied video begins late"),
    (r"its (sound|video) has no", r"whose \1 is empty"),
    (r"its sound is that of", "with sound of another file"),
    (r".* has sound, and is", "without sound, beside a file with sound"),
    (r"no (sound|video)", r"without \1"),
    (r"(.*)", r"\1"),
)
_UNUSED: _Kinds = (
    (r"its name has", "of no segment"),
    (r"it is of", "of another time than the segment"),
    (r".* comes first", "of a segment that has another one"),
    (r".* is read in its place", "of a segment that has another one"),
    (r"it is not joined", "of another length than the file that it would be joined to"),
    (r"its segment is left out", "of a segment that is left out"),
    (r"", "neither sound nor video"),
)


def show_left_out(left_out: Sequence[LeftOut], folder: Path) -> None:
    """Prints how many clips were left out for which reasons, some of each, and where all are.

    Args:
      left_out: the clips.
      folder: of the set.
    """
    kinds = _by_kind(((each.reason, each) for each in left_out), _LEFT_OUT)
    # What is missing comes last: it is no surprise.
    for kind in sorted(kinds, key=lambda kind: (kind == _MISSING, kind != "damaged")):
        print(f"left out    {len(kinds[kind]):,} {kind}:")
        for each in kinds[kind][:_SHOWN]:
            name, reason = as_text(each.name), as_text(each.reason)
            named = reason if name in reason else f"{name}: {reason}"
            print(f"            from {each.split}: {named}")
        if len(kinds[kind]) > _SHOWN:
            print(f"            and {len(kinds[kind]) - _SHOWN:,} more")
    ids = f"; ids without a clip: {folder / MISSING}" if _MISSING in kinds else ""
    if kinds.keys() - {_MISSING}:
        ids += f"; ids of clips that are left out: {folder / DAMAGED}"
    print(f"What was left out, is odd, or was not used: {folder / LEFT_OUT}{ids}")


def show_remarks(remarks: Sequence[LeftOut]) -> None:
    """Prints how many recordings are odd in which way, with an example of each."""
    kinds = _by_kind(((each.reason, each) for each in remarks), _ODD)
    for kind, found in sorted(kinds.items(), key=lambda item: -len(item[1])):
        reason = as_text(found[0].reason)
        told = "" if reason == kind or kind.startswith("without") else f": {reason}"
        print(f"odd         {len(found):,} {kind}, such as {as_text(found[0].name)}{told}")


def unused_lines(unused: Sequence[Unused], clips: str) -> list[str]:
    """Says how many files are not used, with an example of each kind.

    Args:
      unused: the files.
      clips: the folder that they are in.
    """
    if not unused:
        return []
    files = "1 file" if len(unused) == 1 else f"{len(unused):,} files"
    kinds = _by_kind(((each.reason, each) for each in unused), _UNUSED)
    return [
        f"Not used: {files} of {clips}:",
        *(
            f"    {len(found):,} {kind}, such as {as_text(found[0].path)}: "
            + as_text(found[0].reason)
            for kind, found in sorted(kinds.items(), key=lambda item: -len(item[1]))
        ),
    ]


def at_hand_lines(clips: Iterable[Clip]) -> list[str]:
    """Says how many files may be read for what others lack, which is seen when those are read."""
    found = sorted({path for clip in clips for path in clip.others})
    if not found:
        return []
    files = "1 file" if len(found) == 1 else f"{len(found):,} files"
    return [
        f"At hand where another file of the segment has no sound, or no video: {files}, such as "
        f"{as_text(found[0])}"
    ]


def counted(left_out: Iterable[LeftOut]) -> str:
    """Returns "300,000 without a clip, 3 damaged"; "none" if there are none."""
    kinds = _by_kind(((each.reason, each) for each in left_out), _LEFT_OUT)
    ordered = sorted(kinds.items(), key=lambda item: -len(item[1]))
    return ", ".join(f"{len(found):,} {kind}" for kind, found in ordered) or "none"


def _by_kind(reasons: Iterable[tuple[str, _Told]], kinds: _Kinds) -> dict[str, list[_Told]]:
    found: dict[str, list[_Told]] = defaultdict(list)
    for reason, each in reasons:
        match, kind = next(
            (match, kind) for like, kind in kinds if (match := re.match(like, reason, re.DOTALL))
        )
        found[match.expand(kind)].append(each)
    return dict(found)
