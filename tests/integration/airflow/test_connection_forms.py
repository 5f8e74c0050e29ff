"""One connection, in every form that Airflow knows, is one destination (Contract 1.2 and 1.3)."""

import json
import re
import string
import subprocess
from dataclasses import replace
from urllib.parse import quote

import pytest
from airflow.models.connection import Connection as ServerConnection
from airflow.sdk import Connection as WorkerConnection
from airflow.secrets.base_secrets import BaseSecretsBackend
from airflow.secrets.environment_variables import EnvironmentVariablesBackend
from airflow.secrets.local_filesystem import load_connections_dict
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from tests.support.commands import ROOT, blocks
from zbl_provider.delivery.destination import Destination
from zbl_provider.delivery.http.request import RequestWriter
from zbl_provider.delivery.signing import Signer
from zbl_provider.delivery.transport import static_headers
from zbl_provider.dispatch.intake import candidate, read_one
from zbl_provider.exceptions import ConfigurationError
from zbl_provider.hooks.webhook import WebhookHook
from zbl_provider.leads.filters import Filters
from zbl_provider.operators.dispatch import DispatchLeadOperator

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
LEAD = read_one({"id": 7, "email": "ana@example.com", "score": 80, "city": "São Paulo"})
PARTS = ("host", "schema", "port", "login", "password")
SIDES = [ServerConnection, WorkerConnection]


def destination_of(connection) -> Destination:
    """Read a connection as the hook does."""
    parts = {name: getattr(connection, name) for name in PARTS}
    return Destination.parse(integration="x", extra=connection.extra, **parts)


def request_of(destination: Destination) -> bytes:
    """Give the bytes of the request for one lead, with its signature."""
    body = candidate(LEAD, replace(destination, filters=Filters())).body
    signed = Signer(destination.signing_secrets).headers("msg_1", 1_700_000_000, body)
    writer = RequestWriter(destination.url, static_headers(destination))
    return writer.write(signed, body, keep=destination.keep_alive)


def from_json(connection, text):
    return connection.from_json(text, conn_id="x")


def from_uri(connection, uri):
    return connection(conn_id="x", uri=uri)


def read_or_refuse(make, *args):
    """Read a connection; None where it is refused, by Airflow's parser or by ours."""
    try:
        connection = make(*args)
    except Exception:  # noqa: BLE001  what Airflow cannot parse reaches no hook
        return None
    try:
        return destination_of(connection)
    except ConfigurationError:
        return None


labels = st.from_regex(r"\A[A-Za-z0-9]([a-z0-9-]{0,10}[a-z0-9])?\Z")
hosts = st.builds("{}.{}".format, labels, st.sampled_from(["test", "Example", "co"])) | (
    st.sampled_from(["[2001:db8::1]", "[::1]", "192.0.2.7", "localhost", "_srv.test"])
)
letters = string.ascii_letters + string.digits + "-._~!$&'()*+,;=:@/%ü ?"
paths = st.text(letters, max_size=30).map("/{}".format) | st.sampled_from(
    ["", "?K=S", "/x?", "/", "/hooks/real", "/a/b?c=https://d.test/E", "/a%2Fb", "/a%252Fb",
     "/a@b:c", "//a", "/x/../y", "/https://h.test/", "/zbl-webhook://x", "/?K=S", "/a?b=1&c=%26"]
)  # fmt: skip
urls = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["https://", "HTTPS://", "https://", "http://", ""]),
    hosts,
    st.sampled_from(["", ":443", ":8443"]),
    paths,
)
texts = st.text(string.ascii_letters + "%@:/?#&=+ ü\"'", min_size=1, max_size=8)
values = (
    st.none() | st.booleans() | st.integers(0, 9) | st.text(letters, max_size=8)
    | st.sampled_from(["{{ lead.id }}", "{{ lead.score }}", "{{ list.name }}", "<{{ lead.city }}>",
                       "{{ lead.email | upper }} & {{ '%' }}", "{{", "***", "5", "[1]", "null"])
)  # fmt: skip


def lists_of(inner):
    return st.lists(inner, max_size=2)


