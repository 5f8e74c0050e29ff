"""The page "Lead deliveries", as people use it (Contract 8.4, 7.2 and 7.3)."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import SALES, VIEWER
from tests.support.receiver import Reply
from tests.support.rest import wait_for
from zbl_provider.log.browse.model import Query
from zbl_provider.log.store import DeliveryLog

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

DAG = "one_lead"
HOSTILE = (
    b"<script>parent.document.title = 'hacked'</script><style>* { display: none }</style>"
    b"<img src=x onerror=alert(1)>\x1b[31m\x00\xff"
)
PLAIN = b'{"error": "city is required"}'
PERSON = {
    "email": "ana@example.com",
    "name": "Ana Souza",
    "phone": "+5511999999999",
    "company": "Example Ltda",
    "custom_fields": {"job_title": "Sales Director", "city": "São Paulo"},
    "verifications": {
        "email_valid": True,
        "phone_valid": True,
        "cnpj_valid": True,
        "cnpj_status": "Active",
        "ip_risk_score": 5,
        "ip_proxy": False,
        "ip_vpn": False,
    },
    "created_at": "2026-02-23T14:30:00Z",
    "qualified_at": "2026-02-23T14:30:02Z",
}
BEYOND = "element => element.scrollWidth - element.clientWidth"
WIDE, NARROW = {"width": 1280, "height": 850}, {"width": 375, "height": 812}


@pytest.fixture
def view(site, page):
    """Give the page in its frame, opened from the navigation."""
    page.set_viewport_size(WIDE)
    page.problems = []
    page.on("pageerror", lambda problem: page.problems.append(str(problem)))
    page.on("console", lambda said: said.type == "error" and page.problems.append(said.text))
    view = _open(page)
    yield view
    assert page.problems == []


@pytest.fixture
def answers(site):
    """Give a function that sets what the sales department's receiver answers."""
    before = site.receiver.answer

    def answer(reply: Reply) -> None:
        site.receiver.answer = lambda request: reply if request.path == SALES else before(request)

    answer(Reply())
    yield answer
    site.receiver.answer = before


def _open(page):
    page.get_by_role("link", name="Leads", exact=True).click()
    view = page.frame_locator("iframe[title='Leads']")
    view.locator("table.leads tbody tr").first.wait_for()
    return view


def _rows(view):
    return view.locator("table.leads tbody tr")


def _row(view, lead_id: str):
    return _rows(view).filter(has=view.get_by_role("button", name=lead_id, exact=True))


def _tile(view, name: str):
    return view.get_by_role("group", name="Leads by status").get_by_role("button", name=name)


def _field(view, name: str):
    return view.locator(f"#filters [name={name}]")


def _look_for(view, text: str) -> None:
    _field(view, "lead").fill(text)
    _field(view, "lead").press("Enter")


def _open_in_error(site, view, lead_id: str):
    """Send a lead that is refused, and return the dialog that shows it, with its answer."""
    _send(site, lead_id)
    _look_for(view, lead_id)
    expect(_row(view, lead_id).locator(".badge")).to_have_text("Error")
    _row(view, lead_id).locator(".link").click()
    lead = view.get_by_role("dialog")
    expect(lead).to_contain_text("answered 422")
    lead.get_by_text("Answer", exact=True).click()
    return lead


def _send(site, lead_id: str, **fields: object) -> str:
    site.rest.wait_for_dag(DAG)
    run = _trigger(site, lead_id, **fields)
    site.rest.wait_for_run(DAG, run)
    return run


def _trigger(site, lead_id: str, **fields: object) -> str:
    lead = {"id": lead_id, "score": 90, "status": "qualified", **fields}
    return site.rest.trigger(DAG, conf={"lead": lead})


def _arrived(site, lead_id: str) -> list:
    return [
        request
        for request in site.receiver.received
        if request.path == SALES and request.lead_id == lead_id
    ]


