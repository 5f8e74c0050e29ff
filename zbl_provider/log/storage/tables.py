"""The tables of the delivery log. How they come to be is in ``migrations``."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    TypeDecorator,
    UniqueConstraint,
    false,
    literal_column,
    text,
)

from zbl_provider.log.storage.text import storable

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Dialect
    from sqlalchemy.types import TypeEngine

VERSION_TABLE = "zbl_alembic_version"

metadata = MetaData()

# SQLite numbers rows by itself only in a column declared INTEGER.
Number = BigInteger().with_variant(Integer(), "sqlite")
LARGEST_NUMBER = 2**63 - 1


class Instant(TypeDecorator[datetime]):
    """
    A moment: aware in, aware UTC out.

    SQLite has no type for it: text of one length and one zone sorts as time does, and any tool can
    read it.
    """

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[datetime] | TypeEngine[str]:
        """Return the column type of the given database."""
        return String() if dialect.name == "sqlite" else DateTime(timezone=True)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> object:
        """Return what the driver stores."""
        if value is None:
            return None
        return _as_text(value) if dialect.name == "sqlite" else value.astimezone(UTC)

    def process_result_value(
        self,
        value: str | datetime | None,
        _dialect: Dialect,
    ) -> datetime | None:
        """Return the moment that was stored, in UTC."""
        if value is None:
            return None
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return moment.astimezone(UTC)


@lru_cache(maxsize=64)  # the rows of one write share most of their times
def _as_text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


class Words(TypeDecorator[str]):
    """Text from outside, made such that every database takes it: one odd lead stops no other."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> str | None:
        """Return what every database takes."""
        return storable(value)


run = Table(
    "zbl_run",
    metadata,
    Column("id", Number, primary_key=True),
    Column("dag_id", String, nullable=False),
    Column("task_id", String, nullable=False),
    Column("run_id", String, nullable=False),
    Column("map_index", Integer, nullable=False),
    # A task may be given another connection between two tries: then it has other leads.
    Column("integration", String, nullable=False),
    # Which clear of the task instance was acted on last (Contract 4.5).
    Column("epoch", Integer, nullable=False),
    Column("created_at", Instant, nullable=False),
    # Some of its leads were chosen to be resent: the clear that follows means those alone.
    Column("chosen", Boolean, nullable=False, server_default=false()),
    # Airflow's last try of the task instance, when the task was told how its run ended, and when
    # Airflow had set the Dag run going: so a clear is told from a retry (Contract 4.10).
    Column("try_id", String),
    Column("try_number", Integer),
    Column("ended_at", Instant),
    Column("dag_run_started_at", Instant),
    UniqueConstraint("dag_id", "task_id", "run_id", "map_index", "integration", name="zbl_run_key"),
)
RUN_KEY = (run.c.dag_id, run.c.task_id, run.c.run_id, run.c.map_index)
"""The columns of a `RunKey`, in its order."""

delivery = Table(
    "zbl_delivery",
    metadata,
    Column("id", Number, primary_key=True),
    Column("integration", String, nullable=False),
    Column("lead_id", Words, nullable=False),
    Column("webhook_id", String, nullable=False),
    Column("status", String, nullable=False),
    Column("reason", Words),
    Column("fingerprint", String, nullable=False),
    # Attempts made since the lead was last reopened, and how often it was reopened.
    Column("attempts", Integer, nullable=False),
    Column("resend", Integer, nullable=False),
    # When the row next needs somebody: pending, now; retrying, at its next attempt; sending, when
    # its lease runs out. So one condition finds all that can be claimed.
    Column("due_at", Instant),
    Column("claim", String),
    # The run that first enrolled it; zbl_run_delivery has the runs that took it on later.
    Column("run_id", Number, nullable=False),
    Column("last_status", Integer),
    Column("last_kind", String),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("delivered_at", Instant),
    # Last, so that SQLite reads the columns before it without paging through it.
    Column("payload", LargeBinary),
    # By which a person is found; there only beside a payload, which has the email (Contract 8.8).
    Column("email_hash", BigInteger),
    UniqueConstraint("webhook_id", name="zbl_delivery_webhook_id"),
    CheckConstraint(
        "(status IN ('pending', 'sending', 'retrying')) = (due_at IS NOT NULL)",
        name="zbl_delivery_open_is_due",
    ),
    CheckConstraint(
        "(status = 'sending') = (claim IS NOT NULL)", name="zbl_delivery_sending_is_claimed"
    ),
)

run_delivery = Table(
    "zbl_run_delivery",
    metadata,
    Column("run_id", Number, primary_key=True, autoincrement=False),
    Column("delivery_id", Number, primary_key=True, autoincrement=False),
)

