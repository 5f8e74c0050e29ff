"""What Airflow reads of this provider at start.

Pure data: this runs while Airflow itself is being imported, so nothing of Airflow may be imported
here. Valid against Airflow's `provider_info.schema.json` and `provider.yaml.schema.json`.
"""

from __future__ import annotations

from typing import Any

_INTEGRATION = "Zero Bad Leads"
_VERSION_ADDED = "1.0.0"

# An untouched field of the form is saved as `null`, so every type admits it (Contract 1.2).
_CONN_FIELDS: dict[str, Any] = {
    "secret_headers": {
        "label": "Custom headers",
        "description": (
            'Sent with every lead, for example {"Authorization": "Bearer …"}. '
            "Saved encrypted, never shown again."
        ),
        "schema": {"type": ["object", "null"]},
    },
    "active": {
        "label": "Active",
        "description": "When off, leads are recorded and held; they go out when it is on again.",
        "schema": {"type": ["boolean", "null"], "default": True},
    },
    "min_score": {
        "label": "Minimum score",
        "description": "Send only leads with at least this score, 0 to 100. Empty or 0: all.",
        "schema": {"type": ["integer", "null"], "minimum": 0, "maximum": 100},
    },
    "lists": {
        "label": "Lists",
        "description": "Send only leads of these lists: names or ids, one a line. Empty: all.",
        "schema": {"type": ["array", "null"], "items": {"type": "string"}},
    },
    "field_filters": {
        "label": "Field filters",
        "description": (
            "One a line, all must hold: city equals New York · phone is not empty · "
            "job_title contains director · verifications.cnpj_status not equals Closed"
        ),
        "schema": {"type": ["array", "null"], "items": {"type": "string"}},
    },
    "signing_secret": {
        "label": "Signing secret",
        "description": (
            "Standard Webhooks secret (whsec_…). To rotate: the new one, a space, the old one."
        ),
        "schema": {"type": ["string", "null"], "format": "password"},
    },
    "retry_statuses": {
        "label": "Also retry these statuses",
        "description": "408, 425 or 429, one a line. Empty: no answer of 4xx is retried.",
        "schema": {"type": ["array", "null"], "items": {"type": "string"}},
    },
    "max_concurrency": {
        "label": "Requests at once",
        "description": "Requests in flight to this destination, per task.",
        "schema": {"type": ["integer", "null"], "minimum": 1, "maximum": 1000, "default": 16},
    },
    "max_rate": {
        "label": "Requests per second",
        "description": "At most, per task. Empty: as fast as the destination answers.",
        "schema": {"type": ["number", "null"]},
    },
    "body": {
        "label": "Custom body",
        "description": (
            'In place of the standard payload, for example {"email": "{{ lead.email }}"}. '
            "Expressions over lead and list; empty: the standard payload."
        ),
        "schema": {"type": ["object", "null"]},
    },
    "keep_alive": {
        "label": "Keep connections open",
        "description": (
            "When off, each request has a connection of its own: slower, and for a destination "
            "that can serve one connection at a time."
        ),
        "schema": {"type": ["boolean", "null"], "default": True},
    },
}

_OPTIONS: dict[str, Any] = {
    "delivery_log_conn_id": {
        "description": (
            "Connection of the database that holds the delivery log: SQLite or PostgreSQL, never "
            "Airflow's own metadata database. Without it an SQLite file in AIRFLOW_HOME is used, "
            "which is refused with executors that span machines."
        ),
        "version_added": _VERSION_ADDED,
        "type": "string",
        "example": "zbl_delivery_log",
        "default": None,
    },
    "allowed_networks": {
        "description": (
            "Networks (CIDR, separated by commas) that destinations may be in although they are "
            "private, loopback or otherwise special. By default no such address is connected to."
        ),
        "version_added": _VERSION_ADDED,
        "type": "string",
        "example": "10.20.0.0/16, 192.168.7.0/24",
        "default": "",
    },
    "outage_breaker": {
        "description": (
            "When ten leads in a row get no answer, or 5xx, try no more leads until one of those "
            "that were tried is delivered. False tries every lead, whatever the destination does."
        ),
        "version_added": _VERSION_ADDED,
        "type": "boolean",
        "example": "False",
        "default": "True",
    },
    "payload_retention_days": {
        "description": (
            "Days after its delivery at which a lead's personal data is cleared from the "
            "delivery log. The delivery itself stays recorded."
        ),
        "version_added": _VERSION_ADDED,
        "type": "integer",
        "example": "7",
        "default": "30",
    },
    "log_retention_days": {
        "description": (
            "Days after which a settled lead is deleted from the delivery log, with its attempts "
            "and whatever data it still has. Of one that was delivered its webhook-id stays, so "
            "that it never goes out again. 0 keeps everything."
        ),
        "version_added": _VERSION_ADDED,
        "type": "integer",
        "example": "90",
        "default": "365",
    },
}


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata in the shape of Airflow's `provider_info.schema.json`."""
    return {
        "package-name": "airflow-provider-zbl",
        "name": _INTEGRATION,
        "description": (
            "Sends qualified leads from a database to any system over HTTPS: every lead recorded "
            "before it is sent, retried on a schedule, never lost, never sent twice without need."
        ),
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": "https://www.standardwebhooks.com/",
                "tags": ["service"],
            },
        ],
        "hooks": [
            {"integration-name": _INTEGRATION, "python-modules": ["zbl_provider.hooks.webhook"]},
        ],
        "operators": [
            {
                "integration-name": _INTEGRATION,
                "python-modules": ["zbl_provider.operators.dispatch"],
            },
        ],
        "sensors": [
            {
                "integration-name": _INTEGRATION,
                "python-modules": ["zbl_provider.sensors.delivery", "zbl_provider.sensors.leads"],
            },
        ],
        "triggers": [
            {
                "integration-name": _INTEGRATION,
                "python-modules": ["zbl_provider.triggers.delivery", "zbl_provider.triggers.leads"],
            },
        ],
        "notifications": ["zbl_provider.notifications.webhook.WebhookNotifier"],
        "extra-links": ["zbl_provider.operators.link.LeadDeliveriesLink"],
        "cli": ["zbl_provider.cli.definition.get_zbl_cli_commands"],
        "connection-types": [
            {
                "connection-type": "zbl_webhook",
                "hook-class-name": "zbl_provider.hooks.webhook.WebhookHook",
                "hook-name": "ZBL Webhook",
                "ui-field-behaviour": {
                    "hidden-fields": [],
                    "relabeling": {
                        "host": "Destination URL",
                        "description": "Integration name",
                        "login": "Login (Basic authentication)",
                    },
                    "placeholders": {
                        "host": "https://hooks.zapier.com/hooks/catch/123456/abcdef/",
                        "description": "Zapier: new leads to Sales",
                    },
                },
                "conn-fields": _CONN_FIELDS,
            },
        ],
        "config": {
            "zbl": {
                "description": "Settings of the Zero Bad Leads provider.",
                "options": _OPTIONS,
            },
        },
    }