def _cut_off(page) -> list[str]:
    """Return the hints in empty fields that are longer than their field."""
    return page.evaluate(
        """() => {
          const pen = document.createElement("canvas").getContext("2d");
          return [...document.querySelectorAll("input[placeholder]")].filter((field) => {
            const { font, paddingLeft, paddingRight } = getComputedStyle(field);
            pen.font = font;
            const room = field.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight);
            // A search field keeps room for its cross, be it shown or not.
            return field.clientWidth && pen.measureText(field.placeholder).width > room - 20;
          }).map((field) => field.placeholder);
        }"""
    )


def _overflow(page) -> int:
    frame = page.frames[-1]
    return frame.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )


def test_the_page_shows_the_newest_leads_and_what_became_of_all(site, page, view):
    """It opens from the navigation with funnel, charts and the newest leads (Contract 8.4)."""
    times = [row.inner_text() for row in view.locator("table.leads time").all()]
    assert len(times) == 50
    assert times == sorted(times, reverse=True)
    figures = view.locator(".tile .number").all_inner_texts()
    numbers = [int(figure.replace(",", "")) for figure in figures]
    assert numbers[0] == sum(numbers[1:]) > 1000
    expect(view.locator("#chart, .plot svg")).to_have_count(2)
    view.get_by_text("Charts as a table").click()
    assert view.locator(".as-table tbody tr").count() > 10
    view.get_by_text("Charts as a table").click()
    _field(view, "integration").select_option("zapier")
    expect(view.locator(".tile .number").first).not_to_have_text(figures[0])
    expect(_rows(view).locator(".integration", has_not_text="zapier")).to_have_count(0)
    page.mouse.move(5, 700)
    site.picture(page, "deliveries-page")


def test_what_is_filtered_is_in_the_address_and_can_be_shared(site, page, view):
    """Filters, page and the open lead come back with the address of the browser (8.4)."""
    _tile(view, "Error").click()
    expect(_rows(view).first.locator(".badge")).to_have_text("Error")
    _field(view, "integration").select_option("make")
    expect(page).to_have_url(re.compile("status=error.*integration=make"))
    expect(_rows(view).first.locator(".integration")).to_have_text("make")
    _field(view, "period").select_option("all")
    expect(page).to_have_url(re.compile("period=all"))
    page.wait_for_timeout(500)
    shown = _rows(view).first.inner_text()

    page.goto(page.url)
    expect(_rows(view).first.locator(".badge")).to_have_text("Error")
    assert _rows(view).first.inner_text() == shown
    expect(_field(view, "integration")).to_have_value("make")
    expect(_tile(view, "Error")).to_have_attribute("aria-pressed", "true")
    _rows(view).first.locator(".link").click()
    expect(page).to_have_url(re.compile(r"open=\d+"))
    page.goto(page.url)
    expect(view.get_by_role("dialog")).to_contain_text("Attempts")


def test_a_task_links_to_its_leads(site, page, view, answers):
    """The link on a task's page opens the leads of that very task instance (Contract 8.3)."""
    run = _send(site, "lead-78")
    _send(site, "lead-79")
    task = f"{site.airflow.url}/dags/{DAG}/runs/{run}/tasks/to_sales"
    page.goto(f"{task}/details")
    # The navigation has one of the same name, without filters.
    page.locator("a[href*='/zbl/leads?']", has_text="Lead deliveries").click()
    expect(_rows(view)).to_have_count(1)
    expect(_row(view, "lead-78").locator(".badge")).to_have_text("Delivered")
    expect(_field(view, "run")).to_have_value(run)
    _field(view, "map").fill("3")  # it is not a mapped task
    expect(_rows(view)).to_have_count(0)
    expect(page).to_have_url(re.compile("map=3"))


def test_pages_lead_to_older_leads_and_back(page, view):
    """Older leads are a page further, the newest one click away (Contract 8.4)."""
    first = _rows(view).first.inner_text()
    view.get_by_role("button", name="Older").click()
    expect(page).to_have_url(re.compile(r"before=\d+"))
    expect(_rows(view).first).not_to_have_text(first)
    view.get_by_role("button", name="Newest").click()
    expect(page).not_to_have_url(re.compile("before="))


