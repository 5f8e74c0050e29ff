"""Who may see what, and who may change it."""

import json
import re
from base64 import b64encode
from hashlib import sha256
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest
from starlette.routing import Route

from tests.integration.plugin.conftest import DAGS, NOW
from zbl_provider.log.browse.model import Query
from zbl_provider.log.model import RunKey, Status
from zbl_provider.plugin.address import page_of
from zbl_provider.plugin.api import access
from zbl_provider.plugin.api.rights import SECONDS, Rights

CHANGES = {
    "/zbl/api/resend": {"filter": {}},
    "/zbl/api/send-now": {"filter": {}},
    "/zbl/api/deliveries/1/payload": {},
    "/zbl/api/forget": {"runs": []},
    "/zbl/api/integrations/crm/hold": {},
    "/zbl/api/integrations/crm/resume": {},
    "/zbl/api/integrations/crm/test": {},
}


def _routes(site) -> list[tuple[str, str]]:
    routes = [
        (method, f"/zbl{route.path}")
        for route in site.page.routes
        if isinstance(route, Route)
        for method in route.methods - {"HEAD"}
    ]
    paths = {"{delivery_id}": "1", "{name:path}": "crm", "{name}": "crm"}
    filled = re.compile("|".join(map(re.escape, paths)))
    return [(method, filled.sub(lambda at: paths[at[0]], path)) for method, path in sorted(routes)]


def _in_error(site) -> dict[str, list[int]]:
    rows = site.log.reader.deliveries(Query(status=Status.ERROR), limit=100).rows
    by_dag = {dag: [] for dag in DAGS.values()}
    for row in rows:
        by_dag[row.run.dag_id].append(row.delivery_id)
    return by_dag


def test_every_route_answers_401_without_a_login(site):
    """Whoever is not signed in gets nothing, be it a page, a file, a list or a change (7.2)."""
    routes = _routes(site)
    assert len(routes) > 10
    nobody = site.as_(None)
    for method, path in routes:
        answer = nobody.request(method, path, json={} if method == "POST" else None)
        assert (path, answer.status_code) == (path, 401)
        assert "crm" not in answer.text


BROKEN = [b"{", b"\xff", b"[" * 100_000, b"[" + b"1," * access.LARGEST_BODY]


@pytest.mark.parametrize("body", BROKEN, ids=["half", "no text", "deep", "large"])
def test_a_body_is_not_read_before_it_is_known_who_sends_it(site, body):
    """Without a login every change is answered 401, whatever its body is (Contract 7.2)."""
    nobody, json = site.as_(None), {"Content-Type": "application/json"}
    for path in [*CHANGES, "/zbl/api/email-hash"]:
        answer = nobody.post(path, content=body, headers=json)
        assert (path, answer.status_code) == (path, 401)


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_beyond_what_the_page_takes_is_refused(site, announced):
    """A large one costs the API server neither memory nor time (Contract 7.5)."""
    body = b" " * (access.LARGEST_BODY + 1)
    content = body if announced else iter([body[:100], body[100:]])
    json = {"Content-Type": "application/json"}
    answer = site.as_("ada").post("/zbl/api/resend", content=content, headers=json)
    assert answer.status_code == 413
    fits = b'{"filter": {}}' + b" " * (access.LARGEST_BODY - 14)
    assert site.as_("ada").post("/zbl/api/resend", content=fits, headers=json).status_code == 200


@pytest.mark.parametrize("cookie", ["nonsense", "e30.e30.e30"])
def test_a_session_that_is_none_is_refused(site, cookie):
    """A forged session opens nothing (Contract 7.2)."""
    forged = site.as_(None)
    forged.cookies.set("_token", cookie)
    assert forged.get("/zbl/api/deliveries").status_code == 401
    answer = forged.get("/zbl/", headers={"Accept": "text/html"})
    assert answer.status_code == 401
    assert "auth/login" in answer.text