extras = st.fixed_dictionaries(
    {},
    optional={
        "secret_headers": st.dictionaries(
            st.sampled_from(["X-Key", "Cookie"]), st.text(letters, max_size=8)
        ),
        "active": st.booleans(),
        "min_score": st.integers(0, 100),
        # Not the text "null": of a URI Airflow's server makes it null, as if not given.
        "lists": st.lists(st.text(letters, min_size=1, max_size=8), max_size=2)
        | st.sampled_from(["5", "1.10", "hot", "007", "NaN", '"a"', "[x", "1e3"]),
        "field_filters": st.just(["city equals A+B & C"]),
        "signing_secret": st.just(SECRET),
        "retry_statuses": st.sampled_from(["429", ["429", 408], 425]),
        "max_rate": st.sampled_from([2.5, "3", 4]),
        "keep_alive": st.booleans() | st.just("false"),
        "body": st.dictionaries(
            st.text(letters, max_size=4), st.recursive(values, lists_of, max_leaves=4), max_size=3
        ),
        "verify": st.sampled_from([True, False, "/ca.pem", "true"]),
        "proxies": st.just({"https": "http://u:p@proxy.test:3128"}),
    },
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(urls, st.none() | st.just(8443), st.none() | texts, st.none() | texts, extras)
@example("https://hooks.test/catch/Real?Key=S3", None, None, None, {"lists": "5"})
@example("https://[2001:db8::1]:8443/a%2Fb", None, "u", "p:w@/", {})
def test_every_form_is_the_same_request_or_is_refused(url, port, login, password, extra):
    """Form, JSON, and what Airflow exports, on its server and its workers, are one request."""
    fields = {"host": url, "port": port, "login": login, "password": password}
    made = ServerConnection(conn_id="x", conn_type="zbl_webhook", extra=json.dumps(extra), **fields)
    meant = read_or_refuse(lambda: made)
    as_json = json.dumps({"conn_type": "zbl_webhook", "extra": extra, **fields})
    exported = json.dumps({"conn_type": "zbl_webhook", "extra": json.dumps(extra), **fields})
    for side in SIDES:
        forms = [
            read_or_refuse(from_json, side, as_json),
            read_or_refuse(from_json, side, exported),
            read_or_refuse(from_uri, side, made.get_uri()),
            read_or_refuse(from_uri, side, from_json(WorkerConnection, as_json).get_uri()),
        ]
        if meant is None:
            # Nothing is sent that the form would not send.
            assert forms == [None] * 4
            continue
        for destination in forms:
            assert destination == meant
            assert request_of(destination) == request_of(meant)


@settings(max_examples=300)
@example("https://hooks.test/?0", "?__extra__=%7B%7D", "zbl-webhook")
@given(urls, st.sampled_from(["", "?active=false", "?X=1", "?__extra__=%7B%7D", "#top"]),
       st.sampled_from(["zbl-webhook", "zbl_webhook", "ZBL-Webhook", "zbl-webhook:/"]))  # fmt: skip
def test_a_uri_written_by_hand_goes_where_it_says_or_is_refused(url, query, conn_type):
    """What somebody writes after zbl-webhook:// is sent exactly there, or not at all."""
    meant = read_or_refuse(
        lambda: WorkerConnection(conn_id="x", conn_type="zbl_webhook", host=url, schema="https")
    )
    for side in SIDES:
        destination = read_or_refuse(from_uri, side, f"{conn_type}://{url}{query}")
        assert destination is None or (meant is not None and destination.url == meant.url)
        if query == "?X=1":
            assert destination is None


@given(urls.filter(lambda url: url.lower().startswith("https")))
def test_the_uri_that_a_refusal_recommends_works(url):
    """A URL that is percent-encoded behind zbl-webhook:// is the URL itself."""
    meant = read_or_refuse(lambda: WorkerConnection(conn_id="x", host=url))
    for side in SIDES:
        destination = read_or_refuse(from_uri, side, f"zbl-webhook://{quote(url, safe='')}")
        assert destination == meant


@pytest.mark.parametrize(
    ("uri", "remedy"),
    [
        ("zbl-webhook://https://hooks.test/hooks/s3cret", "https%3A%2F%2Fhost%2Fpath"),
        ("zbl-webhook://hooks.test/a/s3cret", "https%3A%2F%2Fhost%2Fpath"),
        ("zbl-webhook://https://u:p@hooks.test/s3cret", "https%3A%2F%2Fhost%2Fpath"),
        ("zbl-webhook://https://hooks.test/x?token=s3cret", "https%3A%2F%2Fhost%2Fpath"),
        ("zbl-webhook://https%3A%2F%2Fhooks.test%2Fx?token=s3cret", "%3F"),
        ("zbl-webhook://https%3A%2F%2Fhooks.test%2Fx?s3cret", "%3F"),
        ("zbl_webhook://https://hooks.test/s3cret", "hyphen"),
        ("zbl_webhook://https%3A%2F%2Fhooks.test%2Fs3cret", "hyphen"),
        ("zbl-webhook:https://hooks.test/s3cret", "percent-encoded"),
        ("zbl-webhook:///https://hooks.test/s3cret", "percent-encoded"),
        ("ZBL-WEBHOOK://https://hooks.test/s3cret", "small letters"),
        ("https://hooks.test/s3cret", "https%3A%2F%2Fhost%2Fpath"),
        ("zbl-webhook://http://hooks.test/", "https://"),
        ("zbl-webhook://http%3A%2F%2Fhooks.test%2Fs3cret", "https://"),
        ("zbl-webhook://hooks.test", "Begin it with https://"),
        ("zbl-webhook://https://[2001:db8::1]:8443", "%5B"),
        ("zbl-webhook://https%3A%2F%2Fu%3As3cret%40hooks.test", "Login"),
        ("zbl-webhook://:s3cret@https%3A%2F%2Fhooks.test%2Fx", "Login"),
        ("zbl-webhook://https%3A%2F%2Fhooks.test%3Fs3cret", "before the ?"),
        ("zbl-webhook://https%3A%2F%2Fhooks.test%2Fx?__extra__=s3cret", "JSON object"),
        ("zbl-webhook://https%3A%2F%2Fhooks.test%2Fx?__extra__=%5B1%5D", "JSON object"),
        ("zbl-webhook://", "https:// URL"),
    ],
)
def test_a_uri_that_would_lose_a_part_is_refused_with_its_remedy(uri, remedy, monkeypatch):
    """Nothing of a URI is dropped: it is refused, and what to write is said (1.2, 1.3, 1.5)."""
    monkeypatch.setenv("AIRFLOW_CONN_ZBL_WEBHOOK_DEFAULT", uri)
    with pytest.raises(ConfigurationError) as refused:
        _ = WebhookHook().destination
    assert remedy in str(refused.value)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        ("zbl-webhook://https://hooks.test", "https://hooks.test/"),
        ("zbl-webhook://https://Hooks.test:8443/", "https://hooks.test:8443/"),
        ("zbl-webhook://hooks.test:8443/https", "https://hooks.test:8443/"),
        ("zbl-webhook://hooks.test%2FA%2Fb/https", "https://hooks.test/A/b"),
        ("zbl-webhook://https://u:p@hooks.test%2FReal", "https://hooks.test/Real"),
        ("zbl-webhook://https%3A%2F%2Fhooks.test%2FReal%3FK%3DS", "https://hooks.test/Real?K=S"),
        ("zbl-webhook://https%3A%2F%2F%5B2001%3Adb8%3A%3A1%5D%2Fx", "https://[2001:db8::1]/x"),
        ("zbl-webhook://https%3A%2F%2Fhooks.test%2Fa%252Fb/?active=false", "https://hooks.test/a%2Fb"),
    ],
)  # fmt: skip
def test_a_uri_that_says_all_goes_there(uri, url, monkeypatch):
    """A URI from which nothing is lost is read, on workers and on the server (1.2)."""
    monkeypatch.setenv("AIRFLOW_CONN_ZBL_WEBHOOK_DEFAULT", uri)
    assert WebhookHook().destination.url == url
    server = EnvironmentVariablesBackend().get_connection("zbl_webhook_default")
    assert destination_of(server).url == url


