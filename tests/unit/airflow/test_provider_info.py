"""What Airflow reads of the provider at start."""

import ast
import importlib
import json
from pathlib import Path

import airflow
import jsonschema
import pytest

from zbl_provider import __version__, get_provider_info

INFO = get_provider_info.get_provider_info()
CONNECTION = INFO["connection-types"][0]
SCHEMAS = Path(airflow.__file__).parent
# What only Airflow's own release process adds to a provider.yaml.
RELEASE = {"state": "ready", "source-date-epoch": 0, "versions": [__version__]}


@pytest.mark.parametrize(
    ("schema", "info"),
    [("provider_info.schema.json", INFO), ("provider.yaml.schema.json", INFO | RELEASE)],
)
def test_it_is_valid_against_the_schemas_of_airflow(schema, info):
    """The provider's metadata fits what Airflow itself publishes for providers."""
    jsonschema.validate(info, json.loads((SCHEMAS / schema).read_text()))


def test_it_imports_nothing_of_airflow():
    """`get_provider_info` runs while Airflow is being imported, so it must not import Airflow."""
    tree = ast.parse(Path(get_provider_info.__file__).read_text())
    imported = {
        name.name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    }
    assert imported == {"__future__", "typing"}


@pytest.mark.parametrize("kind", ["hooks", "operators", "sensors", "triggers"])
def test_every_declared_module_is_there(kind):
    """What the metadata declares can be imported."""
    for entry in INFO[kind]:
        for module in entry["python-modules"]:
            importlib.import_module(module)


@pytest.mark.parametrize("kind", ["cli", "extra-links", "notifications"])
def test_every_declared_name_is_there(kind):
    """What the metadata names one by one can be imported."""
    for path in INFO[kind]:
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name)


def test_the_hook_and_its_declaration_agree():
    """Connection type, name and default id are those of the hook (Contract 1.1)."""
    module, _, name = CONNECTION["hook-class-name"].rpartition(".")
    hook = getattr(importlib.import_module(module), name)
    assert (CONNECTION["connection-type"], CONNECTION["hook-name"]) == (
        hook.conn_type,
        hook.hook_name,
    )
    assert hook.default_conn_name == "zbl_webhook_default"


def test_the_form_has_every_field_of_the_contract():
    """The form offers the keys of rule 1.2 with their types, and each may be left untouched."""
    types = {
        key: (field["schema"]["type"][0], field["schema"].get("default"))
        for key, field in CONNECTION["conn-fields"].items()
    }
    assert types == {
        "secret_headers": ("object", None),
        "active": ("boolean", True),
        "min_score": ("integer", None),
        "lists": ("array", None),
        "field_filters": ("array", None),
        "signing_secret": ("string", None),
        "retry_statuses": ("array", None),
        "max_concurrency": ("integer", 16),
        "max_rate": ("number", None),
        "body": ("object", None),
        "keep_alive": ("boolean", True),
    }
    assert all("null" in field["schema"]["type"] for field in CONNECTION["conn-fields"].values())


def test_airflow_reads_the_options():
    """The `[zbl]` section gives its defaults to whoever asks Airflow's configuration."""
    from airflow.sdk.configuration import conf

    assert conf.getint("zbl", "payload_retention_days") == 30
    assert conf.getint("zbl", "log_retention_days") == 365
    assert conf.get("zbl", "allowed_networks") == ""
    assert conf.get("zbl", "delivery_log_conn_id", fallback=None) is None