def test_a_browser_without_a_login_is_shown_where_to_sign_in(site):
    """The page's 401 is one that a person can read (Contract 7.2)."""
    answer = site.as_(None).get("/zbl/", headers={"Accept": "text/html"})
    assert answer.status_code == 401
    assert "auth/login" in answer.text


@pytest.mark.parametrize("path", ["", "leads?a=b", "static/main.js", "api/deliveries.csv"])
def test_the_sign_in_is_found_from_every_address(site, path):
    """Who opens a kept link of the export signs in, too (Contract 7.2)."""
    answer = site.as_(None).get(f"/zbl/{path}", headers={"Accept": "text/html"})
    (link,) = re.findall('href="([^"?]+)', answer.text)
    assert urlsplit(urljoin(f"http://airflow/zbl/{path}", link)).path == "/api/v2/auth/login"


def test_the_sign_in_runs_its_own_script_alone(site):
    """Its script is the one that the policy of every answer names (Contract 7.2, 7.3)."""
    answer = site.as_(None).get("/zbl/", headers={"Accept": "text/html"})
    (script,) = re.findall("<script>(.*)</script>", answer.text, re.DOTALL)
    digest = b64encode(sha256(script.encode()).digest()).decode()
    assert f"script-src 'self' 'sha256-{digest}';" in answer.headers["content-security-policy"]


def test_a_sign_in_comes_back_to_what_was_asked(site):
    """The filters of a link outlive the sign-in (Contract 8.3)."""
    answer = site.as_(None).get("/zbl/?dag=a%26b", headers={"Accept": "text/html"})
    assert "next=/zbl/%3Fdag%3Da%2526b" in answer.text


@pytest.mark.parametrize("plugins", [True, False])
def test_a_tasks_link_leads_to_the_page_with_or_without_the_right_to_plugins(
    site, monkeypatch, plugins
):
    """Whom the UI shows no plugins, the link takes to the page by itself (Contract 8.3, 8.10)."""
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

    monkeypatch.setattr(SimpleAuthManager, "is_authorized_view", lambda *_, **__: plugins)
    address = page_of("https://a.example/", dag_id="d&e", task_id="t", run_id="r+1")
    answer = site.as_("vera").get(address, follow_redirects=False)
    location = urljoin(f"http://airflow{address}", answer.headers["location"])
    parts = urlsplit(location)
    assert parts.path == ("/plugin/lead-deliveries" if plugins else "/zbl/")
    expected = {"dag": ["d&e"], "task": ["t"], "run": ["r+1"], "period": ["all"]}
    assert parse_qs(parts.query) == expected


def test_everything_that_changes_is_listed(site):
    """The tests of changes below miss no route (Contract 7.2)."""
    asks = "/zbl/api/email-hash"  # with a body, so that no address has the email
    assert {path for method, path in _routes(site) if method != "GET"} == {*CHANGES, asks}


@pytest.mark.parametrize("path", CHANGES)
def test_a_viewer_changes_nothing(site, path):
    """Who may not edit Dags is refused, and the log is as it was (Contract 7.2)."""
    before = site.log.reader.funnel(Query())
    answer = site.as_("vera").post(path, json=CHANGES[path])
    assert answer.status_code == 403
    assert site.log.reader.funnel(Query()) == before
    assert not any(integration.held for integration in site.log.integrations())


@pytest.mark.parametrize("path", sorted(set(CHANGES) - {"/zbl/api/integrations/crm/test"}))
@pytest.mark.parametrize("name", ["ada", "olga", "uwe"])
def test_who_edits_dags_may_change(site, path, name):
    """The right to edit Dags is enough for every change (Contract 7.2)."""
    assert site.as_(name).post(path, json=CHANGES[path]).status_code == 200