attempt = Table(
    "zbl_attempt",
    metadata,
    Column("id", Number, primary_key=True),
    Column("delivery_id", Number, nullable=False),
    Column("resend", Integer, nullable=False),
    Column("number", Integer, nullable=False),
    Column("run_id", Number, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("duration_ms", Integer, nullable=False),
    Column("status_code", Integer),
    Column("kind", String),
    Column("detail", Words),
    # Rests like a payload: a receiver may echo the lead.
    Column("excerpt", LargeBinary),
    UniqueConstraint("delivery_id", "resend", "number", name="zbl_attempt_number"),
)

integration = Table(
    "zbl_integration",
    metadata,
    Column("integration", String, primary_key=True),
    # A person holds it: its leads are recorded, and not sent (Contract 1.2 and 8.4).
    Column("held_at", Instant),
    Column("held_by", Words),
    # It answered one configuration error over and over, and this was it (Contract 8.6).
    Column("paused_at", Instant),
    Column("paused_status", Integer),
    # Leads in a row without an answer or with 5xx, and since when (Contract 8.7): of a destination
    # that is down it says so, with the last answer in words.
    Column("failures", Integer, nullable=False, server_default=text("0")),
    Column("failing_since", Instant),
    Column("down_at", Instant),
    Column("down_reason", Words),
    # While it is down: when a lead was last taken to try it with that had not been tried.
    Column("probed_at", Instant),
    # A person has ended its pause or its outage, and no lead has been delivered since: who was told
    # of the trouble has still to hear of its end (Contract 8.7).
    Column("resumed", Boolean, nullable=False, server_default=false()),
)

# Of delivered and of erased leads that were purged this alone is left, so that none goes out
# again (6.4). An erased one is not even sent to order.
purged = Table(
    "zbl_purged",
    metadata,
    Column("webhook_id", String, primary_key=True),
    Column("erased", Boolean, nullable=False),
)

# Of the keys of hashes: one for each purpose, made with the tables, and never changed.
salt = Table(
    "zbl_salt",
    metadata,
    Column("purpose", String, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

# Claiming stays cheap beside millions of settled rows, and takes the longest due first.
Index(
    "zbl_delivery_due",
    delivery.c.integration,
    delivery.c.due_at,
    delivery.c.id,
    postgresql_where=delivery.c.due_at.is_not(None),
    sqlite_where=delivery.c.due_at.is_not(None),
)
# Of a destination that is down, the leads that were tried go on; those may be few among very many.
TRIED_SQL: ColumnElement[bool] = literal_column("zbl_delivery.attempts > 0")
"""Said by who wants that index: SQLite takes it only for a condition that has its very words."""
Index(
    "zbl_delivery_tried",
    delivery.c.integration,
    delivery.c.due_at,
    postgresql_where=text("due_at IS NOT NULL AND attempts > 0"),
    sqlite_where=text("due_at IS NOT NULL AND attempts > 0"),
)
# What a run's own leads are at: counts, what failed, what is due next.
Index("zbl_delivery_run", delivery.c.run_id, delivery.c.status)
# Retention finds what it has not cleared yet, and nothing else.
Index(
    "zbl_delivery_retained",
    delivery.c.delivered_at,
    postgresql_where=delivery.c.payload.is_not(None) & delivery.c.delivered_at.is_not(None),
    sqlite_where=delivery.c.payload.is_not(None) & delivery.c.delivered_at.is_not(None),
)
# A person's leads are found at once, however many there are.
Index(
    "zbl_delivery_email",
    delivery.c.email_hash,
    postgresql_where=delivery.c.email_hash.is_not(None),
    sqlite_where=delivery.c.email_hash.is_not(None),
)
# What a person looks for among millions of delivered leads; no lead that is delivered at its first
# attempt ever enters it.
TROUBLED = ("error", "filtered", "invalid", "retrying")
TROUBLED_SQL: ColumnElement[bool] = literal_column(f"zbl_delivery.status IN {TROUBLED}")
"""Said by who wants that index: SQLite takes it only for a condition that has its very words."""
Index(
    "zbl_delivery_troubled",
    delivery.c.status,
    delivery.c.id,
    postgresql_where=delivery.c.status.in_(TROUBLED),
    sqlite_where=delivery.c.status.in_(TROUBLED),
)
# Times grow with the rows: a summary of each stretch finds a period, at next to no cost.
Index("zbl_delivery_period", delivery.c.created_at, postgresql_using="brin").ddl_if("postgresql")
Index("zbl_attempt_period", attempt.c.started_at, postgresql_using="brin").ddl_if("postgresql")
