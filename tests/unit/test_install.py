"""What docs/install/ gives to start from."""

from pathlib import Path

import yaml

INSTALL = Path(__file__).parents[2] / "docs/install"


def test_the_compose_file_gives_the_log_to_every_component_that_needs_it():
    """A deferred task goes on where its log is (Contract 6.1)."""
    services = yaml.safe_load((INSTALL / "compose.yaml").read_text())["services"]
    components = {name for name in services if name.startswith("airflow-")}
    assert components == {
        f"airflow-{name}"
        for name in ("apiserver", "worker", "triggerer", "scheduler", "dag-processor", "cli")
    }
    for name in components:
        settings = services[name]["environment"]
        assert settings["AIRFLOW__ZBL__DELIVERY_LOG_CONN_ID"] == "zbl_log"
        assert settings["AIRFLOW_CONN_ZBL_LOG"].endswith("@zbl-log/zbl")
        assert settings["AIRFLOW__CORE__FERNET_KEY"].startswith("${ZBL_FERNET_KEY:?")