def test_a_viewer_sees_all_and_is_told_what_cannot_be_done(site):
    """Reading takes the right to read Dags, and what is read says what may be changed (7.2)."""
    vera = site.as_("vera")
    assert not any(row["may_resend"] for row in vera.get("/zbl/api/deliveries").json()["rows"])
    assert not any(
        integration["may_change"] for integration in vera.get("/zbl/api/integrations").json()
    )
    assert vera.get("/zbl/api/resendable").json() == {"count": 0}
    uwe = site.as_("uwe")
    assert all(row["may_resend"] for row in uwe.get("/zbl/api/deliveries").json()["rows"])
    assert all(integration["may_change"] for integration in uwe.get("/zbl/api/integrations").json())


def test_leads_of_dags_that_may_not_be_read_are_nowhere(site, only):
    """No answer shows, or counts, a lead of a Dag that the user may not read (Contract 7.2)."""
    everything = site.as_("vera").get("/zbl/api/funnel").json()
    hidden = _in_error(site)["sends_to_make"][0]
    only("GET", DAGS["crm"])
    vera = site.as_("vera")
    rows = vera.get("/zbl/api/deliveries?limit=200").json()["rows"]
    assert {row["run"]["dag_id"] for row in rows} == {"sends_to_crm"}
    assert sum(vera.get("/zbl/api/funnel").json().values()) == len(rows) < sum(everything.values())
    made = vera.get("/zbl/api/activity").json()
    crm = vera.get("/zbl/api/activity?integration=crm").json()
    assert [bucket["delivered"] for bucket in made] == [bucket["delivered"] for bucket in crm]
    assert [integration["name"] for integration in vera.get("/zbl/api/integrations").json()] == [
        "crm"
    ]
    assert "make" not in vera.get("/zbl/api/deliveries.csv").text
    assert vera.get(f"/zbl/api/deliveries/{hidden}").status_code == 404
    assert vera.get("/zbl/api/deliveries?dag_id=sends_to_make").json()["rows"] == []


@pytest.mark.parametrize(("setting", "active"), [(True, True), (False, False), ("maybe", None)])
def test_whether_a_connection_is_active_is_seen_by_readers_of_its_leads(
    site, only, monkeypatch, setting, active
):
    """No integration is called active whose connection holds its leads (Contract 1.2, 7.2)."""
    connection = {"conn_type": "zbl_webhook", "host": "https://x.org", "extra": {"active": setting}}
    for name in ("CRM", "MAKE", "OTHER"):
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(connection))
    path = "/zbl/api/integrations/{}/active"
    assert site.as_("ada").get(path.format("crm")).json() == {"active": active}
    assert site.as_("ada").get(path.format("other")).status_code == 404
    only("GET", DAGS["crm"])
    vera = site.as_("vera")
    assert vera.get(path.format("crm")).json() == {"active": active}
    assert vera.get(path.format("make")).status_code == 404


def test_who_may_read_no_dag_sees_nothing(site, only):
    """Without the right to read any of the Dags there is no page to see (Contract 7.2)."""
    only("GET")
    vera = site.as_("vera")
    for path in ("deliveries", "funnel", "activity", "deliveries.csv", "integrations"):
        assert vera.get(f"/zbl/api/{path}").status_code == 403


def test_leads_are_resent_only_of_dags_that_may_be_edited(site, only):
    """Ids of other Dags are refused as a whole, and a filter passes them over (Contract 7.2)."""
    failed = _in_error(site)
    crm, make = failed["sends_to_crm"], failed["sends_to_make"]
    only("PUT", DAGS["crm"])
    uwe = site.as_("uwe")
    both = uwe.post("/zbl/api/resend", json={"ids": [crm[0], make[0]]})
    assert both.status_code == 403
    assert _in_error(site) == failed
    assert uwe.get("/zbl/api/resendable").json() == {"count": len(crm)}
    answer = uwe.post("/zbl/api/resend", json={"filter": {}}).json()
    assert answer["count"] == len(crm)
    assert {run["dag_id"] for run in answer["runs"]} == {"sends_to_crm"}
    assert _in_error(site) == failed | {"sends_to_crm": []}


