"""One real Airflow and one real browser, Debian's Chromium, for all tests that look at pages."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.airflow import USER, Airflow
from tests.support.receiver import Received, Receiver, Reply
from tests.support.seeding import INTEGRATIONS, seed
from zbl_provider.log.store import DeliveryLog

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from playwright.sync_api import FloatRect, Page

    from tests.support.rest import Rest

DAGS = (Path(__file__).parents[2] / "dags", Path(__file__).parent / "dags")
CRM = "/crm"
SALES = "/sales"
VIEWER = "vera"
SEEDED = 4000
REFUSED = {"lead-0007", "lead-0042"}
CHROMIUM = "/usr/bin/chromium"
# Nothing is loaded from elsewhere: Chromium's own errands would only wait for a closed network.
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@dataclass
class Site:
    """The running Airflow, and what leads are sent to."""

    airflow: Airflow
    rest: Rest
    receiver: Receiver
    authority: str
    pictures: Path

    def picture(self, page: Page, name: str, *, clip: FloatRect | None = None) -> None:
        """Keep a screenshot; with PICTURES=docs/images they become those of the docs."""
        self.pictures.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=self.pictures / f"{name}.png", clip=clip)

    def sign_in(self, page: Page, user: str = USER) -> None:
        """Sign in, and wait for Airflow's first page."""
        page.goto(f"{self.airflow.url}/auth/login/")
        self.fill_in(page, user, self.passwords[user])
        page.get_by_text("Dags", exact=True).first.wait_for()

    def fill_in(self, page: Page, user: str, password: str) -> None:
        """Send the form of the auth manager."""
        page.fill("input[name=username]", user)
        page.fill("input[name=password]", password)
        page.click("[type=submit]")

    @property
    def passwords(self) -> dict[str, str]:
        """Passwords by user; Airflow makes up those it was not given."""
        return json.loads((self.airflow.home / "passwords.json").read_text())


def _write_leads(path: Path) -> None:
    columns = (
        "id, email, name, phone, company, score, status, custom_fields, verifications, "
        "created_at, qualified_at, list_id, list_name"
    )
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE leads ({columns})")
        connection.executemany(
            "INSERT INTO leads (id, email, score, status, qualified_at) VALUES (?, ?, ?, ?, ?)",
            [(f"lead-{n:04}", f"{n}@example.com", n % 100, "qualified", now) for n in range(60)],
        )


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Iterator[Site]:
    users = {"AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin,{VIEWER}:viewer"}
    with running(tmp_path_factory.mktemp("browser"), DAGS, users) as site:
        yield site


@contextmanager
def running(
    folder: Path, dags: Iterable[Path], options: Mapping[str, str], **more: Any
) -> Iterator[Site]:
    """Run an Airflow on a log with thousands of leads; see `Airflow` for options and more."""
    leads = folder / "leads.db"
    _write_leads(leads)
    with Receiver(_refuse_two) as receiver:
        authority = str(receiver.write_authority(folder / "ca.pem"))
        connections = {
            "ZBL_LEADS": {"conn_type": "sqlite", "host": str(leads)},
            "ZBL_WEBHOOK_DEFAULT": _integration(f"{receiver.url}{CRM}", authority),
            "SALES": _integration(f"{receiver.url}{SALES}", authority),
        }
        given = {
            f"AIRFLOW_CONN_{name}": json.dumps(connection)
            for name, connection in connections.items()
        }
        given["AIRFLOW__ZBL__ALLOWED_NETWORKS"] = "127.0.0.0/8, ::1/128"
        for source in dags:
            shutil.copytree(source, folder / "dags", dirs_exist_ok=True)
        _fill_log(folder / "airflow")
        options = given | dict(options)
        with Airflow(folder / "airflow", folder / "dags", options=options, **more) as airflow:
            yield Site(airflow, airflow.rest, receiver, authority, pictures(folder))


def pictures(folder: Path) -> Path:
    """Return where pictures are kept: where the caller wants them, or with the other files."""
    return Path(os.environ.get("PICTURES") or folder / "pictures")


def _integration(url: str, authority: str) -> dict[str, object]:
    return {"conn_type": "zbl_webhook", "host": url, "extra": {"verify": authority}}


def _fill_log(home: Path) -> None:
    """Leave a log behind as nine days of runs do, of which Airflow knows the Dag alone."""
    home.mkdir()
    log = DeliveryLog(f"sqlite:///{home / 'zbl_delivery_log.db'}")
    seed(log, SEEDED, datetime.now(UTC), dags=dict.fromkeys(INTEGRATIONS, "zbl_scheduled_pull"))
    log.close()


def _refuse_two(request: Received) -> Reply:
    refused = request.path == CRM and request.lead_id in REFUSED
    return Reply(422 if refused else 200)


@pytest.fixture
def page(site) -> Iterator[Page]:
    """Give a page of the signed-in user."""
    with browsing() as page:
        site.sign_in(page)
        yield page


@contextmanager
def browsing() -> Iterator[Page]:
    """Give a page of a browser of its own, in which nobody is signed in."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        page = browser.new_page(viewport={"width": 1200, "height": 900}, locale="en-US")
        page.set_default_timeout(30_000)
        yield page
        browser.close()
