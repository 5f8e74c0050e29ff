"""The integration as a hook, against a real HTTPS receiver (Contract 1)."""

import hmac
import json
import os

import pytest
import requests
from airflow.sdk.log import redact
from requests.auth import AuthBase

from tests.support import peers
from tests.support.peers import Authority, proxy
from tests.support.receiver import Reply
from zbl_provider.exceptions import BlockedAddress, ConfigurationError, ZblError
from zbl_provider.hooks.webhook import WebhookHook
from zbl_provider.leads import schema

SECRETS = ("path-is-secret", "header-is-secret", "password-is-secret")


@pytest.fixture
def connect(receiver, monkeypatch):
    """Give a function that changes the default connection and returns a hook for it."""
    variable = "AIRFLOW_CONN_ZBL_WEBHOOK_DEFAULT"

    def change(extra=None, **fields) -> WebhookHook:
        connection = json.loads(os.environ[variable])
        connection["extra"] |= extra or {}
        monkeypatch.setenv(variable, json.dumps(connection | fields))
        return WebhookHook()

    return change


def test_the_test_button_delivers_a_lead_of_the_full_shape(connect, receiver):
    """It sends one recognisable sample lead, whatever `active` and the filters say (1.6)."""
    extra = {"active": False, "min_score": 100, "lists": ["no such list"], "timeout": 30}
    hook = connect(extra)
    done, message = hook.test_connection()
    assert done
    assert "timeout is not used" in message
    assert "200" in message
    assert "ms" in message
    (request,) = receiver.received
    assert request.headers["x-zbl-test"] == "true"
    assert request.headers["x-key"] == "header-is-secret"
    document = json.loads(request.body)
    assert document["lead"]["id"].startswith("test-")
    assert schema.violation(document) is None
    assert all(value is not None for value in document["lead"]["verifications"].values())


def test_the_test_button_sends_the_body_of_the_connection(connect, receiver):
    """The test lead has the destination's own shape where the connection says so (1.6, 2.7)."""
    body = {"email": "{{ lead.email }}", "utm": "{{ lead.custom_fields.utm }}", "n": [1]}
    done, _ = connect({"body": body}).test_connection()
    assert done
    (request,) = receiver.received
    assert json.loads(request.body) == {"email": "john@company.com", "utm": "Test utm", "n": [1]}
    assert request.headers["x-zbl-test"] == "true"


def test_the_test_button_names_the_place_of_a_body_that_cannot_be_rendered(connect, receiver):
    """A body that has no value for the test lead is reported by its place, and not sent (1.6)."""
    done, message = connect({"body": {"a": "{{ lead.name / 2 }}"}}).test_connection()
    assert (done, message.split()[0]) == (False, "body.a")
    assert receiver.received == []


@pytest.mark.parametrize("status", [301, 401, 404, 500, 503])
def test_the_test_button_sends_once_and_says_what_was_answered(connect, receiver, status):
    """A failure is reported with its status, after one request, and shows no secret (1.5, 1.6)."""
    receiver.answer = lambda _: Reply(status, body=b"echo: header-is-secret")
    done, message = connect().test_connection()
    assert not done
    assert str(status) in message
    assert len(receiver.received) == 1
    assert not any(secret in message for secret in SECRETS)


@pytest.mark.parametrize(
    ("fields", "extra", "named"),
    [
        ({"host": "http://localhost/path-is-secret"}, {}, "https"),
        ({"host": "localhost/path-is-secret"}, {}, "https"),
        ({}, {"secret_headers": {"X-Key": "header-is-secret\r\nEvil: 1"}}, "X-Key"),
        ({}, {"secret_headers": {"X-Key": "header-is-secret", "x-key": "again"}}, "x-key"),
        ({}, {"body": {"a": {"b": "{{ path-is-secret }"}}}, "body.a.b"),
        ({}, {"field_filters": ["city is like path-is-secret"]}, "field_filters"),
        ({}, {"signing_secret": "header-is-secret"}, "signing_secret"),
    ],
)
def test_settings_that_cannot_work_are_refused_everywhere(connect, receiver, fields, extra, named):
    """The button, the session and a request refuse them, name the field, and send nothing (1.3)."""
    hook = connect(extra, **fields)
    done, message = hook.test_connection()
    assert not done
    assert named.lower() in message.lower()
    assert "header-is-secret" not in message
    assert "path-is-secret" not in message or "field_filters" in message
    with pytest.raises(ConfigurationError):
        hook.get_conn()
    with pytest.raises(ConfigurationError):
        hook.run(json={})
    assert receiver.received == []


