"""The picture that moves, at the head of the readme."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs/images/demo.svg"
_TEXT = "{http://www.w3.org/2000/svg}text"


@pytest.fixture(scope="module")
def recording():
    spec = importlib.util.spec_from_file_location("record_demo", ROOT / "tools/record_demo.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look for their module there
    spec.loader.exec_module(module)
    return module


def test_waits_are_shortened_and_long_lines_wrapped(recording):
    """Nobody watches a picture for a minute and a half, and nothing is cut off."""
    lines = recording.shortened([(0.0, "one"), (50.0, "two " * 40)])
    assert [line.at for line in lines] == [0.0, 1.0, 2.0, 2.0]
    assert all(len(line.text) <= recording.COLUMNS for line in lines)


def test_each_line_is_drawn_with_its_colour_and_as_text(recording):
    """What a terminal shows is in the picture; what looks like markup is no markup."""
    picture = recording.draw(recording.shortened([(0.0, "\x1b[32m216\x1b[0m <delivered>")]))
    texts = {text.text: text.get("class") for text in ET.fromstring(picture).iter(_TEXT)}
    assert texts["216"] == "green"
    assert texts[" <delivered>"] is None


def test_the_last_lines_stay_in_sight(recording):
    """Lines beyond the terminal's height move the others up."""
    picture = recording.draw(recording.shortened([(0.0, str(row)) for row in range(40)]))
    hidden = 41 - recording.ROWS
    assert f"translateY({-19 * hidden}px)" in picture


def test_the_picture_begins_with_the_end_of_the_run(recording):
    """A preview that takes the first moment shows all that came of it, not an empty terminal."""
    lines = recording.shortened([(float(row), str(row)) for row in range(9)])
    assert begins_at(recording.draw(lines)) > lines[-1].at


def test_the_picture_moves_wherever_it_is_shown():
    """An index and a repository show it as an image: no script, nothing from elsewhere, light."""
    text = PICTURE.read_text()
    assert len(text.encode()) < 300_000
    assert "@keyframes" in text
    assert begins_at(text) > 0
    assert not {"<script", "href", "url(", "@import"} & set(text.split())
    assert text.count("http") == text.count("http://www.w3.org/2000/svg") + text.count("localhost")
    words = " ".join(part.text or "" for part in ET.fromstring(text).iter(_TEXT))
    assert "Log and receiver agree" in words


def begins_at(picture: str) -> float:
    """Return the moment of the run, in seconds, that the picture shows when it is opened."""
    duration, delay = re.search(
        r"g \{ animation: ([\d.]+)s step-end (-[\d.]+)s infinite \}", picture
    ).groups()
    return -float(delay) % float(duration)