def test_a_lead_is_found_by_its_id_or_said_not_to_be_there(site, page, view):
    """Whoever asks for a lead gets it, or a plain no and a way back (Contract 8.4)."""
    _look_for(view, "lead-03999")
    expect(_rows(view)).to_have_count(1)
    _look_for(view, "no-such-lead")
    expect(view.locator(".empty")).to_contain_text("No lead with the ID “no-such-lead”")
    view.locator(".empty").get_by_role("button", name="Reset filters").click()
    expect(_rows(view)).to_have_count(50)
    view.get_by_role("button", name="Filter by run").click()
    _field(view, "task").fill("to_make")
    expect(_rows(view).first.locator(".integration")).to_have_text("make")


def test_a_person_is_found_by_email_and_no_address_has_it(site, page, view):
    """Typed into the search it finds the leads; the address, shared or loaded anew, too (8.8)."""
    lead = {"id": "lead-90", "score": 90, "status": "qualified", "email": "Ana@Example.com"}
    site.rest.wait_for_dag(DAG)
    site.rest.wait_for_run(DAG, site.rest.trigger(DAG, conf={"lead": lead}))
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    _field(view, "lead").press_sequentially(" ana@example.COM", delay=60)
    _field(view, "lead").press("Enter")
    expect(_rows(view)).to_have_count(1)
    expect(_row(view, "lead-90")).to_have_count(1)
    expect(page).to_have_url(re.compile("email_hash=[0-9a-f]{16}"))
    assert asked
    assert not [url for url in (*asked, page.url) if "ana" in url.lower().partition("?")[2]]
    page.reload()
    expect(_row(view, "lead-90")).to_have_count(1)
    expect(_field(view, "lead")).to_have_value("•••@•••")
    _look_for(view, "nobody@example.com")
    expect(view.locator(".empty")).to_contain_text("No lead with this email")
    expect(_field(view, "lead")).to_have_value("nobody@example.com")
    site.picture(page, "no-person")
    view.locator(".empty").get_by_role("button", name="Look for it as a lead ID").click()
    expect(view.locator(".empty")).to_contain_text("No lead with the ID “nobody@example.com”")
    _field(view, "lead").fill("")
    expect(_rows(view)).to_have_count(50)


def test_a_late_answer_brings_back_no_search_that_was_given_up(site, page, view):
    """What was typed last counts, whenever the server says whom an email means (8.4, 8.8)."""
    late = []
    page.route("**/zbl/api/email-hash", lambda route: late.append(route) or None)
    _look_for(view, "7@example.com")
    page.wait_for_timeout(100)
    view.get_by_role("button", name="Refresh").click()
    expect(view.locator("#updated")).not_to_be_empty()
    expect(_field(view, "lead")).to_have_value("7@example.com")
    _look_for(view, "lead-0005")
    expect(view.locator("#reset")).to_be_visible()
    view.locator("#reset").click()
    expect(_rows(view)).to_have_count(50)
    for route in late:
        route.fulfill(json={"email_hash": "0123456789abcdef"})
    page.wait_for_timeout(500)
    assert len(late) == 1
    assert "email_hash" not in page.url
    expect(_rows(view)).to_have_count(50)
    expect(_field(view, "lead")).to_have_value("")


def test_what_a_receiver_answers_is_shown_as_text(site, page, view, answers):
    """Markup and control characters of an answer do nothing on the page (Contract 7.3)."""
    answers(Reply(422, HOSTILE))
    lead = _open_in_error(site, view, "lead-76")
    expect(lead.locator("pre")).to_contain_text("<script>parent.document.title")
    expect(lead.locator("pre script, pre style, pre img")).to_have_count(0)
    assert page.title() != "hacked"


def test_a_lead_in_error_is_resent_and_the_page_turns_to_delivered(site, page, view, answers):
    """Error, why, cause fixed, Resend, delivered: without leaving the page (Contract 8.4)."""
    answers(Reply(422, PLAIN))
    lead = _open_in_error(site, view, "lead-77")
    expect(lead.locator("pre")).to_have_text(PLAIN.decode())
    site.picture(page, "delivery-lead")

    answers(Reply())
    lead.get_by_role("button", name="Resend").click()
    question = view.get_by_role("dialog", name="Resend 1 lead?")
    site.picture(page, "resend-dialog")
    question.get_by_role("button", name="Resend").click()
    expect(question).to_contain_text("To be sent again: 1 lead.")
    expect(question).to_contain_text("Cleared: 1 task.")
    question.get_by_role("button", name="Close").click()
    expect(lead.locator(".where .badge")).to_have_text("Delivered", timeout=60_000)
    lead.get_by_role("button", name="Close").click()
    expect(_row(view, "lead-77").locator(".badge")).to_have_text("Delivered", timeout=60_000)
    first, second = _arrived(site, "lead-77")
    assert (first.status, second.status) == (422, 200)
    assert first.webhook_id == second.webhook_id


