import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zbl_provider.delivery.destination.url import MAX_URL_CHARS, parse_url
from zbl_provider.exceptions import DestinationError

labels = st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?\Z")
names = st.builds(lambda parts, last: ".".join([*parts, last]), st.lists(labels, max_size=3),
                  st.from_regex(r"\A[a-z]{2,10}\Z"))  # fmt: skip
CHARACTERS = string.ascii_letters + string.digits + "-._~!$&'()*+,;=:@/%"
# Three stars are what Airflow shows in place of a secret part.
paths = st.text(CHARACTERS, max_size=80).filter(lambda text: "***" not in text).map("/{}".format)


def refusal(*args, **kwargs):
    with pytest.raises(DestinationError) as caught:
        parse_url(*args, **kwargs)
    return str(caught.value)


@given(names, st.none() | st.integers(1, 65535), paths, st.none() | paths)
def test_an_https_url_is_taken_as_it_stands(name, port, path, query):
    """Any https URL with a host is a destination, and it reaches the wire unchanged (1.3)."""
    written = f"https://{name}{'' if port is None else f':{port}'}{path}"
    written += "" if query is None else f"?{query}"
    target = parse_url(written)
    assert (target.host, target.port) == (name, port or 443)
    assert target.url == written.replace(f"https://{name}:443/", f"https://{name}/")
    assert target.url.startswith(target.origin + "/")


@given(names, st.integers(1, 65535), paths)
def test_a_url_in_parts_is_the_same_url(name, port, path):
    """Scheme, host and port may stand in the connection's own fields (Contract 1.1)."""
    assert parse_url(name + path, "https", port) == parse_url(f"https://{name}:{port}{path}")


@pytest.mark.parametrize(
    ("host", "schema"),
    [("http://hooks.test/x", None), ("hooks.test/x", "http"), ("HTTP://hooks.test", None),
     ("ftp://hooks.test", None), ("http://hooks.test/", "https"), ("ws://hooks.test", None)],
)  # fmt: skip
def test_only_https_will_do(host, schema):
    """`http://` and every other scheme are refused, saying to use https (Contract 1.3)."""
    assert "https://" in refusal(host, schema)


@pytest.mark.parametrize("host", ["hooks.test", "hooks.test/catch?u=https://x", "localhost:8443/x"])
def test_a_missing_scheme_would_mean_http(host):
    """A host without any scheme is refused, saying how to begin the URL (Contract 1.3)."""
    assert "Begin it with https://" in refusal(host)


@pytest.mark.parametrize(
    "host",
    [None, "", "   ", "https://", "https:///path", "https://?q", "https://:443/",
     "https:/hooks.test", "//hooks.test/x", "https://[]/", "https://.", "https://hooks.test:/x"],
)  # fmt: skip
def test_an_empty_host_is_refused(host):
    """A URL without a host, or with a typing slip in its place, is refused (Contract 1.3)."""
    refusal(host, "https")


@pytest.mark.parametrize(
    "url",
    ["https://user:hunter2@hooks.test/x", "https://hunter2@hooks.test/x", "https://@hooks.test/"],
)
def test_credentials_in_the_url_are_refused_unseen(url):
    """Credentials belong into Login, and are not shown in the refusal (Contract 1.3 and 1.5)."""
    message = refusal(url)
    assert "Login" in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    "url", ["https://hooks.test/x#", "https://hooks.test#top", "https://h.t/?q#f"]
)
def test_a_fragment_is_refused(url):
    """A fragment would never be sent: it is refused (Contract 1.3)."""
    assert "fragment" in refusal(url)


@given(st.sampled_from([chr(code) for code in [*range(32), *range(127, 160), 0x2028, 0xD800]]),
       st.integers(0, 25))  # fmt: skip
@example("\n", 25)
def test_a_control_character_anywhere_is_refused(character, place):
    """A control character is refused wherever it stands, at the ends too (Contract 1.3)."""
    url = "https://hooks.test/catch/1"
    assert "control" in refusal(url[:place] + character + url[place:], "https")


def test_an_over_long_url_is_refused():
    """A URL of 2,048 characters is taken, one of 2,049 is not (Contract 1.3)."""
    url = "https://hooks.test/".ljust(MAX_URL_CHARS, "a")
    assert parse_url(url).url == url
    assert "2048" in refusal(url + "a")


@pytest.mark.parametrize(
    "url",
    ["https://hooks_.test:0/", "https://hooks.test:65536/", "https://hooks.test:x/",
     "https://hooks.test:8443:1/", "https://hooks.test:-1/", "https://hooks.test:٤٤٣/",
     "https://hooks..test/", "https://hooks test/", "https://-hooks.test/", "https://%31.test/",
     "https://hooks.test\\@evil.test/", "https://[::1/", "https://[fe80::1%25eth0]/",
     "https://256.1.1.1/", "https://2001:db8::1", "https://::1", "https://1.2.3.4.5/", "https://hooks.0x7f/",
     "https://hooks.08/", "https://" + "a" * 64 + ".test/", "https://" + "a." * 127 + "test/",
     "https://xn--ls8h\u2603..test/", "https://hooks.test&evil.test/", "https://[1.2.3.4]/"],
)  # fmt: skip
def test_a_host_or_port_that_readers_could_disagree_on_is_refused(url):
    """A host or port that is not plainly one is refused (Contract 1.3)."""
    refusal(url)


