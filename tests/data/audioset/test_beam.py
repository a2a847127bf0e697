"""The Beam pipeline makes the set that the command of one machine makes.

Beam is not among the pinned packages. In an environment that has it:

    python -m pip install '.[beam,data,media]' pytest
    python -m pytest --noconftest tests/data/audioset/test_beam.py
"""

import numpy as np
import pytest

from perceiver_jax.data.audioset.audioset import RecordingsConfig
from perceiver_jax.data.audioset.prepare import prepare
from perceiver_jax.errors import DataError
from tests.data.audioset.sets import write_set

pytest.importorskip("apache_beam")


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def test_the_same_set(tmp_path):
    from perceiver_jax.data.audioset.beam import prepare_by_beam

    layout = write_set(tmp_path / "lists")
    lists = ([layout.segments], [layout.eval_segments], layout.classes, layout.clips)
    said = []
    one = prepare(*lists, str(tmp_path), name="one", workers=1, report=said.append)
    left = tmp_path / "many" / "incomplete.ABCDEF_1.0.0"  # As TFDS calls it.
    left.mkdir(parents=True)
    many = prepare_by_beam(*lists, str(tmp_path), name="many", report=said.append)
    assert many.fingerprints == one.fingerprints and many.converted == 15
    assert set(many.left_out) == set(one.left_out) and set(many.remarks) == set(one.remarks)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lists", "many", "one"]
    assert not left.exists()
    for split in ("train", "test"):
        ours, theirs = (
            RecordingsConfig(name=name, data_dir=str(tmp_path)).open(split)
            for name in ("one", "many")
        )
        assert theirs.fingerprint == ours.fingerprint and theirs.class_names == ours.class_names
        # TFDS's order is another one, and the list of ids is in it.
        assert tuple(theirs[index]["id"] for index in range(len(theirs))) == theirs.ids
        for index, name in enumerate(theirs.ids):
            expected, found = ours[ours.ids.index(name)], theirs[index]
            assert list(found) == list(expected)
            np.testing.assert_array_equal(found["audio"], expected["audio"])
            np.testing.assert_array_equal(found["label"], expected["label"])
            assert found.get("frames") == expected.get("frames")
    again = prepare_by_beam(*lists, str(tmp_path), name="many", report=said.append)
    assert again.converted == 0 and again.fingerprints == many.fingerprints
    # The other command copies what this one has made.
    copied = prepare(
        *lists, str(tmp_path), name="copied", reuse="many", workers=1, report=said.append
    )
    assert "Recordings to be copied from the set many: 12." in said
    assert copied.fingerprints == one.fingerprints and set(copied.remarks) == set(one.remarks)
    ours, theirs = (
        RecordingsConfig(name=name, data_dir=str(tmp_path)).open("train")
        for name in ("one", "copied")
    )
    assert ours.ids == theirs.ids
    for index in range(len(ours)):
        np.testing.assert_array_equal(theirs[index]["audio"], ours[index]["audio"])
        assert theirs[index].get("frames") == ours[index].get("frames")


def test_what_the_command_of_one_machine_has_done_stays(tmp_path):
    from perceiver_jax.data.audioset.beam import prepare_by_beam

    layout = write_set(tmp_path / "lists", odd=False)
    lists = ([layout.segments], [layout.eval_segments], layout.classes, layout.clips)
    done = tmp_path / "own.parts" / "work" / "done-00000.json"
    done.parent.mkdir(parents=True)
    done.touch()
    with pytest.raises(DataError, match=r"own.parts has what .*prepare has converted so far"):
        prepare_by_beam(*lists, str(tmp_path), name="own", report=lambda line: None)
    assert done.exists()