def test_a_private_address_is_refused_and_the_option_is_named(connect, receiver, monkeypatch):
    """The network guard holds for the Test button, too (Contract 7.1)."""
    monkeypatch.setenv("AIRFLOW__ZBL__ALLOWED_NETWORKS", "")
    done, message = connect().test_connection()
    assert not done
    assert "allowed_networks" in message
    assert receiver.received == []


def test_the_session_is_guarded_by_the_address_it_connects_to(connect, receiver, monkeypatch):
    """`get_conn` and `run` refuse a private address before anything is sent (Contract 7.1)."""
    monkeypatch.setenv("AIRFLOW__ZBL__ALLOWED_NETWORKS", "10.0.0.0/8")
    hook = connect()
    with hook.get_conn() as session, pytest.raises(BlockedAddress, match="allowed_networks"):
        session.post(hook.destination.url)
    with pytest.raises(BlockedAddress, match="allowed_networks"):
        hook.run(json={})
    assert receiver.received == []


@pytest.mark.parametrize("host", ["10.0.0.1", "0x0a.1", "[::ffff:10.0.0.1]", "[fd00:ec2::254]"])
def test_the_session_reaches_nothing_private_through_a_proxy(connect, host):
    """A proxy that is allowed opens nothing but itself (Contract 7.1)."""
    with proxy(seen := []) as forward:
        hook = connect({"proxy": f"http://127.0.0.1:{forward.port}"}, host=f"https://{host}/")
        with hook.get_conn() as session, pytest.raises(BlockedAddress):
            session.post(hook.destination.url)
        assert (seen, forward.connections) == ([], 0)


def test_the_session_goes_through_the_connections_proxy(connect, receiver):
    """A proxy named by the connection tunnels the session's requests (Contract 1.1 and 2.5)."""
    with proxy(seen := []) as forward:
        hook = connect({"proxy": f"http://localhost:{forward.port}"})
        with hook.get_conn() as session:
            assert session.post(hook.destination.url).status_code == 200
    assert seen == [hook.destination.origin.removeprefix("https://")]
    assert len(receiver.received) == 1


def test_the_connections_proxy_comes_before_the_environments(connect, receiver, monkeypatch):
    """`trust_env` is for a connection that names no proxy, as for leads (Contract 1.2 and 2.5)."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with proxy(seen := []) as forward:
        hook = connect({"proxy": f"http://127.0.0.1:{forward.port}", "trust_env": True})
        assert hook.test_connection()[0]
        assert hook.run(json={}).ok
        with hook.get_conn() as session:
            assert session.post(hook.destination.url).ok
    assert len(seen) == 3


def test_the_session_carries_what_the_connection_says(connect, receiver):
    """`get_conn` gives a requests session with headers, login and private CA (Contract 1.1)."""
    hook = connect(login="someone", password="password-is-secret")
    with hook.get_conn() as session:
        answer = session.post(hook.destination.url, json={"a": 1})
    assert answer.status_code == 200
    (request,) = receiver.received
    assert request.headers["x-key"] == "header-is-secret"
    assert request.headers["authorization"].startswith("Basic ")
    assert request.headers["user-agent"].startswith("zbl_provider/")
    assert request.headers["content-type"] == "application/json"


def test_the_session_knows_the_certificate_of_a_mapped_address(connect, receiver):
    """An IPv4 address in IPv6's clothes matches its certificate, as for leads (2.5)."""
    hook = connect(host=receiver.url.replace("localhost", "[::ffff:127.0.0.1]"))
    with hook.get_conn() as session:
        assert session.post(hook.destination.url).ok


def test_the_session_follows_no_redirect_and_speaks_no_plain_http(connect, receiver):
    """Redirects end there, and http:// has no way out (Contract 1.3 and 2.5)."""
    receiver.answer = lambda _: Reply(307, headers={"Location": "/elsewhere"})
    hook = connect()
    with hook.get_conn() as session:
        assert session.post(hook.destination.url).status_code == 307
        with pytest.raises(requests.exceptions.InvalidSchema):
            session.post("http://localhost:1/")
        prepared = requests.Request("POST", hook.destination.url).prepare()
        assert session.send(prepared, allow_redirects=True).status_code == 307
    assert len(receiver.received) == 2


