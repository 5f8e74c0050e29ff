"""Integrations that are held or paused, resends of chosen leads, and what purging leaves."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

instant = sa.DateTime(timezone=True).with_variant(sa.String(), "sqlite")
troubled = sa.text("status IN ('error', 'filtered', 'invalid', 'retrying')")


def upgrade() -> None:
    """Create what is new; rows that are there keep their meaning."""
    op.create_table(
        "zbl_integration",
        sa.Column("integration", sa.String, primary_key=True),
        sa.Column("held_at", instant),
        sa.Column("held_by", sa.String),
        sa.Column("paused_at", instant),
        sa.Column("paused_status", sa.Integer),
    )
    op.execute("INSERT INTO zbl_integration (integration) SELECT DISTINCT integration FROM zbl_run")
    op.create_table(
        "zbl_purged",
        sa.Column("webhook_id", sa.String, primary_key=True),
        sa.Column("erased", sa.Boolean, nullable=False),
    )
    op.add_column(
        "zbl_run", sa.Column("chosen", sa.Boolean, nullable=False, server_default=sa.false())
    )
    op.create_index(
        "zbl_delivery_troubled",
        "zbl_delivery",
        ["status", "id"],
        postgresql_where=troubled,
        sqlite_where=troubled,
    )
    if op.get_bind().dialect.name == "postgresql":
        # Times grow with the rows: a summary of each stretch finds a period, at next to no cost.
        op.create_index(
            "zbl_delivery_period", "zbl_delivery", ["created_at"], postgresql_using="brin"
        )
        op.create_index(
            "zbl_attempt_period", "zbl_attempt", ["started_at"], postgresql_using="brin"
        )