@pytest.mark.parametrize(
    "fields",
    [
        {"host": "https://hooks.test", "schema": "hooks/s3cret"},
        {"host": "hooks.test", "schema": "s3cret"},
        {"host": "https://hooks.test/x", "schema": "http"},
        {"host": "https://hooks.test:8443/x", "port": 443},
        {"host": "https://hooks.test/x", "password": "s3cret"},
        {"host": "https://hooks.test/x", "extra": [1]},
        {"host": "https://hooks.test/x", "extra": "x"},
        {"host": "https://hooks.test/x", "extra": '{"active": false'},
        {"host": "https://hooks.test/x", "extra": 5},
        {"host": "https://hooks.test/x", "extra": "null"},
        {"host": "https://hooks.test/x", "extra": json.dumps('{"active": false}')},
    ],
)
def test_json_that_would_lose_a_part_is_refused_by_name(fields, monkeypatch, caplog):
    """Nothing of a connection as JSON is dropped, broken Extra least of all (1.2, 1.3, 1.5)."""
    text = json.dumps({"conn_type": "zbl_webhook", **fields})
    monkeypatch.setenv("AIRFLOW_CONN_ZBL_WEBHOOK_DEFAULT", text)
    hook = WebhookHook()
    with pytest.raises(ConfigurationError) as refused:
        _ = hook.destination
    assert "s3cret" not in str(refused.value) + caplog.text
    delivered, message = hook.test_connection()
    assert (delivered, message) == (False, str(refused.value))