@pytest.mark.parametrize("trust_env", [False, True])
def test_the_session_ignores_the_environments_certificates(
    connect, receiver, monkeypatch, tmp_path, trust_env
):
    """REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE don't override the connection (Contract 2.5)."""
    other = tmp_path / "other.pem"
    other.write_text("")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other))
    monkeypatch.setenv("CURL_CA_BUNDLE", str(other))
    hook = connect({"trust_env": trust_env})
    with hook.get_conn() as session:
        assert session.post(hook.destination.url).ok
    ours = json.loads(os.environ["AIRFLOW_CONN_ZBL_WEBHOOK_DEFAULT"])["extra"]["verify"]
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", ours)
    hook = connect({"verify": True})
    with hook.get_conn() as session, pytest.raises(requests.exceptions.SSLError):
        session.post(hook.destination.url)


def test_the_session_ignores_the_users_logins(connect, receiver, monkeypatch, tmp_path):
    """What is in .netrc takes no place of the connection's Authorization (Contract 1.1)."""
    netrc = tmp_path / ".netrc"
    netrc.write_text("default login somebody password else")
    monkeypatch.setenv("NETRC", str(netrc))
    hook = connect({"trust_env": True, "secret_headers": {"Authorization": "Bearer ours"}})
    hook.run(json={})
    assert receiver.received[0].headers["authorization"] == "Bearer ours"


def test_the_session_trusts_a_directory(connect, receiver, monkeypatch, tmp_path):
    """`verify` names a file, or a directory of them with any names, as for leads (1.1, 2.5)."""
    folder = tmp_path / "trusted"
    folder.mkdir()
    receiver.write_authority(folder / "ours.pem")
    assert connect({"verify": str(folder)}).run(json={}).ok
    monkeypatch.setenv("HOME", str(tmp_path))
    assert connect({"verify": "~/trusted/ours.pem"}).run(json={}).ok
    with proxy(seen := []) as forward:
        extra = {"verify": str(folder), "proxy": f"http://127.0.0.1:{forward.port}"}
        assert connect(extra).run(json={}).ok
    assert len(seen) == 1


def test_the_session_trusts_what_is_named_whoever_signed_it(connect, receiver, tmp_path):
    """A CA below another one is enough for `verify`, as for leads (Contract 1.1 and 2.5)."""
    issuer = Authority().below()
    with peers.Receiver(peers.answer(), issuer) as server:
        hook = connect({"verify": issuer.write(tmp_path / "issuer.pem")}, host=server.url())
        assert hook.run(json={}).ok
        with pytest.raises(ZblError, match="SSLError"):
            connect({"verify": Authority().write(tmp_path / "other.pem")}).run(json={})


def test_run_posts_and_hides_the_url(connect, receiver, caplog):
    """`run` works as an HttpHook's, but its errors and logs show scheme and host alone (1.5)."""
    caplog.set_level("DEBUG")
    hook = connect()
    assert hook.run(json={"a": 1}).status_code == 200
    receiver.answer = lambda _: Reply(500, body=b"header-is-secret")
    with pytest.raises(ZblError, match="500") as refusal:
        hook.run(json={"a": 1})
    assert hook.run(json={}, extra_options={"check_response": False}).status_code == 500
    unreachable = connect(host="https://localhost:1/hooks/path-is-secret")
    with pytest.raises(ZblError, match="localhost:1") as failure:
        unreachable.run(json={})
    shown = "".join((str(refusal.value), repr(failure.value), repr(failure.value.__cause__)))
    assert not any(secret in shown for secret in SECRETS)
    # urllib3's own debug lines hold the path of each request: Airflow masks them in its logs.
    lines = [str(redact(record.getMessage())) for record in caplog.records]
    assert any("POST" in line for line in lines)
    assert not any(secret in line for line in lines for secret in SECRETS)


@pytest.mark.parametrize(
    ("status", "location"),
    [(302, "/elsewhere"), (302, "https://[not-an-address"), (307, "/\xff"), (304, None)],
)
def test_run_takes_a_redirect_for_no_success(connect, receiver, status, location):
    """What is not 2xx has not arrived, wherever it points to, and the error says so (3, 2.5)."""
    headers = {"Location": location} if location else {}
    receiver.answer = lambda _: Reply(status, headers=headers, body=b"")
    hook = connect()
    with pytest.raises(ZblError, match=rf"answered {status} .*(check|final URL)"):
        hook.run(json={})
    assert hook.run(json={}, extra_options={"check_response": False}).status_code == status
    with hook.get_conn() as session:
        assert session.post(hook.destination.url).next is None


