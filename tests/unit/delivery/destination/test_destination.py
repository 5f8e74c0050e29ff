import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zbl_provider.delivery.destination import Destination
from zbl_provider.exceptions import (
    ConfigurationError,
    DestinationError,
    FilterError,
    HeaderError,
    SigningSecretError,
)

URL = "https://hooks.test/catch/s3cretpath/?k=s3cretquery"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
FULL = {
    "secret_headers": {"X-Api-Key": "s3cretvalue"},
    "active": False,
    "min_score": 70,
    "lists": ["Google Ads"],
    "field_filters": ["city equals New York"],
    "signing_secret": SECRET,
    "retry_statuses": ["429", 408],
    "max_concurrency": 4,
    "max_rate": 2.5,
    "keep_alive": False,
    "verify": "/etc/ssl/private-ca.pem",
    "cert": ["/etc/ssl/cert.pem", "/etc/ssl/key.pem"],
    "proxies": {"https": "http://user:s3cretproxy@proxy.test:3128"},
}


def parse(**extra):
    return Destination.parse(integration="zapier", host=URL, extra=extra)


def refusal(kind=ConfigurationError, **extra):
    with pytest.raises(kind) as caught:
        parse(**extra)
    return str(caught.value)


def test_every_key_of_the_connection_is_read():
    """Each key of Extra has its meaning (Contract 1.2)."""
    destination = parse(**FULL)
    assert (destination.integration, destination.url, destination.origin) == (
        "zapier",
        URL,
        "https://hooks.test",
    )
    assert (destination.host, destination.port) == ("hooks.test", 443)
    assert destination.headers == (("X-Api-Key", "s3cretvalue"),)
    assert len(destination.signing_secrets) == 1
    assert destination.active is False
    assert destination.filters.min_score == 70
    assert destination.filters.lists == ("Google Ads",)
    assert len(destination.filters.fields) == 1
    assert destination.retry_statuses == {408, 429}
    assert (destination.max_concurrency, destination.max_rate) == (4, 2.5)
    assert destination.keep_alive is False
    assert destination.verify == "/etc/ssl/private-ca.pem"
    assert destination.cert == ("/etc/ssl/cert.pem", "/etc/ssl/key.pem")
    assert destination.proxy == "http://user:s3cretproxy@proxy.test:3128"
    assert destination.trust_env is False


@given(st.dictionaries(st.sampled_from([*FULL, "trust_env", "verify_ssl", "proxy"]),
                       st.sampled_from([None, "", "  "])))  # fmt: skip
def test_a_form_field_left_untouched_was_not_given(extra):
    """What the form saves for untouched fields reads as if it had not been given (1.2)."""
    assert parse(**extra) == Destination.parse(integration="zapier", host=URL)


def test_the_defaults():
    """Without Extra an integration is active, unfiltered, and sends 16 at once (Contract 1.2)."""
    destination = Destination.parse(integration="zapier", host=URL, extra=None)
    assert destination.active is True
    assert (destination.max_concurrency, destination.max_rate) == (16, None)
    assert destination.keep_alive is True
    assert destination.retry_statuses == frozenset()
    assert (destination.verify, destination.cert, destination.proxy, destination.trust_env) == (
        True,
        None,
        None,
        False,
    )
    assert (destination.headers, destination.signing_secrets) == ((), ())
    assert parse(lists=[], field_filters=[], retry_statuses=[], secret_headers={}) == destination


def test_the_login_of_a_proxy_is_a_secret():
    """Airflow masks it in the logs, as it stands in the URL and as it is meant (1.5)."""
    destination = parse(proxy="http://ana:p%40ss-marker@proxy.test:3128")
    secrets = set(destination.secrets())
    assert {"p%40ss-marker", "p@ss-marker", "ana:p%40ss-marker"} <= secrets
    assert "marker" not in repr(destination)


def test_no_secret_shows():
    """URL path and query, headers, secrets and proxy show in no text of it (Contract 1.5)."""
    destination = parse(**FULL)
    key = destination.signing_secrets[0]
    for shown in (repr(destination), str(destination), f"{destination}"):
        assert "s3cret" not in shown
        assert repr(key) not in shown
        assert "https://hooks.test" in shown


@pytest.mark.parametrize("carry", [pickle.dumps, copy.deepcopy])
def test_it_is_not_serialized(carry):
    """A destination holds secrets, so it is not pickled into anything (Contract 1.5)."""
    with pytest.raises(TypeError, match="connection's id"):
        carry(parse())


@pytest.mark.parametrize(
    ("kind", "host", "extra"),
    [(DestinationError, "http://hooks.test/s3cret", {}),
     (HeaderError, URL, {"secret_headers": {"Host": "s3cret"}}),
     (FilterError, URL, {"field_filters": ["city resembles s3cret"]}),
     (SigningSecretError, URL, {"signing_secret": "s3cret"})],
)  # fmt: skip
def test_each_kind_of_mistake_has_its_error(kind, host, extra):
    """A mistake is a ConfigurationError of its kind, with what to change (1.3, 1.4, 2.3, 5.3)."""
    with pytest.raises(kind) as caught:
        Destination.parse(integration="zapier", host=host, extra=extra)
    assert caught.value.remedy


@pytest.mark.parametrize("value", [5, ["whsec_"], {"a": 1}])
def test_a_signing_secret_is_text(value):
    """A signing secret that is no text is refused (Contract 1.2)."""
    assert "signing_secret" in refusal(signing_secret=value)