def test_port_must_not_contradict_the_url():
    """A Port beside a URL that names another one is refused; the same one is not (1.1)."""
    assert "Port" in refusal("https://hooks.test:8443/x", None, 9443)
    assert parse_url("https://hooks.test:8443/x", None, 8443).port == 8443
    assert parse_url("https://hooks.test/x", None, " 8443 ").url == "https://hooks.test:8443/x"


@pytest.mark.parametrize("port", [True, "x", "-1", 8443.0, [443], "123456"])
def test_a_port_is_a_number(port):
    """What is no number in Port is refused by that name (Contract 1.2)."""
    assert refusal("https://hooks.test/x", None, port).startswith("Port: ")


@pytest.mark.parametrize("host", ["https://hooks.test", "https://hooks.test/a", "hooks.test", ""])
@pytest.mark.parametrize("schema", ["s3cret", "hooks/s3cret", "/s3cret", "https/s3cret", "https:"])
def test_a_path_in_schema_is_refused_unseen(host, schema):
    """No path is dropped: it is refused, with the form that works, and not shown (1.2 and 1.5)."""
    message = refusal(host, schema)
    assert "Schema" in message
    assert "https%3A%2F%2Fhost%2Fpath" in message
    assert "s3cret" not in message


def test_a_schema_must_not_contradict_the_url():
    """A scheme beside a URL that has another one is refused; the same one is not (1.2)."""
    assert refusal("https://hooks.test/x", "http").startswith("Schema: contradicts")
    for schema in ("https", "HTTPS", " https ", "", None):
        assert parse_url("https://hooks.test/x", schema).url == "https://hooks.test/x"


@pytest.mark.parametrize(("host", "schema"), [(5, None), (["https://h.t/"], None), ("h.t", 5)])
def test_what_is_no_text_is_refused(host, schema):
    """A host or schema that a file gives as a number is refused by its name (Contract 1.2)."""
    assert "is not a text" in refusal(host, schema)


def test_a_query_right_after_the_host_is_refused():
    """Airflow's export would bring such a query back in small letters (Contract 1.2)."""
    assert "Write a / before the ?" in refusal("https://hooks.test?Key=S3cret")
    assert parse_url("https://hooks.test/?Key=S3cret").url == "https://hooks.test/?Key=S3cret"


@pytest.mark.parametrize(("written", "path"), [("/x?", "/x"), ("?", "/"), ("/x??", "/x??")])
def test_an_empty_query_is_none(written, path):
    """A ? with nothing behind it is left out, as requests leaves it out (Contract 1.1)."""
    assert parse_url(f"https://hooks.test{written}").url == f"https://hooks.test{path}"


@pytest.mark.parametrize("character", ["\u00a0", "\u200b", "\u202e", "\ufeff", "\u00ad"])
def test_an_invisible_character_is_refused(character):
    """What is pasted along unseen is not sent as part of the path (Contract 1.3)."""
    assert "invisible" in refusal(f"https://hooks.test/catch{character}")


@pytest.mark.parametrize(
    ("written", "host"),
    [("0x7f.1", "127.0.0.1"), ("2130706433", "127.0.0.1"), ("0177.0.0.1", "127.0.0.1"),
     ("[::FFFF:127.0.0.1]", "::ffff:7f00:1"), ("[2001:DB8:0::1]", "2001:db8::1"),
     ("\uff11\uff12\uff17.0.0.1", "127.0.0.1"), ("127\u30020\u30020\u30021", "127.0.0.1")],
)  # fmt: skip
def test_an_ip_address_has_one_spelling(written, host):
    """Odd spellings of an address are resolved before anyone judges it (Contract 7.1)."""
    assert parse_url(f"https://{written}/x").host == host


@pytest.mark.parametrize(
    ("written", "host"),
    [("Hooks.TEST", "hooks.test"), ("hooks.test.", "hooks.test"), ("bücher.example",
     "xn--bcher-kva.example"), ("straße.de", "xn--strae-oqa.de"), ("_srv.hooks.test",
     "_srv.hooks.test"), ("localhost", "localhost")],
)  # fmt: skip
def test_a_host_name_has_one_spelling(written, host):
    """A host name is sent, resolved and verified in its ASCII form (Contract 1.3)."""
    assert parse_url(f"https://{written}/x").url == f"https://{host}/x"


def test_what_a_url_cannot_hold_is_percent_encoded():
    """Blanks and letters beyond ASCII in path and query are encoded, escapes are kept (1.3)."""
    target = parse_url(" https://hooks.test/caf\u00e9 1/%2F?q=\u00e3[1] ")
    assert target.url == "https://hooks.test/caf%C3%A9%201/%2F?q=%C3%A3%5B1%5D"


@given(st.text(max_size=60))
def test_whatever_is_written_either_works_or_is_refused(text):
    """Any text is a destination or a DestinationError that does not repeat it (1.3 and 1.5)."""
    shown, target = "", None
    try:
        target = parse_url("https://hooks.test/secret-" + text)
    except DestinationError as refused:
        shown = str(refused) + repr(refused)
    assert target is None or target.url.isascii()
    assert "secret-" not in shown + repr(target)