@pytest.mark.parametrize("key", ["verify", "proxies", "cert", "allow_redirects"])
def test_an_option_that_would_not_be_used_is_refused(connect, receiver, key):
    """Of HttpHook's options two are read, and none is left out in silence (Contract 1.1, 1.2)."""
    with pytest.raises(ConfigurationError, match=f"extra_options: has '{key}'"):
        connect().run(json={}, extra_options={key: None})
    assert receiver.received == []


@pytest.mark.parametrize("timeout", [(3, 10), "soon"])
def test_a_timeout_that_is_no_number_is_refused(connect, timeout):
    """It is one number of seconds (Contract 1.1 and 2.4)."""
    with pytest.raises(ConfigurationError, match="extra_options: has a timeout that is not"):
        connect().get_conn(extra_options={"timeout": timeout})


@pytest.mark.parametrize("field", ["verify", "cert"])
def test_run_names_the_setting_whose_file_is_missing(connect, receiver, field):
    """A certificate file that is not there is a setting to correct, as for leads (1.1, 2.5)."""
    with pytest.raises(ConfigurationError, match=f"{field}: the file it names cannot be read"):
        connect({field: "/no/such.pem"}).run(json={})
    assert receiver.received == []


def test_the_session_says_what_a_body_is(connect, receiver):
    """A form is called a form, and what says nothing of itself JSON (Contract 1.1 and 2.1)."""
    hook = connect()
    hook.run(data={"email": "a@b.example"})
    hook.run(data='{"email": "a@b.example"}')
    hook.run(data="<a/>", headers={"Content-Type": "text/xml"})
    types = [request.headers["content-type"] for request in receiver.received]
    assert types == ["application/x-www-form-urlencoded", "application/json", "text/xml"]


def test_an_auth_type_makes_the_headers(connect, receiver):
    """`auth_type` works as for HTTP connections, with the login and password (Contract 1.1)."""

    class Token(AuthBase):
        def __init__(self, login: str, password: str) -> None:
            self.text = f"Token {login}:{password}"

        def __call__(self, request):
            request.headers["Authorization"] = self.text
            return request

    connect(login="someone", password="password-is-secret")
    hook = WebhookHook(auth_type=Token)
    assert hook.test_connection()[0]
    assert receiver.received[0].headers["authorization"] == "Token someone:password-is-secret"
    connect({"secret_headers": {"authorization": "header-is-secret"}})
    with pytest.raises(ConfigurationError, match="given twice"):
        _ = WebhookHook(auth_type=Token).destination


def _sets(name, value):
    class Setting(AuthBase):
        def __call__(self, request):
            request.headers[name] = value
            return request

    return Setting


class _InTheUrl(AuthBase):
    def __call__(self, request):
        request.url += "?key=key-is-secret"
        return request


class _Signs(AuthBase):
    def __call__(self, request):
        digest = hmac.new(b"key-is-secret", request.body, "sha256").hexdigest()
        request.headers["X-Signature"] = digest
        return request


class _ReadsAnswers(AuthBase):
    def __call__(self, request):
        request.headers["X-Token"] = request.token
        return request


class _ReturnsNothing(AuthBase):
    def __call__(self, request):
        request.headers["X-Token"] = "key-is-secret"


@pytest.mark.parametrize(
    ("auth_type", "says"),
    [
        (_Signs, "auth_type: _Signs reads the body of each request"),
        (_ReadsAnswers, "auth_type: _ReadsAnswers cannot be used on a request"),
        (_ReturnsNothing, "auth_type: _ReturnsNothing cannot be used on a request"),
        (requests.auth.HTTPDigestAuth, "auth_type: HTTPDigestAuth cannot be made with no login"),
        ("basic", "auth_type: it cannot be made"),
        (int, "auth_type: int sets no header"),
        (requests.auth.HTTPBasicAuth, "auth_type: HTTPBasicAuth cannot be made with no login"),
        (_InTheUrl, "auth_type: _InTheUrl sets no header"),
        (_sets("X-Token", "header-is-secret\r\nX-More: 1"), "header X-Token"),
        (_sets("X-Token", "header-is-secret\u2019"), "header X-Token"),
        (_sets("webhook-id", "msg_1"), "header webhook-id"),
        (_sets("X Token", "header-is-secret"), "header X"),
    ],
)
def test_an_auth_type_that_would_not_be_used_as_it_is_is_refused(
    connect, receiver, auth_type, says
):
    """What it sets is a header like any other, and it must set one (Contract 1.1, 1.4, 1.5)."""
    connect()
    done, message = WebhookHook(auth_type=auth_type).test_connection()
    assert not done
    assert message.startswith(says)
    assert not any(secret in message for secret in (*SECRETS, "key-is-secret"))
    assert receiver.received == []


