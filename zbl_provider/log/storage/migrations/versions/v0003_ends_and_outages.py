"""How runs ended, and which destinations are down."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

instant = sa.DateTime(timezone=True).with_variant(sa.String(), "sqlite")
tried = sa.text("due_at IS NOT NULL AND attempts > 0")


def upgrade() -> None:
    """Add columns; a run of before has not ended as far as is known, and no destination is down."""
    op.add_column("zbl_run", sa.Column("try_id", sa.String))
    op.add_column("zbl_run", sa.Column("try_number", sa.Integer))
    op.add_column("zbl_run", sa.Column("ended_at", instant))
    op.add_column(
        "zbl_integration",
        sa.Column("failures", sa.Integer, nullable=False, server_default=sa.text("0")),
    )
    op.add_column("zbl_integration", sa.Column("failing_since", instant))
    op.add_column("zbl_integration", sa.Column("down_at", instant))
    op.add_column("zbl_integration", sa.Column("down_reason", sa.String))
    op.create_index(
        "zbl_delivery_tried",
        "zbl_delivery",
        ["integration", "due_at"],
        postgresql_where=tried,
        sqlite_where=tried,
    )
