"""The page as each role of the FAB auth manager has it: what it sees, and is offered (8.10)."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import SALES, Site, browsing, running
from tests.support.airflow import USER
from tests.support.fab import MANAGER
from tests.support.receiver import Reply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

DAG = "one_lead"
PASSWORD = "correct horse"
READ = "can_read"
ROLES = {
    "One Dag": [(READ, f"DAG:{DAG}"), (READ, "DAG Runs"), (READ, "Task Instances")],
    # The command that the documentation has gives it what its name says.
    "Shown plugins": [(READ, "DAGs"), (READ, "DAG Runs"), (READ, "Task Instances")],
}
USERS = {
    USER: "Admin",
    "olga": "Op",
    "uwe": "User",
    "vera": "Viewer",
    "otto": "One Dag",
    "petra": "Shown plugins",
}
DOCUMENTED = Path(__file__).parents[2] / "docs" / "deliveries-page.md"


@pytest.fixture(scope="module")
def fab(tmp_path_factory) -> Iterator[Site]:
    """Give an Airflow under FAB, with two leads of a Dag that the role One Dag may see."""
    folder = tmp_path_factory.mktemp("fab")
    people = folder / "people.json"
    people.write_text(json.dumps({"roles": ROLES, "users": USERS, "password": PASSWORD}))
    options = {
        "AIRFLOW__CORE__AUTH_MANAGER": MANAGER,
        "AIRFLOW__FAB__AUTH_RATE_LIMITED": "False",
        "AIRFLOW__FAB__CACHE_TTL": "1",
    }
    prepare = ("-m", "tests.support.fab", str(people))
    dags = [Path(__file__).parent / "dags"]
    with running(folder, dags, options, prepare=prepare, password=PASSWORD) as site:
        site.rest.wait_for_dag(DAG)
        yield site


@pytest.fixture
def browser() -> Iterator[Page]:
    """Give a browser in which nobody is signed in."""
    with browsing() as page:
        page.set_viewport_size({"width": 1280, "height": 850})
        yield page


def _sign_in(fab, page, user: str) -> None:
    page.goto(f"{fab.airflow.url}/auth/login/")
    fab.fill_in(page, user, PASSWORD)
    page.get_by_text("Dags", exact=True).first.wait_for()


def _send(fab, lead_id: str, answer: int = 200) -> str:
    fab.receiver.answer = lambda request: Reply(answer if request.path == SALES else 200)
    lead = {"id": lead_id, "score": 90, "status": "qualified"}
    run = fab.rest.trigger(DAG, conf={"lead": lead})
    fab.rest.wait_for_run(DAG, run)
    fab.receiver.answer = lambda _: Reply()
    return run


def _follow_the_link(fab, page, run: str):
    """Open the task's page, follow its link, and return the page of leads, framed or not."""
    page.goto(f"{fab.airflow.url}/dags/{DAG}/runs/{run}/tasks/to_sales/details")
    page.locator("a[href*='/zbl/leads?']", has_text="Lead deliveries").click()
    page.wait_for_url(re.compile(r"/plugin/lead-deliveries|/zbl/\?"))
    framed = "/plugin/" in page.url
    return page.frame_locator("iframe[title='Leads']") if framed else page