def test_what_is_marked_is_sent_though_the_log_is_away_then(site, page, view, answers):
    """Of very many leads a later step may fail: the tasks of the earlier ones are cleared (8.4)."""
    answers(Reply(422, PLAIN))
    lead = _open_in_error(site, view, "lead-98")
    answers(Reply())

    steps = []

    def one_step(route):
        steps.append(route)
        if len(steps) > 1:
            route.fulfill(status=503, json={"detail": "The delivery log is slow"})
            return
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | {"left": 1})

    page.route("**/zbl/api/resend", one_step)
    lead.get_by_role("button", name="Resend").click()
    question = view.get_by_role("dialog", name="Resend 1 lead?")
    question.get_by_role("button", name="Resend").click()
    expect(question).to_contain_text("The delivery log is slow")
    expect(question).to_contain_text("To be sent again: 1 lead.")
    expect(question).to_contain_text("Cleared: 1 task.")
    page.problems.clear()  # the browser notes that it was answered 503
    question.get_by_role("button", name="Close").click()
    expect(lead.locator(".where .badge")).to_have_text("Delivered", timeout=60_000)


def test_selected_leads_of_a_run_that_is_gone_wait_for_the_next(site, page, view):
    """Where Airflow knows the run no more, the page says who sends the leads (Contract 8.4)."""
    _tile(view, "Error").click()
    expect(_rows(view).first.locator(".badge")).to_have_text("Error")
    _field(view, "integration").select_option("crm")
    expect(_rows(view).first.locator(".integration")).to_have_text("crm")
    for place in range(2):
        _rows(view).nth(place).get_by_role("checkbox").check()
    view.get_by_role("button", name="Resend 2 selected").click()
    question = view.get_by_role("dialog", name="Resend 2 leads?")
    question.get_by_role("button", name="Resend").click()
    expect(question).to_contain_text("To be sent again: 2 leads.")
    expect(question).to_contain_text("The next task that sends to this integration")
    page.problems.clear()  # the browser notes that Airflow answered 404
    question.get_by_role("button", name="Close").click()
    _tile(view, "Pending").click()
    expect(_rows(view)).to_have_count(2)


def test_all_in_error_are_counted_before_they_are_resent(site, page, view):
    """The dialog names the number that the funnel shows, and Cancel changes nothing (8.4)."""
    _field(view, "integration").select_option("zapier")
    expect(_rows(view).first.locator(".integration")).to_have_text("zapier")
    in_error = _tile(view, "Error").locator(".number").inner_text()
    view.get_by_role("button", name=f"Resend all in error ({in_error})").click()
    view.get_by_role("dialog", name=f"Resend {in_error} leads?").get_by_text("Cancel").click()
    expect(view.get_by_role("dialog")).to_have_count(0)
    expect(_tile(view, "Error").locator(".number")).to_have_text(in_error)


def _wait_until_deferred(site, run, *, other_than=""):
    """Wait until a try of the task waits, and return its id."""

    def look():
        task = site.rest.task(DAG, run, "to_sales")
        return task["id"] if task["state"] == "deferred" and task["id"] != other_than else None

    return wait_for("a task that waits", look, seconds=60)


