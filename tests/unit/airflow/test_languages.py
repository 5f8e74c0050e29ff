"""The page's texts in its three languages."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import zbl_provider

STATIC = Path(zbl_provider.__file__).parent / "plugin" / "static"
LANGUAGES = ("pt", "es")


def spoken() -> set[str]:
    """Return all texts that the page shows, by its scripts and its HTML."""
    texts: set[str] = set()
    for file in STATIC.glob("*.js"):
        if file.stem not in LANGUAGES:
            texts |= set(re.findall(r'(?<![\w$])t\("((?:[^"\\]|\\.)*)"', file.read_text()))
    html = (STATIC / "index.html").read_text()
    texts |= set(re.findall(r"<title>([^<]+)", html))
    body = html[html.index("<body>") :]
    texts |= {text.strip() for text in re.findall(r">([^<>]+)<", body)} - {""}
    return texts | set(re.findall(r'(?:placeholder|title|aria-label)="([^"]+)"', body))


def translated(language: str) -> dict[str, str]:
    source = (STATIC / f"{language}.js").read_text()
    pairs = re.findall(r'^  ("(?:[^"\\]|\\.)*"): ("(?:[^"\\]|\\.)*"),$', source, re.MULTILINE)
    return {json.loads(text): json.loads(said) for text, said in pairs}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_translated(language):
    """The page in Portuguese or Spanish has no English sentence left (Contract 8.4)."""
    missing = spoken() - translated(language).keys()
    assert not missing


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_translation_is_left_over_or_loses_a_value(language):
    """Each says what the English text says, with the same values in it (Contract 8.4)."""
    known = spoken()
    for text, said in translated(language).items():
        assert text in known
        assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", said))


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_is_written_twice(language):
    """A text has one translation (Contract 8.4)."""
    source = (STATIC / f"{language}.js").read_text()
    assert len(translated(language)) == source.count("\n  ")
