"""What stands in a release's way."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def release():
    spec = importlib.util.spec_from_file_location("release", ROOT / "tools/release.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("changelog", "problems"),
    [
        ("## [1.0.0] - 2026-01-02\n", []),
        ("## [1.0.0] - unreleased\n", ["CHANGELOG.md: date the section 1.0.0 2026-01-02"]),
        ("## [0.9.0] - 2026-01-02\n", ["CHANGELOG.md: has no section 1.0.0"]),
    ],
)
def test_a_version_is_released_with_its_changelog(release, changelog, problems):
    """People read there what has changed."""
    assert release.problems("1.0.0", changelog, "2026-01-02") == problems


def test_a_tag_says_the_version_of_the_package(release):
    """An index never gives a name back."""
    release.tag_is_right(f"v{release.version()}")
    with pytest.raises(SystemExit, match="is not v"):
        release.tag_is_right("v99")


def test_no_page_says_that_what_is_released_is_on_no_index(release):
    """The index shows the readme as it was when the tag was made."""
    pages = {"README.md": "The package is on no\nindex yet: build it.", "docs/a.md": "An index."}
    assert [problem.partition(":")[0] for problem in release.stale(pages)] == ["README.md"]


@pytest.mark.parametrize("arguments", [["--help"], ["tag-is-right"]])
def test_what_the_script_does_not_know_makes_no_release(arguments):
    """Whoever only asks how it is used gets no tag."""
    command = [sys.executable, ROOT / "tools/release.py", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "python tools/release.py" in done.stderr
    assert "Not released" not in done.stderr