def test_an_auth_type_whose_server_of_tokens_is_away_is_no_mistake_of_the_connection(connect):
    """Airflow's own retries may help there: the error stays what it is (Contract 1.1, 3.2)."""

    class Fetches(AuthBase):
        def __call__(self, request):
            return {}["token"]

    connect()
    with pytest.raises(KeyError):
        _ = WebhookHook(auth_type=Fetches).destination


def test_an_auth_type_that_answers_a_challenge_is_refused(connect, receiver):
    """It sets its header only after a first answer (Contract 1.1)."""
    connect(login="someone", password="password-is-secret")
    with pytest.raises(ConfigurationError, match="HTTPDigestAuth sets no header"):
        _ = WebhookHook(auth_type=requests.auth.HTTPDigestAuth).destination


def test_an_auth_type_may_set_bytes(connect, receiver):
    """Some of requests' own do (Contract 1.1)."""
    connect()
    assert WebhookHook(auth_type=_sets("X-Token", b"caf\xe9")).test_connection()[0]
    assert receiver.received[0].headers["x-token"] == "caf\xe9"


def test_airflow_gives_the_hook_for_the_connection(connect):
    """`Connection.get_hook` knows the connection type (Contract 1.1)."""
    from airflow.sdk import BaseHook

    connect()
    hook = BaseHook.get_hook("zbl_webhook_default")
    assert isinstance(hook, WebhookHook)
    assert hook.destination.integration == "zbl_webhook_default"


def test_secrets_are_masked_in_the_logs_of_others(connect):
    """Once read, the URL and the header values are known to Airflow's masker (Contract 1.5)."""
    hook = connect()
    path = hook.destination.url.removeprefix(hook.destination.origin)
    line = f"{hook.destination.url} {path} header-is-secret"
    assert not any(secret in str(redact(line)) for secret in SECRETS)


def test_everyday_words_stay_readable_in_the_logs_of_others(connect, receiver, capsys):
    """A header's value that is a word hides no word of a log, and a short one warns of nothing."""
    headers = {"X-Kind": "leads", "X-Level": "error", "Accept": "application/json", "X-Tier": "a1"}
    hook = connect({"secret_headers": headers}, host=f"{receiver.url}/leads")
    assert hook.destination
    line = "error: 3 leads, application/json, to /leads"
    assert redact(line) == line
    assert "too short" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "value", ["hunter22", "mysecret", "password", "Bearer abcdefgh", "a-b-c-d"]
)
def test_what_may_be_a_secret_is_masked(connect, value):
    """What is no everyday word is hidden wherever it turns up (Contract 1.5)."""
    assert connect({"secret_headers": {"X-Tier": value}}).destination
    assert value not in str(redact(f"it was {value}"))


def test_the_session_takes_certificate_and_proxy_from_the_connection_alone(connect):
    """`cert` and `proxies` count; the environment only if the connection says so (1.1, 2.5)."""
    with connect().get_conn() as session:
        assert (session.cert, session.proxies, session.trust_env) == (None, {}, False)
    extra = {"cert": "/client.pem", "proxies": {"https": "http://proxy:3128"}, "trust_env": True}
    with connect(extra).get_conn() as session:
        assert session.cert == "/client.pem"
        assert session.proxies == {"https": "http://proxy:3128"}
        assert session.trust_env is True


def test_a_request_of_the_session_does_not_wait_for_ever(connect, receiver):
    """Where no timeout is given there is one, and it can be made shorter (Contract 2.4)."""
    receiver.answer = lambda _: Reply(after=1)
    hook = connect()
    with pytest.raises(ZblError, match="ReadTimeout"):
        hook.run(json={}, extra_options={"timeout": 0.2})
    prepared = requests.Request("POST", hook.destination.url).prepare()
    with (
        hook.get_conn(extra_options={"timeout": 0.2}) as session,
        pytest.raises(requests.exceptions.ReadTimeout),
    ):
        session.send(prepared)