@pytest.mark.parametrize(
    ("value", "active"),
    [(True, True), (False, False), ("false", False), ("True", True), (0, False)],
)
def test_active_may_be_text(value, active):
    """A connection written as a URI carries its booleans as text (Contract 1.2)."""
    assert parse(active=value).active is active


@pytest.mark.parametrize("value", ["maybe", 2, [True]])
def test_active_is_true_or_false(value):
    """`active` is a boolean (Contract 1.2)."""
    assert "active" in refusal(active=value)


@pytest.mark.parametrize("value", [["429"], [429], "429", 429, " 429 ", ["429", 429]])
def test_retry_statuses_may_be_texts(value):
    """The form's list gives texts, JSON numbers: both read the same (Contract 1.2)."""
    assert parse(retry_statuses=value).retry_statuses == {429}


@pytest.mark.parametrize("value", [["500"], [404], [True], "often", {"429": 1}, [429.5], [None]])
def test_only_three_statuses_can_be_retried(value):
    """Only 408, 425 and 429 make sense as extra statuses to retry (Contract 1.2)."""
    assert "408, 425 and 429" in refusal(retry_statuses=value)


@pytest.mark.parametrize("value", [0, -1, 1.5, 1001, "many", True, float("nan"), [4], "1e400"])
def test_max_concurrency_is_a_whole_number(value):
    """`max_concurrency` is a whole number from 1 up (Contract 1.2)."""
    assert "max_concurrency" in refusal(max_concurrency=value)


@pytest.mark.parametrize("value", [0, -1, "fast", True, float("inf"), "nan", 1e-300, 1e308])
def test_max_rate_is_above_zero(value):
    """`max_rate` is a number above 0, for which waits can be worked out (Contract 1.2)."""
    assert "max_rate" in refusal(max_rate=value)


def test_numbers_may_be_text():
    """A connection written as a URI carries its numbers as text (Contract 1.2)."""
    destination = parse(max_concurrency="4", max_rate="0.5")
    assert (destination.max_concurrency, destination.max_rate) == (4, 0.5)


@pytest.mark.parametrize(
    ("extra", "verify"),
    [({"verify": False}, False), ({"verify": "false"}, False), ({"verify_ssl": False}, False),
     ({"verify": "/ca.pem"}, "/ca.pem"), ({"verify": None, "verify_ssl": "/ca.pem"}, "/ca.pem"),
     ({"verify": "True"}, True), ({"verify": ""}, True)],
)  # fmt: skip
def test_verify_is_read_as_http_hook_reads_it(extra, verify):
    """`verify`, or `verify_ssl`, is a boolean or the path of a private CA (Contract 1.1)."""
    assert parse(**extra).verify == verify


@pytest.mark.parametrize("value", [["a"], ["a", "b", "c"], [1, 2], 5, {"a": 1}])
def test_a_client_certificate_is_one_path_or_two(value):
    """`cert` is a path, or certificate and key (Contract 1.1)."""
    assert "cert" in refusal(cert=value)
    assert parse(cert="/both.pem").cert == "/both.pem"


@pytest.mark.parametrize(
    "extra",
    [{"proxy": "http://proxy.test:3128"}, {"proxies": {"https": "http://proxy.test:3128"}},
     {"proxies": {"http": "http://other.test", "all": "proxy.test:3128"}},
     {"proxies": {"https": "http://other.test", "https://hooks.test": "http://proxy.test:3128"}},
     {"proxy": "proxy.test:3128"}],
)  # fmt: skip
def test_a_proxy_is_read_as_requests_reads_it(extra):
    """A proxy may be a URL, or requests' object with the most exact key first (Contract 1.1)."""
    assert parse(**extra).proxy == "http://proxy.test:3128"


@pytest.mark.parametrize(
    ("written", "host"),
    [("PROXY.Test.", "proxy.test"), ("0x7f.1", "127.0.0.1"), ("127\u30020.0.1", "127.0.0.1"),
     ("\u24dbocalhost", "localhost"), ("stra\xdfe.de", "xn--strae-oqa.de"),
     ("[::FFFF:127.0.0.1]", "[::ffff:7f00:1]")],
)  # fmt: skip
def test_a_proxys_host_has_one_spelling(written, host):
    """The guard judges the proxy's host as the HTTP client will read it (Contract 7.1)."""
    proxy = parse(proxy=f"http://user:p@ss@{written}:3128/").proxy
    assert proxy == f"http://user:p@ss@{host}:3128"


@pytest.mark.parametrize(
    "value",
    ["socks5://s3cret@proxy.test:1080", "https://s3cret@proxy.test", "http://", 5, ["x"],
     "http://s3cret@proxy.test:99999",
     "http://proxy.test/ s3cret", "http://[s3cret", "http://loc%61lhost",
     "http://s3cret.test&x", f"http://{'a' * 64}.test",
     "http://a..test", "http://256.1.1.1", "http://:3128",
     "http://proxy.test/s3cret", "http://proxy.test?s3cret", "http://proxy.test/#s3cret"],
)  # fmt: skip
def test_a_proxy_that_cannot_be_used_is_refused_unseen(value):
    """A proxy is an HTTP one; its credentials show in no message (Contract 1.5)."""
    assert "s3cret" not in refusal(proxy=value)
