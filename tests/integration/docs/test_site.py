"""The documentation is a site that builds without a warning."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
pytest.importorskip("sphinx", reason="the site is built where the group docs is installed")


@pytest.mark.timeout(600)
def test_the_site_builds_without_a_warning(tmp_path):
    """
    Every page is there, with a title of its own, search and API reference.

    A broken reference would be an error.
    """
    site = tmp_path / "site"
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going"]
    command += ["-c", ROOT / "docs", "-d", tmp_path / "doctrees", ROOT, site]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = [page.relative_to(ROOT).with_suffix(".html") for page in ROOT.glob("docs/**/*.md")]
    assert not [page for page in pages if not (site / page).exists()]
    titles = _titles(site)
    assert sorted(titles) == sorted(set(titles))
    home = (site / "docs/index.html").read_text()
    assert '<div class="title">Overview</div>' in home
    assert '<a class="reference internal" href="../README.html">Overview</a>' in home
    assert 'id="zbl_provider.exceptions.ZblError"' in (site / "docs/reference.html").read_text()
    assert 'url=docs/index.html"' in (site / "index.html").read_text()


def _titles(site: Path) -> list[str]:
    """Return the titles of all pages, as the search names them."""
    index = (site / "searchindex.js").read_text()
    return json.loads(index.removeprefix("Search.setIndex(").removesuffix(")"))["titles"]
