"""Leads in a body of the destination's own shape, from the log to the receiver (Contract 2.7)."""

import json

from standardwebhooks import Webhook

from tests.integration.dispatch.conftest import lead
from tests.support.receiver import Reply
from zbl_provider.log.model import Status

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def bodies(setup):
    return [json.loads(request.body) for request in setup.receiver.received]


def test_each_lead_goes_out_in_the_body_of_the_connection(setup):
    """What is rendered is what is sent, signed and kept; ids are those of the leads (2.3, 2.7)."""
    setup.extra = {"signing_secret": SECRET, "body": {"mail": "{{ lead.email }}", "n": 1}}
    report = setup.dispatch("run 1", [1, 2])
    assert report.counts == {Status.DELIVERED: 2}
    assert sorted(body["mail"] for body in bodies(setup)) == ["1@example.com", "2@example.com"]
    for request in setup.receiver.received:
        Webhook(SECRET).verify(request.body, request.headers, json_parse=False)
    ids = {request.webhook_id for request in setup.receiver.received}
    assert ids == {i for (i,) in setup.rows("SELECT webhook_id FROM zbl_delivery")}


def test_a_retry_is_the_same_request_whatever_the_connection_says_by_then(setup):
    """Under one webhook-id a receiver gets one body: what was tried goes on as it is (2.3)."""
    setup.extra = {"body": ["old {{ lead.id }}"]}
    setup.answer(lambda _: Reply(503))
    report = setup.dispatch("run 1", [1])
    setup.extra = {"body": ["new {{ lead.id }}"]}
    setup.answer(lambda _: Reply())
    setup.clock.now = report.due_at
    setup.dispatch("run 1", [1])
    assert bodies(setup) == [["old 1"], ["old 1"]]


def test_what_was_delivered_is_not_sent_again_for_another_body(setup):
    """A new body is no new lead (4.4)."""
    setup.dispatch("run 1", [1])
    setup.extra = {"body": ["{{ lead.id }}"]}
    assert setup.dispatch("run 2", [1]).skipped == 1
    assert len(setup.receiver.received) == 1


def test_a_corrected_body_goes_out_with_the_clear(setup):
    """A lead in error is sent in the present body once its task is cleared (4.5)."""
    setup.extra = {"body": ["wrong {{ lead.id }}"]}
    setup.answer(lambda _: Reply(400))
    setup.dispatch("run 1", [1])
    setup.extra = {"body": ["right {{ lead.id }}"]}
    setup.answer(lambda _: Reply())
    setup.dispatch("run 1", [1], epoch=1)
    assert bodies(setup) == [["wrong 1"], ["right 1"]]


def test_a_lead_that_was_not_tried_takes_the_new_body_when_it_is_found_again(setup):
    """What is held, and found again after the body has changed, goes out in the new one (5.4)."""
    for body in ("old {{ lead.id }}", "new {{ lead.id }}"):
        setup.extra = {"active": False, "body": [body]}
        setup.dispatch("run 1", [1])
    setup.extra = {}
    setup.dispatch("run 2")
    assert bodies(setup) == [["new 1"]]


def test_an_invalid_lead_is_sent_when_body_or_lead_is_corrected(setup):
    """A lead without a body stops no other, and goes out when it has one (2.7 and 5.5)."""
    setup.extra = {"body": ["{{ lead.custom_fields.city }}"]}
    report = setup.dispatch("run 1", [lead(1), lead(2, city="Rio"), lead(3)])
    assert report.counts == {Status.DELIVERED: 1, Status.INVALID: 2}
    assert setup.dispatch("run 2", [lead(1, city="Faro")]).counts == {Status.DELIVERED: 1}
    setup.extra = {"body": ["{{ lead.custom_fields.city | default('?') }}"]}
    assert setup.dispatch("run 3", [lead(3)]).counts == {Status.DELIVERED: 1}
    assert bodies(setup) == [["Rio"], ["Faro"], ["?"]]
