"""The graphs of the example Dags, as Airflow draws them."""

import json

import pytest

from tests.browser.conftest import Site, pictures
from tests.support.airflow import Airflow
from tests.support.commands import EXAMPLES, ROOT
from tests.support.databases import postgres
from tests.support.examples import Examples
from tests.support.receiver import Receiver
from tests.support.rest import wait_for

__all__ = ["postgres"]

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

# What the graph's own buttons store: beside the tasks, what starts the Dag.
SETTINGS = {"default_dag_view": "graph", "dependencies-{dag}": "all", "direction-{dag}": "RIGHT"}
NODES = """() => [...document.querySelectorAll(".react-flow__node")].map(node => {
    const { left, top, right, bottom } = node.getBoundingClientRect();
    return { left, top, right, bottom };
})"""
MARGIN = 16
LEAD = {"lead_id": "1042"}


@pytest.fixture(scope="module")
def site(tmp_path_factory, postgres):
    """Give an Airflow with the examples alone, in place of the one that other tests share."""
    folder = tmp_path_factory.mktemp("graphs")
    options = {"AIRFLOW__ZBL__ALLOWED_NETWORKS": "127.0.0.0/8, ::1/128"}
    with (
        Receiver() as receiver,
        Airflow(folder / "airflow", ROOT / "dags", options=options) as airflow,
    ):
        authority = str(receiver.write_authority(folder / "ca.pem"))
        yield Site(airflow, airflow.rest, receiver, authority, pictures(folder))


@pytest.fixture(scope="module")
def examples(site, postgres):
    examples = Examples(
        site.airflow, site.receiver, site.authority, postgres, {"n8n", "newsletter"}
    )
    examples.create_table()
    examples.qualify("1042", phone="+5511999999999", list_="Google Ads Campaign")
    examples.set_up()
    return examples


def run_of(examples, dag):
    """Return a run that has done its work."""
    by_hand = dag == "zbl_one_lead"
    run = examples.rest.trigger(dag, conf=LEAD) if by_hand else examples.first_run(dag)
    if dag == "zbl_follow":  # which stays for an hour
        wait_for("a task that runs", lambda: examples.arrivals("callback"), seconds=90)
    else:
        examples.rest.wait_for_run(dag, run)
    return run


@pytest.mark.parametrize("dag", [path.stem for path in EXAMPLES])
def test_an_example_has_a_graph(site, page, examples, dag):
    """Airflow draws each example Dag, and docs/examples.md shows that (Contract 8.5)."""
    run = run_of(examples, dag)
    stored = {key.format(dag=dag): json.dumps(value) for key, value in SETTINGS.items()}
    page.evaluate("stored => Object.assign(localStorage, stored)", stored)
    page.set_viewport_size({"width": 1600, "height": 900})
    page.goto(f"{site.airflow.url}/dags/{dag}/runs/{run}")
    for task in examples.rest.tasks(dag, run):
        page.locator(".react-flow__node").get_by_text(task["task_id"]).first.wait_for()
    page.add_style_tag(content=".react-flow__background { display: none }")
    page.wait_for_timeout(1500)  # it moves into its place

    nodes = page.evaluate(NODES)
    left, top = (min(node[side] for node in nodes) - MARGIN for side in ("left", "top"))
    right, bottom = (max(node[side] for node in nodes) + MARGIN for side in ("right", "bottom"))
    clip = {"x": left, "y": top, "width": right - left, "height": bottom - top}
    site.picture(page, f"graph-{dag}", clip=clip)