def test_an_integration_is_held_tested_and_resumed(site, page, view, answers):
    """Hold says by whom, a test lead goes out all the same, Resume ends it (8.4, 1.6)."""
    _send(site, "lead-78")
    view.get_by_role("tab", name="Integrations").click()
    card = view.get_by_role("article", name="sales")
    card.get_by_role("button", name="Hold").click()
    view.get_by_role("dialog", name="Hold sales?").get_by_role("button", name="Hold").click()
    expect(card.locator("header .badge")).to_have_text("Held")
    log = DeliveryLog(f"sqlite:///{site.airflow.home / 'zbl_delivery_log.db'}")
    assert log.integration("sales").held_by == "admin"
    expect(view.locator("#kept-back")).to_contain_text("sales has been held by admin")
    card.get_by_role("button", name="Send test lead").click()
    expect(view.get_by_role("dialog")).to_contain_text("Test lead delivered: status 200")
    view.get_by_role("dialog").get_by_role("button", name="Close").click()
    (test,) = [request for request in site.receiver.received if request.headers.get("x-zbl-test")][
        -1:
    ]
    assert (test.path, test.lead_id[:5]) == (SALES, "test-")
    # As tall as what is shown whole: the head, and the first two integrations.
    view.locator("html").evaluate("page => page.scrollTo(0, 0)")
    second = view.get_by_role("article").nth(1).bounding_box()
    page.set_viewport_size(WIDE | {"height": int(second["y"] + second["height"]) + 16})
    site.picture(page, "deliveries-integrations")
    page.set_viewport_size(WIDE)
    held = _trigger(site, "lead-80")
    view.get_by_role("tab", name="Deliveries").click()
    _look_for(view, "lead-80")
    wait_for("the lead", lambda: log.reader.deliveries(Query(lead_id="lead-80")).rows, seconds=60)
    view.get_by_role("button", name="Refresh").click()
    expect(_row(view, "lead-80").locator(".badge")).to_have_text("Pending")
    assert _arrived(site, "lead-80") == []
    _row(view, "lead-80").locator(".link").click()
    view.get_by_role("dialog").get_by_role("button", name="Send now…").click()
    question = view.get_by_role("dialog", name="Send 1 lead now?")
    expect(question).to_contain_text("sales has been held by admin")
    before = _wait_until_deferred(site, held)
    question.get_by_role("button", name="Send now").click()
    expect(question).to_contain_text("Due now: 1 lead.")
    expect(question).to_contain_text("sales has been held by admin")
    question.get_by_role("button", name="Close").click()
    view.get_by_role("dialog").get_by_role("button", name="Close").click()
    # Which has cleared the task.
    _wait_until_deferred(site, held, other_than=before)
    view.get_by_role("tab", name="Integrations").click()
    view.locator("#kept-back").get_by_role("button", name="Resume").click()
    expect(card.locator("header .badge")).to_have_text("Active")
    expect(view.locator("#kept-back")).to_have_text("")
    assert not log.integration("sales").held
    # The triggerer looks every half a minute, and has the task go on.
    view.get_by_role("tab", name="Deliveries").click()
    expect(_row(view, "lead-80").locator(".badge")).to_have_text("Delivered", timeout=120_000)
    assert len(_arrived(site, "lead-80")) == 1
    log.close()


def test_an_integration_is_called_active_only_if_its_connection_is(site, view):
    """Whoever looks for leads that wait finds why on the page (Contract 1.2, 8.4)."""
    site.rest.create_connection("crm", "zbl_webhook", host="https://x.org", extra={"active": False})
    view.get_by_role("tab", name="Integrations").click()
    active, unknown, inactive = (
        view.get_by_role("article", name=name) for name in ("sales", "make", "crm")
    )
    expect(inactive.locator("header .badge")).to_have_text("Inactive")
    expect(inactive).to_contain_text("The connection crm is not active: nothing goes out to it")
    expect(active.locator("header .badge")).to_have_text("Active")
    expect(unknown.locator("header .badge")).to_have_count(0)


def test_a_hold_is_shown_however_late_the_connection_is_read(site, page, view):
    """A secrets backend takes its time: its answer does not undo what was shown since (8.4)."""
    _send(site, "lead-97")
    late = []
    page.route("**/integrations/sales/active", lambda route: late.append(route) or None)
    view.get_by_role("tab", name="Integrations").click()
    card = view.get_by_role("article", name="sales")
    card.get_by_role("button", name="Hold").click()
    view.get_by_role("dialog", name="Hold sales?").get_by_role("button", name="Hold").click()
    expect(card.locator("header .badge")).to_have_text("Held")
    with page.expect_response("**/integrations/sales/active") as answered:
        late[0].continue_()
    assert answered.value.json() == {"active": True}
    page.wait_for_timeout(500)  # the next refresh comes later, and would put it right
    assert card.locator("header .badge").inner_text() == "Held"
    card.get_by_role("button", name="Resume").click()
    expect(card.locator("header .badge")).to_have_text("Active")


