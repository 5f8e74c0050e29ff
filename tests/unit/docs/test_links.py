"""A reader who follows a link of the documents, on any page that shows Markdown, gets somewhere."""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
_MARKDOWN = MarkdownIt("commonmark").enable("table")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_link_leads_somewhere(page):
    """Every relative link names a file of the repository, and every anchor a heading of it."""
    assert not [link for link in links(page.read_text()) if not leads_somewhere(page, link)]


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("CONTRIBUTING.md", True),
        ("docs/privacy.md#keys", True),
        ("#what-holds", True),
        ("docs/no-such-page.md", False),
        ("docs/privacy.md#no-such-heading", False),
        ("#no-such-heading", False),
        ("../elsewhere.md", False),
    ],
)
def test_a_broken_link_is_found(link, expected):
    """A missing file, a missing heading and a file outside of the repository are told apart."""
    assert leads_somewhere(ROOT / "README.md", link) is expected


def test_links_in_tables_and_of_pictures_are_read_and_code_is_not():
    """Whatever a reader can click on, or is to see, is checked."""
    text = "| a |\n|---|\n| [x](one.md) |\n\n![y](two.png)\n\n`[z](three.md)`\n"
    assert list(links(text)) == ["one.md", "two.png"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_row_is_in_a_table(page):
    """An empty line before a row would show it as text, with its bars."""
    texts = [token.content for token in _MARKDOWN.parse(page.read_text()) if token.type == "inline"]
    assert not [text for text in texts if text.startswith("| ")]


def test_each_page_is_reached_from_the_front_page():
    """No guide is left out of the site's navigation."""
    listed = set(toctree())
    assert {page.relative_to(ROOT) for page in PAGES} - listed == {Path("docs/index.md")}


def links(text: str) -> list[str]:
    tokens = [token for block in _MARKDOWN.parse(text) for token in block.children or ()]
    targets = (token.attrGet("href") or token.attrGet("src") for token in tokens)
    return [link for link in targets if link and not re.match(r"[a-z]+:", link)]


def leads_somewhere(page: Path, link: str) -> bool:
    path, _, anchor = unquote(link).partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.is_relative_to(ROOT) or not target.exists():
        return False
    return not anchor or anchor in anchors(target)


@cache
def anchors(page: Path) -> set[str]:
    """Return the anchors that a repository's page makes of headings."""
    tokens = _MARKDOWN.parse(page.read_text())
    headings = (
        "".join(part.content for part in inline.children or () if part.type != "html_inline")
        for heading, inline in pairwise(tokens)
        if heading.type == "heading_open"
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def toctree() -> list[Path]:
    front = ROOT / "docs" / "index.md"
    lines = re.findall(r"^```{toctree}\n(.*?)^```$", front.read_text(), re.MULTILINE | re.DOTALL)
    entries = [entry for block in lines for entry in block.split("\n\n", 1)[1].splitlines()]
    names = [re.sub(r"^.* <(.*)>$", r"\1", entry) for entry in entries]
    return [
        page.resolve().relative_to(ROOT)
        for name in names
        if not name.startswith("/")  # what Sphinx makes itself
        for page in front.parent.glob(f"{name}.md")
    ]
