"""A tiny set in AudioSet's layout: recordings of which every kind of trouble is one."""

import dataclasses
import pickle
from pathlib import Path

from tests.data.media.clips import frame_times, write_clip

TRAIN = tuple(f"train-_{number:04}" for number in range(8))
TEST = ("evalClip__1", "evalClip__2")
CLASSES = ("Speech", "Cat, meow", "Dog")


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where the lists and clips are."""

    segments: str
    eval_segments: str
    classes: str
    clips: str


def write_set(root: Path, *, odd: bool = True, seconds: float = 1.4) -> Layout:
    """Writes lists and clips: eight to train on and two to test on, and with `odd` six more."""
    clips = root / "clips"
    clips.mkdir(parents=True)
    rows = []
    for number, name in enumerate(TRAIN):
        options = {"times": None} if number % 2 else {"sample_rate": 8_000}
        suffix = "wav" if number % 2 else "mkv"
        times = {"times": frame_times(12, seconds)} if not number % 2 else {}
        write_clip(clips / f"Y{name}.{suffix}", **{"seconds": seconds, **times, **options})
        rows.append(row(name, seconds, "/m/a,/m/b" if number % 3 else "/m/c"))
    if odd:
        (clips / "text_file_1.mp4").write_text("no video")
        (clips / "empty_file1.wav").touch()
        write_clip(clips / "no_streams1.mkv", times=[], sound_until=0)
        write_clip(clips / "silent_clip.wav", seconds=seconds, times=None, click=False)
        write_clip(clips / "ends_early1.wav", seconds=0.5, times=None)
        for name in ("text_file_1", "empty_file1", "no_streams1", "silent_clip", "ends_early1"):
            rows.append(row(name, seconds, "/m/a"))
        rows.append(row("not_there_1", seconds, "/m/a"))
    for name in TEST:
        write_clip(clips / f"{name}.wav", seconds=seconds, times=None)
    (root / "train.csv").write_text("# YTID, start, end, labels\n" + "".join(rows))
    (root / "eval.csv").write_text("".join(row(name, seconds, "/m/b") for name in TEST))
    listed = [f'{i},/m/{"abc"[i]},"{name}"\n' for i, name in enumerate(CLASSES)]
    (root / "classes.csv").write_text("index,mid,display_name\n" + "".join(listed))
    return Layout(
        str(root / "train.csv"), str(root / "eval.csv"), str(root / "classes.csv"), str(clips)
    )


def convert_here(conversion, workers, done) -> None:
    """Converts without a process, as one would; in place of `conversion.parts.convert`."""
    conversion.begin()
    sent = pickle.loads(pickle.dumps(conversion))
    assert not sent.clips
    for part in conversion.missing_parts():
        sent.do(part, done)


def row(name: str, seconds: float, labels: str) -> str:
    return f'{name}, 0.000, {seconds:.3f}, "{labels}"\n'
