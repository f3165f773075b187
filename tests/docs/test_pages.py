"""Links lead somewhere, and tests that a page names exist."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT

_LINK = re.compile(r"\[([^\]]*)\]\(([^)#\s]+)(?:#[^)]*)?\)")


def links(page: Path) -> list[tuple[str, Path]]:
    """Return text and target of the links to files."""
    found = _LINK.findall(page.read_text())
    return [(text, page.parent / target) for text, target in found if "://" not in target]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    missing = [str(target) for _, target in links(page) if not target.exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_named_tests_exist(page: Path) -> None:
    named = [(text.strip("`"), target) for text, target in links(page) if text.startswith("`test_")]
    missing = [f"{target}::{name}" for name, target in named if f"def {name}(" not in target.read_text()]
    assert missing == []


def test_conventions_are_proven_by_tests() -> None:
    proofs = [target for _, target in links(ROOT / "docs" / "conventions.md") if "tests" in target.parts]
    assert len(proofs) >= 40


def test_figures_are_small() -> None:
    figures = list((ROOT / "docs" / "figures").glob("*.png"))
    assert figures
    assert all(figure.stat().st_size <= 200_000 for figure in figures)
