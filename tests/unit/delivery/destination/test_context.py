"""Nothing of what was refused hangs on the error (Contract 1.5)."""

from __future__ import annotations

import json

import pytest

from zbl_provider.delivery.destination import Destination
from zbl_provider.exceptions import ConfigurationError

MARK = "s3cr3t-m4rk"
URL = f"https://hooks.example.com/{MARK}"


def everything_about(error):
    """Give all that anybody could print of an error and of what it was raised from."""
    chain, texts = [error], []
    for problem in chain:
        chain += [other for other in (problem.__cause__, problem.__context__) if other is not None]
        texts += [
            str(problem),
            repr(problem),
            repr(problem.args),
            repr(vars(problem)),
            getattr(problem, "doc", ""),
        ]
    return " ".join(map(str, texts))


REFUSED = [
    {"extra": f'{{"secret_headers": {{"X-Key": "{MARK}"}}'},
    {"extra": f'["{MARK}"'},
    {"extra": f'{{"{MARK}": NaN}}'},
    {"extra": {"secret_headers": f'{{"X-Key": "{MARK}"'}},
    {"extra": {"secret_headers": {f"X {MARK}": "a"}}},
    {"extra": {"secret_headers": {"X-Key": f"{MARK}\n"}}},
    {"extra": {"secret_headers": {"X-Key": [MARK]}}},
    {"extra": {"secret_headers": {"Authorization": f"Bearer {MARK}", "X": "Bearer ***"}}},
    {"extra": {"signing_secret": f"whsec_é{MARK}"}},
    {"extra": {"signing_secret": MARK}},
    {"extra": {"max_rate": MARK}},
    {"extra": {"proxy": f"http://u:{MARK}@[::1"}},
    {"extra": {"proxy": f"http://proxy/{MARK}"}},
    {"extra": {"body": {"a": f"{{{{ '{MARK}'"}}},
    {"extra": {"body": {"a": f"{{{{ {MARK} }}}}"}}},
    {"extra": {"body": {"a": f"{MARK}\ud800"}}},
    {"extra": {"body": f'{{"{MARK}"'}},
    {"host": f"https://hooks.example.com/***{MARK}"},
    {"host": f"https://u:{MARK}@host/"},
    {"host": f"https://\u2044{MARK}/"},
    {"login": f"u:{MARK}", "password": "x"},
    {"password": MARK},
]


@pytest.mark.parametrize("given", REFUSED, ids=lambda given: json.dumps(given)[:40])
def test_a_refusal_holds_nothing_of_what_was_refused(given):
    """Message, repr, attributes, causes and contexts: none has a secret (1.2 and 1.5)."""
    with pytest.raises(ConfigurationError) as refused:
        Destination.parse(integration="test", **({"host": URL} | given))
    assert MARK not in everything_about(refused.value)
    assert refused.value.field
    assert refused.value.remedy
