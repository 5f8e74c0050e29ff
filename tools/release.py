"""
Make a release, all but publishing it: `make release` checks, and makes the tag that publishes.

    python tools/release.py              # checks, then makes the tag
    python tools/release.py tag-is-right v1.0.0
"""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
UNPUBLISHED = "on no index yet"  # until the first release


def version() -> str:
    """Read the version from where the package has it."""
    text = (ROOT / "zbl_provider/__init__.py").read_text()
    match = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if not match:
        sys.exit("zbl_provider/__init__.py: give __version__ in a line of its own")
    return match[1]


def problems(version: str, changelog: str, today: str) -> list[str]:
    """
    Tell what stands in a release's way.

    :param version: the version to be released
    :param changelog: the text of CHANGELOG.md
    :param today: the date, as the changelog writes it
    """
    if f"## [{version}] - {today}" in changelog:
        return []
    if f"## [{version}]" in changelog:
        return [f"CHANGELOG.md: date the section {version} {today}"]
    return [f"CHANGELOG.md: has no section {version}"]


def stale(pages: dict[str, str]) -> list[str]:
    """
    Tell which pages the release makes untrue; the readme is shown on the index itself.

    :param pages: text by path
    """
    return [
        f'{path}: "{UNPUBLISHED}" will be untrue: say how to install it from the index'
        for path, text in pages.items()
        if UNPUBLISHED in " ".join(text.split())
    ]


def tag_is_right(tag: str) -> None:
    """Refuse a tag that says another version than the package."""
    if tag != f"v{version()}":
        sys.exit(f"The tag {tag} is not v{version()}: change zbl_provider/__init__.py, or the tag")


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    """Check what must hold, build, and make the tag; pushing it is left to a person."""
    today = datetime.now(UTC).date().isoformat()
    obstacles = problems(version(), (ROOT / "CHANGELOG.md").read_text(), today)
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    obstacles += stale({str(page.relative_to(ROOT)): page.read_text() for page in pages})
    if _git("status", "--porcelain"):
        obstacles.append("commit what is changed, or put it away")
    if _git("branch", "--show-current") != "main":
        obstacles.append("go to main")
    if f"v{version()}" in _git("tag").split():
        obstacles.append(f"the tag v{version()} is there already: raise zbl_provider.__version__")
    if obstacles:
        sys.exit("Not released:\n" + "\n".join(f"- {problem}" for problem in obstacles))
    subprocess.run(["make", "-C", str(ROOT), "dist"], check=True)
    _git("tag", "--annotate", f"v{version()}", "--message", f"Version {version()}")
    print(f"Tagged. To publish: git push origin main v{version()}")


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            main()
        case ["tag-is-right", tag]:
            tag_is_right(tag)
        case _:
            sys.exit(__doc__)