def test_links_leave_the_frame_and_the_export_is_a_file(site, page, view, tmp_path, answers):
    """A task's log opens in Airflow itself, and the CSV holds what is filtered (8.4)."""
    run = _send(site, "lead-81")
    _look_for(view, "lead-81")
    expect(_rows(view)).to_have_count(1)
    with page.expect_download() as download:
        view.get_by_role("link", name="Export CSV").click()
    download.value.save_as(tmp_path / "leads.csv")
    (line,) = csv.DictReader((tmp_path / "leads.csv").read_text("utf-8-sig").splitlines())
    assert (line["lead_id"], line["status"], line["run_id"]) == ("lead-81", "delivered", run)
    with page.context.expect_page() as opened:
        view.get_by_role("link", name="New tab").click()
    expect(opened.value.locator("table.leads tbody tr")).to_have_count(1)
    expect(opened.value.get_by_role("heading", name="Lead deliveries")).to_be_visible()
    opened.value.close()
    _rows(view).first.get_by_role("link").click()
    page.wait_for_url(re.compile("/dags/one_lead/runs/.*/tasks/to_sales"))


def test_the_page_follows_the_theme_of_airflow(site, page, view):
    """Light and dark are those that were chosen in Airflow, at once (Contract 8.4)."""
    html = view.locator("html")
    expect(html).to_have_attribute("data-theme", "light")
    page.emulate_media(color_scheme="dark")
    expect(html).to_have_attribute("data-theme", "dark")
    page.evaluate("localStorage.setItem('theme', 'light')")
    expect(html).to_have_attribute("data-theme", "light")
    page.evaluate("localStorage.setItem('theme', 'dark')")
    page.reload()
    expect(html).to_have_attribute("data-theme", "dark")
    _field(view, "integration").select_option("crm")
    expect(_rows(view).first.locator(".integration")).to_have_text("crm")
    site.picture(page, "deliveries-page-dark")


@pytest.mark.parametrize("tab", ["Deliveries", "Integrations"])
def test_nothing_is_cut_off_on_a_telephone(site, page, view, tab):
    """At 375 pixels all of it is there, without scrolling sideways (Contract 8.4)."""
    page.goto(f"{site.airflow.url}/zbl/?status=error")
    page.set_viewport_size(NARROW)
    page.locator("table.leads tbody tr").first.wait_for()
    page.get_by_role("tab", name=tab).click()
    page.wait_for_timeout(500)
    assert _overflow(page) == 0
    if tab == "Deliveries":
        site.picture(page, "deliveries-page-narrow")
        page.locator("table.leads .link").first.click()
        expect(page.get_by_role("dialog")).to_contain_text("Attempts")
        assert _overflow(page) == 0


def test_long_names_are_broken(site, page, view):
    """However long ids and names are, nothing runs out of the page or a dialog (Contract 8.4)."""

    def lengthen(route):
        answer = route.fetch()
        text = answer.text()
        for name in ('"crm', '"lead-', '"zbl_scheduled_pull', '"to_', '"manual__'):
            text = text.replace(name, f"{name}{'x' * 200}")
        route.fulfill(response=answer, body=text)

    page.route(re.compile("/zbl/api/(deliveries|integrations)[?/]"), lengthen)
    # The log knows none of these names.
    page.route(
        "**/zbl/api/integrations/*/active", lambda route: route.fulfill(json={"active": None})
    )
    for size in (NARROW, {"width": 1200, "height": 900}):
        page.set_viewport_size(size)
        page.goto(f"{site.airflow.url}/zbl/?status=error")
        page.locator("table.leads .link").first.click()
        lead = page.get_by_role("dialog")
        expect(lead).to_contain_text("Attempts")
        assert (_overflow(page), lead.evaluate(BEYOND)) == (0, 0)
        lead.get_by_role("button", name="Resend").click()
        question = page.get_by_role("dialog", name="Resend 1 lead?")
        assert question.evaluate(BEYOND) == 0
        question.get_by_role("button", name="Cancel").click()
        lead.get_by_role("button", name="Close").click()
        page.get_by_role("tab", name="Integrations").click()
        page.get_by_role("article").first.wait_for()
        assert _overflow(page) == 0


