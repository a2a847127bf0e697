"""The tutorials run: every block of Python and every command in them, in order.

Files of small random weights lie under the names of the released ones; see stand_ins.py.
"""

import contextlib
import importlib.util
import io
import re
import runpy
import shlex
import sys
import warnings
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import pytest
from absl import flags

from perceiver_jax.infer import flow_files
from tests.docs import stand_ins

pytestmark = pytest.mark.usefixtures("quick_compilation")

DOCS = Path(__file__).parents[2] / "docs"
# What each page says is written.
WRITTEN = {
    "tutorials/images.md": (
        "maps/cat.attention.png",
        "cat_maps.png",
        "my-vision-perceiver/config.json",
        "my-vision-perceiver/preprocessor_config.json",
    ),
    "tutorials/text.md": (
        "maps/text-1.attention.png",
        "my-language-perceiver/tokenizer_config.json",
    ),
    "tutorials/flow.md": (
        "flow/sintel_frame1.flo",
        "flow/sintel_frame1_flow.png",
        "flow/sintel_frame1_warp.png",
        "flow/clip_flow.mp4",
        "sintel.flo",
    ),
    "tutorials/video.md": (
        "out/clip_reconstruction.mp4",
        "out/clip_frames.png",
        "reconstruction.mp4",
        "comparison.png",
        "my-multimodal-perceiver/model.safetensors",
    ),
    "tutorials/points.md": (
        "maps/chair.attention.png",
        "maps/chair.attention.npy",
        "maps/chair.points.npy",
        "chair_read.png",
        "data/furniture",
    ),
    "tutorials/sound.md": ("tags/clip_tags.png", "tags/clip_tags.csv"),
    "checkpoints.md": ("fourier.safetensors", "vision-perceiver/config.json", "mine.safetensors"),
}
_BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_OURS = "python -m perceiver_jax."


class Block(NamedTuple):
    language: str
    text: str
    line: int  # Of its first line, in the page.


def blocks(page):
    text = page.read_text(encoding="utf-8")
    return [
        Block(found[1], found[2], text.count("\n", 0, found.start(2)) + 1)
        for found in _BLOCK.finditer(text)
    ]


def commands(block):
    """The arguments of our commands in a block, with lines joined; curl and others do not count."""
    if not block.text.startswith(_OURS):
        assert _OURS not in block.text, "commands to run stand in blocks of their own"
        return []
    return [shlex.split(line)[2:] for line in block.text.replace("\\\n", " ").splitlines()]


def run_command(module, *arguments):
    """Runs `python -m module arguments` in this process; returns its exit code and what it said."""
    before = set(flags.FLAGS)
    said = io.StringIO()
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch("perceiver_jax.errors.exit_on_interrupt"))
        stack.enter_context(mock.patch.object(sys, "argv", [module, *arguments]))
        stack.enter_context(contextlib.redirect_stdout(said))
        stack.enter_context(contextlib.redirect_stderr(said))
        stack.enter_context(warnings.catch_warnings())
        # The module may have been imported already; it is run afresh.
        warnings.filterwarnings("ignore", message=".*found in sys.modules", category=RuntimeWarning)
        try:
            runpy.run_module(module, run_name="__main__")
            code = 0
        except SystemExit as error:
            code = error.code or 0
        finally:
            for name in set(flags.FLAGS) - before:
                flags.FLAGS.remove_flag_values([name])
            flags.FLAGS.unparse_flags()
    return code, said.getvalue()


