"""The contract's example, as a document and as the row that it comes from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent / "lead.qualified.example.json"


@pytest.fixture
def example():
    return json.loads(EXAMPLE.read_text(encoding="utf-8"))


@pytest.fixture
def row():
    return {
        "id": "lead-uuid",
        "email": "john@company.com",
        "name": "John Smith",
        "phone": "+5511999999999",
        "company": "Company XYZ",
        "score": 85,
        "status": "qualified",
        "job_title": "Sales Director",
        "city": "New York",
        "email_valid": True,
        "phone_valid": True,
        "cnpj_valid": True,
        "cnpj_status": "Active",
        "ip_risk_score": 5,
        "ip_proxy": False,
        "ip_vpn": False,
        "created_at": "2026-02-23T14:30:00Z",
        "qualified_at": "2026-02-23T14:30:02Z",
        "list_id": "list-uuid",
        "list_name": "Google Ads Campaign",
    }
