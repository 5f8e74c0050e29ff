"""The delivery log: runs, deliveries, attempts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Spelled out rather than imported: tables.py goes on changing, a released migration does not.
number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
instant = sa.DateTime(timezone=True).with_variant(sa.String(), "sqlite")


def upgrade() -> None:
    """Create the tables and their indexes."""
    _create_runs()
    _create_deliveries()
    _create_attempts()


def _create_runs() -> None:
    op.create_table(
        "zbl_run",
        sa.Column("id", number, primary_key=True),
        sa.Column("dag_id", sa.String, nullable=False),
        sa.Column("task_id", sa.String, nullable=False),
        sa.Column("run_id", sa.String, nullable=False),
        sa.Column("map_index", sa.Integer, nullable=False),
        sa.Column("integration", sa.String, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("created_at", instant, nullable=False),
        sa.UniqueConstraint(
            "dag_id", "task_id", "run_id", "map_index", "integration", name="zbl_run_key"
        ),
    )
    op.create_table(
        "zbl_run_delivery",
        sa.Column("run_id", number, primary_key=True, autoincrement=False),
        sa.Column("delivery_id", number, primary_key=True, autoincrement=False),
    )


def _create_deliveries() -> None:
    op.create_table(
        "zbl_delivery",
        sa.Column("id", number, primary_key=True),
        sa.Column("integration", sa.String, nullable=False),
        sa.Column("lead_id", sa.String, nullable=False),
        sa.Column("webhook_id", sa.String, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("reason", sa.String),
        sa.Column("fingerprint", sa.String, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("resend", sa.Integer, nullable=False),
        sa.Column("due_at", instant),
        sa.Column("claim", sa.String),
        sa.Column("run_id", number, nullable=False),
        sa.Column("last_status", sa.Integer),
        sa.Column("last_kind", sa.String),
        sa.Column("created_at", instant, nullable=False),
        sa.Column("updated_at", instant, nullable=False),
        sa.Column("delivered_at", instant),
        sa.Column("payload", sa.LargeBinary),
        sa.UniqueConstraint("webhook_id", name="zbl_delivery_webhook_id"),
        sa.CheckConstraint(
            "(status IN ('pending', 'sending', 'retrying')) = (due_at IS NOT NULL)",
            name="zbl_delivery_open_is_due",
        ),
        sa.CheckConstraint(
            "(status = 'sending') = (claim IS NOT NULL)", name="zbl_delivery_sending_is_claimed"
        ),
    )
    _create_partial_index("zbl_delivery_due", ["integration", "due_at", "id"], "due_at IS NOT NULL")
    _create_partial_index(
        "zbl_delivery_retained",
        ["delivered_at"],
        "payload IS NOT NULL AND delivered_at IS NOT NULL",
    )
    op.create_index("zbl_delivery_run", "zbl_delivery", ["run_id", "status"])


def _create_partial_index(name: str, columns: list[str], condition: str) -> None:
    op.create_index(
        name,
        "zbl_delivery",
        columns,
        postgresql_where=sa.text(condition),
        sqlite_where=sa.text(condition),
    )


def _create_attempts() -> None:
    op.create_table(
        "zbl_attempt",
        sa.Column("id", number, primary_key=True),
        sa.Column("delivery_id", number, nullable=False),
        sa.Column("resend", sa.Integer, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("run_id", number, nullable=False),
        sa.Column("started_at", instant, nullable=False),
        sa.Column("duration_ms", sa.Integer, nullable=False),
        sa.Column("status_code", sa.Integer),
        sa.Column("kind", sa.String),
        sa.Column("detail", sa.String),
        sa.Column("excerpt", sa.LargeBinary),
        sa.UniqueConstraint("delivery_id", "resend", "number", name="zbl_attempt_number"),
    )
