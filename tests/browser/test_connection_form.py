"""The integration's form, as people fill it in (Contract 1.2, 1.5 and 1.6)."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.support.receiver import is_signed

if TYPE_CHECKING:
    from playwright.sync_api import FloatRect

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

HEADERS = {"X-Api-Key": "header-is-secret", "X-Tenant": "tenant-is-secret"}
BODY = {"email": "{{ lead.email }}", "score": "{{ lead.score }}"}
SECRET = "whsec_" + base64.b64encode(b"a signing secret of 32 bytes ...").decode()


def test_a_connection_is_made_tested_and_edited_and_no_secret_is_shown_or_lost(site, page):
    """Headers, filter, secret and body survive a second save; no secret is shown again (2.7)."""
    _fill_in(site, page)
    site.picture(page, "connection-form", clip=_below(page, "Send only leads of these lists"))
    _save(page)
    _trust(site)
    page.reload()

    page.set_viewport_size({"width": 1000, "height": 480})
    assert _press_test(page).startswith("Test lead delivered: status 200")
    page.get_by_text("Test lead delivered").hover()  # waits until it has come to rest
    site.picture(page, "connection-tested")
    page.reload()
    page.get_by_role("button", name="Edit Connection").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator("input[name=host]")).to_have_value(_url(site))
    _open_extra(page)
    expect(dialog.locator("[name=element_signing_secret]")).to_have_value("***")
    expect(dialog.locator("[name=element_field_filters]")).to_have_value("city is not empty")
    shown = dialog.inner_text()
    assert not _secrets() & set(shown.replace('"', " ").split())
    page_source = page.content()
    assert not [secret for secret in _secrets() if secret in page_source]
    site.picture(page, "connection-edited")
    # Something is changed, so that the form is saved again with its hidden values.
    dialog.locator("[name=element_field_filters]").fill("city is not empty\nphone is not empty")
    _save(page)

    assert _press_test(page).startswith("Test lead delivered: status 200")
    first, second = site.receiver.received[-2:]
    for request in (first, second):
        assert request.headers["x-zbl-test"] == "true"
        assert {name: request.headers[name.lower()] for name in HEADERS} == HEADERS
        assert is_signed(request, SECRET)
        assert json.loads(request.body) == {"email": "john@company.com", "score": 85}
    extra = site.rest.connection("zapier")["extra"]
    assert json.loads(extra)["field_filters"] == ["city is not empty", "phone is not empty"]
    assert not [secret for secret in _secrets() if secret in extra]


def _secrets() -> set[str]:
    return {SECRET, *HEADERS.values()}


def _url(site) -> str:
    return f"{site.receiver.url}/hooks/catch/123456/abcdef/"


def _fill_in(site, page) -> None:
    page.goto(f"{site.airflow.url}/connections")
    page.get_by_role("button", name="Add Connection").first.click()
    dialog = page.get_by_role("dialog")
    page.locator("input[name=connection_id]").fill("zapier")
    page.get_by_role("combobox").last.click()
    page.keyboard.type("ZBL")
    page.get_by_role("option", name="ZBL Webhook").click()
    host = dialog.locator("input[name=host]")
    expect(host).to_have_attribute("placeholder", re.compile(r"^https://hooks\.zapier\.com/"))
    host.fill(_url(site))
    dialog.locator("[name=description]").fill("Zapier: new leads to Sales")
    # Without a port Airflow 3.3.2 refuses to test a saved connection (apache/airflow#73298).
    dialog.locator("[name=port]").fill(site.receiver.url.rpartition(":")[2])
    page.set_viewport_size({"width": 1000, "height": 800})
    site.picture(page, "connection-url")
    _open_extra(page)
    _write_json(page, dialog.locator(".monaco-editor").first, HEADERS)
    dialog.get_by_text("Custom body", exact=True).scroll_into_view_if_needed()
    body = dialog.locator(".monaco-editor").nth(1)
    _write_json(page, body, BODY)
    box = body.bounding_box()
    around = {"x": 50, "y": box["y"] - 20, "width": 900, "height": box["height"] + 90}
    site.picture(page, "connection-body", clip=around)
    dialog.locator("[name=element_field_filters]").fill("city is not empty")
    dialog.locator("[name=element_signing_secret]").fill(SECRET)


def _below(page, hint: str) -> FloatRect:
    """Return where the form is, from the line under the field with that hint."""
    dialog = page.get_by_role("dialog")
    above = dialog.get_by_text(hint).bounding_box()
    save = dialog.get_by_role("button", name="Save").bounding_box()
    top, bottom = above["y"] + above["height"] + 12, save["y"] + save["height"] + 24
    return {"x": 50, "y": top, "width": 900, "height": bottom - top}


def _write_json(page, editor, document) -> None:
    editor.click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(json.dumps(document))
    # The editor closes brackets and quotes by itself, as it does for people.
    page.keyboard.press("Control+Shift+End")
    page.keyboard.press("Delete")


def _open_extra(page) -> None:
    page.set_viewport_size({"width": 1000, "height": 1500})
    page.get_by_role("dialog").get_by_text("Extra Fields", exact=True).click()
    page.locator(".monaco-editor .view-line").first.wait_for()


def _save(page) -> None:
    page.get_by_role("button", name="Save").click()
    page.get_by_role("dialog").wait_for(state="hidden")


def _press_test(page) -> str:
    """Press the connection's Test button and return what Airflow then says."""
    with page.expect_response(re.compile("connections/test$")) as answer:
        page.get_by_role("button", name=re.compile("Test")).first.click()
    return answer.value.json()["message"]


def _trust(site) -> None:
    """Name the receiver's private CA, which a form's user would paste into the JSON of Extra."""
    connection = site.rest.connection("zapier")
    extra = json.loads(connection["extra"]) | {"verify": site.authority}
    site.rest.update_connection("zapier", "zbl_webhook", host=connection["host"], extra=extra)
