import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from zbl_provider.delivery.signing import Signer, parse_secrets
from zbl_provider.exceptions import SigningSecretError

SPEC_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
keys = st.binary(min_size=24, max_size=64)


def written(key):
    return "whsec_" + base64.b64encode(key).decode()


def test_the_signature_is_that_of_the_standards_own_libraries():
    """The golden vector of the Standard Webhooks libraries holds (Contract 2.3)."""
    signed = Signer(parse_secrets(SPEC_SECRET)).headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert signed == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "Idempotency-Key": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@given(keys, st.text(max_size=200), st.from_regex(r"\Amsg_[a-z0-9]{1,60}\Z"))
def test_the_standards_own_library_verifies_what_is_signed(key, text, webhook_id):
    """Whatever the bytes, the `standardwebhooks` package accepts their signature (2.3)."""
    body = text.encode()
    signed = Signer(parse_secrets(written(key))).headers(webhook_id, int(time.time()), body)
    Webhook(written(key)).verify(body, signed, json_parse=False)


def test_during_rotation_either_secret_verifies():
    """With two secrets both sign, the first one first (Contract 1.2 and 2.3)."""
    secrets = parse_secrets(f"{OTHER_SECRET}  {SPEC_SECRET}")
    signed = Signer(secrets).headers("msg_1", int(time.time()), b"{}")
    for secret in (OTHER_SECRET, SPEC_SECRET):
        Webhook(secret).verify(b"{}", signed)
    alone = Signer(parse_secrets(OTHER_SECRET)).headers(
        "msg_1", int(signed["webhook-timestamp"]), b"{}"
    )
    assert signed["webhook-signature"].split()[0] == alone["webhook-signature"]


@pytest.mark.parametrize("text", [None, "", "  "])
def test_without_a_secret_there_is_no_signature(text):
    """Without a signing secret the other headers stay (Contract 2.3)."""
    named = Signer(parse_secrets(text)).headers("msg_1", 1, b"{}")
    assert set(named) == {"webhook-id", "webhook-timestamp", "Idempotency-Key"}


def test_a_secret_may_come_without_its_padding():
    """A secret printed without base64's padding is the same secret (Contract 2.3)."""
    assert parse_secrets(OTHER_SECRET.rstrip("=")) == parse_secrets(OTHER_SECRET)


@pytest.mark.parametrize(
    "text",
    ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_",
     "whsec_!!!!", "whsec_c2hvcnQ=", "***", written(bytes(65)), f"{SPEC_SECRET},{OTHER_SECRET}",
     f"{SPEC_SECRET} whsec_é"],
)  # fmt: skip
def test_what_is_no_standard_secret_is_refused_unseen(text):
    """A secret that is not a Standard Webhooks one is refused, and not shown (2.3 and 1.5)."""
    with pytest.raises(SigningSecretError) as caught:
        parse_secrets(text)
    shown = str(caught.value) + repr(caught.value)
    assert "signing_secret" in shown
    for word in text.replace(",", " ").split():
        secret = word.removeprefix("whsec_")
        assert not secret or secret not in shown