@pytest.mark.parametrize(
    ("user", "in_the_ui", "resends", "tests"),
    [
        (USER, True, True, True),
        ("olga", True, True, True),
        ("uwe", False, True, False),
        ("vera", False, False, False),
        ("otto", False, False, False),
    ],
)
def test_each_role_has_the_page_and_what_it_may_do(fab, browser, user, in_the_ui, resends, tests):
    """A task's link shows its lead to every role, and buttons to those who may use them (8.10)."""
    lead = f"lead-of-{user}"
    run = _send(fab, lead, answer=422)
    _sign_in(fab, browser, user)
    view = _follow_the_link(fab, browser, run)
    assert ("/plugin/" in browser.url) == in_the_ui
    expect(view.locator("table.leads tbody tr")).to_have_count(1)
    expect(view.locator("table.leads .badge")).to_have_text("Error")
    assert "404" not in view.locator("body").inner_text()
    leads = browser.get_by_role("link", name="Leads", exact=True)
    expect(leads).to_have_count(1 if in_the_ui else 0)
    fab.picture(browser, f"fab-{user}")

    view.locator("table.leads .link").click()
    dialog = view.get_by_role("dialog")
    if resends:
        dialog.get_by_role("button", name="Show what is sent").click()
        shown = view.get_by_role("dialog", name=re.compile("What is sent of"))
        expect(shown.locator("pre").first).to_contain_text(lead)
        shown.get_by_role("button", name="Close").click()
        dialog.get_by_role("button", name="Resend").click()
        question = view.get_by_role("dialog", name="Resend 1 lead?")
        question.get_by_role("button", name="Resend").click()
        expect(question).to_contain_text("Cleared: 1 task.")
        question.get_by_role("button", name="Close").click()
        expect(dialog.locator(".where .badge")).to_have_text("Delivered", timeout=60_000)
    else:
        expect(dialog).to_contain_text("You may not clear this lead's task")
        expect(dialog.get_by_role("button", name=re.compile("Resend|Show"))).to_have_count(0)
    fab.picture(browser, f"fab-{user}-lead")
    dialog.get_by_role("button", name="Close").click()

    view.get_by_role("button", name="Reset").click()
    rows = view.locator("table.leads tbody tr")
    if user == "otto":
        expect(rows.first.locator(".task")).to_contain_text(DAG)
        assert set(rows.locator(".task").all_inner_texts()) == {f"{DAG} / to_sales"}
    else:
        expect(rows).to_have_count(50)
    view.get_by_role("tab", name="Integrations").click()
    card = view.get_by_role("article", name="sales")
    expect(card.get_by_role("button", name="Hold")).to_have_count(int(resends))
    expect(card.get_by_role("button", name="Send test lead")).to_have_count(int(tests))
    expect(view.get_by_role("article")).to_have_count(1 if user == "otto" else 4)
    fab.picture(browser, f"fab-{user}-integrations")
    if not in_the_ui:
        view.get_by_role("link", name="Airflow", exact=True).click()
        browser.get_by_text("Dags", exact=True).first.wait_for()


def test_a_link_survives_the_sign_in_of_fab(fab, browser):
    """Who is not signed in comes back to what the link shows, after FAB's own form (8.3)."""
    run = _send(fab, "lead-signed-in")
    browser.goto(f"{fab.airflow.url}/zbl/?dag={DAG}&run={quote(run)}&period=all")
    browser.get_by_role("link", name="sign in to Airflow").click()
    fab.fill_in(browser, "vera", PASSWORD)
    browser.wait_for_url(re.compile(r"/zbl/\?"))
    expect(browser.locator("table.leads tbody tr")).to_have_count(1)
    expect(browser.locator("#filters [name=run]")).to_have_value(run)


def test_a_link_survives_a_session_of_fab_that_outlives_airflows(fab, browser):
    """Whom FAB still knows sees what the link shows at once, not Airflow's home (Contract 8.3)."""
    run = _send(fab, "lead-known")
    _sign_in(fab, browser, "vera")
    browser.context.clear_cookies(name="_token")
    browser.goto(f"{fab.airflow.url}/zbl/?dag={DAG}&run={quote(run)}&period=all")
    expect(browser.locator("table.leads tbody tr")).to_have_count(1)
    expect(browser.locator("#filters [name=run]")).to_have_value(run)


def test_the_documented_command_brings_the_page_into_the_navigation(fab, browser):
    """The right that the documentation names is the one that is missing (Contract 8.10)."""
    run = _send(fab, "lead-navigated")
    _sign_in(fab, browser, "petra")
    assert "/zbl/" in _follow_the_link(fab, browser, run).url
    (command,) = re.findall(
        r"^airflow (roles add-perms .*Plugins)$", DOCUMENTED.read_text(), re.MULTILINE
    )
    role = "Shown plugins"
    arguments = [role if part == "Viewer" else part for part in command.split()]
    subprocess.run(
        [sys.executable, "-m", "airflow", *arguments],
        env=fab.airflow.environment,
        check=True,
        capture_output=True,
        timeout=120,
    )
    browser.goto(fab.airflow.url)
    browser.get_by_role("link", name="Leads", exact=True).click()
    view = browser.frame_locator("iframe[title='Leads']")
    view.locator("table.leads tbody tr").first.wait_for()
    fab.picture(browser, "fab-petra")
    _follow_the_link(fab, browser, run)
    assert "/plugin/lead-deliveries" in browser.url
