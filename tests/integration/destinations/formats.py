"""What each destination of docs/destinations takes and answers, as it publishes that itself."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from zbl_provider.leads.schema import schema_text

TEXT = {"type": "string"}


def fields(required=(), **properties: Any) -> dict[str, Any]:
    """Describe an object that has these members and no other."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


@dataclass(frozen=True)
class Service:
    """
    One destination.

    :param sources: where it says so
    :param body: JSON Schema of what it takes
    :param status: what it answers when it has taken a lead
    :param answer: the body of that
    :param fatal: statuses that it answers to what a person has to put right
    :param headers: that it wants to see
    :param limited: whether it answers 429 to who is too quick
    """

    sources: tuple[str, ...]
    body: dict[str, Any]
    status: int = 200
    answer: bytes = b""
    fatal: tuple[int, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)
    limited: bool = True


STANDARD = json.loads(schema_text())
CONTACT = fields(
    email=TEXT, firstname=TEXT, lastname=TEXT, phone=TEXT, company=TEXT, jobtitle=TEXT, city=TEXT
)
PERSON_DATA = {
    "type": "array",
    "items": fields(("value",), value=TEXT, primary={"type": "boolean"}, label=TEXT),
}
CONVERSION = fields(
    ("conversion_identifier", "email"),
    conversion_identifier={"type": "string", "minLength": 1},
    email={"type": "string", "pattern": "@"},
    **dict.fromkeys(
        ("name", "job_title", "state", "city", "country", "personal_phone", "mobile_phone",
         "company_name", "website"), TEXT,
    ),
    tags={"type": "array", "items": TEXT},
)  # fmt: skip
CARD = fields(
    ("type", "version", "body"),
    **{"$schema": TEXT},
    type={"const": "AdaptiveCard"},
    version=TEXT,
    body={
        "type": "array",
        "items": {
            "oneOf": [
                fields(("type", "text"), type={"const": "TextBlock"}, text=TEXT, weight=TEXT),
                fields(
                    ("type", "facts"),
                    type={"const": "FactSet"},
                    facts={
                        "type": "array",
                        "items": fields(("title", "value"), title=TEXT, value=TEXT),
                    },
                ),
            ]
        },
    },
)
SERVICES = {
    "zapier": Service(
        (
            "https://help.zapier.com/hc/en-us/articles/29972220283789-Webhooks-by-Zapier-rate-limits",
        ),
        STANDARD,
        answer=b'{"status": "success"}',
        fatal=(404, 410),
    ),
    "make": Service(
        ("https://help.make.com/webhooks",), STANDARD, answer=b"Accepted", fatal=(400, 410)
    ),
    "n8n": Service(
        ("https://docs.n8n.io/integrations/builtin/core-nodes/n8n-nodes-base.webhook/",),
        STANDARD,
        answer=b'{"message":"Workflow was started"}',
        fatal=(403, 404),
        headers={"x-api-key": "change-me"},
        limited=False,
    ),
    "pipedream": Service(("https://pipedream.com/docs/limits",), STANDARD, fatal=(413,)),
    "hubspot": Service(
        (
            (
                "https://developers.hubspot.com/docs/api-reference/legacy/crm/objects/contacts/batch/"
                "upsert-contacts"
            ),
        ),
        fields(
            ("inputs",),
            inputs={
                "type": "array",
                "minItems": 1,
                "maxItems": 100,
                "items": fields(("id", "properties"), id=TEXT, idProperty=TEXT, properties=CONTACT),
            },
        ),
        answer=b'{"status":"COMPLETE","results":[]}',
        fatal=(400, 401, 403),
        headers={"authorization": "Bearer pat-eu1-change-me"},
    ),
    "pipedrive": Service(
        ("https://developers.pipedrive.com/docs/api/v1/Persons",),
        fields(
            ("name",),
            name={"type": "string", "minLength": 1},
            emails=PERSON_DATA,
            phones=PERSON_DATA,
        ),
        status=201,
        answer=b'{"success":true}',
        fatal=(400, 401),
        headers={"x-api-token": "change-me"},
    ),
    "salesforce": Service(
        (
            (
                "https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/"
                "dome_sobject_create.htm"
            ),
            "https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/errorcodes.htm",
        ),
        fields(
            ("LastName", "Company"),
            FirstName={"type": "string", "maxLength": 40},
            LastName={"type": "string", "minLength": 1, "maxLength": 80},
            Company={"type": "string", "minLength": 1, "maxLength": 255},
            Email={"type": ["string", "null"]},
            Phone={"type": ["string", "null"]},
            LeadSource={"type": "string", "maxLength": 255},
            ZBL_Lead_Id__c=TEXT,
        ),
        status=201,
        answer=b'{"id":"001D000000IqhSLIAZ","errors":[],"success":true}',
        fatal=(400, 401, 403),
        headers={"authorization": "Bearer change-me"},
        limited=False,
    ),
    "rd_station": Service(
        ("https://developers.rdstation.com/reference/eventos-padr%C3%A3o",),
        fields(
            ("event_type", "event_family", "payload"),
            event_type={"const": "CONVERSION"},
            event_family={"const": "CDP"},
            payload=CONVERSION,
        ),
        answer=b'{"event_uuid":"5408c5a3-4711-4f2e-8d0b-13407a3e30f3"}',
        fatal=(400, 401),
    ),
    "slack": Service(
        (
            "https://api.slack.com/messaging/webhooks",
            "https://api.slack.com/changelog/2016-05-17-changes-to-errors-for-incoming-webhooks",
        ),
        fields(("text",), text={"type": "string", "minLength": 1, "pattern": "^[^<>]*$"}),
        answer=b"ok",
        fatal=(400, 403, 404, 410),
    ),
    "teams": Service(
        (
            (
                "https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/"
                "how-to/connectors-using"
            ),
        ),
        fields(
            ("type", "attachments"),
            type={"const": "message"},
            attachments={
                "type": "array",
                "items": fields(
                    ("contentType", "content"),
                    contentType={"const": "application/vnd.microsoft.card.adaptive"},
                    contentUrl={"type": ["string", "null"]},
                    content=CARD,
                ),
            },
        ),
        status=202,
        fatal=(400, 401, 404, 413),
    ),
    "apps_script": Service(
        (
            "https://developers.google.com/apps-script/guides/web",
            "https://developers.google.com/apps-script/guides/content",
        ),
        STANDARD,
        answer=b"<html>ok</html>",
        fatal=(302, 404),
        limited=False,
    ),
    "internal_api": Service(
        ("docs/receiver/README.md",), STANDARD, fatal=(401, 413), limited=False
    ),
}
