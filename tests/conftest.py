"""Every test process has an Airflow home of its own, set before Airflow is first imported."""

import base64
import os
import shutil
import tempfile

import pytest
from hypothesis import settings

# How long an example takes says more of the machine than of the code. Two runs on the same code try
# the same examples, so that a change is judged by what it changed; `make search` tries others.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=5_000, print_blob=True)
settings.load_profile("same")

HOME = tempfile.mkdtemp(prefix="zbl-airflow-")
for name in [name for name in os.environ if name.startswith("AIRFLOW_")]:
    del os.environ[name]
os.environ |= {
    "AIRFLOW_HOME": HOME,
    "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode(),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__DAGS_FOLDER": f"{HOME}/dags",
    # A machine's own settings must not decide what is trusted: the tests prove that they don't.
    "NO_PROXY": "localhost,127.0.0.1",
}


@pytest.hookimpl(trylast=True)
def pytest_unconfigure():
    """Leave nothing behind."""
    shutil.rmtree(HOME, ignore_errors=True)
