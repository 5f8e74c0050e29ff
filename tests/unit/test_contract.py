"""Every rule that is cited can be looked up, and every rule has a test that cites it."""

from __future__ import annotations

import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTRACT = ROOT / "docs" / "contract.md"

_RULE = r"[1-8](?:\.\d{1,2})?"
_RULES = rf"{_RULE}(?:(?:, | and | or | to |, and ){_RULE})*"
_CITED = re.compile(rf"Contract ({_RULES})|\(({_RULES})\)|, ({_RULES})\)|\(({_RULES})[:;,]")
_RANGE = re.compile(r"(\d)\.(\d+) to \1\.(\d+)")


def test_each_cited_rule_is_in_the_contract():
    """Whoever reads "Contract n.n" in code, tests or documents can look it up in the contract."""
    known = rules() | {rule.partition(".")[0] for rule in rules()}
    unknown = {
        f"{path.relative_to(ROOT)}: {rule}" for path in cited_in() for rule in cited(path) - known
    }
    assert not unknown


def test_each_rule_has_a_test_that_cites_it():
    """What no test proves is named at the top of the contract, so that nobody relies on it."""
    tests = (path for path in cited_in() if path.is_relative_to(ROOT / "tests"))
    proven = set().union(*map(cited, tests))
    unproven = rules() - proven
    assert unproven == not_built_yet(), "the line at the top of docs/contract.md has to name them"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"""Nothing is lost (Contract 6.2)."""', {"6.2"}),
        ('"""As it was (4.4 to 4.6, and 8.1)."""', {"4.4", "4.5", "4.6", "8.1"}),
        ("wait = 1.5  # long enough (3.1)", {"3.1"}),
        ("call(1.5)", set()),
    ],
)
def test_citations_are_found(tmp_path, text, expected):
    """Comments and docstrings are read, and code is not."""
    path = tmp_path / "some.py"
    path.write_text(f"def f():\n    {text}\n")
    assert cited(path) == expected


def rules() -> set[str]:
    return set(re.findall(r"^### (\d\.\d+) ", CONTRACT.read_text(), re.MULTILINE))


def not_built_yet() -> set[str]:
    """Return the rules that the contract itself says are agreed and not built yet."""
    sentence = re.search(r"^Not built yet: ([\d., ]*)", CONTRACT.read_text(), re.MULTILINE)
    return set(re.findall(_RULE, sentence[1])) if sentence else set()


def cited_in() -> list[Path]:
    """Return the files of this project that may cite a rule."""
    folders = ["zbl_provider", "tests", "docs", "dags", "demo", "benchmarks"]
    files = [path for name in folders for path in (ROOT / name).rglob("*.*")]
    kinds = {".py", ".js", ".md", ".sql"}
    others = {CONTRACT, Path(__file__)}
    return [ROOT / "README.md"] + [
        path for path in files if path.suffix in kinds and path not in others
    ]


def cited(path: Path) -> set[str]:
    """Return the rules that a file cites: of Python in its comments and docstrings alone."""
    text = path.read_text()
    if path.suffix == ".py":
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        kept = (
            token.string
            for token in tokens
            if token.type == tokenize.COMMENT or token.string.startswith('"""')
        )
        text = "\n".join(kept)
    cited: set[str] = set()
    for groups in _CITED.findall(re.sub(r"\s+", " ", text)):
        citation = "".join(groups)
        for section, first, last in _RANGE.findall(citation):
            cited |= {f"{section}.{n}" for n in range(int(first), int(last) + 1)}
        cited |= set(re.findall(_RULE, citation))
    return cited
