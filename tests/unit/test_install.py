"""What docs/install/ gives to start from."""

import re
from pathlib import Path

import yaml

INSTALL = Path(__file__).parents[2] / "docs/install"


def test_the_compose_file_gives_the_log_to_every_component_that_needs_it():
    """A deferred task goes on where its log is (Contract 6.1)."""
    services = yaml.safe_load((INSTALL / "docker-compose.override.yaml").read_text())["services"]
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


def test_a_pod_has_the_log_with_the_chart_and_without():
    """Each task's pod reaches the log, whoever makes the pod (Contract 6.1)."""
    values = yaml.safe_load((INSTALL / "values.yaml").read_text())
    (secret,) = values["secret"]
    assert {setting["name"]: setting["value"] for setting in values["env"]} == {
        "AIRFLOW__ZBL__DELIVERY_LOG_CONN_ID": "zbl_log"
    }
    pod = yaml.safe_load((INSTALL / "pod_template.yaml").read_text())
    (task,) = pod["spec"]["containers"]
    assert task["name"] == "base"
    given = {setting["name"]: setting for setting in task["env"]}
    assert given["AIRFLOW__ZBL__DELIVERY_LOG_CONN_ID"]["value"] == "zbl_log"
    log = given["AIRFLOW_CONN_ZBL_LOG"]["valueFrom"]["secretKeyRef"]
    assert secret == {
        "envName": "AIRFLOW_CONN_ZBL_LOG",
        "secretName": log["name"],
        "secretKey": log["key"],
    }
    assert "AIRFLOW__CORE__FERNET_KEY" in given


def test_every_way_to_install_has_the_airflow_that_is_tried():
    """The image and the chart are of the version that the constraints pin."""
    constraints = (INSTALL.parents[1] / "constraints.txt").read_text()
    [pinned] = re.findall(r"^apache-airflow==(\S+)", constraints, re.MULTILINE)
    assert f"FROM apache/airflow:{pinned}-" in (INSTALL / "Dockerfile").read_text()
    assert yaml.safe_load((INSTALL / "values.yaml").read_text())["airflowVersion"] == pinned
