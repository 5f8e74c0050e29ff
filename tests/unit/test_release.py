"""What stands in a release's way."""

import importlib.util
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
