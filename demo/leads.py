"""The leads database of the demo: some hundreds of people who never were.

The same every time, so that what must arrive is known beforehand.
"""

from __future__ import annotations

import json
import random
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COUNT = 360
INVALID = "lead-0007"
TWO_LISTS = "lead-0361"  # in two lists, so that a join gives it twice, far apart
TWICE = "lead-0362"  # the very same row twice
UNDECODABLE = "lead-0364"  # its city is not UTF-8, which SQLite stores and Python cannot read
ODD = {
    TWO_LISTS: "in two lists",
    TWICE: "the same row twice",
    UNDECODABLE: "city is not UTF-8",
}
REFUSED = "lead-0042"  # the receiver answers 500 to this one, always

_PEOPLE = {
    "BR": (
        ("João", "Conceição", "André", "Luíza", "Inês", "Otávio", "Márcia", "Antônio"),
        ("Gonçalves", "da Silva", "Araújo", "Simões", "Falcão", "Brandão"),
        ("São Paulo", "Florianópolis", "Goiânia", "Belém"),
        ("Padaria São João Ltda.", "Construções Araújo", "Café & Cia", None),
    ),
    "US": (
        ("Mary", "James", "Zoë", "Linda", "Robert", "Renée", "Siobhán", "Bill"),
        ("O'Neill", "Smith", "Brontë", "Johnson", "McDonald", "Garcia"),
        ("New York", "Austin", "San José", "Boise"),
        ("Smith & Sons", "Acme, Inc.", '"Quoted" LLC', None),
    ),
    "ES": (
        ("María", "Íñigo", "Begoña", "José", "Ángel", "Lucía", "Raúl", "Nuria"),
        ("Muñoz", "Núñez", "García", "Ibáñez", "Peña", "Agüero"),
        ("Málaga", "A Coruña", "Cádiz", "Logroño"),
        ("Viñedos Peña S.L.", "Talleres Ibáñez", "Señor Sol", None),
    ),
}
_LISTS = ("Google Ads Campaign", "Feira de São Paulo", "Feria de Madrid", "Newsletter")
_JOBS = ("Sales Director", "Diretor Comercial", "Directora de Compras", "Engineer", None)
_STATUSES = ("qualified",) * 9 + ("new", "in review")
_FIRST = datetime(2026, 2, 23, 14, 30, tzinfo=UTC)

_TABLE = """
CREATE TABLE leads (
    id TEXT, first_name TEXT, last_name TEXT, email TEXT, phone TEXT, company TEXT,
    score INTEGER, status TEXT, list_id TEXT, list_name TEXT,
    email_valid INTEGER, phone_valid INTEGER, cnpj_valid INTEGER, cnpj_status TEXT,
    ip_risk_score INTEGER, ip_proxy INTEGER, ip_vpn INTEGER,
    country TEXT, city TEXT, job_title TEXT, custom_fields TEXT,
    created_at TEXT, qualified_at TEXT
)
"""


def write(path: Path) -> None:
    """Make the database at `path`, which must not be there yet."""
    rows = list(_rows())
    marks = ", ".join(f":{name}" for name in rows[0])
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(_TABLE)
        database.executemany(f"INSERT INTO leads VALUES ({marks})", rows)
        database.execute(
            "UPDATE leads SET city = CAST(x'53e36f' AS TEXT) WHERE id = ?", (UNDECODABLE,)
        )


def _rows() -> Iterator[dict[str, object]]:
    chance = random.Random(2026)
    odd = _row(361, random.Random(361)) | {"country": "BR", "score": 90, "status": "qualified"}
    yield odd | {"id": TWO_LISTS, "list_id": "list-3", "list_name": "Newsletter", "phone": None}
    for n in range(1, COUNT + 1):
        row = _row(n, chance)
        if row["id"] == INVALID:
            row |= {"score": 250, "status": "qualified", "phone": None, "country": "US"}
        if row["id"] == REFUSED:
            row |= {"score": 90, "status": "qualified", "job_title": "Engineer"}
        yield row
    yield odd | {"id": TWO_LISTS, "list_id": "list-1", "list_name": _LISTS[1], "phone": None}
    yield odd | {"id": TWICE, "list_id": "list-1", "list_name": _LISTS[1], "phone": None}
    yield odd | {"id": TWICE, "list_id": "list-1", "list_name": _LISTS[1], "phone": None}
    yield odd | {"id": UNDECODABLE, "country": "US", "phone": None}


def _row(n: int, chance: random.Random) -> dict[str, object]:
    country = chance.choice(tuple(_PEOPLE))
    first_names, last_names, cities, companies = _PEOPLE[country]
    qualified = _FIRST + timedelta(minutes=n)
    list_number = chance.randrange(len(_LISTS))
    return {
        "id": f"lead-{n:04}",
        "first_name": chance.choice(first_names),
        "last_name": chance.choice((*last_names, None)),
        "email": _sometimes(chance, f"lead.{n}@example.com"),
        "phone": _sometimes(chance, f"+55119{n:08}"),
        "company": chance.choice(companies),
        "score": chance.choice((None, *range(20, 101, 4))),
        "status": chance.choice(_STATUSES),
        "list_id": f"list-{list_number}",
        "list_name": _LISTS[list_number],
        **_verifications(chance, brazilian=country == "BR"),
        "country": country,
        "city": _sometimes(chance, chance.choice(cities)),
        "job_title": chance.choice(_JOBS),
        "custom_fields": _custom_fields(chance),
        "created_at": qualified.isoformat(),
        "qualified_at": (qualified + timedelta(seconds=2)).strftime("%Y-%m-%d %H:%M:%S"),
    }


def _sometimes(chance: random.Random, value: str) -> str | None:
    return value if chance.random() < 0.85 else None


def _verifications(chance: random.Random, *, brazilian: bool) -> dict[str, object]:
    return {
        "email_valid": chance.choice((0, 1, 1, 1, None)),
        "phone_valid": chance.choice((0, 1, 1, None)),
        "cnpj_valid": chance.choice((0, 1, 1)) if brazilian else None,
        "cnpj_status": chance.choice(("Active", "Suspended")) if brazilian else None,
        "ip_risk_score": chance.randrange(100),
        "ip_proxy": chance.choice((0, 0, 1)),
        "ip_vpn": chance.choice((0, 0, 1)),
    }


def _custom_fields(chance: random.Random) -> str | None:
    fields = {
        "utm_source": chance.choice(("google", "instagram", "indicação")),
        "employees": chance.choice((3, 40, 1200)),
        "interests": chance.sample(["CRM", "automação", "análisis"], k=2),
    }
    return json.dumps(fields, ensure_ascii=False) if chance.random() < 0.8 else None
