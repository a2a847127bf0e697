"""Reports in a real browser, at the widths of a phone and a desk."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from perceiver_jax.report import write

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_CHROMIUM = next((found for found in map(shutil.which, _BROWSERS) if found), None)
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--allow-file-access-from-files", "--dump-dom", "--virtual-time-budget=5000",
)  # fmt: skip

# Loads a page in frames of some widths, and says how it came out in each.
_LOOK = """<!DOCTYPE html><body>%s<pre></pre><script>
onload = () => {
  const found = [...document.querySelectorAll('iframe')].map(frame => {
    const page = frame.contentDocument, width = frame.clientWidth;
    const cut = [...page.querySelectorAll('main *')].filter(each => !each.closest('.scroll')
      && each.getBoundingClientRect().right > width + 1);
    const small = [...page.querySelectorAll('main *')].filter(each => each.checkVisibility()
      && each.childNodes.length && [...each.childNodes].some(node => node.nodeType === 3
      && node.textContent.trim()) && !each.closest('svg')
      && parseFloat(getComputedStyle(each).fontSize) < 11);
    return {
      scrolls: page.documentElement.scrollWidth > width,
      cut: cut.map(each => each.outerHTML.slice(0, 80)),
      small: small.map(each => each.outerHTML.slice(0, 80)),
      broken: [...page.images].filter(image => !image.naturalWidth).length,
      images: page.images.length,
      charts: [...page.querySelectorAll('.plot svg')].map(each => each.clientWidth),
    };
  });
  document.querySelector('pre').textContent = JSON.stringify(found);
};
</script>"""


def _look(page: Path, widths: tuple[int, ...], folder: Path) -> list[dict]:
    frame = "<iframe src='{}' style='border:0;width:{}px;height:4000px'></iframe>"
    frames = "".join(frame.format(page.as_uri(), width) for width in widths)
    look = folder / "look.html"
    look.write_text(_LOOK % frames)
    assert _CHROMIUM is not None
    done = subprocess.run(
        [_CHROMIUM, *_FLAGS, f"--user-data-dir={folder / 'profile'}", look.as_uri()],
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"<pre>(.*?)</pre>", done.stdout, re.DOTALL)
    assert found is not None and found.group(1), done.stdout[-2000:]
    return json.loads(html.unescape(found.group(1)))


@pytest.mark.skipif(_CHROMIUM is None, reason="Chromium is not installed.")
@pytest.mark.slow
def test_nothing_is_cut_off_or_tiny(perceiver_run: Path, conv_run: Path, tmp_path: Path) -> None:
    comparison = write.write_comparison([perceiver_run, conv_run], tmp_path / "c.html")
    for page, num_images in ((perceiver_run / "report.html", 12 + 10 * 4 + 4 * 6), (comparison, 0)):
        for found in _look(page, (320, 390, 1280), tmp_path):
            assert not found["scrolls"] and not found["cut"] and not found["small"]
            assert (found["broken"], found["images"]) == (0, num_images)
            assert min(found["charts"]) > 200