def test_an_option_without_meaning_is_told(monkeypatch, capsys, tmp_path):
    """What HTTP connections have and this one does not is said in the task's log, once (1.2)."""
    fields = {"host": "https://hooks.test/x", "extra": {"timeout": 30}}
    monkeypatch.setenv("AIRFLOW_CONN_ZBL_WEBHOOK_DEFAULT", json.dumps(fields))
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    task = DispatchLeadOperator(task_id="send", lead={"id": "1"})
    task._dispatcher({}).log.close()
    assert capsys.readouterr().out.count("timeout is not used") == 1


# The matrix: forms by settings, each saved, read back, exported and imported.

CASES = {
    "plain": {"host": "https://hooks.test/hooks/Real"},
    "query": {"host": "https://hooks.test:8443/a%2Fb/?Key=S3%26&u=https://x.test/"},
    "address": {"host": "https://[2001:db8::1]/x", "port": 8443},
    "parts": {"host": "hooks.test/a/B", "schema": "https", "port": 8443},
    "login": {"host": "https://hooks.test/x", "login": "a@b/c", "password": "p:w@/?#%"},
    "texts": {"host": "https://hooks.test/x", "extra": {"lists": "5", "max_rate": "2.5"}},
    "body": {
        "host": "https://hooks.test/x",
        "extra": {
            "body": {"a&b": "{{ lead.id }}=<{{ lead.custom_fields.city }}>", "t": ["%7B", 5]}
        },
    },
    "keep_alive": {"host": "https://hooks.test/x", "extra": {"keep_alive": "false"}},
    "body as text": {
        "host": "https://hooks.test/x",
        "extra": {"body": '{"id": "{{ lead.id }}", "email": "{{ lead.email }}"}'},
    },
    "untouched": {
        "host": "https://hooks.test/x",
        "extra": {"body": None, "lists": [], "keep_alive": True, "max_rate": None},
    },
    "all": {
        "host": "https://hooks.test/x",
        "extra": {
            "secret_headers": {"X-Key": "a&b=c", "Cookie": "ü"},
            "active": False,
            "min_score": 70,
            "lists": ["Google Ads", "7"],
            "field_filters": ["city equals A+B & C", 'job_title contains "x"'],
            "signing_secret": SECRET,
            "retry_statuses": ["429"],
            "max_concurrency": 4,
            "max_rate": 2.5,
            "keep_alive": False,
            "body": {"email": "{{ lead.email }}", "score": "{{ lead.score }}", "n": [1.0, None]},
            "verify": "/ca.pem",
            "cert": ["/a.pem", "/b.pem"],
            "proxies": {"https": "http://u:p@proxy.test:3128"},
            "trust_env": True,
            "_note": "of my own",
        },
    },
}


FORMS = ["form", "parts", "uri", "json", "file.json", "file.yaml", "file.env"]


@pytest.fixture(scope="module")
def database():
    """Give Airflow's own database."""
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture
def forget(database):
    """Give a function that removes the connection from Airflow's database."""
    from airflow.utils.session import create_session

    def remove():
        with create_session() as session:
            session.execute(delete(ServerConnection).where(ServerConnection.conn_id == "x"))

    remove()
    yield remove
    remove()


def type_command(*words):
    """Run `airflow connections` as it is typed, in this process."""
    from airflow.cli.cli_parser import get_parser

    arguments = get_parser().parse_args(["connections", *words])
    arguments.func(arguments)


def saved() -> Destination:
    """Read what Airflow has saved."""
    return destination_of(ServerConnection.get_connection_from_secrets("x"))


def save(form, fields, folder):
    """Save a connection in one of the forms."""
    as_json = json.dumps({"conn_type": "zbl_webhook", **fields})
    uri = ServerConnection(conn_id="x", conn_type="zbl_webhook", **fields).get_uri()
    match form:
        case "form":
            _save_form(fields)
        case "parts":
            type_command("add", "x", "--conn-type", "zbl_webhook", *_flags(fields))
        case "uri":
            type_command("add", "x", "--conn-uri", uri)
        case "json":
            type_command("add", "x", "--conn-json", as_json)
        case _:
            file = folder / form
            # What is JSON is YAML, too.
            file.write_text(f"x={uri}\n" if form == "file.env" else f'{{"x": {as_json}}}')
            type_command("import", str(file))


