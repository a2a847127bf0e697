"""Pages that were written before their numbers were measured."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"])


@pytest.mark.parametrize("page", [str(page.relative_to(ROOT)) for page in PAGES])
def test_nothing_is_left_to_be_filled_in(page):
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    left = [f"{number}: {line}" for number, line in enumerate(lines, 1) if "{{" in line]
    assert not left, left


def test_there_are_pages():
    assert ROOT / "docs" / "performance.md" in PAGES and len(PAGES) > 5