def test_a_filter_means_no_lead_that_is_not_shown(site, only):
    """Who may edit Dags and not read them all resends what was counted, no more (7.2, 8.10)."""
    failed = _in_error(site)
    only("GET", DAGS["crm"])
    uwe = site.as_("uwe")
    count = len(failed["sends_to_crm"])
    assert uwe.get("/zbl/api/resendable").json() == {"count": count}
    assert uwe.post("/zbl/api/resend", json={"filter": {}}).json()["count"] == count
    assert _in_error(site) == failed | {"sends_to_crm": []}
    waiting = uwe.get("/zbl/api/waiting").json()
    sent = uwe.post("/zbl/api/send-now", json={"filter": {}}).json()
    assert {"count": sent["count"]} == waiting
    assert {run["dag_id"] for run in sent["runs"]} == {"sends_to_crm"}


def test_choices_are_forgotten_only_in_dags_that_may_be_edited(site, only):
    """What a clear means for the task of another Dag is not for this user to say (7.2)."""
    only("PUT", DAGS["crm"])
    run = {"dag_id": DAGS["make"], "task_id": "send", "run_id": "r"}
    assert site.as_("uwe").post("/zbl/api/forget", json={"runs": [run]}).status_code == 403


@pytest.mark.parametrize("act", ["hold", "resume", "test"])
def test_an_integration_is_for_those_who_edit_every_dag_that_sends_to_it(site, only, act):
    """Holding touches all of an integration's Dags, so it takes the right to edit each (7.2)."""
    site.log.begin(RunKey(DAGS["crm"], "and_to_make", "r1"), "make", 0, NOW)
    only("PUT", DAGS["crm"])
    uwe = site.as_("uwe")
    assert uwe.post(f"/zbl/api/integrations/make/{act}", json={}).status_code == 403
    if act != "test":
        assert uwe.post(f"/zbl/api/integrations/crm/{act}", json={}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "http://airflow.example.com"}, 200),
        ({"Origin": "http://localhost:8080"}, 200),  # `[api] base_url`, behind a proxy
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Origin": "http://evil.example.com"}, 403),
        ({"Referer": "http://evil.example.com/?airflow.example.com"}, 403),
        ({"Referer": "http://airflow.example.com/zbl/"}, 200),
        ({"Content-Type": "Application/JSON; charset=utf-8"}, 200),
        ({"Origin": "null"}, 403),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "text/plain"}, 415),
    ],
)
def test_another_site_changes_nothing_with_the_users_cookie(site, monkeypatch, headers, status):
    """A change must be JSON and come from Airflow's own origin (Contract 7.2)."""
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://localhost:8080")
    answer = site.as_("ada").post(
        "/zbl/api/integrations/crm/hold",
        content="{}",
        headers={"Content-Type": "application/json"} | headers,
    )
    assert answer.status_code == status
    assert any(integration.held for integration in site.log.integrations()) == (status == 200)


def test_a_null_origin_changes_nothing_where_the_server_knows_no_address(site, monkeypatch):
    """A sandboxed document of another site has the origin null, and is refused (7.2)."""
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "")
    headers = {"Content-Type": "application/json", "Origin": "null"}
    answer = site.as_("ada").post("/zbl/api/integrations/crm/hold", content="{}", headers=headers)
    assert answer.status_code == 403


@pytest.fixture
def without_instances(monkeypatch):
    """Give a function that takes a right to task instances from all, and leaves that to Dags."""
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

    ordinary = SimpleAuthManager.is_authorized_dag

    def restrict(method: str) -> None:
        def decide(self, *, access_entity=None, **asked):
            if asked["method"] == method and access_entity is DagAccessEntity.TASK_INSTANCE:
                return False
            return ordinary(self, access_entity=access_entity, **asked)

        monkeypatch.setattr(SimpleAuthManager, "is_authorized_dag", decide)

    return restrict