def _save_form(fields):
    """Save what the form sends, as the REST API's route does."""
    from airflow.api_fastapi.core_api.datamodels.connections import ConnectionBody
    from airflow.utils.session import create_session

    sent = fields | {"extra": json.dumps(fields.get("extra", {}))}
    body = ConnectionBody(connection_id="x", conn_type="zbl_webhook", **sent)
    with create_session() as session:
        session.add(ServerConnection(**body.model_dump(by_alias=True)))


def _flags(fields):
    for name in PARTS:
        if name in fields:
            yield f"--conn-{name}={fields[name]}"
    if "extra" in fields:
        yield f"--conn-extra={json.dumps(fields['extra'])}"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", CASES)
def test_saved_exported_and_imported_it_is_the_same_request(case, form, forget, tmp_path):
    """However a connection is saved and moved, its request is the same, to the byte (1.2)."""
    meant = destination_of(WorkerConnection.from_json(json.dumps(CASES[case]), conn_id="x"))
    save(form, CASES[case], tmp_path)
    assert saved() == meant
    assert request_of(saved()) == request_of(meant)
    for kind in ("json", "yaml", "env"):
        file = str(tmp_path / f"exported.{kind}")
        type_command("export", file)
        # A secrets backend of files reads them as this does.
        assert request_of(destination_of(load_connections_dict(file)["x"])) == request_of(meant)
        forget()
        type_command("import", file)
        assert saved() == meant
        assert request_of(saved()) == request_of(meant)


def test_an_export_that_airflow_cannot_import_is_refused(forget, tmp_path):
    """JSON in a .env file, which Airflow takes for a URI, sends nothing anywhere (1.2, 1.5)."""
    save("form", {"host": "https://hooks.test/s3cret"}, tmp_path)
    file = str(tmp_path / "exported.env")
    type_command("export", file, "--serialization-format", "json")
    forget()
    type_command("import", file)
    with pytest.raises(ConfigurationError) as refused:
        saved()
    assert "s3cret" not in str(refused.value)


def test_the_documented_variables_are_what_they_say(monkeypatch):
    """The environment variables of docs/connections.md lead where their text says (1.2)."""
    text = (ROOT / "docs" / "connections.md").read_text()
    exports = "".join(block for block in blocks(text) if block.startswith("export "))
    shell = [f"set -eu\n{exports}env -0"]
    done = subprocess.run(["sh", "-c", *shell], env={}, capture_output=True, text=True, check=True)
    for line in done.stdout.split("\0"):
        name, _, value = line.partition("=")
        if name.startswith("AIRFLOW_CONN_"):
            monkeypatch.setenv(name, value)
    destinations = [WebhookHook(name).destination for name in ("to_crm", "to_make")]
    assert [destination.url for destination in destinations] == [
        "https://crm.example.com/leads?key=abc",
        "https://hook.eu2.make.com/abcdef/",
    ]
    assert [destination.filters.min_score for destination in destinations] == [70, 70]


BACKEND = {"conn_type": "zbl_webhook", "host": "https://crm.example.com/leads?key=abc"}


def _json_blocks(name):
    text = (ROOT / "docs" / name).read_text()
    return [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    "value",
    [
        json.dumps(BACKEND | {"extra": {"min_score": 70}}),
        # As Amazon's Secrets Manager backend hands JSON on: all parts, null where there is none.
        json.dumps(dict.fromkeys(PARTS) | BACKEND | {"extra": {"min_score": 70}}),
        json.dumps(BACKEND | {"port": "443", "extra": '{"min_score": "70"}'}),
        *map(json.dumps, _json_blocks("connections.md")),
        "zbl-webhook://https%3A%2F%2Fcrm.example.com%2Fleads%3Fkey%3Dabc?min_score=70",
    ],
)
def test_what_a_secrets_backend_keeps_is_the_same_destination(side, value):
    """JSON or URI, as backends of AWS, Google and Vault hand it on, lead to one request (1.2)."""

    class Backend(BaseSecretsBackend):
        def get_conn_value(self, conn_id, team_name=None):
            return value

    backend = Backend()
    backend._set_connection_class(side)
    destination = destination_of(backend.get_connection("to_crm"))
    assert destination.url.replace(":443", "") == "https://crm.example.com/leads?key=abc"
    assert destination.filters.min_score == 70