def run_page(page, folder):
    """Runs a page in `folder`, where its checkpoints and inputs lie; returns its variables."""
    text = page.read_text(encoding="utf-8")
    for name in stand_ins.CHECKPOINTS:
        if name in text:
            stand_ins.write_checkpoint(folder, name)
    stand_ins.write_inputs(folder)
    namespace = {"__name__": "__tutorial__"}
    for block in blocks(page):
        where = f"{page.name}:{block.line}"
        if block.language == "python":
            # Lines of errors are those of the page.
            exec(compile("\n" * (block.line - 1) + block.text, where, "exec"), namespace)
            continue
        for module, *arguments in commands(block):
            code, said = run_command(module, *arguments)
            assert code == 0, f"{where}: {shlex.join([module, *arguments])}\n{said}"
            assert said.strip(), f"{where}: {module} says nothing"
    return namespace


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITTEN)
def test_page(name, here):
    needs_video = "clip.mp4" in (DOCS / name).read_text(encoding="utf-8")
    if needs_video and importlib.util.find_spec("av") is None:
        pytest.skip("needs PyAV")
    if name == "tutorials/points.md":
        pytest.importorskip("trimesh")
        pytest.importorskip("tensorflow_datasets")
    names = run_page(DOCS / name, here)
    for path in WRITTEN[name]:
        assert (here / path).stat().st_size > 0, path
    CHECKS.get(name, lambda names: None)(names)


def check_images(names):
    assert names["logits"].shape == (1, 7)
    assert names["maps"].weights.shape == (1, 1, 8, 16, 16)
    assert names["maps"].weights.sum(axis=(-2, -1)) == pytest.approx(1, rel=1e-4)


def check_text(names):
    filled = names["filled"]
    assert filled.positions == tuple(range(24, 30)) and len(filled.candidates[0]) == 3
    # What the text says of the first candidate: it is the argmax of the model's own logits.
    logits = names["logits"][0][names["filled"].positions[0]]
    assert logits.argmax() == filled.candidates[0][0].token


def check_flow(names):
    vectors = names["vectors"]
    assert vectors.shape == (20, 26, 2)
    assert flow_files.read_flo("sintel.flo") == pytest.approx(vectors)
    assert names["same"] == pytest.approx(vectors, abs=1e-4)
    # The corner that only one tile covers: the model's own output, times 20.
    assert names["in_pixels"][0, 0] == pytest.approx(vectors[0, 0], abs=1e-4)


def check_video(names):
    assert names["result"].frames.shape == (4, 16, 16, 3)
    assert names["result"].probabilities.sum() == pytest.approx(1)
    part = names["part"]
    assert part["image"].shape == (1, 100, 3)


def check_points(names):
    assert names["cloud"].shape == (128, 3)
    np.testing.assert_allclose(names["same"], names["logits"], atol=1e-4)
    assert names["first"].sum() == pytest.approx(1, rel=1e-4)
    assert len(names["test"]) == 4 and names["data"].class_names() == ("shelf", "table")
    assert names["test"][0]["points"].shape == (2048, 3)


CHECKS = {
    "tutorials/points.md": check_points,
    "tutorials/images.md": check_images,
    "tutorials/text.md": check_text,
    "tutorials/flow.md": check_flow,
    "tutorials/video.md": check_video,
}


@pytest.mark.core
def test_every_tutorial_is_run_and_linked():
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.glob("tutorials/*.md")}
    assert pages | {"checkpoints.md"} == set(WRITTEN)
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    assert all(f"({page})" in index for page in WRITTEN)
    for name in pages:
        found = blocks(DOCS / name)
        assert any(block.language == "python" for block in found), name
        assert sum(len(commands(block)) for block in found if block.language == "sh") >= 2, name


@pytest.mark.core
def test_links_lead_somewhere():
    for page in DOCS.rglob("*.md"):
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#:]*)(?:#[^)]*)?\)", text):
            assert not target or (page.parent / target).is_file(), f"{page.name}: {target}"
        for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]*)\)", text):
            other = page.parent / target if target else page
            headings = re.findall(r"^#+ (.*)$", other.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {
                re.sub(r"[^\w\- ]", "", each).strip().lower().replace(" ", "-") for each in headings
            }
            assert anchor in slugs, f"{page.name}: {target}#{anchor}"