def test_all_of_it_can_be_done_by_keyboard(site, page, view):
    """Tabs, filters, charts, leads and dialogs are reached, named, and left again (8.4)."""
    view.get_by_role("tab", name="Deliveries").focus()
    page.keyboard.press("ArrowRight")
    expect(view.get_by_role("tab", name="Integrations")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(_rows(view)).to_have_count(50)
    reached = []
    for _ in range(26):
        page.keyboard.press("Tab")
        reached.append(
            page.frames[-1].evaluate(
                "(document.activeElement.labels?.[0]?.innerText.trim().split('\\n')[0]) || "
                "document.activeElement.getAttribute('aria-label') || "
                "document.activeElement.innerText.trim().split('\\n')[0]"
            )
        )
        if reached[-1].startswith("lead-"):
            break
    for name in ("Refresh", "Export CSV", "Lead ID or email", "Status", "Period", "Found", "Error"):
        assert name in reached
    assert all(reached)
    page.keyboard.press("Enter")
    dialog = view.get_by_role("dialog")
    expect(dialog).to_contain_text("Attempts")
    expect(dialog.get_by_role("button", name="Close")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(view.get_by_role("button", name=reached[-1], exact=True)).to_be_focused()
    view.get_by_role("img", name=re.compile("Attempts over time")).focus()
    page.keyboard.press("ArrowLeft")
    expect(view.locator(".tip").first).to_contain_text("delivered")


def test_a_viewer_is_offered_nothing_that_airflow_would_refuse(site, page):
    """Without the right to edit Dags the page shows, and changes nothing (Contract 7.2)."""
    page.context.clear_cookies()
    site.sign_in(page, VIEWER)
    view = _open(page)
    assert view.locator("table.leads input:enabled").count() == 0
    expect(view.get_by_role("button", name=re.compile("Resend"))).to_have_count(0)
    _tile(view, "Error").click()
    expect(_rows(view).first.locator(".badge")).to_have_text("Error")
    _rows(view).first.locator(".link").click()
    expect(view.get_by_role("dialog")).to_contain_text("You may not clear this lead's task")
    view.get_by_role("dialog").get_by_role("button", name="Close").click()
    view.get_by_role("tab", name="Integrations").click()
    view.get_by_role("article").first.wait_for()
    expect(view.get_by_role("button", name=re.compile("Hold|Resume|test lead"))).to_have_count(0)


@pytest.mark.parametrize("path", ["/zbl/", "/zbl/static/main.js", "/zbl/api/deliveries"])
def test_without_a_login_the_server_answers_401(site, path):
    """The real server lets nobody in who is not signed in (Contract 7.2)."""
    with pytest.raises(HTTPError) as refused:
        build_opener(ProxyHandler({})).open(f"{site.airflow.url}{path}")
    assert refused.value.code == 401


def test_a_session_that_has_ended_is_told(page, view):
    """Who is signed out meanwhile reads what to do, instead of an empty page (7.2)."""
    page.context.clear_cookies()
    view.get_by_role("button", name="Refresh").click()
    expect(view.locator("#problem")).to_contain_text("Sign in to Airflow again")
    wait_for("the browser's note", lambda: page.problems, seconds=10)
    page.problems.clear()
    assert Path(page.url).name


def test_a_links_filter_stays_in_the_address_when_the_page_is_loaded_again(site, page, view):
    """F5, a copied address and a tab of its own show what the link showed (Contract 8.3, 8.4)."""
    page.goto(f"{site.airflow.url}/zbl/leads?dag=zbl_scheduled_pull&status=error&period=all")
    # The UI adds the path of what is in its frame.
    expect(page).to_have_url(re.compile("/plugin/lead-deliveries"))
    expect(_rows(view).first.locator(".badge")).to_have_text("Error")
    for _ in range(2):
        expect(page).to_have_url(re.compile("dag=zbl_scheduled_pull"))
        expect(_field(view, "status")).to_have_value("error")
        expect(_field(view, "dag")).to_have_value("zbl_scheduled_pull")
        expect(view.locator("#own-tab")).to_have_attribute(
            "href", re.compile("period=all.*dag=zbl_sch")
        )
        page.reload()
        expect(_rows(view).first.locator(".badge")).to_have_text("Error")


def test_what_is_sent_is_shown_on_request(site, page, view, answers):
    """The payload of a lead is behind a button, as text, with placeholders for secrets (8.8)."""
    _send(site, "lead-83", **PERSON)
    _look_for(view, "lead-83")
    expect(_rows(view)).to_have_count(1)
    _rows(view).first.locator(".link").click()
    view.get_by_role("dialog").get_by_role("button", name="Show what is sent").click()
    shown = view.get_by_role("dialog", name=re.compile("What is sent of"))
    expect(shown.locator("pre").first).to_contain_text('"job_title": "Sales Director"')
    expect(shown).to_contain_text("audit log")
    site.picture(page, "payload")
    shown.get_by_role("button", name="Close").click()


def test_while_the_log_does_not_answer_the_page_says_so_and_heals_by_itself(site, page, view):
    """What was shown stays, the page says what is wrong, and goes on when it can (7.5, 8.4)."""
    answer = {"status": 503, "json": {"detail": "The delivery log does not answer."}}
    page.route("**/zbl/api/**", lambda route: route.fulfill(**answer))
    view.get_by_role("button", name="Refresh").click()
    expect(view.locator("#problem")).to_contain_text("This page tries again by itself.")
    assert _rows(view).count() > 0
    page.unroute("**/zbl/api/**")
    expect(view.locator("#problem")).to_be_hidden(timeout=15_000)

    # So does a lead that is opened, and a button that asks how many leads it means.
    page.route("**/zbl/api/*/*", lambda route: route.fulfill(**answer))
    page.route("**/zbl/api/resendable?*", lambda route: route.fulfill(**answer))
    view.get_by_role("button", name=re.compile("Resend all in error")).click()
    expect(view.locator("#problem")).to_contain_text("does not answer")
    _rows(view).first.locator(".link").click()
    expect(view.get_by_role("dialog")).to_contain_text("does not answer")
    page.unroute("**/zbl/api/*/*")
    page.unroute("**/zbl/api/resendable?*")
    expect(view.get_by_role("dialog").locator(".facts")).to_be_visible(timeout=15_000)
    expect(view.locator("#problem")).to_be_hidden(timeout=15_000)
    page.problems.clear()  # the browser itself writes down each 503


@pytest.mark.parametrize(
    ("language", "title", "error", "resend"),
    [
        ("pt", "Entregas de leads", "Erro", "Reenviar todos com erro"),
        ("es", "Entregas de leads", "Error", "Reenviar todos con error"),
        ("en", "Lead deliveries", "Error", "Resend all in error"),
        ("ko", "Lead deliveries", "Error", "Resend all in error"),
    ],
)
def test_the_page_speaks_the_language_of_airflows_ui(
    site, page, view, language, title, error, resend
):
    """English, Portuguese and Spanish, and English for all others; its times name a zone (8.4)."""
    page.evaluate(
        "([language]) => { localStorage.i18nextLng = language; "
        "localStorage.timezone = 'America/Sao_Paulo' }",
        [language],
    )
    page.goto(f"{site.airflow.url}/zbl/")
    page.locator("table.leads tbody tr").first.wait_for()
    expect(page.get_by_role("heading", name=title)).to_be_visible()
    expect(page.locator(".tile.error .name")).to_have_text(error)
    expect(page.get_by_role("button", name=resend)).to_be_visible()
    expect(page.locator("#updated")).to_contain_text("America/Sao_Paulo")
    for size in ({"width": 900, "height": 850}, NARROW, WIDE):
        page.set_viewport_size(size)
        assert _cut_off(page) == []
    site.picture(page, f"deliveries-page-{language}")
    page.evaluate("localStorage.removeItem('i18nextLng'); localStorage.removeItem('timezone')")
