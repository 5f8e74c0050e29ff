"""
How Sphinx makes the documentation site of these files; `make docs` runs it.

The root of the repository is the source, not docs/: so a relative link means the same on the site
and on the repository's own page, README and changelog included, and nothing is copied.
"""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
# Importing operators has Airflow read a home: not the one of whoever builds.
os.environ.setdefault("AIRFLOW_HOME", str(ROOT / "build" / "airflow"))

import zbl_provider  # noqa: E402  the line above finds it

_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
_REPOSITORY = _PROJECT["urls"]["Homepage"]

project = _PROJECT["name"]
author = _PROJECT["authors"][0]["name"]
project_copyright = author
release = version = zbl_provider.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "sphinx_copybutton"]
root_doc = "docs/index"
include_patterns = ["docs/**.md", "*.md"]
# Only spares Sphinx the walk through them.
exclude_patterns = [".*", "build", "demo", "dist", "node_modules", "tests", "zbl_provider"]

# A reference that leads nowhere is a warning, and `make docs` makes each warning an error.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(?!zbl_provider).*"),
    ("py:class", r"zbl_provider\.delivery\..*"),  # in annotations of the hook, and not public
]
myst_heading_anchors = 4
default_role = "code"

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
maximum_signature_line_length = 60
add_module_names = False

# What is copied can be pasted: commands without their prompt, and without what they print.
copybutton_prompt_text = "$ "
copybutton_line_continuation_character = "\\"

html_theme = "furo"
html_favicon = "site/favicon.svg"
html_title = f"{project} {release}"
html_extra_path = ["site/index.html"]  # leads from the root to docs/index.html
html_static_path = ["site/_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "source_repository": f"{_REPOSITORY}/",
    "source_branch": "main",
    "source_directory": "",
}


def setup(app: Sphinx) -> None:
    """Have the site do what no setting does."""
    app.connect("env-updated", _name_overview)


def _name_overview(_: Sphinx, environment: BuildEnvironment) -> None:
    # The readme's heading is the package's name, as is the home page's. Links, tabs of the browser
    # and search results name a page by its title alone.
    for titles in (environment.titles, environment.longtitles):
        titles["README"] = nodes.title("", "Overview")
