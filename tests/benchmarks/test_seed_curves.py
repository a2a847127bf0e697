"""The picture of several seeds: what is drawn, and where."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import seed_curves


def _run(path: Path, values: list[float]) -> Path:
    entries = [{"step": 5, "split": "train", "loss": 1.0, "accuracy": 0.1}]
    for number, value in enumerate(values, start=1):
        entries.append({"step": 10 * number, "split": "test", "mAP": value, "accuracy": value / 2})
    path.write_text("".join(json.dumps({**entry, "timing": {}}) + "\n" for entry in entries))
    return path


def test_evaluations_alone_are_drawn(tmp_path: Path) -> None:
    low = _run(tmp_path / "low.jsonl", [0.2, 0.4, 0.4])
    high = _run(tmp_path / "high.jsonl", [0.7, 0.8, 0.8])
    assert seed_curves.evaluations(low, "mAP") == [(10, 0.2), (20, 0.4), (30, 0.4)]
    assert seed_curves.evaluations(low, "accuracy") == [(10, 0.1), (20, 0.2), (30, 0.2)]
    assert seed_curves.evaluations(low, "loss") == []

    seed_curves.draw(
        {"one": [low], "other": [high, high]},
        tmp_path / "curves.png",
        panels={"mAP": "mAP", "accuracy": "accuracy"},
        reference=("forest", {"mAP": 0.6, "accuracy": 0.3}),
    )
    picture = np.asarray(Image.open(tmp_path / "curves.png").convert("RGB"))
    half = picture.shape[1] // 2
    for panel in (picture[:, :half], picture[:, half:]):
        # Up and down as their values are; what stands in the legend is on the right.
        rows = [
            np.flatnonzero(
                np.all(panel == tuple(bytes.fromhex(colour[1:])), axis=-1)[:, : half // 2].any(1)
            ).mean()
            for colour in (seed_curves.COLOURS[1], seed_curves._REFERENCE, seed_curves.COLOURS[0])
        ]
        assert rows == sorted(rows)