def test_leads_are_shown_only_to_those_who_may_read_task_instances(site, without_instances):
    """The right to read a Dag alone shows no run, status or answer (Contract 8.10)."""
    without_instances("GET")
    for path in ("deliveries", "funnel", "activity", "deliveries.csv", "integrations"):
        assert site.as_("vera").get(f"/zbl/api/{path}").status_code == 403


@pytest.mark.parametrize("path", CHANGES)
def test_changes_take_the_right_to_edit_task_instances(site, without_instances, path):
    """Who edits Dags, and may not clear their tasks, has nothing resent or held (8.10)."""
    without_instances("PUT")
    before = site.log.reader.funnel(Query())
    assert site.as_("ada").post(path, json=CHANGES[path]).status_code == 403
    assert site.log.reader.funnel(Query()) == before


@pytest.mark.parametrize("setting", ["Disabled", "Hidden"])
def test_no_test_lead_goes_out_where_testing_is_off(site, monkeypatch, setting):
    """The page's button obeys `[core] test_connection`, as the form's does (Contract 1.6)."""
    monkeypatch.setenv("AIRFLOW__CORE__TEST_CONNECTION", setting)
    answer = site.as_("ada").post("/zbl/api/integrations/crm/test", json={})
    assert answer.status_code == 403
    assert "test_connection" in answer.json()["detail"]


def test_a_test_lead_takes_the_rights_of_airflows_own_button(site, monkeypatch):
    """Who may edit Dags, and no connections, sends no test lead (Contract 1.6)."""
    monkeypatch.setenv("AIRFLOW__CORE__TEST_CONNECTION", "Enabled")
    uwe = site.as_("uwe").post("/zbl/api/integrations/crm/test", json={})
    assert uwe.status_code == 403
    assert "connection crm" in uwe.json()["detail"]
    assert site.as_("olga").post("/zbl/api/integrations/crm/test", json={}).status_code == 404


def test_the_pages_questions_ask_the_auth_manager_once_for_each_dag(site, monkeypatch):
    """It may ask a server each time: an opened page costs one answer a right and Dag (8.10)."""
    asked = _counted(monkeypatch)
    vera = site.as_("vera")
    for path in ("deliveries", "funnel", "activity", "integrations", "resendable", "waiting"):
        assert vera.get(f"/zbl/api/{path}").status_code == 200
    questions = {
        (method, entity, dag)
        for method in ("GET", "PUT")
        for dag in DAGS.values()
        for entity in (None, "TASK_INSTANCE")
    }
    assert set(asked) <= questions
    assert len(asked) == len(set(asked))
    # A viewer may not edit the Dag at all, so nobody asks for its task instances.
    assert len(asked) == 3 * len(DAGS)


def test_a_right_that_is_taken_away_is_gone_after_some_seconds(site, only, monkeypatch):
    """Until then the last answer holds; nobody has it for longer (7.2, 8.10)."""
    clock = [0.0]
    monkeypatch.setattr(access, "RIGHTS", Rights(monotonic=lambda: clock[0]))
    vera = site.as_("vera")
    assert len(vera.get("/zbl/api/deliveries?integration=make").json()["rows"]) > 0
    only("GET", DAGS["crm"])
    clock[0] = SECONDS - 0.1
    assert len(vera.get("/zbl/api/deliveries?integration=make").json()["rows"]) > 0
    clock[0] = SECONDS
    assert vera.get("/zbl/api/deliveries?integration=make").json()["rows"] == []
    assert site.as_("uwe").get("/zbl/api/deliveries?integration=make").json()["rows"] == []


def _counted(monkeypatch) -> list[tuple[str, str | None, str]]:
    """Return what the auth manager is asked from now on."""
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

    ordinary = SimpleAuthManager.is_authorized_dag
    asked = []

    def note(self, *, method, user, access_entity=None, details=None):
        asked.append((method, access_entity and access_entity.name, details.id))
        return ordinary(
            self, method=method, user=user, access_entity=access_entity, details=details
        )

    monkeypatch.setattr(SimpleAuthManager, "is_authorized_dag", note)
    return asked
